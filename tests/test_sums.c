/* Tests sums whose bits do not depend on who adds what: the binary tree, and the exact sum. */
#include <float.h>
#include <math.h>

#include "base/exact_sum.h"
#include "base/split.h"
#include "ops/ops.h"
#include "ops/tree_sum.h"
#include "testing.h"

enum { COUNT = 2500 };

/* Values whose sums depend on the order. */
static float value(int part, int i) {
  return (float)ldexp(sin(part * 7.3 + i * 1.7), (part * 5 + i) % 24);
}

/* The tree by its definition: the first 2^k parts and the others. */
static float by_definition(int first, int num, int i, uly_dtype dtype) {
  if (num == 1)
    return dtype == ULY_F32 ? value(first, i) : uly__bf16_to_f32(uly__f32_to_bf16(value(first, i)));
  int left = 1;
  while (left * 2 < num) left *= 2;
  volatile float a = by_definition(first, left, i, dtype);
  volatile float b = by_definition(first + left, num - left, i, dtype);
  return a + b;
}

static void test_tree_of_parts(void **state) {
  (void)state;
  for (int num = 1; num <= 9; num++)
    for (int dtype = 0; dtype < 2; dtype++) {
      char *parts = malloc((size_t)num * COUNT * 4);
      float out[COUNT];
      for (int p = 0; p < num; p++)
        for (int i = 0; i < COUNT; i++)
          uly__store(parts, (uly_dtype)dtype, (int64_t)p * COUNT + i, value(p, i));
      uly__ops_get()->tree_sum(uly__stream_get(), (uly_dtype)dtype, parts, num, COUNT, COUNT, out);
      for (int i = 0; i < COUNT; i++)
        assert_true(out[i] == by_definition(0, num, i, (uly_dtype)dtype));
      if (dtype == ULY_F32) { /* out may be one of the parts */
        uly__ops_get()->tree_sum(uly__stream_get(), ULY_F32, parts, num, COUNT, COUNT,
                                 (float *)(void *)parts);
        assert_memory_equal(parts, out, sizeof out);
      }
      free(parts);
    }
}

/* Parts that come one by one give the same tree; so do runs of them, joined afterwards. */
static void test_tree_of_a_stream(void **state) {
  (void)state;
  for (int num = 1; num <= 17; num++) {
    int num_levels = uly__tree_levels(num);
    float *levels[8], x[COUNT];
    for (int l = 0; l < num_levels; l++) levels[l] = malloc(sizeof x);
    for (int p = 0; p < num; p++) {
      for (int i = 0; i < COUNT; i++) x[i] = value(p, i);
      if (p + 1 < num)
        uly__ops_get()->tree_push(uly__stream_get(), levels, p, COUNT, x);
      else
        uly__ops_get()->tree_finish(uly__stream_get(), levels, p, COUNT, x);
    }
    for (int i = 0; i < COUNT; i++) assert_true(x[i] == by_definition(0, num, i, ULY_F32));
    for (int l = 0; l < num_levels; l++) free(levels[l]);
  }
  assert_int_equal(uly__tree_levels(1), 0);
  assert_int_equal(uly__tree_levels(2), 1);
  assert_int_equal(uly__tree_levels(8), 3);
  assert_int_equal(uly__tree_levels(9), 4);
}

/* Ranks are subtrees: 8 leaves on 1, 2, 4 or 8 ranks. */
static void test_tree_over_ranks(void **state) {
  (void)state;
  for (int ranks = 1; ranks <= 8; ranks *= 2) {
    int each = 8 / ranks;
    float sums[8], total;
    for (int r = 0; r < ranks; r++) sums[r] = by_definition(r * each, each, 3, ULY_F32);
    uly__ops_get()->tree_sum(uly__stream_get(), ULY_F32, sums, ranks, 1, 1, &total);
    assert_true(total == by_definition(0, 8, 3, ULY_F32));
  }
}

static void test_exact(void **state) {
  (void)state;
  enum { TERMS = 5000 };
  double terms[TERMS];
  long double expected = 0;
  for (int i = 0; i < TERMS; i++) {
    terms[i] = ldexp(cos(i * 1.3), i % 60 - 30);
    expected += (long double)terms[i];
  }
  uly__exact_sum forward = {0}, backward = {0}, parts[3] = {0};
  for (int i = 0; i < TERMS; i++) {
    uly__exact_add(&forward, terms[i]);
    uly__exact_add(&backward, terms[TERMS - 1 - i]);
    uly__exact_add(&parts[i % 3], terms[i]);
  }
  uly__exact_merge(&parts[1], &parts[2]);
  uly__exact_merge(&parts[0], &parts[1]);
  double sum = uly__exact_value(&forward);
  assert_true(sum == uly__exact_value(&backward) && sum == uly__exact_value(&parts[0]));
  assert_true(fabs(sum - (double)expected) <= 1e-15 * fabs(sum));
}

static void test_exact_extremes(void **state) {
  (void)state;
  const double edges[] = {0.0,       -0.0,
                          1.0,       -1.5,
                          DBL_MIN,   -DBL_MIN * DBL_EPSILON,
                          DBL_MAX,   -DBL_MAX,
                          0x1p-1074, 0x1.fffffffffffffp-3};
  for (size_t i = 0; i < sizeof edges / sizeof *edges; i++) {
    uly__exact_sum one = {0};
    uly__exact_add(&one, edges[i]);
    assert_true(uly__exact_value(&one) == edges[i]);
    uly__exact_carry(&one);
    assert_true(uly__exact_value(&one) == edges[i]);
  }
  /* What f64 would lose. */
  uly__exact_sum sum = {0};
  uly__exact_add(&sum, DBL_MAX);
  uly__exact_add(&sum, 1e-300);
  uly__exact_add(&sum, -DBL_MAX);
  assert_true(uly__exact_value(&sum) == 1e-300);
  uly__exact_add(&sum, NAN);
  assert_true(isnan(uly__exact_value(&sum)));
  uly__exact_sum infinite = {0};
  uly__exact_add(&infinite, INFINITY);
  assert_true(isnan(uly__exact_value(&infinite)));
}

/* Cuts nest, so that leaves of a sequence are whole on any rank. */
static void test_cuts_nest(void **state) {
  (void)state;
  for (int64_t total = 1; total < 3000; total += 37)
    for (int parts = 1; parts <= 8; parts *= 2)
      for (int index = 0; index < parts; index++) {
        uly__part part = uly__split(total, 16, parts, index);
        uly__part first = uly__split(total, 16, 8, index * 8 / parts);
        uly__part last = uly__split(total, 16, 8, (index + 1) * 8 / parts - 1);
        assert_int_equal(part.begin, first.begin);
        assert_int_equal(part.begin + part.count, last.begin + last.count);
      }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_tree_of_parts),   cmocka_unit_test(test_tree_of_a_stream),
      cmocka_unit_test(test_tree_over_ranks), cmocka_unit_test(test_exact),
      cmocka_unit_test(test_exact_extremes),  cmocka_unit_test(test_cuts_nest),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
