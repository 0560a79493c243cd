/* Tests shards made with a tokenizer. The expected tokens are those of the Python packages, from
 * the golden files of tokenizers; shards are read by this file alone, and by the reader that trains
 * from them. */
#include <unistd.h>

#include "base/rng.h"
#include "data/token_file.h"
#include "tokenizer_testing.h"

enum { MAX_TOKENS = 1 << 21 };

static int32_t expected[MAX_TOKENS], found[MAX_TOKENS];
static int64_t num_expected;
static uly_prepare_report report = {.size = sizeof report};

static void clean(void) {
  char command[8192];
  snprintf(command, sizeof command, "rm -rf '%s' '%s' && mkdir -p '%s'", scratch_path("in"),
           scratch_path("out"), scratch_path("in"));
  assert_int_equal(system(command), 0);
}

static const char *golden_path(const char *file) {
  static char path[4096];
  snprintf(path, sizeof path, "%s/tokenizers/%s", getenv("ULY_TEST_DATA"), file);
  return path;
}

static uly_status prepare(const char *tokenizer, uly_prepare_config config) {
  const char *inputs[] = {scratch_path("in")};
  char in[4096], out[4096];
  snprintf(in, sizeof in, "%s", inputs[0]);
  snprintf(out, sizeof out, "%s", scratch_path("out"));
  inputs[0] = in;
  config.inputs = inputs;
  config.num_inputs = 1;
  config.out = out;
  config.tokenizer = tokenizer;
  return uly_prepare(&config, &report);
}

static uly_tokenizer_info info_of(const char *path) {
  uly_tokenizer_info info = {.size = sizeof info};
  uly_tokenizer *tokenizer;
  assert_ok(uly_tokenizer_open(path, NULL, &tokenizer));
  assert_ok(uly_tokenizer_get_info(tokenizer, &info));
  uly_tokenizer_close(tokenizer);
  return info;
}

/* ------------------------------------------------------------------------- reading */

/* Reads a shard by what the guide says about the format. Returns its tokens, or 0 if there is no
 * such file. */
static int64_t parse_shard(const char *part, int index, const uly_tokenizer_info *info, int64_t end,
                           int32_t *tokens) {
  char name[64];
  int32_t header[256];
  snprintf(name, sizeof name, "out/%s/%06d.bin", part, index);
  FILE *file = fopen(scratch_path(name), "rb");
  if (!file) return 0;
  assert_int_equal(fread(header, 4, 256, file), 256);
  bool is_wide = info->vocab > 65536;
  assert_int_equal(header[0], is_wide ? 20240801 : 20240520);
  assert_int_equal(header[1], is_wide ? 7 : 1);
  assert_int_equal(header[3], end + 1);
  assert_int_equal((uint32_t)header[4], info->hash & 0xffffffff);
  assert_int_equal((uint32_t)header[5], info->hash >> 32);
  assert_int_equal(header[6], info->vocab);
  for (int i = 7; i < 256; i++) assert_int_equal(header[i], 0);
  for (int64_t i = 0; i < header[2]; i++) {
    uint32_t wide = 0;
    assert_int_equal(fread(&wide, is_wide ? 4 : 2, 1, file), 1);
    tokens[i] = (int32_t)wide;
  }
  assert_int_equal(fgetc(file), EOF);
  fclose(file);
  return header[2];
}

static void check_part(const char *part, const uly_tokenizer_info *info, int64_t end,
                       const uly_prepare_part *about) {
  char name[64];
  int64_t count = 0, got;
  for (int i = 0; (got = parse_shard(part, i, info, end, found + count)) > 0; i++) count += got;
  assert_int_equal(count, num_expected);
  assert_memory_equal(found, expected, (size_t)count * sizeof *found);
  assert_int_equal(about->tokens, count);
  uly__tokens *tokens;
  snprintf(name, sizeof name, "out/%s", part);
  assert_ok(uly__tokens_open(scratch_path(name), &tokens));
  assert_int_equal(uly__tokens_count(tokens), count);
  assert_int_equal(uly__tokens_end(tokens), end);
  assert_true(uly__tokens_tokenizer(tokens) == info->hash && info->hash != 0);
  assert_int_equal(uly__tokens_vocab(tokens), info->vocab);
  memset(found, 0xff, (size_t)count * sizeof *found);
  assert_ok(uly__tokens_read(tokens, 0, count, info->vocab, found));
  assert_memory_equal(found, expected, (size_t)count * sizeof *found);
  uly__tokens_close(tokens);
}

/* ------------------------------------------------------------------------- golden texts */

/* Adds the tokens of a text of the golden file, without names of special tokens in it. */
static void expect_text(const json_t *one, size_t index, int64_t end) {
  char key[32];
  size_t i;
  json_t *token;
  snprintf(key, sizeof key, "%zu", index);
  const json_t *plain = json_object_get(json_object_get(one, "plain"), key);
  const json_t *ids = json_array_get(json_object_get(one, "ids"), index);
  json_array_foreach(plain ? plain : ids, i, token) expected[num_expected++] =
      (int32_t)json_integer_value(token);
  expected[num_expected++] = (int32_t)end;
}

/* Writes the texts as JSON Lines. Those that are empty are no documents. */
static void write_texts(const json_t *texts) {
  size_t i;
  json_t *text;
  FILE *file = fopen(scratch_path("in/texts.jsonl"), "w");
  assert_non_null(file);
  json_array_foreach(texts, i, text) {
    json_t *line = json_pack("{s:O}", "text", text);
    assert_int_equal(json_dumpf(line, file, JSON_COMPACT), 0);
    fputc('\n', file);
    json_decref(line);
  }
  assert_int_equal(fclose(file), 0);
}

static void try_golden(const json_t *texts, const json_t *one) {
  const char *file = json_string_value(json_object_get(one, "file"));
  uly_tokenizer_info info = info_of(golden_path(file));
  int64_t end = info.eos >= 0 ? info.eos : info.vocab - 1;
  uly_prepare_config config = default_preparation();
  config.documents = ULY_DOCUMENTS_JSONL;
  config.doc_end = info.eos >= 0 ? -1 : end;
  config.shard_tokens = 997;
  num_expected = 0;
  for (size_t i = 0; i < json_array_size(texts); i++)
    if (json_string_length(json_array_get(texts, i)) > 0) expect_text(one, i, end);
  for (int threads = 1; threads <= 4; threads += 3) {
    clean();
    write_texts(texts);
    config.threads = threads;
    if (prepare(golden_path(file), config) != ULY_OK) fail_msg("%s: %s", file, uly_last_error());
    check_part("train", &info, end, &report.train);
    assert_int_equal(report.doc_end, end);
  }
}

static void test_golden(void **state) {
  (void)state;
  const char *name;
  json_t *one, *root = tokenizer_cases();
  int num = 0;
  json_object_foreach(json_object_get(root, "tokenizers"), name, one) {
    if (json_object_get(one, "pattern")) continue; /* prepare takes none */
    try_golden(json_object_get(root, "texts"), one);
    num++;
  }
  assert_true(num >= 10);
  json_decref(root);
}

/* ------------------------------------------------------------------- long documents */

/* A text of n bytes, with words, numbers and characters of several bytes. */
static char *make_text(size_t n, unsigned seed) {
  static const char *const words[] = {"the", "Sing", "\xc3\xa9t\xc3\xa9", "\xe7\xa5\x9e", "12345",
                                      " ",   "\n",   "o'clock",           "<s>",          "..."};
  char *text = malloc(n + 16);
  size_t at = 0;
  assert_non_null(text);
  while (at < n) {
    seed = seed * 1664525 + 1013904223;
    const char *word = words[(seed >> 16) % 10];
    at += (size_t)snprintf(text + at, n + 16 - at, "%s%s", word, seed >> 28 ? " " : "");
  }
  return text;
}

static void expect_document(const uly_tokenizer *tokenizer, const char *text, int64_t end) {
  uly_token_list list = {.size = sizeof list};
  assert_ok(uly_tokenizer_encode(tokenizer, text, (int64_t)strlen(text), 0, &list));
  assert_true(num_expected + list.num < MAX_TOKENS);
  memcpy(expected + num_expected, list.tokens, (size_t)list.num * sizeof *list.tokens);
  num_expected += list.num;
  expected[num_expected++] = (int32_t)end;
  uly_token_list_free(&list);
}

/* Documents that are longer than a batch are cut, whatever the tokenizer: their tokens are those of
 * the whole, on any number of threads. */
static void test_long_documents(void **state) {
  (void)state;
  static const char *const files[] = {"gpt2.json", "words.json", "pieces.model"};
  static const size_t sizes[] = {300001, 17, 900007, 262144, 1};
  for (size_t f = 0; f < 3; f++) {
    uly_tokenizer_info info = info_of(golden_path(files[f]));
    uly_tokenizer *tokenizer;
    uly_prepare_config config = default_preparation();
    config.doc_end = info.vocab - 2;
    num_expected = 0;
    clean();
    assert_ok(uly_tokenizer_open(golden_path(files[f]), NULL, &tokenizer));
    for (size_t i = 0; i < 5; i++) {
      char name[32], *text = make_text(sizes[i], (unsigned)i + 7);
      snprintf(name, sizeof name, "in/%zu.txt", i);
      scratch_put(name, text, strlen(text));
      expect_document(tokenizer, text, config.doc_end);
      free(text);
    }
    uly_tokenizer_close(tokenizer);
    for (config.threads = 1; config.threads <= 5; config.threads += 2) {
      if (config.threads > 1) assert_int_equal(rename(scratch_path("out"), scratch_path("old")), 0);
      assert_ok(prepare(golden_path(files[f]), config));
      check_part("train", &info, config.doc_end, &report.train);
      assert_int_equal(report.files, 5);
      char command[8192];
      snprintf(command, sizeof command, "rm -rf '%s'", scratch_path("old"));
      assert_int_equal(system(command), 0);
    }
  }
}

/* Long documents go whole to the part that they were drawn for. */
static void test_held_out_long(void **state) {
  (void)state;
  enum { NUM = 9 };
  const char *path = golden_path("qwen2.json");
  uly_tokenizer_info info = info_of(path);
  uly_tokenizer *tokenizer;
  char *texts[NUM], name[32];
  uly_prepare_config config = default_preparation();
  config.held_out = 0.5;
  config.threads = 2;
  clean();
  for (int i = 0; i < NUM; i++) {
    texts[i] = make_text(200000 + 61111 * (size_t)(i % 4), (unsigned)i + 1);
    snprintf(name, sizeof name, "in/%d", i);
    scratch_put(name, texts[i], strlen(texts[i]));
  }
  assert_ok(uly_tokenizer_open(path, NULL, &tokenizer));
  assert_ok(prepare(path, config));
  for (int part = 0; part < 2; part++) {
    uint64_t stream = uly__rng_stream("held-out documents");
    num_expected = 0;
    for (int i = 0; i < NUM; i++)
      if ((uly__rng_uniform(1, stream, (uint64_t)i) < 0.5) == (part == 1))
        expect_document(tokenizer, texts[i], info.eos);
    assert_true(num_expected > 0);
    check_part(part ? "eval" : "train", &info, info.eos, part ? &report.eval : &report.train);
  }
  for (int i = 0; i < NUM; i++) free(texts[i]);
  uly_tokenizer_close(tokenizer);
}

/* Which documents are held out does not depend on the tokenizer. */
static void test_held_out(void **state) {
  (void)state;
  uly_prepare_config config = default_preparation();
  config.documents = ULY_DOCUMENTS_LINE;
  config.held_out = 0.3;
  char *text = make_text(20000, 3);
  clean();
  scratch_put("in/text", text, strlen(text));
  assert_ok(prepare(NULL, config));
  int64_t train = report.train.documents, eval = report.eval.documents;
  assert_true(train > 100 && eval > 30);
  clean();
  scratch_put("in/text", text, strlen(text));
  config.threads = 3;
  assert_ok(prepare(golden_path("qwen2.json"), config));
  assert_int_equal(report.train.documents, train);
  assert_int_equal(report.eval.documents, eval);
  assert_int_equal(report.train.bytes, 1024 + 2 * report.train.tokens);
  free(text);
}

/* ---------------------------------------------------------------------- wide tokens */

/* Writes a tokenizer whose only added token has the number 70,000, in its vocabulary too. */
static void write_large(const char *name) {
  json_t *root = json_load_file(golden_path("gpt2.json"), 0, NULL);
  assert_non_null(root);
  json_t *token =
      json_pack("{s:i, s:s, s:b, s:b, s:b, s:b, s:b}", "id", 70000, "content", "<large>",
                "single_word", 0, "lstrip", 0, "rstrip", 0, "normalized", 0, "special", 1);
  json_t *vocab = json_object_get(json_object_get(root, "model"), "vocab");
  assert_int_equal(json_object_set_new(vocab, "<large>", json_integer(70000)), 0);
  json_array_clear(json_object_get(root, "added_tokens"));
  assert_int_equal(json_array_append_new(json_object_get(root, "added_tokens"), token), 0);
  assert_int_equal(json_dump_file(root, scratch_path(name), 0), 0);
  json_decref(root);
}

static void test_wide(void **state) {
  (void)state;
  char path[4096];
  clean();
  snprintf(path, sizeof path, "%s", scratch_path("large.json"));
  write_large("large.json");
  scratch_put("in/text", "Sing <large>", 12);
  uly_tokenizer_info info = info_of(path);
  uly_tokenizer *tokenizer;
  uly_prepare_config config = default_preparation();
  config.doc_end = 70000;
  assert_int_equal(info.vocab, 70001);
  num_expected = 0;
  assert_ok(uly_tokenizer_open(path, NULL, &tokenizer));
  expect_document(tokenizer, "Sing <large>", 70000);
  uly_tokenizer_close(tokenizer);
  assert_ok(prepare(path, config));
  check_part("train", &info, 70000, &report.train);
  assert_int_equal(report.train.bytes, 1024 + 4 * report.train.tokens);
}

/* --------------------------------------------------------------------- the files of it */

/* A folder of the shards is a folder of the tokenizer, under the name that makes it one. */
static void test_files(void **state) {
  (void)state;
  static const char *const cases[][2] = {{"qwen2.json", "tokenizer.json"},
                                         {"pieces.model", "tokenizer.model"}};
  for (int i = 0; i < 2; i++) {
    uly_prepare_config config = default_preparation();
    uly_tokenizer_info info = info_of(golden_path(cases[i][0]));
    config.doc_end = 3;
    clean();
    scratch_put("in/text", "Sing", 4);
    assert_ok(prepare(golden_path(cases[i][0]), config));
    uly_tokenizer_info copy = info_of(scratch_path("out"));
    assert_true(copy.hash == info.hash);
    char name[64];
    snprintf(name, sizeof name, "out/%s", cases[i][1]);
    assert_int_equal(access(scratch_path(name), F_OK), 0);
  }
}

/* ------------------------------------------------------------------------- refusals */

static void check_nothing_left(void) { assert_int_not_equal(access(scratch_path("out"), F_OK), 0); }

static void test_not_utf8(void **state) {
  (void)state;
  static const char text[] = "caf\xc3\xa9\r\nb\xe4r\ncut \xe2\x82";
  uly_prepare_config config = default_preparation();
  uly_tokenizer_info info = info_of(golden_path("gpt2.json"));
  uly_tokenizer *tokenizer;
  clean();
  scratch_put("in/a", "fine", 4);
  scratch_put("in/b", text, sizeof text - 1);
  assert_fails(prepare(golden_path("gpt2.json"), config), ULY_ERR_DATA,
               "in/b': byte 8 is not UTF-8");
  check_nothing_left();
  config.documents = ULY_DOCUMENTS_LINE;
  assert_fails(prepare(golden_path("gpt2.json"), config), ULY_ERR_DATA,
               "in/b': byte 8 is not UTF-8");
  check_nothing_left();
  config.any_bytes = 1;
  num_expected = 0;
  assert_ok(uly_tokenizer_open(golden_path("gpt2.json"), NULL, &tokenizer));
  expect_document(tokenizer, "fine", info.eos);
  expect_document(tokenizer, "caf\xc3\xa9", info.eos);
  expect_document(tokenizer, "b\xef\xbf\xbdr", info.eos);
  expect_document(tokenizer, "cut \xef\xbf\xbd", info.eos);
  uly_tokenizer_close(tokenizer);
  assert_ok(prepare(golden_path("gpt2.json"), config));
  check_part("train", &info, info.eos, &report.train);
}

/* The place is right far into a file, too, and the first place is told of on any number of
 * threads. */
static void test_not_utf8_far(void **state) {
  (void)state;
  uly_prepare_config config = default_preparation();
  char *text = make_text(1500000, 5), place[64];
  size_t n = strlen(text), bad = 1234567;
  while (text[bad] != ' ') bad++;
  text[bad] = text[n - 1] = '\xff';
  snprintf(place, sizeof place, "byte %zu is not UTF-8", bad);
  for (config.threads = 1; config.threads <= 4; config.threads++) {
    clean();
    scratch_put("in/text", text, n);
    assert_fails(prepare(golden_path("qwen2.json"), config), ULY_ERR_DATA, place);
    check_nothing_left();
  }
  free(text);
}

/* Writes a tokenizer without special tokens. */
static void write_endless(const char *name) {
  json_t *root = json_load_file(golden_path("gpt2.json"), 0, NULL);
  assert_non_null(root);
  json_array_clear(json_object_get(root, "added_tokens"));
  assert_int_equal(json_dump_file(root, scratch_path(name), 0), 0);
  json_decref(root);
}

static void test_refusals(void **state) {
  (void)state;
  uly_prepare_config config = default_preparation();
  clean();
  scratch_put("in/text", "Sing", 4);
  write_endless("endless.json");
  assert_fails(prepare(scratch_path("none"), config), ULY_ERR_IO, "No such file");
  assert_fails(prepare(scratch_path("in"), config), ULY_ERR_DATA, "has no tokenizer");
  assert_fails(prepare(scratch_path("endless.json"), config), ULY_ERR_CONFIG,
               "which token ends a text");
  config.doc_end = 100000;
  assert_fails(prepare(golden_path("gpt2.json"), config), ULY_ERR_CONFIG,
               "prepare.doc_end is 100000, but the largest token of");
  assert_fails(prepare(NULL, config), ULY_ERR_CONFIG, "prepare.doc_end is 100000, but without");
  config = default_preparation();
  config.threads = -1;
  assert_fails(prepare(golden_path("gpt2.json"), config), ULY_ERR_CONFIG, "prepare.threads");
  check_nothing_left();
}

/* A folder that holds another tokenizer is not one that shards may go to; one that holds the same
 * is. */
static void test_other_tokenizer(void **state) {
  (void)state;
  uly_prepare_config config = default_preparation();
  char command[12000];
  clean();
  scratch_put("in/text", "Sing", 4);
  assert_ok(prepare(golden_path("gpt2.json"), config));
  assert_fails(prepare(golden_path("gpt2.json"), config), ULY_ERR_CONFIG, "exists already");
  snprintf(command, sizeof command, "rm -r '%s'", scratch_path("out/train"));
  assert_int_equal(system(command), 0);
  assert_fails(prepare(golden_path("qwen2.json"), config), ULY_ERR_CONFIG,
               "out/tokenizer.json' belongs to a different tokenizer");
  config.doc_end = 3;
  assert_fails(prepare(golden_path("pieces.model"), config), ULY_ERR_CONFIG,
               "out/tokenizer.json' belongs to a different tokenizer");
  config.doc_end = -1;
  assert_ok(prepare(golden_path("gpt2.json"), config));
}

/* What is told of the progress never goes back, and knows the sizes. */
static void check_progress(void *user, const uly_prepare_progress *p) {
  int64_t *last = user;
  assert_int_equal(p->size, sizeof *p);
  assert_true(p->bytes >= *last && p->bytes <= p->all_bytes);
  assert_int_equal(p->all_bytes, 40000000);
  assert_true(p->seconds > 0 && p->tokens >= 0);
  *last = p->bytes;
}

static void test_progress(void **state) {
  (void)state;
  int64_t last = 0;
  uly_prepare_config config = default_preparation();
  config.progress = check_progress;
  config.user = &last;
  clean();
  char *text = malloc(40000000);
  assert_non_null(text);
  for (int i = 0; i < 40000000; i++) text[i] = (char)(i % 7 ? 'a' + i % 26 : ' ');
  scratch_put("in/text", text, 40000000);
  free(text);
  assert_ok(prepare(golden_path("gpt2.json"), config));
  assert_true(last > 0);
  assert_int_equal(report.bytes, 40000000);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, scratch_set_up, scratch_tear_down)

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(test_golden),          TEST(test_long_documents), TEST(test_held_out),
      TEST(test_held_out_long),   TEST(test_wide),           TEST(test_files),
      TEST(test_not_utf8),        TEST(test_not_utf8_far),   TEST(test_refusals),
      TEST(test_other_tokenizer), TEST(test_progress),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
