/* Tests options of benchmarks, each of which is a command of its own that takes lists. */
#include "options_testing.h"

static void test_bench(void **state) {
  (void)state;
  any_options o;
  expect_ok(PARSE(&o, BENCH_ATTENTION, "attention", "--seq-len=1k"));
  assert_int_equal(o.run.config.seq_len, 1024);
  assert_int_equal(o.bench.desc.num_q_heads, 0);
  assert_int_equal(o.bench.desc.num_kv_heads, 0);
  assert_int_equal(o.bench.desc.head_dim, 64);
  assert_int_equal(o.bench.mask.kind, ULY_MASK_CAUSAL);
  assert_int_equal(o.bench.repeats, 5);
  assert_int_equal(o.base.num_combinations, 1);
  options_free(&o.base);
  expect_ok(PARSE(&o, BENCH_ATTENTION, "attention", "--mask=full", "--q-heads=6", "--kv-heads=3",
                  "--head-dim", "128", "--repeats", "9", "--threads=2"));
  assert_int_equal(o.bench.mask.kind, ULY_MASK_FULL);
  assert_int_equal(o.bench.desc.num_q_heads, 6);
  assert_int_equal(o.bench.desc.num_kv_heads, 3);
  assert_int_equal(o.bench.desc.head_dim, 128);
  assert_int_equal(o.bench.repeats, 9);
  assert_int_equal(o.run.config.threads, 2);
  options_free(&o.base);
  expect_ok(PARSE(&o, BENCH_STEP, "step", "--model=a,b", "--zero=3", "--trace=x,y"));
  assert_string_equal(o.run.config.model, "a,b"); /* texts are no lists */
  assert_string_equal(o.bench.trace, "x,y");
  options_free(&o.base);
  expect_ok(PARSE(&o, BENCH_CEILING, "ceiling", "--array-bytes=3MiB"));
  assert_int_equal(o.bench.array_bytes, 3 << 20);
  options_free(&o.base);
}

/* Lists of a benchmark: every combination once, the first list the fastest. */
static void test_lists(void **state) {
  (void)state;
  static const struct {
    int head_dim;
    uly_dtype dtype;
  } rows[] = {{32, ULY_F32},  {64, ULY_F32},  {128, ULY_F32},
              {32, ULY_BF16}, {64, ULY_BF16}, {128, ULY_BF16}};
  for (int i = 0; i < 6; i++) {
    any_options o;
    char *const argv[] = {"--head-dim", "32,64,128", "--seq-len=2k", "attention",
                          "--dtype=f32,bf16"};
    assert_int_equal(options_init(&o.base, BENCH_ATTENTION), ULY_OK);
    o.base.combination = i;
    expect_ok(options_parse(&o.base, 5, argv));
    assert_int_equal(o.base.num_combinations, 6);
    assert_int_equal(o.bench.desc.head_dim, rows[i].head_dim);
    assert_int_equal(o.run.config.dtype, rows[i].dtype);
    assert_int_equal(o.run.config.seq_len, 2048);
    options_free(&o.base);
  }
}

static void test_bench_errors(void **state) {
  (void)state;
  EXPECT_USAGE_ERROR(BENCH_STEP, ("step", "--head-dim=3"), "--head-dim",
                     "not an option of 'bench step'", "ulysses help bench");
  EXPECT_USAGE_ERROR(BENCH_ATTENTION, ("attention", "--model=x"),
                     "not an option of 'bench attention'");
  EXPECT_USAGE_ERROR(BENCH_CEILING, ("ceiling", "--dtype=f32"), "not an option of 'bench ceiling'");
  EXPECT_USAGE_ERROR(TRAIN, ("--repeats=3"), "--repeats", "not an option of 'train'");
  EXPECT_USAGE_ERROR(TRAIN, ("--dtype=f32,bf16"), "--dtype 'f32,bf16'", "one of f32, bf16");
  EXPECT_USAGE_ERROR(BENCH_ATTENTION, ("attention", "--dtype=,f32"), "--dtype ''",
                     "one of f32, bf16");
  EXPECT_USAGE_ERROR(BENCH_ATTENTION, ("attention", "--head-dim=x,64"), "--head-dim 'x'",
                     "from 1 to 65536");
  EXPECT_USAGE_ERROR(BENCH_ATTENTION, ("attention", "--mask=window"), "--mask 'window'",
                     "one of full, causal");
  EXPECT_USAGE_ERROR(BENCH_EXCHANGE, ("exchange", "--repeats=0"), "--repeats '0'",
                     "from 1 to 1000");
  EXPECT_USAGE_ERROR(BENCH_EXCHANGE, ("exchange", "--repeats=1001"), "--repeats '1001'",
                     "from 1 to 1000");
  EXPECT_USAGE_ERROR(BENCH_STEP, ("step", "--trace=t", "--zero=0,1"), "--trace 't'", "no lists");
  /* A list of one long element, and one of many. */
  char text[2002];
  memset(text, '1', sizeof text - 1);
  text[sizeof text - 1] = '\0';
  EXPECT_USAGE_ERROR(BENCH_ATTENTION, ("attention", "--head-dim", text), "--head-dim '111",
                     "from 1 to 65536");
  for (size_t i = 1; i < sizeof text - 1; i += 2) text[i] = ',';
  EXPECT_USAGE_ERROR(BENCH_ATTENTION, ("attention", "--head-dim", text), "--head-dim '1,1",
                     "1000 combinations");
  text[1999] = '\0'; /* 1000 elements */
  any_options o;
  expect_ok(PARSE(&o, BENCH_ATTENTION, "attention", "--head-dim", text));
  assert_int_equal(o.base.num_combinations, 1000);
  options_free(&o.base);
  EXPECT_USAGE_ERROR(BENCH_ATTENTION, ("attention", "--head-dim", text, "--mask=full,causal"),
                     "--mask 'full,causal'", "1000 combinations");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_bench),
      cmocka_unit_test(test_lists),
      cmocka_unit_test(test_bench_errors),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
