/* Tests configuration files: which setting overrides which, mistakes with their place and the name
 * that was meant, and files that the program writes and reads back. */
#include <unistd.h>

#include "options_testing.h"

static void test_yaml(void **state) {
  (void)state;
  any_options o;
  write_yaml(
      "# a run\nrun:\n  seq_len: 16k\n  data: 'my data'\noptimizer: {lr: 1e-2, schedule: "
      "linear}\nranks:\n  sp: 2\n");
  expect_ok(PARSE(&o, TRAIN, "--config", yaml_path));
  assert_int_equal(o.run.config.seq_len, 16384);
  assert_string_equal(o.run.config.data, "my data");
  assert_true(o.run.config.lr == 1e-2);
  assert_int_equal(o.run.config.schedule, ULY_SCHEDULE_LINEAR);
  assert_int_equal(o.run.mesh.sp, 2);
  assert_int_equal(o.run.config.steps, default_config().steps);
  options_free(&o.base);
  /* The file of a training run serves plan, which has no --data. */
  expect_ok(PARSE(&o, PLAN, "--config", yaml_path));
  assert_int_equal(o.run.config.seq_len, 16384);
  options_free(&o.base);
}

static void test_empty_yaml(void **state) {
  (void)state;
  any_options o;
  static const char *const texts[] = {"# nothing\n", "optimizer:\n  # lr: 3\nrun: {}\n"};
  for (int i = 0; i < 2; i++) {
    write_yaml(texts[i]);
    expect_ok(PARSE(&o, TRAIN, "--data=d", "--config", yaml_path));
    assert_int_equal(o.run.config.seq_len, default_config().seq_len);
    options_free(&o.base);
  }
}

static void test_flags_override_yaml(void **state) {
  (void)state;
  any_options o;
  write_yaml("run: {seq_len: 1k, data: from-file}\noptimizer:\n  steps: 7\n");
  expect_ok(PARSE(&o, TRAIN, "--seq-len", "2k", "--config", yaml_path));
  assert_int_equal(o.run.config.seq_len, 2048);
  assert_int_equal(o.run.config.steps, 7);
  options_free(&o.base);
  expect_ok(PARSE(&o, TRAIN, "--config", yaml_path, "--seq-len", "2k", "--data=d"));
  assert_int_equal(o.run.config.seq_len, 2048);
  assert_string_equal(o.run.config.data, "d");
  options_free(&o.base);
}

static void expect_yaml_error(const char *text, const char *first, const char *second) {
  any_options o;
  write_yaml(text);
  uly_status status = PARSE(&o, TRAIN, "--data=d", "--config", yaml_path);
  expect_failure(&o, status, ULY_ERR_CONFIG, yaml_path, first, second, NULL);
}

static void test_yaml_errors(void **state) {
  (void)state;
  expect_yaml_error("run:\n  seq_len: 4q\n", "line 2: run.seq_len: '4q'",
                    "expected an integer from 1 to 4294967296");
  expect_yaml_error("run:\n  data:\n", "line 2: run.data: ''", "PATH, not empty");
  expect_yaml_error("memory: {dtype: f64}\n", "line 1: memory.dtype: 'f64'", "one of f32, bf16");
  expect_yaml_error("# a\n\nattention:\n  # b\n  window: all\n", "line 5: attention.window: 'all'",
                    "from 0 to 4294967296");
  expect_yaml_error("attention: {sparse: bigbrid}\n", "attention.sparse: 'bigbrid'",
                    "did you mean bigbird?");
  expect_yaml_error("attention: {sparse_block: 0}\n", "sparse_block: '0'", "from 1 to");
  expect_yaml_error("ranks: {zero: 4}\n", "zero: '4'", "from 0 to 3");
  expect_yaml_error("ranks: {reproducible: yes}\n", "reproducible: 'yes'", "true or false");
  expect_yaml_error("ranks:\n  reproducible:\n", "reproducible: ''", "true or false");
  expect_yaml_error("memory: {memory_limit: 5M}\n", "memory_limit: '5M'", "expected bytes");
  expect_yaml_error("memory: {offload_optimizer: x}\n", "offload_optimizer: 'x'",
                    "'disk:' and a path");
  expect_yaml_error("memory: {stash: memory}\n", "stash: 'memory'", "'disk:' and a path");
  expect_yaml_error("optimizer: {beta2: 2}\n", "beta2: '2'", "from 0 to below 1");
  expect_yaml_error("optimizer:\n  steps: 3\n  lr: [1, 2]\n", "'lr'", "line: 3");
  expect_yaml_error("run: {seq_len: {a: 1}}\n", "'seq_len'", "line: 1");
  expect_yaml_error("optimizer: {steps: 1, steps: 2}\n", "already seen", "steps");
  expect_yaml_error("optimizer: {steps: 1}\noptimizer: {lr: 2}\n", "already seen", "optimizer");
  expect_yaml_error("optimizer: 3\n", "MAPPING", "'optimizer'");
  expect_yaml_error("just words\n", "MAPPING", "SCALAR");
  expect_yaml_error("run:\n  data: d\noptimizer:\n  lr: 'open\n", "line 5: ", "unexpected end of");
  expect_yaml_error("bogus: 3\nrun: [\n", "line 3: ", "did not find expected node");
  expect_yaml_error("? [a]\n: b\n", "line 1: a key must be a word", "");
  any_options o;
  uly_status status = PARSE(&o, TRAIN, "--config", "/does/not/exist.yaml");
  expect_failure(&o, status, ULY_ERR_IO, "--config '/does/not/exist.yaml'", "No such file", NULL);
  status = PARSE(&o, TRAIN, "--config");
  expect_failure(&o, status, ULY_ERR_CONFIG, "--config", "missing", NULL);
}

/* Sections and keys that there are not: the line, and what was meant. */
static void test_yaml_names(void **state) {
  (void)state;
  static const char list[] = "run, attention, optimizer, ranks, memory, eval, output";
  expect_yaml_error("optimizer:\n  steps: 3\n\n  warmpu: 4\n", "line 4: 'optimizer.warmpu'",
                    "did you mean optimizer.warmup?");
  expect_yaml_error("run:\n  seq-len: 4\n", "line 2: 'run.seq-len'", "did you mean run.seq_len?");
  expect_yaml_error("run:\n  length: 4\n", "line 2: 'run.length'", "ulysses help train run");
  expect_yaml_error("run: {data: d}\noptimiser: {lr: 1}\n", "line 2: 'optimiser' is not a section",
                    "did you mean optimizer?");
  expect_yaml_error("training: {lr: 1}\n", "line 1: 'training' is not a section", list);
  expect_yaml_error("call: {json: true}\n", "'call' is not a section", list);
  /* A key that stands elsewhere; and as it stood before there were sections. */
  expect_yaml_error("run:\n  data: d\n  lr: 1\n", "line 3: 'run.lr' belongs to section 'optimizer'",
                    "write optimizer.lr");
  expect_yaml_error("# flat\nlr: 1e-3\n", "line 2: 'lr' belongs to section 'optimizer'",
                    "write optimizer.lr");
  expect_yaml_error("seqlen: 4\n", "line 1: 'seqlen' is not a section",
                    "did you mean run.seq_len?");
  /* Flags that are no keys. */
  expect_yaml_error("config: other.yaml\n", "'config' is not a section", list);
  expect_yaml_error("ranks: {no_reproducible: true}\n", "line 1: 'ranks.no_reproducible'",
                    "not a key");
  /* Neither names nor values steer the terminal. */
  expect_yaml_error("\"run\\e[31m\": 1\n", "'run?[31m' is not a section", list);
}

static void expect_no_suggestion(const char *text) {
  any_options o;
  write_yaml(text);
  assert_int_equal(PARSE(&o, TRAIN, "--config", yaml_path), ULY_ERR_CONFIG);
  if (strstr(uly_last_error(), "did you mean"))
    fail_msg("a far-fetched suggestion: %s", uly_last_error());
  options_free(&o.base);
}

static void test_far_names(void **state) {
  (void)state;
  expect_no_suggestion("optimizer:\n  temperature: 4\n");
  expect_no_suggestion("x: 4\n");
  expect_no_suggestion("optimizer: {'': 4}\n");
  expect_no_suggestion(
      "optimizer: {abcdefghijabcdefghijabcdefghijabcdefghijabcdefghijabcdefghij"
      "abcdefghijabcdefghij: 4}\n");
}

/* Each option with a value that is not its default and that YAML could misread. */
static void test_print_config_round_trip(void **state) {
  (void)state;
  any_options o, back;
  expect_ok(
      PARSE(&o, TRAIN, "--model= # 'a': \"b\"", "--data=~", "--eval-data=- x", "--seq-len=12345",
            "--window=129", "--sparse=strided", "--sparse-block=17", "--sparse-local=5",
            "--sparse-global=2", "--sparse-random=0", "--seed=18446744073709551615", "--steps=77",
            "--batch=15", "--lr=0.1234567890123456789", "--min-lr-ratio=0.3333333333333333",
            "--schedule=linear", "--warmup=0", "--weight-decay=1e-300", "--beta1=0.25",
            "--beta2=0.1", "--eps=1e-9", "--clip=0", "--sp=3", "--dp=5", "--tp=7", "--dtype=bf16",
            "--recompute=full", "--threads=9", "--zero=2", "--grad-dtype=bf16", "--reproducible",
            "--leaves=32", "--memory-limit=1536MiB", "--offload-optimizer=disk:- 'y'",
            "--stash=disk:# z", "--trace=false", "--eval-every=2", "--eval-windows=4", "--out=null",
            "--save-every=6", "--resume=true", "--metrics=12", "--log-every=13", "--nonfinite=skip",
            "--nonfinite-limit=14", "--progress=plain", "--no-measure-peak", "--rank-logs=15"));
  FILE *file = tmpfile();
  assert_non_null(file);
  expect_ok(options_write_yaml(&o.base, file));
  char text[8192];
  rewind(file);
  text[fread(text, 1, sizeof text - 1, file)] = '\0';
  fclose(file);
  write_yaml(text);
  expect_ok(PARSE(&back, TRAIN, "--config", yaml_path));
  for (option_id id = 0; id < num_run_options; id++) {
    char a[OPTION_BUFFER], b[OPTION_BUFFER];
    const char *first = options_get(&o.base, id, a);
    if (!first && option_table[id].rules.name) continue;
    if (!first) fail_msg("the test does not set %s", option_table[id].key);
    assert_string_equal(first, options_get(&back.base, id, b));
  }
  assert_true(o.run.config.lr == back.run.config.lr && o.run.config.beta2 == back.run.config.beta2);
  assert_true(o.run.config.min_lr_ratio == back.run.config.min_lr_ratio);
  assert_string_equal(back.run.config.offload, "- 'y'");
  assert_string_equal(back.run.config.stash, "# z");
  options_free(&o.base);
  options_free(&back.base);
}

/* Saved beside the run: whole or not at all, and it reads back. */
static void test_save(void **state) {
  (void)state;
  any_options o, back;
  char path[512], hidden[512];
  write_yaml("");
  snprintf(path, sizeof path, "%s.saved", yaml_path);
  char *name = strrchr(path, '/');
  snprintf(hidden, sizeof hidden, "%.*s/.%s", (int)(name - path), path, name + 1);
  expect_ok(PARSE(&o, TRAIN, "--data=d", "--lr=0.125", "--set", "ranks.sp=3"));
  expect_ok(options_save(&o.base, path));
  assert_int_not_equal(access(hidden, F_OK), 0);
  expect_ok(PARSE(&back, TRAIN, "--config", path));
  assert_true(back.run.config.lr == 0.125);
  assert_int_equal(back.run.mesh.sp, 3);
  assert_string_equal(back.run.config.data, "d");
  options_free(&back.base);
  unlink(path);
  uly_status status = options_save(&o.base, "/no/such/folder/config.yaml");
  expect_failure(&o, status, ULY_ERR_IO, "/no/such/folder/.config.yaml", "No such file", NULL);
}

static void test_print(void **state) {
  (void)state;
  any_options o;
  char *text = NULL;
  size_t length = 0;
  FILE *file = open_memstream(&text, &length);
  expect_ok(PARSE(&o, TRAIN, "--data=a\33[2Jb", "--lr=0.125", "--no-reproducible"));
  options_print(file, &o.base);
  fclose(file);
  assert_non_null(strstr(text, "\n  run         model llama-4m, data a?[2Jb, seq_len 4096, "));
  assert_non_null(strstr(text, "lr 0.125,"));
  int lines = 0;
  for (const char *line = text; *line; line += strcspn(line, "\n") + 1, lines++) {
    assert_in_range(strcspn(line, "\n"), 1, 79);
  }
  assert_in_range(lines, 8, 16);
  /* Wherever the lines end. */
  const char *value = strstr(text, "reproducible");
  assert_non_null(value);
  value += strlen("reproducible");
  value += strspn(value, " \n");
  assert_memory_equal(value, "false,", 6);
  free(text);
  options_free(&o.base);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_teardown(test_yaml, remove_yaml),
      cmocka_unit_test_teardown(test_empty_yaml, remove_yaml),
      cmocka_unit_test_teardown(test_flags_override_yaml, remove_yaml),
      cmocka_unit_test_teardown(test_yaml_errors, remove_yaml),
      cmocka_unit_test_teardown(test_yaml_names, remove_yaml),
      cmocka_unit_test_teardown(test_far_names, remove_yaml),
      cmocka_unit_test_teardown(test_save, remove_yaml),
      cmocka_unit_test(test_print),
      cmocka_unit_test_teardown(test_print_config_round_trip, remove_yaml),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
