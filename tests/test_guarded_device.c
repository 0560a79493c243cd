/* Tests the guarded device of the tests: the library reaches its memory through ops, copies and
 * MPI; anything else that touches it, also a poll inside attention, ends its process with
 * SIGSEGV. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "guarded_device.h"
#include "ops/ops.h"
#include "testing.h"

enum { N = 1000, TOKENS = 2048, DIM = 16 };

static uly__stream *stream;
static const uly__ops *ops;
static float *memory; /* [N] of the device, all 3 */
static volatile float seen;

static int set_up(void **state) {
  (void)state;
  stream = uly__stream_get();
  ops = uly__ops_get();
  memory = uly__device_alloc(N * (int64_t)sizeof *memory);
  if (!memory) return 1;
  ops->fill(stream, N, 3.0f, memory);
  return 0;
}

static int tear_down(void **state) {
  (void)state;
  uly__device_free(memory, N * (int64_t)sizeof *memory);
  return 0;
}

/* Returns the signal that ends a process which calls touch(x), 0 if it ends by itself. */
static int signal_of(void (*touch)(void *x), void *x) {
  pid_t child = fork();
  if (child == 0) {
    (void)close(STDERR_FILENO); /* it says where it was */
    touch(x);
    _exit(0);
  }
  int status = 0;
  assert_true(child > 0);
  assert_int_equal(waitpid(child, &status, 0), child);
  return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

static void read_it(void *x) { seen = *(float *)x; }
static void write_it(void *x) { *(float *)x = seen; }

static void copy_it(void *x) {
  float here[N];
  uly__copy(stream, here, x, sizeof here);
  for (int i = 0; i < N; i++)
    if (here[i] != 3.0f) raise(SIGUSR1);
}

static void test_memory(void **state) {
  (void)state;
  float host = 1;
  copy_it(memory); /* takes the signal from cmocka */
  assert_true(guard_has(memory) && guard_has(memory + N - 1) && !guard_has(&host));
  assert_int_equal(signal_of(read_it, memory), SIGSEGV);
  assert_int_equal(signal_of(write_it, memory + N - 1), SIGSEGV);
  assert_int_equal(signal_of(read_it, &host), 0);
  assert_int_equal(signal_of(copy_it, memory), 0);
  uly__clear(stream, memory, sizeof *memory);
  assert_int_equal(signal_of(copy_it, memory), SIGUSR1);
  ops->fill(stream, 1, 3.0f, memory);
  assert_int_equal(signal_of(copy_it, memory), 0);
  assert_int_equal(signal_of(read_it, memory), SIGSEGV); /* still */
}

/* Checks that calls may be nested, and that a system call that is given this memory fails. */
static void test_entries(void **state) {
  (void)state;
  int fd = open("/dev/zero", O_RDONLY);
  assert_true(fd >= 0);
  guard_enter();
  guard_enter();
  guard_leave();
  assert_int_equal(signal_of(read_it, memory), 0);
  assert_int_equal(read(fd, memory, sizeof *memory), sizeof *memory);
  guard_leave();
  assert_int_equal(signal_of(read_it, memory), SIGSEGV);
  errno = 0;
  assert_int_equal(read(fd, memory, sizeof *memory), -1);
  assert_int_equal(errno, EFAULT);
  close(fd);
}

/* Each slot of the table is the guard's, but for the name, matmul_prepare, matmul_bytes and the
 * sizes, which touch no tensor. */
enum { NUM_UNGUARDED = 3 + sizeof(uly__ops_sizes) / sizeof(void (*)(void)) };

static void test_table(void **state) {
  (void)state;
  uly__ops real;
  assert_true(uly__ops_named(ops->name, &real));
  size_t num = sizeof real / sizeof(void (*)(void)), num_same = 0;
  for (size_t i = 0; i < num; i++) {
    char *slot = (char *)&real + i * sizeof(void (*)(void));
    num_same +=
        memcmp(slot, (const char *)ops + (slot - (char *)&real), sizeof(void (*)(void))) == 0;
  }
  assert_int_equal(num_same, NUM_UNGUARDED);
}

static int num_polls;
static void poll_well(void *unused) {
  (void)unused;
  num_polls++;
}

static void attend(void (*poll)(void *context)) {
  uly_mask kind = {.size = sizeof kind, .kind = ULY_MASK_CAUSAL};
  uly__mask *mask;
  assert_ok(uly__mask_create(&kind, TOKENS, 1, &mask));
  int64_t count = (int64_t)TOKENS * DIM, softmax = TOKENS * (int64_t)sizeof(uly__softmax_row);
  float *qkvo = uly__device_alloc(4 * count * (int64_t)sizeof *qkvo);
  uly__softmax_row *rows = uly__device_alloc(softmax);
  uly__attention_args args = {.queries = {0, TOKENS},
                              .keys = {0, TOKENS},
                              .num_q_heads = 1,
                              .num_kv_heads = 1,
                              .head_dim = DIM,
                              .group_size = 1,
                              .dtype = ULY_F32,
                              .mask = mask,
                              .scale = 0.25f,
                              .q_stride = DIM,
                              .kv_stride = DIM,
                              .o_stride = DIM,
                              .q = qkvo,
                              .k = qkvo + count,
                              .v = qkvo + 2 * count,
                              .o = qkvo + 3 * count,
                              .softmax = rows,
                              .softmax_stride = TOKENS,
                              .poll = poll,
                              .poll_context = qkvo};
  ops->attention_forward(stream, &args);
  uly__device_free(rows, softmax);
  uly__device_free(qkvo, 4 * count * (int64_t)sizeof *qkvo);
  uly__mask_destroy(mask);
}

static void attend_badly(void *unused) {
  (void)unused;
  attend(read_it);
}

static void test_poll(void **state) {
  (void)state;
  if (strcmp(ops->name, "reference") == 0) skip(); /* it does not poll */
  attend(poll_well);
  assert_true(num_polls > 0);
  assert_int_equal(signal_of(attend_badly, NULL), SIGSEGV);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(test_memory, set_up, tear_down),
      cmocka_unit_test_setup_teardown(test_entries, set_up, tear_down),
      cmocka_unit_test_setup_teardown(test_table, set_up, tear_down),
      cmocka_unit_test_setup_teardown(test_poll, set_up, tear_down),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
