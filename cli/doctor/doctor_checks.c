/* Derives findings about a run from the facts of all ranks. All ranks reach the same findings. */
#include <stdlib.h>
#include <string.h>

#include "common/format.h"
#include "doctor/doctor.h"
#include "job/slow.h"

enum { MIB = 1 << 20 };
/* Below these amounts for each rank of a host, something is likely to fail. */
static const int64_t least_memory = 256 * (int64_t)MIB, least_shm = 8 * MIB, least_tmp = 64 * MIB;

static int count_ranks(const doctor *d, int host) {
  int num = 1; /* the rank itself */
  for (int rank = 0; rank < d->num_ranks; rank++)
    num += rank != host && doctor_same_host(d, host, rank);
  return num;
}

/* Returns the first rank whose text at this place in its facts differs from that of rank 0, or
 * num_ranks if there is none. */
static int find_other(const doctor *d, size_t offset) {
  int rank = 1;
  while (rank < d->num_ranks &&
         strcmp((const char *)d->facts + offset, (const char *)&d->facts[rank] + offset) == 0) {
    rank++;
  }
  return rank;
}

static const char *text_at(const doctor *d, int rank, size_t offset) {
  return (const char *)&d->facts[rank] + offset;
}

static void check_libraries(doctor *d) {
  static const size_t offsets[] = {offsetof(doctor_facts, machine.mpi),
                                   offsetof(doctor_facts, machine.onednn)};
  static const char *const names[] = {"MPI", "oneDNN"};
  for (int i = 0; i < 2; i++) {
    int other = find_other(d, offsets[i]);
    if (other < d->num_ranks) {
      doctor_find(d, VERDICT_WARN, "libraries",
                  "%s is '%s' on rank 0 and '%s' on rank %d (%s): use one version everywhere",
                  names[i], text_at(d, 0, offsets[i]), text_at(d, other, offsets[i]), other,
                  d->facts[other].host);
      return;
    }
  }
  doctor_find(d, VERDICT_OK, "libraries", "%s, oneDNN %s", d->facts->machine.mpi,
              d->facts->machine.onednn);
}

static void check_kernels(doctor *d) {
  size_t offset = offsetof(doctor_facts, kernels);
  int other = find_other(d, offset);
  if (other == d->num_ranks) {
    doctor_find(d, VERDICT_OK, "kernels", "%s on all ranks; oneDNN multiplies with %s",
                slow_kernels(d->facts->kernels), d->facts->system.products);
    return;
  }
  doctor_find(d, VERDICT_WARN, "kernels",
              "%s on rank 0, %s on rank %d (%s): the faster ranks wait for the slower ones, and "
              "--reproducible refuses them; ULYSSES_ISA chooses the same for all",
              d->facts->kernels, text_at(d, other, offset), other, d->facts[other].host);
}

/* Reports, for each kind of slowness, the first rank that it affects. Threads are left out, since
 * the facts of all ranks tell more about them. */
static void check_slow(doctor *d) {
  char text[SLOW_TEXT];
  for (slow_kind kind = 0; kind < NUM_SLOW; kind++) {
    int rank = 0;
    if (kind == SLOW_THREADS) continue;
    while (rank < d->num_ranks && !slow_find(&d->facts[rank].system, ULY_BF16, kind, text)) rank++;
    if (rank == d->num_ranks) continue;
    doctor_find(d, VERDICT_WARN, slow_name(kind), "%s: %s", d->facts[rank].host, text);
  }
}

/* ------------------------------------------------------------------------ threads */

/* Counts the threads of a host's ranks that may run on hardware threads of `set` only. */
static int count_threads(const doctor *d, int host, const cpu_set_t *set, bool *marks) {
  int num = 0;
  for (int rank = 0; rank < d->num_ranks; rank++) {
    const cpu_set_t *allowed = &d->facts[rank].allowed_set;
    cpu_set_t both;
    CPU_AND(&both, allowed, set);
    marks[rank] = doctor_same_host(d, host, rank) && CPU_EQUAL(&both, allowed);
    if (marks[rank]) num += d->facts[rank].threads;
  }
  return num;
}

static cpu_set_t find_union(const doctor *d, int host) {
  cpu_set_t all;
  CPU_ZERO(&all);
  for (int rank = 0; rank < d->num_ranks; rank++)
    if (doctor_same_host(d, host, rank)) CPU_OR(&all, &all, &d->facts[rank].allowed_set);
  return all;
}

/* Finds the smallest set of hardware threads that has to carry more threads than it has, among the
 * sets of single ranks and the set of all of them. */
static bool find_crowd(const doctor *d, int host, cpu_set_t *crowded, bool *marks) {
  bool is_found = false;
  for (int rank = -1; rank < d->num_ranks; rank++) {
    if (rank >= 0 && !doctor_same_host(d, host, rank)) continue;
    cpu_set_t set = rank < 0 ? find_union(d, host) : d->facts[rank].allowed_set;
    int room = CPU_COUNT(&set);
    if (room == 0 || (is_found && room >= CPU_COUNT(crowded))) continue;
    if (count_threads(d, host, &set, marks) <= room) continue;
    *crowded = set;
    is_found = true;
  }
  return is_found;
}

static bool check_threads_of_host(doctor *d, int host, bool *marks) {
  const struct doctor_machine *machine = &d->facts[host].machine;
  const char *name = d->facts[host].host;
  char ranks[DOCTOR_TEXT];
  cpu_set_t all = find_union(d, host), crowded;
  int num = count_threads(d, host, &all, marks), room = CPU_COUNT(&all);
  if (find_crowd(d, host, &crowded, marks)) {
    num = count_threads(d, host, &crowded, marks);
    room = CPU_COUNT(&crowded);
    doctor_list_ranks(d, marks, ranks);
    bool has_more = room < machine->hardware_threads;
    doctor_find(d, VERDICT_WARN, "threads",
                "%s: %d threads of %s share %d hardware thread%s: start fewer ranks or "
                "threads (OMP_NUM_THREADS)%s",
                name, num, ranks, room, plural(room),
                has_more ? ", or bind ranks to more hardware threads (mpirun --bind-to none)" : "");
    return false;
  }
  if (machine->cpu_quota >= 0 && 1000 * (int64_t)num > machine->cpu_quota) {
    doctor_find(d, VERDICT_WARN, "threads",
                "%s: %d threads, but the control group may only use %.2f hardware threads: start "
                "fewer ranks or threads (OMP_NUM_THREADS), or raise the quota",
                name, num, (double)machine->cpu_quota / 1000);
    return false;
  }
  if (room < machine->hardware_threads && 2 * num <= machine->hardware_threads) {
    doctor_find(d, VERDICT_WARN, "threads",
                "%s: %d of %d hardware threads are used, since its ranks are bound to %d of them: "
                "use mpirun --bind-to none, or --map-by numa:PE=CORES --bind-to core",
                name, num, machine->hardware_threads, room);
    return false;
  }
  return true;
}

/* Makes one finding, about the first host that has a problem, since the others are likely to be
 * alike. */
static void check_threads(doctor *d, bool *marks) {
  int num_threads = 0, num_hosts = 0;
  for (int host = doctor_next_host(d, -1); host < d->num_ranks; host = doctor_next_host(d, host)) {
    if (!check_threads_of_host(d, host, marks)) return;
    num_hosts++;
  }
  for (int rank = 0; rank < d->num_ranks; rank++) num_threads += d->facts[rank].threads;
  doctor_find(d, VERDICT_OK, "threads",
              "%d thread%s of %d rank%s on %d host%s, each with room to run", num_threads,
              plural(num_threads), d->num_ranks, plural(d->num_ranks), num_hosts,
              plural(num_hosts));
}

/* ----------------------------------------------------------------- memory and disks */

static void check_memory(doctor *d) {
  char human[FORMAT_BYTES];
  int64_t least = -1;
  int where = 0;
  for (int host = doctor_next_host(d, -1); host < d->num_ranks; host = doctor_next_host(d, host)) {
    int64_t share = d->facts[host].system.available / count_ranks(d, host);
    if (d->facts[host].system.available < 0 || (least >= 0 && share >= least)) continue;
    least = share;
    where = host;
  }
  if (least < 0) return;
  bool is_low = least < least_memory;
  doctor_find(d, is_low ? VERDICT_WARN : VERDICT_OK, "memory", "%s for each rank of %s%s%s",
              format_bytes(least, human), d->facts[where].host,
              doctor_next_host(d, 0) < d->num_ranks ? ", the host with the least" : "",
              is_low ? ": end other programs there, or start fewer ranks" : "");
}

static void check_huge_pages(doctor *d) {
  for (int rank = 0; rank < d->num_ranks; rank++) {
    const doctor_facts *facts = &d->facts[rank];
    if (strcmp(facts->machine.huge_pages, "never") != 0) continue;
    doctor_find(d, VERDICT_WARN, "huge pages",
                "%s: transparent huge pages are off, so access to large arrays is slower: turn "
                "them on with echo madvise > /sys/kernel/mm/transparent_hugepage/enabled",
                facts->host);
    return;
  }
}

static void check_disks(doctor *d) {
  char human[FORMAT_BYTES];
  for (int host = doctor_next_host(d, -1); host < d->num_ranks; host = doctor_next_host(d, host)) {
    const doctor_facts *facts = &d->facts[host];
    int num = count_ranks(d, host);
    if (facts->tmp_error != 0 || (facts->tmp_free >= 0 && facts->tmp_free < least_tmp)) {
      doctor_find(d, VERDICT_WARN, "disk",
                  "%s: %s: %s; MPI keeps files there: set TMPDIR to a folder with room",
                  facts->host, facts->machine.tmp,
                  facts->tmp_error ? strerror(facts->tmp_error) : "hardly any space is left");
      return;
    }
    if (num > 1 && facts->shm_free >= 0 && facts->shm_free < num * least_shm) {
      doctor_find(
          d, VERDICT_WARN, "disk",
          "%s: /dev/shm has %s left for %d ranks: MPI exchanges data there, and may end with "
          "a bus error: make it larger (docker run --shm-size)",
          facts->host, format_bytes(facts->shm_free, human), num);
      return;
    }
  }
  doctor_find(d, VERDICT_OK, "disk", "%s left in %s", format_bytes(d->facts->tmp_free, human),
              d->facts->machine.tmp);
}

static void check_network(doctor *d) {
  char human[FORMAT_BYTES];
  if (doctor_next_host(d, 0) == d->num_ranks) return;
  for (int rank = 0; rank < d->num_ranks; rank++) {
    const struct doctor_machine *machine = &d->facts[rank].machine;
    if (!machine->has_infiniband || machine->locked_limit < 0) continue;
    doctor_find(d, VERDICT_WARN, "network",
                "%s: a process may lock only %s of memory, and InfiniBand may need more: raise the "
                "limit with ulimit -l unlimited",
                d->facts[rank].host, format_bytes(machine->locked_limit, human));
    return;
  }
}

void doctor_check_facts(doctor *d) {
  check_libraries(d);
  check_kernels(d);
  check_slow(d);
  bool *marks = calloc((size_t)d->num_ranks, sizeof *marks);
  if (marks) check_threads(d, marks);
  free(marks);
  check_memory(d);
  check_huge_pages(d);
  check_disks(d);
  check_network(d);
  doctor_check_names(d);
}
