/* Tests that signals which come while matrix products run are handled on the stack of a thread, and
 * nowhere else: oneDNN's f32 kernels point the stack pointer into the heap for a while (its issue
 * 4845). */
#include <omp.h>
#include <pthread.h>
#include <signal.h>
#include <sys/time.h>
#include <time.h>

#include "ops/ops.h"
#include "testing.h"

enum { M = 256, N = 512, K = 256, LDC = N + 64, WANTED = 1000, LEAST = 10 };

static volatile sig_atomic_t received, astray;
static _Thread_local const char *stack_begin, *stack_end; /* NULL: not known */

static void count(int number) {
  (void)number;
  const char here = 0;
  received++;
  if (stack_begin && (&here < stack_begin || &here >= stack_end)) astray++;
}

static void find_stack(void) {
  pthread_attr_t attributes;
  void *begin = NULL;
  size_t size = 0;
  if (pthread_getattr_np(pthread_self(), &attributes) != 0) return;
  (void)pthread_attr_getstack(&attributes, &begin, &size);
  pthread_attr_destroy(&attributes);
  stack_end = (const char *)begin + size;
  stack_begin = begin;
}

static double now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

static void send_signals(long microseconds) {
  struct itimerval timer = {.it_interval.tv_usec = microseconds, .it_value.tv_usec = microseconds};
  assert_int_equal(setitimer(ITIMER_REAL, &timer, NULL), 0);
}

static void fill(float *x, int count) {
  for (int i = 0; i < count; i++) x[i] = (float)(i * 7 % 13 - 6);
}

/* Multiplies, in every transposition, over and over until many signals have come; on a slow machine
 * for two seconds, and longer only until there are enough to test anything. With rows further apart
 * than they are long oneDNN takes the kernels in question. */
static void check(int threads, uly_dtype dtype,
                  uly_status (*matmul)(uly__stream *, const uly__matmul *)) {
  float *a = malloc(M * K * 4), *b = malloc(N * K * 4), *c = malloc(M * LDC * 4);
  float *undisturbed = calloc(M * LDC, 4);
  fill(a, M * K);
  fill(b, N * K);
  uly__ops widened;
  uly__matmul_widened_base(&widened);
  void *workspace = malloc((size_t)widened.matmul_bytes(dtype, threads));
  omp_set_num_threads(threads);
#pragma omp parallel
  find_stack();
  for (int flags = 0; flags < 4; flags++) {
    uly__matmul x = {.m = M, .n = N, .k = K, .a = a, .b = b, .c = undisturbed, .ldc = LDC};
    x.trans_a = flags & 1;
    x.trans_b = flags & 2;
    x.lda = x.trans_a ? M : K;
    x.ldb = x.trans_b ? K : N;
    x.dtype = dtype;
    x.c_dtype = ULY_F32;
    x.workspace = workspace;
    x.workspace_threads = threads;
    assert_ok(matmul(uly__stream_get(), &x));
    x.c = c;
    received = 0;
    double end = now() + 2;
    send_signals(50);
    while (received < WANTED && (received < LEAST || now() < end)) {
      memset(c, 0, M * LDC * 4);
      assert_ok(matmul(uly__stream_get(), &x));
      assert_memory_equal(c, undisturbed, M * LDC * 4);
    }
    send_signals(0);
    assert_int_equal(astray, 0);
  }
  free(a);
  free(b);
  free(c);
  free(undisturbed);
  free(workspace);
}

static void test_products(void **state) {
  (void)state;
  struct sigaction action = {.sa_handler = count, .sa_flags = SA_RESTART};
  assert_int_equal(sigaction(SIGALRM, &action, NULL), 0);
  uly__ops widened;
  uly__matmul_widened_base(&widened);
  check(1, ULY_F32, uly__matmul_onednn);
  check(2, ULY_F32, uly__matmul_onednn);
  check(2, ULY_BF16, uly__matmul_onednn);
  check(2, ULY_BF16, widened.matmul);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_products)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
