/* Tests messages of the library in the words of the program, and where warnings go. */
#include "../cli/options/messages.h"

#include <unistd.h>

#include "base/log.h"
#include "options_testing.h"

static void expect_text(const char *message, const char *expected) {
  char text[MESSAGE_BUFFER];
  message_translate(message, text);
  assert_string_equal(text, expected);
}

static void test_members(void **state) {
  (void)state;
  expect_text("", "");
  expect_text("config.seq_len", "--seq-len");
  expect_text("config.seq_len is 0, but it must be from 1 to 2^40",
              "--seq-len is 0, but it must be from 1 to 2^40");
  expect_text("leave out config.offload and config.stash.",
              "leave out --offload-optimizer and --stash.");
  expect_text("rank 1: mesh.dp (mesh.sp)", "rank 1: --dp (--sp)");
  expect_text("mesh.dp, mesh.sp or mesh.tp", "--dp, --sp or --tp");
  expect_text("config.zero_stage, config.sparse.pattern; config.eval_data",
              "--zero, --sparse; --eval-data");
  expect_text("sparse.block is 0 and sparse.random -1",
              "--sparse-block is 0 and --sparse-random -1");
  expect_text("prepare.held_out of prepare.out, prepare.seed", "--held-out of --out, --seed");
  expect_text("desc.num_q_heads and mask.kind", "--q-heads and --mask");
  expect_text("sampling.top_p is 2", "--top-p is 2");
  expect_text("config.beta1/config.beta2", "config.beta1/config.beta2"); /* may be a path */
}

static void test_values(void **state) {
  (void)state;
  expect_text(
      "It would fit with config.zero_stage = 3; or config.recompute = ULY_RECOMPUTE_FULL and "
      "config.stash = DIR; or config.offload = DIR; or config.dtype = ULY_BF16; or mesh.sp = 4 "
      "with as much; or config.seq_len = 64",
      "It would fit with --zero 3; or --recompute full and --stash disk:DIR; or "
      "--offload-optimizer disk:DIR; or --dtype bf16; or --sp 4 with as much; or --seq-len 64");
  expect_text("config.pack = 1, config.pack = 0.", "--pack, --no-pack.");
  expect_text("config.reproducible = 1", "--reproducible");
  expect_text("config.doc_end = -1; config.doc_end = 12", "--doc-end auto; --doc-end 12");
  expect_text("use config.lr = 2.5e-4.", "use --lr 2.5e-4.");
  expect_text("config.model = 'a config.seq_len/config.json' only",
              "--model 'a config.seq_len/config.json' only");
  expect_text("prepare.documents = ULY_DOCUMENTS_FILE)", "--documents file)");
  expect_text("config.seq_len =", "--seq-len =");
  expect_text("config.seq_len = ", "--seq-len ");
}

/* The first member that stores the option. */
static const char *member_of(const option_info *info) {
  const option_place *place = info->places;
  while (!place->member) place++;
  return place->member;
}

/* Every constant that a choice stands for: its number is the place of the word, and its name is
 * understood. */
static void test_constants(void **state) {
  (void)state;
#define CONSTANT(option, constant, word) \
  { #option, constant, #constant, word }
  static const struct {
    const char *key;
    int value;
    const char *name, *word;
  } constants[] = {CONSTANT(dtype, ULY_F32, "f32"),
                   CONSTANT(dtype, ULY_BF16, "bf16"),
                   CONSTANT(grad_dtype, ULY_F32, "f32"),
                   CONSTANT(grad_dtype, ULY_BF16, "bf16"),
                   CONSTANT(recompute, ULY_RECOMPUTE_NONE, "none"),
                   CONSTANT(recompute, ULY_RECOMPUTE_KEEP_ATTENTION, "keep-attention"),
                   CONSTANT(recompute, ULY_RECOMPUTE_FULL, "full"),
                   CONSTANT(schedule, ULY_SCHEDULE_COSINE, "cosine"),
                   CONSTANT(schedule, ULY_SCHEDULE_LINEAR, "linear"),
                   CONSTANT(schedule, ULY_SCHEDULE_CONSTANT, "constant"),
                   CONSTANT(sparse, ULY_SPARSE_NONE, "none"),
                   CONSTANT(sparse, ULY_SPARSE_LONGFORMER, "longformer"),
                   CONSTANT(sparse, ULY_SPARSE_STRIDED, "strided"),
                   CONSTANT(sparse, ULY_SPARSE_FIXED, "fixed"),
                   CONSTANT(sparse, ULY_SPARSE_BIGBIRD, "bigbird"),
                   CONSTANT(documents, ULY_DOCUMENTS_FILE, "file"),
                   CONSTANT(documents, ULY_DOCUMENTS_LINE, "line"),
                   CONSTANT(documents, ULY_DOCUMENTS_JSONL, "jsonl"),
                   CONSTANT(mask, ULY_MASK_FULL, "full"),
                   CONSTANT(mask, ULY_MASK_CAUSAL, "causal")};
#undef CONSTANT
  for (size_t i = 0; i < sizeof constants / sizeof constants[0]; i++) {
    option_id id = option_named(constants[i].key);
    const option_info *info = &option_table[id];
    char message[256], expected[256];
    assert_string_equal(info->rules.words[constants[i].value], constants[i].word);
    snprintf(message, sizeof message, "use %s = %s: or %s", member_of(info), constants[i].name,
             constants[i].name);
    char flag[OPTION_BUFFER];
    option_flag(id, flag);
    snprintf(expected, sizeof expected, "use %.100s %s: or %s", flag, constants[i].word,
             constants[i].word);
    expect_text(message, expected);
  }
  expect_text("ULY_F32 before config.lr = ULY_F32", "ULY_F32 before --lr ULY_F32");
  expect_text("config.dtype: ULY_CHECK", "--dtype: ULY_CHECK");
}

/* What is the user's, or only looks like a member. */
static void test_left_alone(void **state) {
  (void)state;
  static const char *const messages[] = {
      "no member at all, and 100% of '%s'",
      "'config.seq_len' and \"config.seq_len\"",
      "'it's config.seq_len' is the rank's, and the ranks' too",
      "cannot open 'a config.data (config.model), config.lr': No such file",
      "cut off: 'run/config.seq_len is",
      "config.json, plan.json, doctor.json, prepare.json, train.data",
      "config.seq_len_x, config.seq_len.x, xconfig.seq_len, my.config.seq_len, _config.lr",
      "/tmp/config.data ./config.data ~config.data -config.data .config.data config.data/x "
      "config.data-1",
      "config.nothing, mesh.size, prepare.inputs, desc.num_tokens, config., .seq_len, config",
      "\xc3\xa9"
      "config.seq_len config.seq_len\xc3\xa9",
      "seq_len, out, data, metrics = 3",
  };
  for (size_t i = 0; i < sizeof messages / sizeof messages[0]; i++)
    expect_text(messages[i], messages[i]);
  expect_text("'a' of config.lr, 'b's config.lr", "'a' of --lr, 'b's config.lr");
  expect_text("the ranks' config.lr and the rank's \"x\" config.lr",
              "the ranks' --lr and the rank's \"x\" --lr");
}

/* Each row that stores into a struct of the library, by its own words. */
static void test_all_rows(void **state) {
  (void)state;
  int num_members = 0;
  for (option_id id = 0; id < num_options; id++) {
    for (int c = 0; c < NUM_SINGLE_COMMANDS; c++) {
      const char *member = option_table[id].places[c].member;
      char flag[OPTION_BUFFER];
      if (!member || !strchr(member, '.')) continue;
      expect_text(member, option_flag(id, flag));
      num_members++;
    }
  }
  assert_true(num_members > 300);
}

static void test_long_message(void **state) {
  (void)state;
  char message[2 * MESSAGE_BUFFER], text[MESSAGE_BUFFER];
  for (int begin = MESSAGE_BUFFER - 40; begin <= MESSAGE_BUFFER; begin++) {
    memset(message, 'x', sizeof message);
    snprintf(message + begin, 64, " config.offload = DIR config.offload");
    message_translate(message, text);
    assert_true(strlen(text) <= MESSAGE_BUFFER - 1);
    assert_int_equal(strspn(text, "x"), begin < MESSAGE_BUFFER ? begin : MESSAGE_BUFFER - 1);
  }
}

static void test_failure(void **state) {
  (void)state;
  uly_fail(ULY_ERR_CONFIG, "config.seq_len is 0");
  assert_string_equal(last_failure(), "--seq-len is 0");
  assert_string_equal(uly_last_error(), "config.seq_len is 0");
  uly_fail(ULY_ERR_CONFIG, "%s", last_failure());
  assert_string_equal(last_failure(), "--seq-len is 0");
}

static void keep_warning(void *user, const char *message) { snprintf(user, 100, "%s", message); }

/* What fd 2 gets while a warning is given; to be freed. */
static char *warned_to_stderr(const char *message) {
  char path[256];
  write_scratch_file(path, "stderr.txt", "", 0);
  FILE *file = fopen(path, "r+");
  assert_non_null(file);
  int saved = dup(2);
  assert_true(saved >= 0 && dup2(fileno(file), 2) == 2);
  uly__warn("%s", message);
  fflush(stderr);
  assert_int_equal(dup2(saved, 2), 2);
  close(saved);
  char *text = calloc(1, 200);
  assert_non_null(text);
  rewind(file);
  (void)!fread(text, 1, 199, file);
  fclose(file);
  unlink(path);
  return text;
}

static void expect_warning(const char *expected) {
  char *text = warned_to_stderr("with config.window = 3");
  assert_string_equal(text, expected);
  free(text);
}

static void test_warnings(void **state) {
  (void)state;
  char kept[100] = "";
  expect_warning("ulysses: warning: with config.window = 3\n");
  uly_warning_set_handler(keep_warning, kept);
  expect_warning("");
  assert_string_equal(kept, "with config.window = 3");
  messages_begin();
  expect_warning("ulysses: warning: with --window 3\n");
  uly_warning_set_handler(NULL, NULL);
  expect_warning("ulysses: warning: with config.window = 3\n");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_members),   cmocka_unit_test(test_values),
      cmocka_unit_test(test_constants), cmocka_unit_test(test_left_alone),
      cmocka_unit_test(test_all_rows),  cmocka_unit_test(test_long_message),
      cmocka_unit_test(test_failure),   cmocka_unit_test(test_warnings),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
