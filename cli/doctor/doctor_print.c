/* Prints what ulysses doctor found, as text or as JSON: the machines, once for each kind; the
 * ranks; the findings. */
#include <stdlib.h>
#include <string.h>

#include "common/format.h"
#include "common/print_json.h"
#include "doctor/doctor.h"

static const char *const verdict_words[] = {"ok", "WARN", "FAIL"};

static bool same_machine(const doctor *d, int a, int b) {
  return memcmp(&d->facts[a].machine, &d->facts[b].machine, sizeof d->facts[a].machine) == 0;
}

/* Prints "1 package", after a comma unless it comes first. */
static void print_count(const char *before, int count, const char *what) {
  printf("%s%d %s%s", before, count, what, plural(count));
}

static void print_limits(const struct doctor_machine *machine) {
  char human[FORMAT_BYTES];
  if (machine->memory_limit >= 0)
    printf("  control group       at most %s of memory\n",
           format_bytes(machine->memory_limit, human));
  if (machine->cpu_quota >= 0)
    printf("  control group       at most %.2f hardware threads\n",
           (double)machine->cpu_quota / 1000);
  if (machine->has_infiniband)
    printf("  locked memory       %s\n",
           machine->locked_limit < 0 ? "no limit" : format_bytes(machine->locked_limit, human));
}

/* Prints the space that is left, or nothing if the system does not tell. */
static void print_space(const char *path, int64_t bytes) {
  char human[FORMAT_BYTES];
  if (bytes >= 0) printf("  %-19s %s free\n", path, format_bytes(bytes, human));
}

static void print_machine(const doctor_facts *facts) {
  const struct doctor_machine *machine = &facts->machine;
  char total[FORMAT_BYTES], available[FORMAT_BYTES];
  bool is_known = machine->memory >= 0 && facts->system.available >= 0;
  printf("  CPU                 %s", machine->cpu);
  print_count("; ", machine->packages, "package");
  print_count(", ", machine->numa_nodes, "NUMA node");
  print_count(", ", machine->cores, "core");
  print_count(", ", machine->hardware_threads, "hardware thread");
  printf("\n  instructions        %s\n", machine->instructions);
  if (is_known)
    printf("  memory              %s, %s available; transparent huge pages: %s\n",
           format_bytes(machine->memory, total), format_bytes(facts->system.available, available),
           machine->huge_pages);
  print_limits(machine);
  print_space(machine->tmp, facts->tmp_free);
  print_space("/dev/shm", facts->shm_free);
}

/* Returns whether two ranks of a host are printed in one line. */
static bool is_alike(const doctor *d, int a, int b) {
  const doctor_facts *x = &d->facts[a], *y = &d->facts[b];
  return doctor_same_host(d, a, b) && x->threads == y->threads &&
         strcmp(x->allowed, y->allowed) == 0 && strcmp(x->kernels, y->kernels) == 0;
}

static void print_ranks_of_host(const doctor *d, int host, bool *marks) {
  char ranks[DOCTOR_TEXT];
  for (int rank = host; rank < d->num_ranks; rank++) {
    int first = 0;
    while (!is_alike(d, first, rank)) first++;
    if (!doctor_same_host(d, host, rank) || first < rank) continue;
    for (int i = 0; i < d->num_ranks; i++) marks[i] = is_alike(d, rank, i);
    doctor_list_ranks(d, marks, ranks);
    const doctor_facts *facts = &d->facts[rank];
    bool is_bound = CPU_COUNT(&facts->allowed_set) < facts->machine.hardware_threads;
    printf("  %-19s %d thread%s, %s hardware thread%s %s, kernels %s\n", ranks, facts->threads,
           plural(facts->threads), is_bound ? "bound to" : "on any of the",
           plural(CPU_COUNT(&facts->allowed_set)), facts->allowed, facts->kernels);
  }
}

/* Prints the hosts of one kind: their machine once, from the first one, then the ranks of each. */
static void print_hosts(const doctor *d, int kind, bool *marks) {
  bool is_first = true;
  for (int host = kind; host < d->num_ranks; host = doctor_next_host(d, host)) {
    if (!same_machine(d, kind, host)) continue;
    printf("%s%s%s\n", is_first ? "\nhost        " : "host        ", d->facts[host].host,
           is_first ? "" : ", like the one before");
    if (is_first) print_machine(&d->facts[host]);
    print_ranks_of_host(d, host, marks);
    is_first = false;
  }
}

void doctor_print(const doctor *d) {
  printf("ulysses     " ULY_VERSION_STRING "\n");
  if (d->facts) {
    bool *marks = calloc((size_t)d->num_ranks, sizeof *marks);
    printf("MPI         %s\noneDNN      %s\nranks       %d\n", d->facts->machine.mpi,
           d->facts->machine.onednn, d->num_ranks);
    for (int host = 0; marks && host < d->num_ranks; host = doctor_next_host(d, host)) {
      int kind = 0;
      while (!same_machine(d, kind, host)) kind = doctor_next_host(d, kind);
      if (kind == host) print_hosts(d, host, marks);
    }
    free(marks);
  }
  putchar('\n');
  for (int i = 0; i < d->num_findings; i++) {
    const finding *f = &d->findings[i];
    printf("%-4s  %-15s %s\n", verdict_words[f->verdict], f->what, f->text);
  }
}

/* ---------------------------------------------------------------------------- JSON */

static void set_text(json_t *object, const char *key, const char *text) {
  json_t *string = json_string(text);
  json_object_set_new(object, key, string ? string : json_null()); /* a name may not be UTF-8 */
}

static void set_count(json_t *object, const char *key, int64_t count) {
  json_object_set_new(object, key, count < 0 ? json_null() : json_integer(count));
}

static json_t *make_rank(const doctor *d, int rank) {
  const doctor_facts *facts = &d->facts[rank];
  const struct doctor_machine *machine = &facts->machine;
  json_t *json = json_object();
  set_count(json, "rank", rank);
  set_text(json, "host", facts->host);
  set_count(json, "threads", facts->threads);
  set_text(json, "allowed_hardware_threads", facts->allowed);
  set_text(json, "kernels", facts->kernels);
  set_text(json, "cpu", machine->cpu);
  set_text(json, "instructions", machine->instructions);
  set_text(json, "mpi", machine->mpi);
  set_text(json, "onednn", machine->onednn);
  set_count(json, "packages", machine->packages);
  set_count(json, "numa_nodes", machine->numa_nodes);
  set_count(json, "cores", machine->cores);
  set_count(json, "hardware_threads", machine->hardware_threads);
  set_count(json, "memory", machine->memory);
  set_count(json, "available", facts->system.available);
  set_count(json, "memory_limit", machine->memory_limit);
  json_object_set_new(
      json, "cpu_quota",
      machine->cpu_quota < 0 ? json_null() : json_real((double)machine->cpu_quota / 1000));
  set_count(json, "locked_limit", machine->locked_limit);
  set_text(json, "huge_pages", machine->huge_pages);
  set_text(json, "tmp", machine->tmp);
  set_count(json, "tmp_free", facts->tmp_free);
  set_count(json, "shm_free", facts->shm_free);
  return json;
}

uly_status doctor_print_json(const doctor *d) {
  json_t *json = json_object(), *ranks = json_array(), *findings = json_array();
  for (int rank = 0; d->facts && rank < d->num_ranks; rank++)
    json_array_append_new(ranks, make_rank(d, rank));
  for (int i = 0; i < d->num_findings; i++) {
    const finding *f = &d->findings[i];
    json_t *one = json_object();
    set_text(one, "verdict", verdict_words[f->verdict]);
    set_text(one, "what", f->what);
    set_text(one, "text", f->text);
    json_array_append_new(findings, one);
  }
  set_text(json, "version", ULY_VERSION_STRING);
  json_object_set_new(json, "ranks", ranks);
  json_object_set_new(json, "findings", findings);
  return print_json_line(json);
}
