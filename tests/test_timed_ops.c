/* The kernel table `timed`: an op runs twice for each shape, and then only lets time pass. */
#include "testing.h"

#include "ops/ops.h"

/* Returns what an op that sets [n] to a value leaves in its last element. */
static float filled(int64_t n, float value) {
  static float x[64];
  uly__ops_get()->fill(NULL, n, value, x);
  return x[n - 1];
}

static void test_runs(void **state) {
  (void)state;
  assert_true(filled(10, 1) == 1);
  assert_true(filled(10, 2) == 2);
  for (int i = 0; i < 100; i++) assert_true(filled(10, 3) == 2);
  assert_true(filled(11, 4) == 4); /* another shape */
  assert_true(filled(10, 5) == 4); /* untouched since */
}

/* Values that ops return. */
static void test_values(void **state) {
  (void)state;
  const uly__ops *ops = uly__ops_get();
  const float bad[] = {1, NAN}, a[] = {2}, b[] = {3};
  float value, c[1];
  const uly__matmul args = {1, 1,     1,     a,     b,       c,       1,    1,
                            1, false, false, false, ULY_F32, ULY_F32, NULL, 0};
  for (int i = 0; i < 4; i++) {
    assert_int_equal(ops->find_nonfinite(NULL, 1, 2, 2, ULY_F32, bad, &value), i < 2 ? 1 : -1);
    c[0] = 0;
    assert_ok(ops->matmul(NULL, &args));
    assert_true(c[0] == (i < 2 ? 6.0f : 0.0f));
    /* The host reads 0, whatever the op computed. */
    uly__exact_sum sum = {0};
    ops->add_squares(NULL, 2, ULY_F32, bad, &sum);
    assert_true(uly__exact_value(&sum) == 0);
  }
}

enum { TOKENS = 256, DIM = 32 };

static int num_polls;

/* Runs an op, as communication may. */
static void poll(void *context) {
  float x[16];
  uly__ops_get()->fill(NULL, 16, 0, x);
  num_polls += *(int *)context;
}

static void test_attention(void **state) {
  (void)state;
  static float q[TOKENS * DIM], k[TOKENS * DIM], v[TOKENS * DIM], o[TOKENS * DIM];
  static uly__softmax_row softmax[TOKENS];
  int step = 1;
  uly__mask *mask;
  assert_ok(uly__mask_create(&(uly_mask){.size = sizeof(uly_mask)}, TOKENS, 1, &mask));
  for (int i = 0; i < TOKENS * DIM; i++) v[i] = 1;
  const uly__attention_args args = {.queries = {0, TOKENS},
                                    .keys = {0, TOKENS},
                                    .num_q_heads = 1,
                                    .num_kv_heads = 1,
                                    .head_dim = DIM,
                                    .group_size = 1,
                                    .dtype = ULY_F32,
                                    .mask = mask,
                                    .scale = 1,
                                    .q_stride = DIM,
                                    .kv_stride = DIM,
                                    .o_stride = DIM,
                                    .q = q,
                                    .k = k,
                                    .v = v,
                                    .o = o,
                                    .softmax = softmax,
                                    .softmax_stride = TOKENS,
                                    .poll = poll,
                                    .poll_context = &step};
  for (int i = 0; i < 4; i++) {
    memset(o, 0, sizeof o);
    uly__ops_get()->attention_forward(NULL, &args);
    assert_true(o[TOKENS * DIM - 1] == (i < 2 ? 1.0f : 0.0f));
  }
  /* Enough calls that the sleeps which they add up to are polled in. */
  num_polls = 0;
  for (int i = 0; i < 10000 && num_polls == 0; i++) uly__ops_get()->attention_forward(NULL, &args);
  assert_true(num_polls > 0);
  uly__mask_destroy(mask);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_runs), cmocka_unit_test(test_values),
                                     cmocka_unit_test(test_attention)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
