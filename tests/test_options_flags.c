/* Tests the command line: forms of flags, lists, --set, arguments, and options that depend on each
 * other; every class of error with its status and message. */
#include "options_testing.h"

static void test_flags(void **state) {
  (void)state;
  any_options o;
  expect_ok(PARSE(&o, TRAIN, "--data", "a b", "--eval-data=c=d", "--seq-len", "128k", "--steps=2M",
                  "--seed", "18446744073709551615", "--lr", "2.5e-4", "--min-lr-ratio=0",
                  "--schedule", "constant", "--dtype=bf16", "--recompute", "none", "--sp", "4",
                  "--dp=2", "--tp", "3", "--threads", "3", "--beta1", "0", "--out=o",
                  "--save-every", "5", "--resume", "auto", "--metrics=m", "--eval-every", "7",
                  "--log-every", "1k", "--clip=0.5", "--model", "x", "--model", "y"));
  assert_string_equal(o.run.config.data, "a b");
  assert_string_equal(o.run.config.eval_data, "c=d");
  assert_int_equal(o.run.config.seq_len, 131072);
  assert_int_equal(o.run.config.steps, 2 * 1024 * 1024);
  assert_true(o.run.config.seed == UINT64_MAX);
  assert_true(o.run.config.lr == 2.5e-4 && o.run.config.min_lr_ratio == 0 &&
              o.run.config.beta1 == 0);
  assert_int_equal(o.run.config.schedule, ULY_SCHEDULE_CONSTANT);
  assert_int_equal(o.run.config.dtype, ULY_BF16);
  assert_int_equal(o.run.config.recompute, ULY_RECOMPUTE_NONE);
  assert_int_equal(o.run.config.threads, 3);
  assert_int_equal(o.run.mesh.sp, 4);
  assert_int_equal(o.run.mesh.dp, 2);
  assert_int_equal(o.run.mesh.tp, 3);
  assert_string_equal(o.train.out, "o");
  assert_string_equal(o.train.resume, "auto");
  assert_string_equal(o.train.metrics, "m");
  assert_int_equal(o.train.save_every, 5);
  assert_int_equal(o.train.eval_every, 7);
  assert_int_equal(o.train.log_every, 1024);
  assert_true(o.run.config.clip == 0.5);
  assert_string_equal(o.run.config.model, "y"); /* the last one holds */
  options_free(&o.base);
}

static void test_flags_of_attention(void **state) {
  (void)state;
  static char *const patterns[] = {"none", "longformer", "strided", "fixed", "bigbird"};
  any_options o;
  for (int i = ULY_SPARSE_NONE; i <= ULY_SPARSE_BIGBIRD; i++) {
    expect_ok(PARSE(&o, PLAN, "--sparse", patterns[i]));
    assert_int_equal(o.run.config.sparse.pattern, i);
    options_free(&o.base);
  }
  expect_ok(PARSE(&o, TRAIN, "--data=d", "--window", "4k", "--sparse=fixed", "--sparse-block", "32",
                  "--sparse-local=9", "--sparse-global=0", "--sparse-random=5"));
  assert_int_equal(o.run.config.window, 4096);
  assert_int_equal(o.run.config.sparse.block, 32);
  assert_int_equal(o.run.config.sparse.local, 9);
  assert_int_equal(o.run.config.sparse.global, 0);
  assert_int_equal(o.run.config.sparse.random, 5);
  options_free(&o.base);
}

static void test_flags_of_memory(void **state) {
  (void)state;
  any_options o;
  expect_ok(PARSE(&o, TRAIN, "--data=d", "--batch=6", "--zero", "3", "--grad-dtype=bf16",
                  "--reproducible", "--leaves", "64k", "--memory-limit", "3GiB",
                  "--offload-optimizer", "disk:a/b:c", "--stash=disk:/s", "--trace=t.json"));
  assert_int_equal(o.run.config.batch, 6);
  assert_int_equal(o.run.config.zero_stage, 3);
  assert_int_equal(o.run.config.grad_dtype, ULY_BF16);
  assert_int_equal(o.run.config.reproducible, 1);
  assert_int_equal(o.run.config.leaves, 65536);
  assert_true(o.run.config.memory_limit == INT64_C(3) << 30);
  assert_string_equal(o.run.config.offload, "a/b:c");
  assert_string_equal(o.run.config.stash, "/s");
  assert_string_equal(o.train.trace, "t.json");
  options_free(&o.base);
  /* The same, as plan knows them. */
  expect_ok(PARSE(&o, PLAN, "--batch=6", "--zero=1", "--grad-dtype=f32", "--reproducible=false",
                  "--memory-limit=7", "--offload-optimizer=disk:x", "--offload-optimizer=disk:y",
                  "--stash", "disk:z"));
  assert_int_equal(o.run.config.zero_stage, 1);
  assert_int_equal(o.run.config.reproducible, 0);
  assert_int_equal(o.run.config.memory_limit, 7);
  assert_string_equal(o.run.config.offload, "y");
  assert_string_equal(o.run.config.stash, "z");
  options_free(&o.base);
}

/* The last one holds, and flags override the file, in both directions. */
static void test_boolean(void **state) {
  (void)state;
  any_options o;
  expect_ok(PARSE(&o, PLAN, "--no-reproducible", "--reproducible"));
  assert_int_equal(o.run.config.reproducible, 1);
  options_free(&o.base);
  expect_ok(PARSE(&o, PLAN, "--reproducible=true", "--no-reproducible"));
  assert_int_equal(o.run.config.reproducible, 0);
  options_free(&o.base);
  write_yaml(
      "ranks: {reproducible: true}\n"
      "memory:\n  offload_optimizer: disk:x\n  stash: disk:y z\n  memory_limit: 5KiB\n");
  expect_ok(PARSE(&o, PLAN, "--config", yaml_path));
  assert_int_equal(o.run.config.reproducible, 1);
  assert_string_equal(o.run.config.offload, "x");
  assert_string_equal(o.run.config.stash, "y z");
  assert_int_equal(o.run.config.memory_limit, 5120);
  options_free(&o.base);
  expect_ok(PARSE(&o, PLAN, "--config", yaml_path, "--no-reproducible"));
  assert_int_equal(o.run.config.reproducible, 0);
  options_free(&o.base);
  write_yaml("ranks:\n  reproducible: false\n");
  expect_ok(PARSE(&o, PLAN, "--reproducible", "--config", yaml_path));
  assert_int_equal(o.run.config.reproducible, 1);
  options_free(&o.base);
}

static void test_plan(void **state) {
  (void)state;
  any_options o;
  expect_ok(PARSE(&o, PLAN, "--sp=8", "--json", "--seq-len", "1m"));
  assert_true(o.plan.json && !o.base.print_config);
  assert_int_equal(o.run.config.seq_len, 1 << 20);
  assert_null(o.run.config.data);
  options_free(&o.base);
}

static void test_flag_errors(void **state) {
  (void)state;
  EXPECT_USAGE_ERROR(TRAIN, ("--data=d", "--length", "3"), "--length", "not an option of 'train'");
  EXPECT_USAGE_ERROR(TRAIN, ("--seq_len=3"), "--seq_len", "not an option");
  EXPECT_USAGE_ERROR(TRAIN, ("--json"), "--json", "not an option of 'train'");
  EXPECT_USAGE_ERROR(PLAN, ("--lr=1"), "--lr", "not an option of 'plan'");
  EXPECT_USAGE_ERROR(TRAIN, ("book.txt"), "'book.txt'", "expected an option");
  EXPECT_USAGE_ERROR(TRAIN, ("--"), "'--'", "expected an option");
  EXPECT_USAGE_ERROR(TRAIN, ("--seq-len"), "--seq-len", "missing", "an integer from 1 to");
  EXPECT_USAGE_ERROR(TRAIN, ("--data", "--steps", "3"), "--data", "missing", "PATH");
  EXPECT_USAGE_ERROR(TRAIN, ("--data=a", "--eval-data=b", "--data", "c"), "--data 'c'",
                     "given before, as 'a'");
  EXPECT_USAGE_ERROR(TRAIN, ("--data=a", "--eval-data=b", "--eval-data=b"), "--eval-data 'b'",
                     "into one folder");
  EXPECT_USAGE_ERROR(TRAIN, ("--data="), "--data ''", "PATH, not empty");
  EXPECT_USAGE_ERROR(TRAIN, ("--print-config=yes"), "--print-config 'yes'", "no value");
  EXPECT_USAGE_ERROR(TRAIN, ("--accumulate=2"), "--accumulate", "not an option");
  EXPECT_USAGE_ERROR(PLAN, ("--trace=t"), "--trace", "not an option of 'plan'");
  EXPECT_USAGE_ERROR(TRAIN, ("--reproducible=yes"), "--reproducible 'yes'", "true or false");
  EXPECT_USAGE_ERROR(TRAIN, ("--reproducible", "yes"), "'yes'", "expected an option");
  EXPECT_USAGE_ERROR(TRAIN, ("--no-reproducible=false"), "--no-reproducible 'false'", "no value");
  EXPECT_USAGE_ERROR(TRAIN, ("--no-json"), "--no-json", "not an option");
  EXPECT_USAGE_ERROR(TRAIN, ("--no-zero"), "--no-zero", "not an option");
  EXPECT_USAGE_ERROR(TRAIN, ("--no-"), "--no-", "not an option");
  EXPECT_USAGE_ERROR(TRAIN, ("--offload-optimizer"), "--offload-optimizer", "missing", "disk:DIR");
  static char *const places[] = {"", "/scratch", "disk", "disk:", "Disk:x", "memory:x"};
  for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
    EXPECT_USAGE_ERROR(TRAIN, ("--offload-optimizer", places[i]), "--offload-optimizer '",
                       places[i], "expected disk:DIR: 'disk:' and a path");
    EXPECT_USAGE_ERROR(TRAIN, ("--stash", places[i]), "--stash '", places[i],
                       "expected disk:DIR: 'disk:' and a path");
  }
}

/* --set gives a key as a flag would: what stands later holds. */
static void test_set(void **state) {
  (void)state;
  any_options o;
  write_yaml("run: {seq_len: 1k}\nranks: {sp: 2, reproducible: true}\n");
  expect_ok(PARSE(&o, PLAN, "--set", "run.seq_len=2k", "--config", yaml_path, "--set=ranks.sp=3",
                  "--sp=4", "--dp=5", "--set", "ranks.dp=6", "--set=ranks.reproducible=false",
                  "--set", "memory.stash=disk:a=b.c", "--set", "optimizer.lr=1e-2"));
  assert_int_equal(o.run.config.seq_len, 2048);
  assert_int_equal(o.run.mesh.sp, 4);
  assert_int_equal(o.run.mesh.dp, 6);
  assert_int_equal(o.run.config.reproducible, 0);
  assert_string_equal(o.run.config.stash, "a=b.c");
  assert_true(o.run.config.lr == 1e-2); /* as in a file, also a key that plan has no flag for */
  options_free(&o.base);
  char *const lists[] = {"step", "--set", "memory.dtype=f32,bf16"};
  assert_int_equal(options_init(&o.base, BENCH_STEP), ULY_OK);
  o.base.combination = 1;
  expect_ok(options_parse(&o.base, 3, lists));
  assert_int_equal(o.base.num_combinations, 2);
  assert_int_equal(o.run.config.dtype, ULY_BF16);
  options_free(&o.base);
  EXPECT_USAGE_ERROR(TRAIN, ("--set", "lr=1"), "--set 'lr'", "write optimizer.lr");
  EXPECT_USAGE_ERROR(TRAIN, ("--set", "run.lr=1"), "--set 'run.lr'", "write optimizer.lr");
  EXPECT_USAGE_ERROR(TRAIN, ("--set", "optimizer.wramup=1"), "--set 'optimizer.wramup'",
                     "did you mean optimizer.warmup?");
  EXPECT_USAGE_ERROR(TRAIN, ("--set", "optmizer.x=1"), "--set 'optmizer.x'",
                     "did you mean optimizer?");
  EXPECT_USAGE_ERROR(TRAIN, ("--set", "call.json=true"), "'call.json'", "expected one of run,");
  EXPECT_USAGE_ERROR(TRAIN, ("--set", "optimizer.lr"), "expected SECTION.KEY=VALUE");
  EXPECT_USAGE_ERROR(TRAIN, ("--set", "optimizer=3"), "'optimizer' is not a key");
  EXPECT_USAGE_ERROR(TRAIN, ("--set", "optimizer.=3"), "'optimizer.' is not a key");
  EXPECT_USAGE_ERROR(TRAIN, ("--set", ".=3"), "'.' is not a section");
  EXPECT_USAGE_ERROR(TRAIN, ("--set", "=3"), "'' is not a section");
  EXPECT_USAGE_ERROR(TRAIN, ("--set="), "--set ''");
  EXPECT_USAGE_ERROR(TRAIN, ("--set"), "--set", "missing", "SECTION.KEY=VALUE");
  EXPECT_USAGE_ERROR(TRAIN, ("--set", "optimizer.lr=x"), "--set optimizer.lr 'x'",
                     "a number from 0 to 1e+30");
  EXPECT_USAGE_ERROR(TRAIN, ("--set", "ranks.reproducible="), "--set ranks.reproducible ''",
                     "true or false");
  EXPECT_USAGE_ERROR(BENCH_ATTENTION, ("attention", "--set", "run.seq_len=3"), "--set",
                     "not an option of 'bench attention'");
}

static void test_arguments(void **state) {
  (void)state;
  any_options o;
  expect_ok(PARSE(&o, CHECKPOINT, "verify", "a b"));
  assert_int_equal(o.base.num_args, 2);
  assert_string_equal(o.base.args[1], "a b");
  options_free(&o.base);
  expect_ok(PARSE(&o, BENCH_STEP, "--zero=3", "step", "--dp", "2"));
  assert_int_equal(o.base.num_args, 1);
  assert_string_equal(o.base.args[0], "step");
  options_free(&o.base);
  EXPECT_USAGE_ERROR(CHECKPOINT, ("verify"), "missing",
                     "ulysses checkpoint verify|show [OPTIONS] DIR");
  EXPECT_USAGE_ERROR(CHECKPOINT, ("verify", "a", "b"), "'b'",
                     "ulysses checkpoint verify|show [OPTIONS] DIR");
  EXPECT_USAGE_ERROR(CHECKPOINT, ("verfy", "a"), "'verfy'", "did you mean verify?");
  EXPECT_USAGE_ERROR(CHECKPOINT, ("verify", "-a"), "'-a'", "expected an option");
  EXPECT_USAGE_ERROR(CHECKPOINT, ("verify", "a", "--lr=3"), "--lr",
                     "not an option of 'checkpoint'");
  EXPECT_USAGE_ERROR(COMPLETION, ("zsh"), "'zsh'", "ulysses completion bash");
  EXPECT_USAGE_ERROR(MAN, ("me"), "'me'", "expected an option");
}

/* The nearest flag or word; nothing where nothing is near. */
static void test_suggestions(void **state) {
  (void)state;
  static char *const rows[][2] = {{"--sqe-len=3", "did you mean --seq-len?"},
                                  {"--seq_len=3", "did you mean --seq-len?"},
                                  {"--Steps=3", "did you mean --steps?"},
                                  {"--step=3", "did you mean --steps?"},
                                  {"--wieght-decay=3", "did you mean --weight-decay?"},
                                  {"--no-reproducable", "did you mean --no-reproducible?"},
                                  {"--schedule=cosin", "did you mean cosine?"},
                                  {"--recompute=FULL", "did you mean full?"}};
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    EXPECT_USAGE_ERROR(TRAIN, ("--data=d", rows[i][0]), rows[i][1]);
  }
  static char *const far[] = {"--temperature=3",        "--x",      "--", "--json",
                              "--schedule=exponential", "--dtype=x"};
  for (size_t i = 0; i < sizeof far / sizeof far[0]; i++) {
    any_options o;
    assert_int_equal(PARSE(&o, TRAIN, far[i]), ULY_ERR_CONFIG);
    if (strstr(uly_last_error(), "did you mean"))
      fail_msg("a far-fetched suggestion: %s", uly_last_error());
    options_free(&o.base);
  }
}

static void test_what_goes_together(void **state) {
  (void)state;
  EXPECT_USAGE_ERROR(TRAIN, ("--steps=3"), "--data", "missing");
  EXPECT_USAGE_ERROR(TRAIN, ("--data=d", "--save-every=3"), "--save-every 3", "needs --out");
  EXPECT_USAGE_ERROR(TRAIN, ("--data=d", "--keep-last=3"), "--keep-last 3", "needs --out");
  EXPECT_USAGE_ERROR(TRAIN, ("--data=d", "--out=o", "--keep-every=3"), "--keep-every 3",
                     "needs --keep-last");
  EXPECT_USAGE_ERROR(TRAIN, ("--data=d", "--eval-every=3"), "--eval-every 3", "needs --eval-data");
  EXPECT_USAGE_ERROR(TRAIN, ("--data=d", "--resume=auto"), "--resume auto", "needs --out");
  any_options o;
  expect_ok(PARSE(&o, TRAIN, "--data=d", "--resume=run/step-0000000001"));
  options_free(&o.base);
  expect_ok(PARSE(&o, TRAIN, "--print-config")); /* half a configuration may be printed */
  options_free(&o.base);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_flags),
      cmocka_unit_test(test_flags_of_attention),
      cmocka_unit_test(test_flags_of_memory),
      cmocka_unit_test_teardown(test_boolean, remove_yaml),
      cmocka_unit_test(test_plan),
      cmocka_unit_test(test_flag_errors),
      cmocka_unit_test_teardown(test_set, remove_yaml),
      cmocka_unit_test(test_arguments),
      cmocka_unit_test(test_suggestions),
      cmocka_unit_test(test_what_goes_together),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
