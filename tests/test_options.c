/* Options of the command line: defaults, both forms of flags, YAML files and who overrides whom,
 * every class of error with its status and message, and --print-config read back. */
#include <unistd.h>

#include "../cli/options.h"
#include "testing.h"

#define NUM_ARGS(...) ((int)(sizeof((const char *[]){__VA_ARGS__}) / sizeof(char *)))

/* Parses the flags given after the command into a fresh o. */
#define PARSE(o, cmd, ...) parse(o, cmd, NUM_ARGS(__VA_ARGS__), (char *const[]){__VA_ARGS__})

static uly_status parse(options *o, command cmd, int argc, char *const *argv) {
  assert_int_equal(options_init(o), ULY_OK);
  return options_parse(o, cmd, argc, argv);
}

static void expect_ok(const options *o, uly_status status) {
  if (status != ULY_OK) fail_msg("%s: %s", uly_status_name(status), o->error);
}

/* The status and every one of the texts, the last of which is NULL. */
static void expect_failure(options *o, uly_status got, uly_status want, ...) {
  assert_int_equal(got, want);
  va_list texts;
  va_start(texts, want);
  for (const char *text; (text = va_arg(texts, const char *));) {
    if (!strstr(o->error, text)) fail_msg("message without \"%s\": %s", text, o->error);
  }
  va_end(texts);
  options_free(o);
}

#define EXPECT_USAGE_ERROR(cmd, args, ...)                                             \
  do {                                                                                 \
    options failing;                                                                   \
    uly_status got_ = parse(&failing, cmd, NUM_ARGS args, (char *const[])BRACED args); \
    expect_failure(&failing, got_, ULY_ERR_CONFIG, __VA_ARGS__, NULL);                 \
  } while (0)
#define BRACED(...) \
  { __VA_ARGS__ }

static char yaml_path[256];

static void write_yaml(const char *text) {
  write_scratch_file(yaml_path, "options.yaml", text, strlen(text));
}

static int remove_yaml(void **state) {
  (void)state;
  if (yaml_path[0]) unlink(yaml_path);
  yaml_path[0] = '\0';
  return 0;
}

static void assert_same_text(const char *a, const char *b) {
  assert_true(!a == !b);
  if (a) assert_string_equal(a, b);
}

static void test_defaults(void **state) {
  (void)state;
  options o;
  uly_train_config c = uly_train_config_default();
  assert_int_equal(options_init(&o), ULY_OK);
  assert_same_text(o.config.model, c.model);
  assert_same_text(o.config.data, c.data);
  assert_same_text(o.config.eval_data, c.eval_data);
  assert_int_equal(o.config.seq_len, c.seq_len);
  assert_int_equal(o.config.window, c.window);
  assert_int_equal(o.config.sparse.pattern, ULY_SPARSE_NONE);
  assert_int_equal(o.config.sparse.block, 64);
  assert_int_equal(o.config.steps, c.steps);
  assert_int_equal(o.config.batch, c.batch);
  assert_int_equal(o.config.eval_windows, c.eval_windows);
  assert_int_equal(o.config.seed, c.seed);
  assert_int_equal(o.config.dtype, c.dtype);
  assert_int_equal(o.config.recompute, c.recompute);
  assert_int_equal(o.config.schedule, c.schedule);
  assert_true(o.config.lr == c.lr && o.config.min_lr_ratio == c.min_lr_ratio);
  assert_int_equal(o.config.warmup, c.warmup);
  assert_true(o.config.beta1 == c.beta1 && o.config.beta2 == c.beta2 && o.config.eps == c.eps);
  assert_true(o.config.weight_decay == c.weight_decay && o.config.clip == c.clip);
  assert_int_equal(o.config.threads, c.threads);
  assert_int_equal(o.config.zero_stage, c.zero_stage);
  assert_int_equal(o.config.grad_dtype, c.grad_dtype);
  assert_int_equal(o.config.reproducible, c.reproducible);
  assert_int_equal(o.config.leaves, c.leaves);
  assert_int_equal(o.config.memory_limit, c.memory_limit);
  assert_same_text(o.config.offload, c.offload);
  assert_same_text(o.config.stash, c.stash);
  assert_int_equal(o.dp, 1);
  assert_int_equal(o.sp, 0);
  assert_int_equal(o.log_every, 1);
  assert_int_equal(o.eval_every, 0);
  assert_int_equal(o.save_every, 0);
  options_free(&o);
}

/* Every default is a value that its own row accepts. */
static void test_defaults_are_allowed(void **state) {
  (void)state;
  options o;
  assert_int_equal(options_init(&o), ULY_OK);
  for (enum option_id id = 0; id < NUM_RUN_OPTIONS; id++) {
    char buffer[OPTION_BUFFER];
    const char *value = options_get(&o, id, buffer);
    if (!value) continue;
    char *copy = strdup(value);
    expect_ok(&o, options_set(&o, id, option_table[id].key, copy));
    assert_string_equal(options_get(&o, id, buffer), copy);
    free(copy);
  }
  options_free(&o);
}

static void test_flags(void **state) {
  (void)state;
  options o;
  expect_ok(&o, PARSE(&o, TRAIN, "--data", "a b", "--eval-data=c=d", "--seq-len", "128k",
                      "--steps=2M", "--seed", "18446744073709551615", "--lr", "2.5e-4",
                      "--min-lr-ratio=0", "--schedule", "constant", "--dtype=bf16", "--recompute",
                      "none", "--sp", "4", "--dp=2", "--threads", "3", "--beta1", "0", "--out=o",
                      "--save-every", "5", "--resume", "auto", "--metrics=m", "--eval-every", "7",
                      "--log-every", "1k", "--clip=0.5", "--model", "x", "--model", "y"));
  assert_string_equal(o.config.data, "a b");
  assert_string_equal(o.config.eval_data, "c=d");
  assert_int_equal(o.config.seq_len, 131072);
  assert_int_equal(o.config.steps, 2 * 1024 * 1024);
  assert_true(o.config.seed == UINT64_MAX);
  assert_true(o.config.lr == 2.5e-4 && o.config.min_lr_ratio == 0 && o.config.beta1 == 0);
  assert_int_equal(o.config.schedule, ULY_SCHEDULE_CONSTANT);
  assert_int_equal(o.config.dtype, ULY_BF16);
  assert_int_equal(o.config.recompute, ULY_RECOMPUTE_NONE);
  assert_int_equal(o.config.threads, 3);
  assert_int_equal(o.sp, 4);
  assert_int_equal(o.dp, 2);
  assert_string_equal(o.out, "o");
  assert_string_equal(o.resume, "auto");
  assert_string_equal(o.metrics, "m");
  assert_int_equal(o.save_every, 5);
  assert_int_equal(o.eval_every, 7);
  assert_int_equal(o.log_every, 1024);
  assert_true(o.config.clip == 0.5);
  assert_string_equal(o.config.model, "y"); /* the last one holds */
  options_free(&o);
}

static void test_flags_of_attention(void **state) {
  (void)state;
  static char *const patterns[] = {"none", "longformer", "strided", "fixed", "bigbird"};
  options o;
  for (int i = ULY_SPARSE_NONE; i <= ULY_SPARSE_BIGBIRD; i++) {
    expect_ok(&o, PARSE(&o, PLAN, "--sparse", patterns[i]));
    assert_int_equal(o.config.sparse.pattern, i);
    options_free(&o);
  }
  expect_ok(&o, PARSE(&o, TRAIN, "--data=d", "--window", "4k", "--sparse=fixed", "--sparse-block",
                      "32", "--sparse-local=9", "--sparse-global=0", "--sparse-random=5"));
  assert_int_equal(o.config.window, 4096);
  assert_int_equal(o.config.sparse.block, 32);
  assert_int_equal(o.config.sparse.local, 9);
  assert_int_equal(o.config.sparse.global, 0);
  assert_int_equal(o.config.sparse.random, 5);
  options_free(&o);
}

static void test_flags_of_memory(void **state) {
  (void)state;
  options o;
  expect_ok(&o, PARSE(&o, TRAIN, "--data=d", "--batch=6", "--zero", "3", "--grad-dtype=bf16",
                      "--reproducible", "--leaves", "64k", "--memory-limit", "3GiB",
                      "--offload-optimizer", "disk:a/b:c", "--stash=disk:/s", "--trace=t.json"));
  assert_int_equal(o.config.batch, 6);
  assert_int_equal(o.config.zero_stage, 3);
  assert_int_equal(o.config.grad_dtype, ULY_BF16);
  assert_int_equal(o.config.reproducible, 1);
  assert_int_equal(o.config.leaves, 65536);
  assert_true(o.config.memory_limit == INT64_C(3) << 30);
  assert_string_equal(o.config.offload, "a/b:c");
  assert_string_equal(o.config.stash, "/s");
  assert_string_equal(o.trace, "t.json");
  options_free(&o);
  /* The same, as plan knows them. */
  expect_ok(&o, PARSE(&o, PLAN, "--batch=6", "--zero=1", "--grad-dtype=f32", "--reproducible=false",
                      "--leaves=1", "--memory-limit=7", "--offload-optimizer=disk:x",
                      "--offload-optimizer=disk:y", "--stash", "disk:z"));
  assert_int_equal(o.config.zero_stage, 1);
  assert_int_equal(o.config.reproducible, 0);
  assert_int_equal(o.config.memory_limit, 7);
  assert_string_equal(o.config.offload, "y");
  assert_string_equal(o.config.stash, "z");
  options_free(&o);
}

/* The last one holds, and flags override the file, in both directions. */
static void test_boolean(void **state) {
  (void)state;
  options o;
  expect_ok(&o, PARSE(&o, PLAN, "--no-reproducible", "--reproducible"));
  assert_int_equal(o.config.reproducible, 1);
  options_free(&o);
  expect_ok(&o, PARSE(&o, PLAN, "--reproducible=true", "--no-reproducible"));
  assert_int_equal(o.config.reproducible, 0);
  options_free(&o);
  write_yaml(
      "reproducible: true\noffload_optimizer: disk:x\nstash: disk:y z\nmemory_limit: 5KiB\n");
  expect_ok(&o, PARSE(&o, PLAN, "--config", yaml_path));
  assert_int_equal(o.config.reproducible, 1);
  assert_string_equal(o.config.offload, "x");
  assert_string_equal(o.config.stash, "y z");
  assert_int_equal(o.config.memory_limit, 5120);
  options_free(&o);
  expect_ok(&o, PARSE(&o, PLAN, "--config", yaml_path, "--no-reproducible"));
  assert_int_equal(o.config.reproducible, 0);
  options_free(&o);
  write_yaml("reproducible: false\n");
  expect_ok(&o, PARSE(&o, PLAN, "--reproducible", "--config", yaml_path));
  assert_int_equal(o.config.reproducible, 1);
  options_free(&o);
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
              {"9223372036854775807", INT64_MAX, "9223372036854775807"}};
  options o;
  assert_int_equal(options_init(&o), ULY_OK);
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    char buffer[OPTION_BUFFER];
    expect_ok(&o, options_set(&o, OPTION_memory_limit, "m", rows[i].text));
    assert_true(o.config.memory_limit == rows[i].bytes);
    assert_string_equal(options_get(&o, OPTION_memory_limit, buffer), rows[i].printed);
  }
  options_free(&o);
  static char *const wrong[] = {"",
                                "k",
                                "MiB",
                                "1k",
                                "1m",
                                "1MB",
                                "1 MiB",
                                "1mib",
                                "1MiBs",
                                "1.5G",
                                "-1",
                                "1TiB",
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
    options o;
    expect_ok(&o, PARSE(&o, TRAIN, "--data=d", rows[i].flag, rows[i].word));
    int value = strcmp(rows[i].flag, "--schedule") == 0 ? (int)o.config.schedule
                : strcmp(rows[i].flag, "--dtype") == 0  ? (int)o.config.dtype
                                                        : (int)o.config.recompute;
    assert_int_equal(value, rows[i].value);
    options_free(&o);
  }
}

static void test_plan(void **state) {
  (void)state;
  options o;
  expect_ok(&o, PARSE(&o, PLAN, "--sp=8", "--json", "--seq-len", "1m"));
  assert_true(o.json && !o.print_config);
  assert_int_equal(o.config.seq_len, 1 << 20);
  assert_null(o.config.data);
  options_free(&o);
}

static void test_bench(void **state) {
  (void)state;
  options o;
  expect_ok(&o, PARSE(&o, BENCH_ATTENTION, "--seq-len=1k"));
  assert_int_equal(o.config.seq_len, 1024);
  assert_int_equal(o.q_heads, 0);
  assert_int_equal(o.kv_heads, 0);
  assert_int_equal(o.head_dim, 64);
  assert_int_equal(o.mask.kind, ULY_MASK_CAUSAL);
  assert_int_equal(o.repeats, 5);
  assert_int_equal(o.num_combinations, 1);
  options_free(&o);
  expect_ok(&o, PARSE(&o, BENCH_ATTENTION, "--mask=full", "--q-heads=6", "--kv-heads=3",
                      "--head-dim", "128", "--repeats", "9", "--threads=2"));
  assert_int_equal(o.mask.kind, ULY_MASK_FULL);
  assert_int_equal(o.q_heads, 6);
  assert_int_equal(o.kv_heads, 3);
  assert_int_equal(o.head_dim, 128);
  assert_int_equal(o.repeats, 9);
  assert_int_equal(o.config.threads, 2);
  options_free(&o);
  expect_ok(&o, PARSE(&o, BENCH_STEP, "--model=a,b", "--zero=3", "--trace=x,y"));
  assert_string_equal(o.config.model, "a,b"); /* texts are no lists */
  assert_string_equal(o.trace, "x,y");
  options_free(&o);
  expect_ok(&o, PARSE(&o, BENCH_CEILING, "--array-bytes=3MiB"));
  assert_int_equal(o.array_bytes, 3 << 20);
  options_free(&o);
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
    options o;
    char *const argv[] = {"--head-dim", "32,64,128", "--seq-len=2k", "--dtype=f32,bf16"};
    assert_int_equal(options_init(&o), ULY_OK);
    o.combination = i;
    expect_ok(&o, options_parse(&o, BENCH_ATTENTION, 4, argv));
    assert_int_equal(o.num_combinations, 6);
    assert_int_equal(o.head_dim, rows[i].head_dim);
    assert_int_equal(o.config.dtype, rows[i].dtype);
    assert_int_equal(o.config.seq_len, 2048);
    options_free(&o);
  }
}

static void test_bench_errors(void **state) {
  (void)state;
  EXPECT_USAGE_ERROR(BENCH_STEP, ("--head-dim=3"), "--head-dim", "not an option of 'bench step'",
                     "ulysses help bench");
  EXPECT_USAGE_ERROR(BENCH_ATTENTION, ("--model=x"), "not an option of 'bench attention'");
  EXPECT_USAGE_ERROR(BENCH_CEILING, ("--dtype=f32"), "not an option of 'bench ceiling'");
  EXPECT_USAGE_ERROR(TRAIN, ("--repeats=3"), "--repeats", "not an option of 'train'");
  EXPECT_USAGE_ERROR(TRAIN, ("--dtype=f32,bf16"), "--dtype 'f32,bf16'", "one of f32, bf16");
  EXPECT_USAGE_ERROR(BENCH_ATTENTION, ("--dtype=,f32"), "--dtype ''", "one of f32, bf16");
  EXPECT_USAGE_ERROR(BENCH_ATTENTION, ("--head-dim=x,64"), "--head-dim 'x'", "from 1 to 65536");
  EXPECT_USAGE_ERROR(BENCH_ATTENTION, ("--mask=window"), "--mask 'window'", "one of full, causal");
  EXPECT_USAGE_ERROR(BENCH_EXCHANGE, ("--repeats=0"), "--repeats '0'", "from 1 to 1000");
  EXPECT_USAGE_ERROR(BENCH_EXCHANGE, ("--repeats=1001"), "--repeats '1001'", "from 1 to 1000");
  EXPECT_USAGE_ERROR(BENCH_STEP, ("--trace=t", "--zero=0,1"), "--trace 't'", "no lists");
  /* A list of one long element, and one of many. */
  char text[2002];
  memset(text, '1', sizeof text - 1);
  text[sizeof text - 1] = '\0';
  EXPECT_USAGE_ERROR(BENCH_ATTENTION, ("--head-dim", text), "--head-dim '111", "from 1 to 65536");
  for (size_t i = 1; i < sizeof text - 1; i += 2) text[i] = ',';
  EXPECT_USAGE_ERROR(BENCH_ATTENTION, ("--head-dim", text), "--head-dim '1,1", "1000 combinations");
  text[1999] = '\0'; /* 1000 elements */
  options o;
  expect_ok(&o, PARSE(&o, BENCH_ATTENTION, "--head-dim", text));
  assert_int_equal(o.num_combinations, 1000);
  options_free(&o);
  EXPECT_USAGE_ERROR(BENCH_ATTENTION, ("--head-dim", text, "--mask=full,causal"),
                     "--mask 'full,causal'", "1000 combinations");
}

static void test_yaml(void **state) {
  (void)state;
  options o;
  write_yaml("# a run\nseq_len: 16k\ndata: 'my data'\nlr: 1e-2\nschedule: linear\nsp: 2\n");
  expect_ok(&o, PARSE(&o, TRAIN, "--config", yaml_path));
  assert_int_equal(o.config.seq_len, 16384);
  assert_string_equal(o.config.data, "my data");
  assert_true(o.config.lr == 1e-2);
  assert_int_equal(o.config.schedule, ULY_SCHEDULE_LINEAR);
  assert_int_equal(o.sp, 2);
  assert_int_equal(o.config.steps, uly_train_config_default().steps);
  options_free(&o);
  /* The file of a training run serves plan, which has no --data. */
  expect_ok(&o, PARSE(&o, PLAN, "--config", yaml_path));
  assert_int_equal(o.config.seq_len, 16384);
  options_free(&o);
}

static void test_empty_yaml(void **state) {
  (void)state;
  options o;
  write_yaml("# nothing\n");
  expect_ok(&o, PARSE(&o, TRAIN, "--data=d", "--config", yaml_path));
  assert_int_equal(o.config.seq_len, uly_train_config_default().seq_len);
  options_free(&o);
}

static void test_flags_override_yaml(void **state) {
  (void)state;
  options o;
  write_yaml("seq_len: 1k\nsteps: 7\ndata: from-file\n");
  expect_ok(&o, PARSE(&o, TRAIN, "--seq-len", "2k", "--config", yaml_path));
  assert_int_equal(o.config.seq_len, 2048);
  assert_int_equal(o.config.steps, 7);
  options_free(&o);
  expect_ok(&o, PARSE(&o, TRAIN, "--config", yaml_path, "--seq-len", "2k", "--data=d"));
  assert_int_equal(o.config.seq_len, 2048);
  assert_string_equal(o.config.data, "d");
  options_free(&o);
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
  EXPECT_USAGE_ERROR(TRAIN, ("--eps=0"), "--eps '0'", "a number of at least 1e-30");
  EXPECT_USAGE_ERROR(TRAIN, ("--dp=0"), "--dp '0'", "from 1 to 32768");
  EXPECT_USAGE_ERROR(TRAIN, ("--threads=5000"), "--threads '5000'", "from 0 to 4096");
  EXPECT_USAGE_ERROR(TRAIN, ("--zero=4"), "--zero '4'", "an integer from 0 to 3");
  EXPECT_USAGE_ERROR(TRAIN, ("--zero=-1"), "--zero '-1'", "an integer from 0 to 3");
  EXPECT_USAGE_ERROR(TRAIN, ("--batch=32769"), "--batch '32769'", "from 0 to 32768");
  EXPECT_USAGE_ERROR(TRAIN, ("--window=-1"), "--window '-1'", "from 0 to 4294967296");
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

static void test_what_goes_together(void **state) {
  (void)state;
  EXPECT_USAGE_ERROR(TRAIN, ("--steps=3"), "--data", "missing");
  EXPECT_USAGE_ERROR(TRAIN, ("--data=d", "--save-every=3"), "--save-every 3", "needs --out");
  EXPECT_USAGE_ERROR(TRAIN, ("--data=d", "--eval-every=3"), "--eval-every 3", "needs --eval-data");
  EXPECT_USAGE_ERROR(TRAIN, ("--data=d", "--resume=auto"), "--resume auto", "needs --out");
  options o;
  expect_ok(&o, PARSE(&o, TRAIN, "--data=d", "--resume=run/step-0000000001"));
  options_free(&o);
  expect_ok(&o, PARSE(&o, TRAIN, "--print-config")); /* half a configuration may be printed */
  options_free(&o);
}

static void expect_yaml_error(const char *text, const char *first, const char *second) {
  options o;
  write_yaml(text);
  uly_status status = PARSE(&o, TRAIN, "--data=d", "--config", yaml_path);
  expect_failure(&o, status, ULY_ERR_CONFIG, yaml_path, first, second, NULL);
}

static void test_yaml_errors(void **state) {
  (void)state;
  expect_yaml_error("steps: 3\nsequence: 4\n", "sequence", "ulysses help train");
  expect_yaml_error("seq-len: 4\n", "seq-len", "ulysses help train");
  expect_yaml_error("config: other.yaml\n", "config", "ulysses help train");
  expect_yaml_error("seq_len: 4q\n", "seq_len: '4q'", "expected an integer from 1 to 4294967296");
  expect_yaml_error("data:\n", "data: ''", "PATH, not empty");
  expect_yaml_error("dtype: f64\n", "dtype: 'f64'", "one of f32, bf16");
  expect_yaml_error("window: all\n", "window: 'all'", "from 0 to 4294967296");
  expect_yaml_error("sparse: full\n", "sparse: 'full'", "longformer");
  expect_yaml_error("sparse_block: 0\n", "sparse_block: '0'", "from 1 to");
  expect_yaml_error("zero: 4\n", "zero: '4'", "from 0 to 3");
  expect_yaml_error("reproducible: yes\n", "reproducible: 'yes'", "true or false");
  expect_yaml_error("reproducible:\n", "reproducible: ''", "true or false");
  expect_yaml_error("no_reproducible: true\n", "no_reproducible", "ulysses help train");
  expect_yaml_error("memory_limit: 5MB\n", "memory_limit: '5MB'", "expected bytes");
  expect_yaml_error("offload_optimizer: x\n", "offload_optimizer: 'x'", "'disk:' and a path");
  expect_yaml_error("stash: memory\n", "stash: 'memory'", "'disk:' and a path");
  expect_yaml_error("accumulate: 2\n", "accumulate", "ulysses help train");
  expect_yaml_error("beta2: 2\n", "beta2: '2'", "from 0 to below 1");
  expect_yaml_error("steps: 3\nseq_len: [1, 2]\n", "'seq_len'", "line: 2");
  expect_yaml_error("seq_len: {a: 1}\n", "'seq_len'", "line: 1");
  expect_yaml_error("steps: 1\nsteps: 2\n", "already seen", "steps");
  expect_yaml_error("just words\n", "MAPPING", "SCALAR");
  expect_yaml_error("steps: 'open\n", "libyaml", "");
  options o;
  uly_status status = PARSE(&o, TRAIN, "--config", "/does/not/exist.yaml");
  expect_failure(&o, status, ULY_ERR_IO, "--config '/does/not/exist.yaml'", "No such file", NULL);
  status = PARSE(&o, TRAIN, "--config");
  expect_failure(&o, status, ULY_ERR_CONFIG, "--config", "missing", NULL);
}

/* Each option with a value that is not its default and that YAML could misread. */
static void test_print_config_round_trip(void **state) {
  (void)state;
  options o, back;
  expect_ok(
      &o,
      PARSE(&o, TRAIN, "--model= # 'a': \"b\"", "--data=~", "--eval-data=- x", "--seq-len=12345",
            "--window=129", "--sparse=strided", "--sparse-block=17", "--sparse-local=5",
            "--sparse-global=2", "--sparse-random=0", "--seed=18446744073709551615", "--steps=77",
            "--batch=15", "--lr=0.1234567890123456789", "--min-lr-ratio=0.3333333333333333",
            "--schedule=linear", "--warmup=0", "--weight-decay=1e-300", "--beta1=0.25",
            "--beta2=0.1", "--eps=1e-9", "--clip=0", "--sp=3", "--dp=5", "--dtype=bf16",
            "--recompute=full", "--threads=9", "--zero=2", "--grad-dtype=bf16", "--reproducible",
            "--leaves=32", "--memory-limit=1536MiB", "--offload-optimizer=disk:- 'y'",
            "--stash=disk:# z", "--trace=false", "--eval-every=2", "--eval-windows=4", "--out=null",
            "--save-every=6", "--resume=true", "--metrics=12", "--log-every=13", "--nonfinite=skip",
            "--nonfinite-limit=14", "--progress=plain", "--no-measure-peak", "--rank-logs=15"));
  FILE *file = tmpfile();
  assert_non_null(file);
  expect_ok(&o, options_write_yaml(&o, TRAIN, file));
  char text[4096];
  rewind(file);
  text[fread(text, 1, sizeof text - 1, file)] = '\0';
  fclose(file);
  write_yaml(text);
  expect_ok(&back, PARSE(&back, TRAIN, "--config", yaml_path));
  for (enum option_id id = 0; id < NUM_RUN_OPTIONS; id++) {
    char a[OPTION_BUFFER], b[OPTION_BUFFER];
    const char *first = options_get(&o, id, a);
    if (!first) fail_msg("the test does not set %s", option_table[id].key);
    assert_string_equal(first, options_get(&back, id, b));
  }
  assert_true(o.config.lr == back.config.lr && o.config.beta2 == back.config.beta2);
  assert_true(o.config.min_lr_ratio == back.config.min_lr_ratio);
  assert_string_equal(back.config.offload, "- 'y'");
  assert_string_equal(back.config.stash, "# z");
  options_free(&o);
  options_free(&back);
}

/* Help of a command names its flags and no others, and fits a terminal. */
static void test_help(void **state) {
  (void)state;
  static const command all[] = {TRAIN, PLAN, BENCH};
  for (int i = 0; i < 3; i++) {
    char *text = NULL;
    size_t length = 0;
    FILE *file = open_memstream(&text, &length);
    assert_non_null(file);
    options_print_help(file, all[i]);
    fclose(file);
    for (enum option_id id = 0; id < NUM_OPTIONS; id++) {
      char flag[OPTION_BUFFER], entry[OPTION_BUFFER + 4];
      option_flag(id, flag);
      snprintf(entry, sizeof entry, "\n  %.200s", flag);
      bool is_there = false;
      for (const char *at = text; (at = strstr(at, entry)); at++) {
        is_there = is_there || strchr(" \n", at[strlen(entry)]);
      }
      assert_int_equal(is_there, (option_table[id].commands & all[i]) != 0);
    }
    for (const char *line = text; *line; line += strcspn(line, "\n") + 1) {
      assert_in_range(strcspn(line, "\n"), 0, 88);
    }
    assert_non_null(strstr(text, "Example:"));
    assert_non_null(strstr(text, "--no-reproducible"));
    free(text);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_defaults),
      cmocka_unit_test(test_defaults_are_allowed),
      cmocka_unit_test(test_flags),
      cmocka_unit_test(test_flags_of_attention),
      cmocka_unit_test(test_flags_of_memory),
      cmocka_unit_test_teardown(test_boolean, remove_yaml),
      cmocka_unit_test(test_bytes),
      cmocka_unit_test(test_choices),
      cmocka_unit_test(test_plan),
      cmocka_unit_test(test_bench),
      cmocka_unit_test(test_lists),
      cmocka_unit_test(test_bench_errors),
      cmocka_unit_test_teardown(test_yaml, remove_yaml),
      cmocka_unit_test_teardown(test_empty_yaml, remove_yaml),
      cmocka_unit_test_teardown(test_flags_override_yaml, remove_yaml),
      cmocka_unit_test(test_flag_errors),
      cmocka_unit_test(test_number_errors),
      cmocka_unit_test(test_what_goes_together),
      cmocka_unit_test_teardown(test_yaml_errors, remove_yaml),
      cmocka_unit_test_teardown(test_print_config_round_trip, remove_yaml),
      cmocka_unit_test(test_help),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
