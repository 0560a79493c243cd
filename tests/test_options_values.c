/* Tests values of options: defaults, and what each kind accepts, refuses and prints. */
#include "options_testing.h"

static void assert_same_text(const char *a, const char *b) {
  assert_true(!a == !b);
  if (a) assert_string_equal(a, b);
}

static void test_defaults(void **state) {
  (void)state;
  any_options o;
  uly_train_config c = default_config();
  assert_int_equal(options_init(&o.base, TRAIN), ULY_OK);
  assert_same_text(o.run.config.model, c.model);
  assert_same_text(o.run.config.data, c.data);
  assert_same_text(o.run.config.eval_data, c.eval_data);
  assert_int_equal(o.run.config.seq_len, c.seq_len);
  assert_int_equal(o.run.config.pack, c.pack);
  assert_int_equal(o.run.config.doc_end, -1);
  assert_int_equal(o.run.config.window, c.window);
  assert_int_equal(o.run.config.sparse.pattern, ULY_SPARSE_NONE);
  assert_int_equal(o.run.config.sparse.block, 64);
  assert_int_equal(o.run.config.steps, c.steps);
  assert_int_equal(o.run.config.batch, c.batch);
  assert_int_equal(o.run.config.eval_windows, c.eval_windows);
  assert_int_equal(o.run.config.seed, c.seed);
  assert_int_equal(o.run.config.dtype, c.dtype);
  assert_int_equal(o.run.config.recompute, c.recompute);
  assert_int_equal(o.run.config.schedule, c.schedule);
  assert_true(o.run.config.lr == c.lr && o.run.config.min_lr_ratio == c.min_lr_ratio);
  assert_int_equal(o.run.config.warmup, c.warmup);
  assert_true(o.run.config.beta1 == c.beta1 && o.run.config.beta2 == c.beta2 &&
              o.run.config.eps == c.eps);
  assert_true(o.run.config.weight_decay == c.weight_decay && o.run.config.clip == c.clip);
  assert_int_equal(o.run.config.threads, c.threads);
  assert_int_equal(o.run.config.zero_stage, c.zero_stage);
  assert_int_equal(o.run.config.grad_dtype, c.grad_dtype);
  assert_int_equal(o.run.config.reproducible, c.reproducible);
  assert_int_equal(o.run.config.leaves, c.leaves);
  assert_int_equal(o.run.config.memory_limit, c.memory_limit);
  assert_same_text(o.run.config.offload, c.offload);
  assert_same_text(o.run.config.stash, c.stash);
  assert_int_equal(o.run.mesh.dp, 1);
  assert_int_equal(o.run.mesh.sp, 0);
  assert_int_equal(o.run.mesh.tp, 1);
  assert_int_equal(o.train.log_every, 1);
  assert_int_equal(o.train.eval_every, 0);
  assert_int_equal(o.train.save_every, 0);
  options_free(&o.base);
}

/* Every default is a value that its own row accepts. */
static void test_defaults_are_allowed(void **state) {
  (void)state;
  any_options o;
  assert_int_equal(options_init(&o.base, TRAIN), ULY_OK);
  for (option_id id = 0; id < num_run_options; id++) {
    char buffer[OPTION_BUFFER];
    const char *value = options_get(&o.base, id, buffer);
    if (!value) continue;
    char *copy = strdup(value);
    expect_ok(options_set(&o.base, id, option_table[id].key, copy));
    assert_string_equal(options_get(&o.base, id, buffer), copy);
    free(copy);
  }
  options_free(&o.base);
}

/* What is read, and how it is printed: with the largest unit that leaves nothing over. */
static void test_bytes(void **state) {
  (void)state;
  static const struct {
    const char *text;
    int64_t bytes;
    const char *printed;
  } rows[] = {{"0", 0, "0"},
              {"0GiB", 0, "0"},
              {"1", 1, "1"},
              {"1023", 1023, "1023"},
              {"1024", 1024, "1KiB"},
              {"1025", 1025, "1025"},
              {"512MiB", INT64_C(512) << 20, "512MiB"},
              {"1536MiB", INT64_C(1536) << 20, "1536MiB"},
              {"2048KiB", INT64_C(2) << 20, "2MiB"},
              {"1024GiB", INT64_C(1) << 40, "1024GiB"},
              {"1000", 1000, "1KB"},
              {"1024000", 1024000, "1000KiB"},
              {"7MB", 7000000, "7MB"},
              {"5000MB", INT64_C(5000000000), "5GB"},
              {"5GB", INT64_C(5000000000), "5GB"},
              {"9223372036854775807", INT64_MAX, "9223372036854775807"}};
  any_options o;
  assert_int_equal(options_init(&o.base, TRAIN), ULY_OK);
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    char buffer[OPTION_BUFFER];
    expect_ok(options_set(&o.base, option_named("memory_limit"), "m", rows[i].text));
    assert_true(o.run.config.memory_limit == rows[i].bytes);
    assert_string_equal(options_get(&o.base, option_named("memory_limit"), buffer),
                        rows[i].printed);
  }
  options_free(&o.base);
  static char *const wrong[] = {"",
                                "k",
                                "MiB",
                                "1k",
                                "1m",
                                "1mb",
                                "1 MiB",
                                "1mib",
                                "1MiBs",
                                "1.5G",
                                "-1",
                                "1TiB",
                                "1TB",
                                "1e3",
                                "9223372036854775808",
                                "8589934592GiB"};
  for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
    EXPECT_USAGE_ERROR(PLAN, ("--memory-limit", wrong[i]), "--memory-limit '", wrong[i],
                       "expected bytes", "512MiB");
  }
}

/* The words of each choice are the library's enums in order. */
static void test_choices(void **state) {
  (void)state;
  static const struct {
    char *flag, *word;
    int value;
  } rows[] = {{"--schedule", "cosine", ULY_SCHEDULE_COSINE},
              {"--schedule", "linear", ULY_SCHEDULE_LINEAR},
              {"--schedule", "constant", ULY_SCHEDULE_CONSTANT},
              {"--dtype", "f32", ULY_F32},
              {"--dtype", "bf16", ULY_BF16},
              {"--recompute", "none", ULY_RECOMPUTE_NONE},
              {"--recompute", "keep-attention", ULY_RECOMPUTE_KEEP_ATTENTION},
              {"--recompute", "full", ULY_RECOMPUTE_FULL}};
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    any_options o;
    expect_ok(PARSE(&o, TRAIN, "--data=d", rows[i].flag, rows[i].word));
    int value = strcmp(rows[i].flag, "--schedule") == 0 ? (int)o.run.config.schedule
                : strcmp(rows[i].flag, "--dtype") == 0  ? (int)o.run.config.dtype
                                                        : (int)o.run.config.recompute;
    assert_int_equal(value, rows[i].value);
    options_free(&o.base);
  }
}

/* Token 0 may end documents, so what stands for none is a word. */
static void test_word_for_unset(void **state) {
  (void)state;
  any_options o;
  char buffer[OPTION_BUFFER];
  expect_ok(PARSE(&o, PLAN, "--pack", "--doc-end", "0"));
  assert_int_equal(o.run.config.pack, 1);
  assert_int_equal(o.run.config.doc_end, 0);
  assert_string_equal(options_get(&o.base, option_named("doc_end"), buffer), "0");
  options_free(&o.base);
  expect_ok(PARSE(&o, PLAN, "--pack", "--doc-end=50256", "--doc-end", "auto"));
  assert_int_equal(o.run.config.doc_end, -1);
  assert_string_equal(options_get(&o.base, option_named("doc_end"), buffer), "auto");
  options_free(&o.base);
  static char *const wrong[] = {"-1", "autos", "", "2147483648", "18446744073709551615"};
  for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
    EXPECT_USAGE_ERROR(PLAN, ("--doc-end", wrong[i]), "--doc-end '", wrong[i],
                       "an integer from 0 to 2147483647, or auto");
  }
}

static void test_number_errors(void **state) {
  (void)state;
  static char *const integers[] = {"",    "x",   "3x",
                                   "3kk", " 3",  "3 ",
                                   "+3",  "-3",  "3.5",
                                   "1e3", "0x3", "99999999999999999999",
                                   "5g",  "0",   "18446744073709551615m"};
  for (size_t i = 0; i < sizeof integers / sizeof integers[0]; i++) {
    EXPECT_USAGE_ERROR(TRAIN, ("--data=d", "--seq-len", integers[i]), "--seq-len '", integers[i],
                       "expected an integer from 1 to 4294967296");
  }
  static char *const numbers[] = {"",      "x",      "1x", " 1", "nan", "inf",
                                  "1e999", "0x1p-3", "-1", "1e", "."};
  for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
    EXPECT_USAGE_ERROR(TRAIN, ("--data=d", "--lr", numbers[i]), "--lr '", numbers[i],
                       "expected a number from 0 to 1e+30");
  }
  EXPECT_USAGE_ERROR(TRAIN, ("--seed=18446744073709551616"), "--seed '18446744073709551616'");
  EXPECT_USAGE_ERROR(TRAIN, ("--beta1=1"), "--beta1 '1'", "a number from 0 to below 1");
  EXPECT_USAGE_ERROR(TRAIN, ("--min-lr-ratio=1.1"), "--min-lr-ratio '1.1'", "a number from 0 to 1");
  EXPECT_USAGE_ERROR(TRAIN, ("--eps=0"), "--eps '0'", "a number no less than 1e-30");
  EXPECT_USAGE_ERROR(TRAIN, ("--dp=0"), "--dp '0'", "from 1 to 32768");
  EXPECT_USAGE_ERROR(TRAIN, ("--threads=5000"), "--threads '5000'", "from 0 to 4096");
  EXPECT_USAGE_ERROR(TRAIN, ("--zero=4"), "--zero '4'", "an integer from 0 to 3");
  EXPECT_USAGE_ERROR(TRAIN, ("--zero=-1"), "--zero '-1'", "an integer from 0 to 3");
  EXPECT_USAGE_ERROR(TRAIN, ("--batch=32769"), "--batch '32769'", "from 0 to 32768");
  EXPECT_USAGE_ERROR(TRAIN, ("--window=-1"), "--window '-1'", "from 0 to 4294967296, or auto");
  EXPECT_USAGE_ERROR(PLAN, ("--window=4294967297"), "--window '4294967297'", "from 0 to");
  EXPECT_USAGE_ERROR(TRAIN, ("--sparse=all"), "--sparse 'all'",
                     "one of none, longformer, strided, fixed, bigbird");
  EXPECT_USAGE_ERROR(TRAIN, ("--sparse"), "--sparse", "missing");
  EXPECT_USAGE_ERROR(TRAIN, ("--sparse-block=0"), "--sparse-block '0'", "from 1 to 4294967296");
  EXPECT_USAGE_ERROR(TRAIN, ("--sparse-local=x"), "--sparse-local 'x'", "from 0 to 4294967296");
  EXPECT_USAGE_ERROR(TRAIN, ("--sparse-global=1.5"), "--sparse-global '1.5'", "an integer");
  EXPECT_USAGE_ERROR(PLAN, ("--sparse-random=-3"), "--sparse-random '-3'", "an integer");
  EXPECT_USAGE_ERROR(TRAIN, ("--leaves=0"), "--leaves '0'", "from 1 to 65536");
  EXPECT_USAGE_ERROR(TRAIN, ("--leaves=65537"), "--leaves '65537'", "from 1 to 65536");
  EXPECT_USAGE_ERROR(TRAIN, ("--grad-dtype=f16"), "--grad-dtype 'f16'", "one of f32, bf16");
  EXPECT_USAGE_ERROR(TRAIN, ("--dtype=f16"), "--dtype 'f16'", "one of f32, bf16");
  EXPECT_USAGE_ERROR(TRAIN, ("--recompute", "FULL"), "--recompute 'FULL'",
                     "one of none, keep-attention, full");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_defaults),       cmocka_unit_test(test_defaults_are_allowed),
      cmocka_unit_test(test_bytes),          cmocka_unit_test(test_choices),
      cmocka_unit_test(test_word_for_unset), cmocka_unit_test(test_number_errors),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
