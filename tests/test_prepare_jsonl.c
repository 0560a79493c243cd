/* Tests turning JSON lines into token shards: the text of each line is a document; a bad line is
 * refused with its place, or skipped and counted. */
#include <unistd.h>

#include "data/documents.h"
#include "prepare_testing.h"

static void test_jsonl(void **state) {
  (void)state;
  clean();
  write_text("in/a",
             "\xef\xbb\xbf{\"text\": \"one\\ntwo\", \"id\": 123456789012345678901234567890}\r\n"
             "\n  \t\n"
             "{\"meta\": {\"text\": \"no\"}, \"text\": \"\\u00e4\\ud83d\\ude00 \xc3\xa4\"}\n"
             "{\"text\": \"\"}\n"
             "{\"text\": \"a\\u0000b\"}");
  num_expected = 0;
  expect_document("one\ntwo");
  expect_document("\xc3\xa4\xf0\x9f\x98\x80 \xc3\xa4");
  expect_byte('a');
  expect_byte(0);
  expect_byte('b');
  expect_end();
  assert_ok(prepare(ULY_DOCUMENTS_JSONL, 1000));
  check_part("out/train", 1000, &report.train);
}

/* Lines that are longer than a piece, one after the other. */
static void test_long_jsonl(void **state) {
  (void)state;
  clean();
  num_expected = 0;
  FILE *file = fopen(scratch_path("in/a"), "w");
  assert_non_null(file);
  for (int d = 0; d < 6; d++) {
    fputs("{\"text\": \"", file);
    for (int64_t i = 0; i < 200000 * d + 1; i++) {
      int byte = 'a' + byte_of(d, i) % 26;
      fputc(byte, file);
      expect_byte(byte);
    }
    fputs("\"}\n", file);
    expect_end();
  }
  assert_int_equal(fclose(file), 0);
  assert_ok(prepare(ULY_DOCUMENTS_JSONL, 1 << 20));
  check_part("out/train", 1 << 20, &report.train);
}

static void test_bad_jsonl(void **state) {
  (void)state;
  static const struct {
    const char *text, *message;
  } cases[] = {
      {"{\"text\": \"a\"}\n\nnope\n", "in/a', line 3, column"},
      {"{\"text\": \"a\"\n", "line 1, column"},
      {"{\"text\": \"a\"} {}\n", "line 1, column"},
      {"{\"text\": \"a\", \"text\": \"b\"}\n", "line 1, column"},
      {"{\"text\": \"\xff\"}\n", "line 1, column"},
      {"{\"text\": \"\\ud800\"}\n", "line 1, column"},
      {"[\"text\"]\n", "line 1: the line is an array, but each line"},
      {"\"text\"\n", "line 1: the line is a string, but each line"},
      {"3\n", "line 1: the line is a number, but each line"},
      {"{}\n{\"body\": \"a\"}\n", "line 1: there is no \"text\""},
      {"{\"text\": \"a\"}\n{\"text\": 3}\n", "line 2: \"text\" is a number"},
      {"{\"text\": null}\n", "line 1: \"text\" is null"},
      {"{\"text\": [\"a\"]}\n", "line 1: \"text\" is an array"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    clean();
    write_text("in/a", cases[i].text);
    assert_fails(prepare(ULY_DOCUMENTS_JSONL, 1000), ULY_ERR_DATA, cases[i].message);
    check_nothing_left();
  }
  /* Deep nesting must not exhaust the stack. */
  clean();
  FILE *file = fopen(scratch_path("in/a"), "w");
  assert_non_null(file);
  for (int i = 0; i < 1000000; i++) fputc('[', file);
  assert_int_equal(fclose(file), 0);
  assert_fails(prepare(ULY_DOCUMENTS_JSONL, 1000), ULY_ERR_DATA, "line 1");
  /* A line without end; a file with holes takes no disk. */
  clean();
  write_text("in/a", "{\"text\": \"a\"}\n");
  file = fopen(scratch_path("in/a"), "a");
  assert_non_null(file);
  for (int i = 0; i < 1 << 16; i++) fputc('x', file);
  assert_int_equal(fclose(file), 0);
  assert_int_equal(truncate(scratch_path("in/a"), ULY_MAX_JSON_LINE + 100), 0);
  assert_fails(prepare(ULY_DOCUMENTS_JSONL, 1000), ULY_ERR_DATA,
               "line 2: the line is longer than 64 MiB");
  check_nothing_left();
}

/* Returns the preparation of one file of JSON Lines. */
static uly_prepare_config jsonl_preparation(const char *const inputs[1]) {
  uly_prepare_config config = default_preparation();
  config.inputs = inputs;
  config.num_inputs = 1;
  config.out = scratch_path("out");
  config.documents = ULY_DOCUMENTS_JSONL;
  return config;
}

/* Every kind of bad line is left out and counted, wherever it is, and the first is told of; the
 * texts of the others are there, and are held out as if the bad ones had never been. */
static void test_skip_bad(void **state) {
  (void)state;
  static const char *const bad[] = {
      "nope",
      "{\"text\": \"\\ud800\"}",
      "{\"text\": \"a\", \"text\": \"b\"}",
      "[1]",
      "{}",
      "{\"text\": \"\xff\"}",
      "{\"text\": 3}",
      "{\"text\": \"a\"",
  };
  enum { NUM = sizeof bad / sizeof *bad };
  clean();
  num_expected = 0;
  FILE *file = fopen(scratch_path("in/a"), "w");
  assert_non_null(file);
  for (int i = 0; i < NUM; i++) {
    fprintf(file, "{\"text\": \"good %d\"}\n%s\n", i, bad[i]);
    char text[32];
    snprintf(text, sizeof text, "good %d", i);
    expect_document(text);
  }
  /* One that is too long, over many pieces, and one behind it; and one without end. */
  for (int i = 0; i < ULY_MAX_JSON_LINE + (1 << 20); i++) fputc('x', file);
  fputs("\n{\"text\": \"behind\"}\n{\"text\": \"cut", file);
  expect_document("behind");
  assert_int_equal(fclose(file), 0);
  const char *inputs[] = {scratch_path("in/a")};
  uly_prepare_config config = jsonl_preparation(inputs);
  assert_fails(uly_prepare(&config, &report), ULY_ERR_DATA, "prepare.skip_bad");
  check_nothing_left();
  config.skip_bad = 1;
  assert_ok(uly_prepare(&config, &report));
  assert_int_equal(report.skipped, NUM + 2);
  assert_non_null(strstr(report.first_skipped, "in/a', line 2, column"));
  check_part("out/train", config.shard_tokens, &report.train);
  /* Failures of another kind are none of a line. */
  clean();
  write_text("in/a", "PK\3\4");
  config.inputs = (const char *const[]){scratch_path("in/a")};
  config.out = scratch_path("out");
  assert_fails(uly_prepare(&config, &report), ULY_ERR_DATA, "a zip archive");
}

static void test_text_key(void **state) {
  (void)state;
  clean();
  write_text("in/a", "{\"text\": \"no\", \"body\": \"yes\"}\n");
  const char *inputs[] = {scratch_path("in/a")};
  uly_prepare_config config = jsonl_preparation(inputs);
  config.text_key = "body";
  num_expected = 0;
  expect_document("yes");
  assert_ok(uly_prepare(&config, &report));
  check_part("out/train", config.shard_tokens, &report.train);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, scratch_set_up, scratch_tear_down)
  const struct CMUnitTest tests[] = {
      TEST(test_jsonl),    TEST(test_long_jsonl), TEST(test_bad_jsonl),
      TEST(test_skip_bad), TEST(test_text_key),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
