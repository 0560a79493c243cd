/* Tests what ulysses doctor concludes from facts that the machine of the tests does not have: many
 * hosts, ranks that are bound, limits. */
#include <netdb.h>

#include "../cli/doctor/doctor.h"

#include "../cli/job/slow.h"
#include "testing.h"

enum { NUM_RANKS = 8 };

static doctor_facts facts[NUM_RANKS];

/* Names of this host, instead of those of the machine that runs the test. */
static const char *missing; /* NULL: all are there */
int __wrap_getaddrinfo(const char *name, const char *service, const struct addrinfo *hints,
                       struct addrinfo **found);
void __wrap_freeaddrinfo(struct addrinfo *found);

int __wrap_getaddrinfo(const char *name, const char *service, const struct addrinfo *hints,
                       struct addrinfo **found) {
  (void)service;
  (void)hints;
  *found = NULL;
  return missing && strcmp(name, missing) == 0 ? EAI_AGAIN : 0;
}

void __wrap_freeaddrinfo(struct addrinfo *found) { (void)found; }
static doctor d;

/* num ranks on hosts of `per_host` ranks; hardware threads of a host; all good. */
static void make(int num, int per_host, int hardware_threads) {
  memset(facts, 0, sizeof facts);
  d = (doctor){.num_ranks = num, .facts = facts};
  for (int rank = 0; rank < num; rank++) {
    doctor_facts *f = &facts[rank];
    snprintf(f->host, sizeof f->host, "node%d", rank / per_host);
    snprintf(f->kernels, sizeof f->kernels, "avx2");
    f->machine.hardware_threads = hardware_threads;
    f->machine.memory = (int64_t)64 << 30;
    f->machine.memory_limit = f->machine.locked_limit = f->machine.cpu_quota = -1;
    f->system = (uly_machine){.size = sizeof f->system,
                              .cpu_quota = -1,
                              .hardware_threads = hardware_threads,
                              .allowed_threads = hardware_threads,
                              .ranks = per_host,
                              .threads = 1,
                              .multiplies_bf16 = 1,
                              .kernels = "avx2",
                              .best_kernels = "avx2",
                              .products = "avx2"};
    f->system.available = f->tmp_free = f->shm_free = (int64_t)32 << 30;
    f->threads = 1;
    for (int i = 0; i < hardware_threads; i++) CPU_SET(i, &f->allowed_set);
  }
}

/* Binds a rank to hardware threads [begin, end). */
static void bind_rank(int rank, int begin, int end) {
  CPU_ZERO(&facts[rank].allowed_set);
  for (int i = begin; i < end; i++) CPU_SET(i, &facts[rank].allowed_set);
}

/* The only finding about `what`. */
static const finding *find(const char *what) {
  const finding *found = NULL;
  doctor_check_facts(&d);
  for (int i = 0; i < d.num_findings; i++) {
    if (strcmp(d.findings[i].what, what) != 0) continue;
    assert_null(found);
    found = &d.findings[i];
  }
  d.num_findings = 0;
  return found;
}

#define EXPECT(what_, verdict_, text_)                                              \
  do {                                                                              \
    const finding *f_ = find(what_);                                                \
    assert_non_null(f_);                                                            \
    if (f_->verdict != (verdict_) || !strstr(f_->text, text_))                      \
      fail_msg("%s: %d, not \"%s\": %s", what_, (int)f_->verdict, text_, f_->text); \
  } while (0)

static void test_good(void **state) {
  (void)state;
  make(8, 4, 4);
  EXPECT("threads", VERDICT_OK, "8 threads of 8 ranks on 2 hosts");
  EXPECT("kernels", VERDICT_OK, "avx2 on all ranks");
  EXPECT("memory", VERDICT_OK, "8.0 GiB for each rank of node0, the host with the least");
  EXPECT("disk", VERDICT_OK, "32.0 GiB");
  assert_null(find("huge pages"));
  assert_null(find("network"));
  /* The kernels that every CPU of its kind runs: their name does not say what they use. */
  for (int rank = 0; rank < 8; rank++) snprintf(facts[rank].kernels, DOCTOR_TEXT, "base");
#if defined(__x86_64__)
  EXPECT("kernels", VERDICT_OK, "base (the compiler's vectors, SSE2) on all ranks; oneDNN");
#elif defined(__aarch64__)
  EXPECT("kernels", VERDICT_OK, "base (the compiler's vectors, NEON) on all ranks; oneDNN");
#else
  EXPECT("kernels", VERDICT_OK, "base (the compiler's vectors) on all ranks; oneDNN");
#endif
}

static void test_names(void **state) {
  (void)state;
  make(8, 4, 4);
  for (int rank = 0; rank < 8; rank++) doctor_look_at_names(&facts[rank]);
  EXPECT("names", VERDICT_OK, "found at once");
  for (int i = 0; i < 2; i++) {
    make(8, 4, 4);
    missing = i == 0 ? "node1" : "localhost";
    for (int rank = 0; rank < 8; rank++) doctor_look_at_names(&facts[rank]);
    missing = NULL;
    EXPECT("names", VERDICT_WARN,
           i == 0 ? "node1: the name 'node1' is not found (Temporary failure in name resolution)"
                  : "node0: the name 'localhost' is not found (");
    EXPECT("names", VERDICT_WARN, i == 0 ? "'127.0.1.1 node1'" : "'127.0.0.1 localhost'");
  }
  /* Found, but by a server that takes its time. */
  make(8, 4, 4);
  facts[5].name_ms = 10200;
  snprintf(facts[5].name, sizeof facts[5].name, "node1");
  EXPECT("names", VERDICT_WARN, "node1: the name 'node1' is found after 10.2 s: ");
}

static void test_threads(void **state) {
  (void)state;
  /* All of a host's ranks on one core, as after a careless mpirun. */
  make(8, 4, 16);
  for (int rank = 4; rank < 8; rank++) {
    bind_rank(rank, 0, 1);
    facts[rank].threads = 4;
  }
  EXPECT("threads", VERDICT_WARN, "node1: 16 threads of ranks 4-7 share 1 hardware thread: ");
  EXPECT("threads", VERDICT_WARN, "--bind-to none");
  /* One rank has too few; the others have room. */
  make(4, 4, 8);
  for (int rank = 0; rank < 4; rank++) bind_rank(rank, 2 * rank, 2 * rank + 2);
  facts[2].threads = 3;
  EXPECT("threads", VERDICT_WARN, "node0: 3 threads of rank 2 share 2 hardware threads");
  /* Each has enough, but two share theirs. */
  make(4, 4, 8);
  for (int rank = 0; rank < 4; rank++) {
    bind_rank(rank, 2 * (rank / 2), 2 * (rank / 2) + 2);
    facts[rank].threads = rank < 2 ? 2 : 1;
  }
  EXPECT("threads", VERDICT_WARN, "4 threads of ranks 0-1 share 2 hardware threads");
  /* Not bound, too many. */
  make(8, 4, 4);
  for (int rank = 0; rank < 8; rank++) facts[rank].threads = 2;
  EXPECT("threads", VERDICT_WARN, "node0: 8 threads of ranks 0-3 share 4 hardware threads");
  const finding *f = find("threads");
  assert_non_null(f);
  assert_null(strstr(f->text, "--bind-to")); /* they have all */
  /* Ranks of a host that are no neighbours. */
  make(8, 8, 4);
  for (int rank = 0; rank < 8; rank++)
    snprintf(facts[rank].host, sizeof facts[rank].host, "node%d", rank % 2);
  for (int rank = 1; rank < 8; rank += 2) facts[rank].threads = 2;
  EXPECT("threads", VERDICT_WARN, "node1: 8 threads of ranks 1, 3, 5, 7 share 4");
  /* Bound to few of many. */
  make(2, 2, 64);
  for (int rank = 0; rank < 2; rank++) bind_rank(rank, rank, rank + 1);
  EXPECT("threads", VERDICT_WARN, "node0: 2 of 64 hardware threads are used");
  /* A quota. */
  make(2, 2, 64);
  facts[0].machine.cpu_quota = facts[1].machine.cpu_quota = 1500;
  EXPECT("threads", VERDICT_WARN, "2 threads, but the control group may only use 1.50");
  facts[0].machine.cpu_quota = facts[1].machine.cpu_quota = 2000;
  EXPECT("threads", VERDICT_OK, "2 threads of 2 ranks on 1 host,");
}

static void test_differences(void **state) {
  (void)state;
  make(8, 4, 4);
  snprintf(facts[5].kernels, sizeof facts[5].kernels, "avx512");
  EXPECT("kernels", VERDICT_WARN, "avx2 on rank 0, avx512 on rank 5 (node1)");
  snprintf(facts[6].machine.mpi, sizeof facts[6].machine.mpi, "another");
  EXPECT("libraries", VERDICT_WARN, "'another' on rank 6 (node1)");
}

/* The facts of a machine, and the words that its sentence must have. */
static void check_slow(const uly_machine *m, uly_dtype dtype, slow_kind kind, const char *words) {
  char text[SLOW_TEXT] = "";
  for (slow_kind other = 0; other < NUM_SLOW; other++) {
    bool is_found = slow_find(m, dtype, other, text);
    if (is_found != (words && other == kind)) fail_msg("%s: %s", slow_name(other), text);
    if (is_found && !strstr(text, words)) fail_msg("not '%s': %s", words, text);
  }
}

static void test_slow(void **state) {
  (void)state;
  make(1, 1, 8);
  const uly_machine good = facts->system;
  uly_machine m = good;
  check_slow(&m, ULY_BF16, NUM_SLOW, NULL);
  m.multiplies_bf16 = 0;
  check_slow(&m, ULY_BF16, SLOW_BF16, "no faster than --dtype f32");
  check_slow(&m, ULY_F32, NUM_SLOW, NULL);
  /* It has them, and oneDNN does not use them. */
  snprintf(m.unused, sizeof m.unused, "AVX512-BF16");
  check_slow(&m, ULY_BF16, SLOW_ONEDNN, "though this CPU has AVX512-BF16, so products of bf16");
  check_slow(&m, ULY_F32, NUM_SLOW, NULL);
  m = good;
  snprintf(m.unused, sizeof m.unused, "AVX512");
  check_slow(&m, ULY_F32, SLOW_ONEDNN, "with avx2, though this CPU has AVX512, so products take");
  m = good;
  m.hides_amx = 1;
  check_slow(&m, ULY_BF16, SLOW_AMX, "Linux 5.16");
  check_slow(&m, ULY_F32, NUM_SLOW, NULL);
  m = good;
  snprintf(m.best_kernels, sizeof m.best_kernels, "avx512");
  check_slow(&m, ULY_F32, SLOW_KERNELS, "kernels avx2, though this CPU runs avx512");
}

static void test_slow_threads(void **state) {
  (void)state;
  make(1, 1, 8);
  uly_machine m = facts->system;
  m.threads = 8;
  check_slow(&m, ULY_F32, NUM_SLOW, NULL);
  m.threads = 9;
  check_slow(&m, ULY_F32, SLOW_THREADS, "9 threads share 8 hardware threads");
  check_slow(&m, ULY_F32, SLOW_THREADS, "--threads 8 or OMP_NUM_THREADS=8");
  m.threads = 3;
  m.ranks = 3;
  check_slow(&m, ULY_F32, SLOW_THREADS, "9 threads share 8 hardware threads");
  check_slow(&m, ULY_F32, SLOW_THREADS, "--threads 2 ");
  m.threads = 1;
  m.ranks = 9;
  check_slow(&m, ULY_F32, SLOW_THREADS, "fewer ranks and --threads 1");
  /* Bound to one of them. */
  m.threads = 2;
  m.ranks = 1;
  m.allowed_threads = 1;
  check_slow(&m, ULY_F32, SLOW_THREADS, "2 threads share 1 hardware thread, ");
  check_slow(&m, ULY_F32, SLOW_THREADS, "--bind-to none");
  /* A quota of two and a half. */
  m.allowed_threads = 8;
  m.cpu_quota = 2500;
  check_slow(&m, ULY_F32, NUM_SLOW, NULL);
  m.threads = 3;
  check_slow(&m, ULY_F32, SLOW_THREADS, "3 threads share 2 hardware threads");
}

/* Doctor says it once, of the first host that has it. */
static void test_slow_hosts(void **state) {
  (void)state;
  make(8, 4, 4);
  assert_null(find("bf16"));
  for (int rank = 4; rank < 8; rank++) facts[rank].system.multiplies_bf16 = 0;
#if defined(__x86_64__)
  EXPECT("bf16", VERDICT_WARN, "node1: this CPU has no instructions for bf16, so --dtype bf16");
#else
  EXPECT("bf16", VERDICT_WARN, "node1: instructions for bf16 are used only on x86-64, so --dtype");
#endif
}

static void test_memory_and_disks(void **state) {
  (void)state;
  make(8, 4, 4);
  for (int rank = 4; rank < 8; rank++) facts[rank].system.available = 512 << 20;
  EXPECT("memory", VERDICT_WARN, "128.0 MiB for each rank of node1, the host with the least: ");
  make(8, 4, 4);
  facts[4].tmp_error = 13;
  EXPECT("disk", VERDICT_WARN, "node1: ");
  make(8, 4, 4);
  facts[4].tmp_free = 1 << 20;
  EXPECT("disk", VERDICT_WARN, "hardly any space");
  make(8, 4, 4);
  facts[4].shm_free = 16 << 20;
  EXPECT("disk", VERDICT_WARN, "node1: /dev/shm has 16.0 MiB left for 4 ranks");
  make(8, 1, 4);
  facts[4].shm_free = 0; /* a rank alone does not use it */
  EXPECT("disk", VERDICT_OK, "left");
  make(8, 4, 4);
  snprintf(facts[3].machine.huge_pages, DOCTOR_TEXT, "never");
  EXPECT("huge pages", VERDICT_WARN, "node0: ");
  facts[7].machine.has_infiniband = 1;
  assert_null(find("network"));
  facts[7].machine.locked_limit = 64 << 10;
  EXPECT("network", VERDICT_WARN, "node1: a process may lock only 64.0 KiB");
}

static void test_lists(void **state) {
  (void)state;
  char text[DOCTOR_TEXT];
  bool marks[600] = {false};
  make(8, 4, 4);
  d.num_ranks = 600;
  marks[0] = marks[2] = marks[3] = marks[4] = marks[599] = true;
  doctor_list_ranks(&d, marks, text);
  assert_string_equal(text, "ranks 0, 2-4, 599");
  for (int i = 0; i < 600; i++) marks[i] = i % 2;
  doctor_list_ranks(&d, marks, text);
  assert_non_null(strstr(text, "ranks 1, 3, 5, "));
  assert_string_equal(text + strlen(text) - 5, ", ...");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_good),
      cmocka_unit_test(test_names),
      cmocka_unit_test(test_threads),
      cmocka_unit_test(test_differences),
      cmocka_unit_test(test_memory_and_disks),
      cmocka_unit_test(test_lists),
      cmocka_unit_test(test_slow),
      cmocka_unit_test(test_slow_threads),
      cmocka_unit_test(test_slow_hosts),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
