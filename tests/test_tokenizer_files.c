/* Tests the readers of tokenizers' files: what is refused, and with which words; that folders are
 * searched; and that the hash is that of a tokenizer, not of its file. */
#include "testing.h"

#define VOCAB "\"vocab\":{\"a\":0,\"b\":1,\"ab\":2,\"<u>\":3}"
#define MODEL "\"model\":{\"type\":\"BPE\"," VOCAB ",\"merges\":[[\"a\",\"b\"]]}"

static uly_status open_text(const char *name, const char *text, uly_tokenizer **out) {
  return uly_tokenizer_open(scratch_put(name, text, strlen(text)), NULL, out);
}

/* A whole file on each line. */
static void test_refused(void **state) {
  (void)state;
  static const struct {
    const char *text, *why;
  } cases[] = {
      {"{", "is not JSON"},
      {"{}", "there is no \"model\""},
      {"[]", "neither a tokenizer.json"},
      {"", "neither a tokenizer.json"},
      {"{\"model\":{\"type\":\"Unigram\"}}", "the model is Unigram, but only BPE"},
      {"{\"model\":{\"type\":\"WordPiece\"}}", "the model is WordPiece"},
      {"{\"model\":{\"merges\":[]}}", "no \"vocab\""},
      {"{\"model\":{" VOCAB "}}", "no list of \"merges\""},
      {"{\"model\":{" VOCAB ",\"merges\":[\"a c\"]}}", "a merge names 'c', which is not a token"},
      {"{\"model\":{" VOCAB ",\"merges\":[\"b a\"]}}", "makes something that is not a token"},
      {"{\"model\":{" VOCAB ",\"merges\":[\"ab\"]}}", "merge 0 is not a pair"},
      {"{\"model\":{" VOCAB ",\"merges\":[[\"a\"]]}}", "merge 0 is not a pair"},
      {"{\"model\":{\"vocab\":{\"a\":-1},\"merges\":[]}}", "ids are from 0 to"},
      {"{\"model\":{\"vocab\":{\"a\":99999999999},\"merges\":[]}}", "ids are from 0 to"},
      {"{\"model\":{\"vocab\":{\"a\":1,\"b\":1},\"merges\":[]}}", "two tokens have the id 1"},
      {"{\"model\":{\"vocab\":{\"a\":\"0\"},\"merges\":[]}}", "'a' is not an integer"},
      {"{\"model\":{" VOCAB ",\"merges\":[],\"unk_token\":\"c\"}}", "'c' is not in the vocabulary"},
      {"{\"model\":{" VOCAB ",\"merges\":[],\"dropout\":0.1}}", "dropout"},
      {"{\"model\":{" VOCAB ",\"merges\":[],\"end_of_word_suffix\":\"</w>\"}}",
       "end_of_word_suffix, which is not supported"},
      {"{\"normalizer\":{\"type\":\"Precompiled\"}," MODEL "}", "the normalizer Precompiled"},
      {"{\"normalizer\":{\"type\":\"Replace\",\"pattern\":{\"Regex\":\"(\"},\"content\":\"\"}"
       "," MODEL "}",
       "is not valid"},
      {"{\"pre_tokenizer\":{\"type\":\"BertPreTokenizer\"}," MODEL "}",
       "the pre-tokenizer BertPreTokenizer"},
      {"{\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"Regex\":\"\\\\bx\"}}," MODEL "}",
       "\\b, which is not supported"},
      {"{\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"String\":\"x\"},\"behavior\":\"New\"}"
       "," MODEL "}",
       "the behavior New"},
      {"{\"decoder\":{\"type\":\"CTC\"}," MODEL "}", "the decoder CTC"},
      {"{\"post_processor\":{\"type\":\"New\"}," MODEL "}", "the post-processor New"},
      {"{\"post_processor\":{\"type\":\"BertProcessing\",\"cls\":[\"x\",77],\"sep\":[\"a\",0]}"
       "," MODEL "}",
       "token 77 around a text"},
      {"{\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":[]}," MODEL "}",
       "the template for one text has no text in it"},
      {"{\"added_tokens\":[{\"id\":7,\"content\":\"a\"}]," MODEL "}",
       "'a' has the id 7, but 0 in the vocabulary"},
      {"{\"added_tokens\":[{\"content\":\"a\"}]," MODEL "}", "no integer \"id\""},
      {"{\"added_tokens\":[{\"id\":5,\"content\":\"c\"}]," MODEL "}",
       "'c' has the id 5, but the next id is 4"},
      {"{\"added_tokens\":[{\"id\":1,\"content\":\"c\"}]," MODEL "}",
       "'c' has the id 1, but the next id is 4"},
      {"{\"added_tokens\":[{\"id\":4,\"content\":\"c\"},{\"id\":3,\"content\":\"<u>\"},"
       "{\"id\":4,\"content\":\"d\"}]," MODEL "}",
       "'d' has the id 4, but the next id is 5"},
      {"{\"added_tokens\":[{\"id\":4,\"content\":\"c\"},{\"id\":6,\"content\":\"d\"}]," MODEL "}",
       "'d' has the id 6, but the next id is 5"},
      {"{\"added_tokens\":[{\"id\":2,\"content\":\"c\"}],"
       "\"model\":{\"vocab\":{\"a\":0,\"b\":2},\"merges\":[]}}",
       "'c' has the id 2 of a token in the vocabulary"},
      {"IQ== 0\n", "the byte 0 has no rank"},
      {"IQ== 0\nIg== x\n", "line 2 is not a token in base64 and its rank"},
      {"IQ== 0\nIg= 1\n", "line 2 is not a token in base64 and its rank"},
      {"IQ== 0\nIg== 0\n", "two tokens have the id 0"},
      {"IQ== 0\nIQ== 1\n", "the token '!' is there twice"},
      {"\n\x0e\n\x05<unk>\x15", "neither a tokenizer.json"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    uly_tokenizer *tokenizer;
    assert_fails(open_text("tokenizer", cases[i].text, &tokenizer), ULY_ERR_DATA, cases[i].why);
    assert_non_null(strstr(uly_last_error(), "/tokenizer':"));
    assert_null(tokenizer);
  }
}

static void test_ranks_refused(void **state) {
  (void)state;
  char path[512];
  const char *const names[] = {"a", ""};
  uly_tokenizer_config config = {.size = sizeof config};
  uly_tokenizer *tokenizer;
  test_data_path(path, "tokenizers", "small.tiktoken");
  assert_fails(uly_tokenizer_open(path, NULL, &tokenizer), ULY_ERR_CONFIG,
               "ranks that the library does not know");
  config.pattern = "\\w+|(";
  assert_fails(uly_tokenizer_open(path, &config, &tokenizer), ULY_ERR_DATA, "is not valid");
  config.pattern = "\\w+|\\W+";
  config.num_special_tokens = 2;
  assert_fails(uly_tokenizer_open(path, &config, &tokenizer), ULY_ERR_CONFIG, "no list of");
  config.special_tokens = names;
  assert_fails(uly_tokenizer_open(path, &config, &tokenizer), ULY_ERR_CONFIG, "has no name");
  test_data_path(path, "tokenizers", "gpt2.json");
  assert_fails(uly_tokenizer_open(path, &config, &tokenizer), ULY_ERR_CONFIG,
               "the file is not one of ranks");
  assert_fails(uly_tokenizer_open(NULL, NULL, &tokenizer), ULY_ERR_CONFIG, "'path' is NULL");
  assert_fails(uly_tokenizer_open("no such folder", NULL, &tokenizer), ULY_ERR_IO,
               "no such folder");
}

static uint64_t hash_of(const char *text) {
  uly_tokenizer *tokenizer;
  uly_tokenizer_info info = {.size = sizeof info};
  assert_ok(open_text("tokenizer.json", text, &tokenizer));
  assert_ok(uly_tokenizer_get_info(tokenizer, &info));
  uly_tokenizer_close(tokenizer);
  return info.hash;
}

static void test_hash(void **state) {
  (void)state;
  static const char *const same[] = {
      "{" MODEL "}",
      "{ \"model\" : {\n\"merges\":[\"a b\"],\"vocab\":{\"<u>\":3,\"ab\":2,\"b\":1,\"a\":0}}}",
      "{\"version\":\"1.0\",\"normalizer\":null,\"added_tokens\":[]," MODEL "}",
      "{\"decoder\":{\"type\":\"Fuse\"}," MODEL "}"};
  static const char *const others[] = {
      "{\"model\":{" VOCAB ",\"merges\":[]}}",
      "{\"model\":{\"vocab\":{\"a\":1,\"b\":0,\"ab\":2,\"<u>\":3},\"merges\":[\"a b\"]}}",
      "{\"model\":{" VOCAB ",\"merges\":[\"a b\"],\"unk_token\":\"<u>\"}}",
      "{\"model\":{" VOCAB ",\"merges\":[\"a b\"],\"ignore_merges\":true}}",
      "{\"normalizer\":{\"type\":\"NFC\"}," MODEL "}",
      "{\"normalizer\":{\"type\":\"NFD\"}," MODEL "}",
      "{\"pre_tokenizer\":{\"type\":\"Digits\"}," MODEL "}",
      "{\"pre_tokenizer\":{\"type\":\"Digits\",\"individual_digits\":true}," MODEL "}",
      "{\"pre_tokenizer\":{\"type\":\"ByteLevel\"}," MODEL "}",
      "{\"added_tokens\":[{\"id\":4,\"content\":\"c\"}]," MODEL "}",
      "{\"added_tokens\":[{\"id\":4,\"content\":\"c\",\"special\":true}]," MODEL "}",
      "{\"added_tokens\":[{\"id\":4,\"content\":\"d\",\"special\":true}]," MODEL "}",
      "{\"post_processor\":{\"type\":\"BertProcessing\",\"cls\":[\"a\",0],\"sep\":[\"a\",0]}," MODEL
      "}"};
  uint64_t hashes[1 + sizeof others / sizeof *others];
  int num = 1;
  hashes[0] = hash_of(same[0]);
  for (size_t i = 1; i < sizeof same / sizeof *same; i++)
    assert_true(hash_of(same[i]) == hashes[0]);
  for (size_t i = 0; i < sizeof others / sizeof *others; i++, num++) {
    hashes[num] = hash_of(others[i]);
    for (int j = 0; j < num; j++)
      if (hashes[j] == hashes[num]) fail_msg("the hash of %s is that of %d", others[i], j - 1);
  }
}

static void test_folder(void **state) {
  (void)state;
  uly_tokenizer *tokenizer;
  uly_tokenizer_info info = {.size = sizeof info};
  char folder[512];
  snprintf(folder, sizeof folder, "%s", scratch_put("vocab.json", "{}", 2));
  *strrchr(folder, '/') = '\0';
  assert_fails(uly_tokenizer_open(folder, NULL, &tokenizer), ULY_ERR_IO, "merges.txt");
  (void)scratch_put("merges.txt", "#version: 0.2\na b\n", 18);
  assert_fails(uly_tokenizer_open(folder, NULL, &tokenizer), ULY_ERR_DATA,
               "are not those of GPT-2");
  (void)scratch_put("x.tiktoken", "IQ== 0\n", 7);
  assert_fails(uly_tokenizer_open(folder, NULL, &tokenizer), ULY_ERR_DATA, "the byte 0");
  (void)scratch_put("tokenizer.model", "x", 1);
  assert_fails(uly_tokenizer_open(folder, NULL, &tokenizer), ULY_ERR_DATA, "tokenizer.model'");
  static const char text[] = "{\"added_tokens\":[{\"id\":4,\"content\":\"</s>\"}]," MODEL "}";
  (void)scratch_put("tokenizer.json", text, sizeof text - 1);
  assert_ok(uly_tokenizer_open(folder, NULL, &tokenizer));
  assert_ok(uly_tokenizer_get_info(tokenizer, &info));
  assert_int_equal(info.bos, -1);
  assert_int_equal(info.eos, 4);
  uly_tokenizer_close(tokenizer);
  static const char names[] = "{\"bos_token\":{\"content\":\"ab\"},\"eos_token\":\"b\"}";
  (void)scratch_put("tokenizer_config.json", names, sizeof names - 1);
  assert_ok(uly_tokenizer_open(folder, NULL, &tokenizer));
  assert_ok(uly_tokenizer_get_info(tokenizer, &info));
  assert_int_equal(info.bos, 2);
  assert_int_equal(info.eos, 1);
  assert_int_equal(info.num_tokens, 5);
  uly_tokenizer_close(tokenizer);
}

/* ------------------------------------------------------------------------- files beside it */

typedef struct warnings {
  int num;
  char last[1024];
} warnings;

static void keep_warning(void *user, const char *message) {
  warnings *w = user;
  w->num++;
  snprintf(w->last, sizeof w->last, "%s", message);
}

/* Opens a tokenizer and returns the number of warnings. */
static int count_warnings(const char *folder, warnings *w) {
  uly_tokenizer *tokenizer;
  *w = (warnings){0};
  uly_warning_set_handler(keep_warning, w);
  assert_ok(uly_tokenizer_open(folder, NULL, &tokenizer));
  uly_warning_set_handler(NULL, NULL);
  uly_tokenizer_close(tokenizer);
  return w->num;
}

static void test_elsewhere(void **state) {
  (void)state;
  char folder[512];
  warnings w;
  static const char text[] = "{\"added_tokens\":[{\"id\":4,\"content\":\"<x>\"}]," MODEL "}";
  snprintf(folder, sizeof folder, "%s", scratch_put("tokenizer.json", text, sizeof text - 1));
  *strrchr(folder, '/') = '\0';
  static const struct {
    const char *config, *added, *warning;
  } cases[] = {
      {"{}", "{}", NULL},
      {"{\"added_tokens_decoder\":{\"4\":{\"content\":\"<x>\"},\"0\":{\"content\":\"a\"}}}",
       "{\"<x>\":4,\"<u>\":3}", NULL},
      {"[", "[1, 2]", NULL},
      {"{\"added_tokens_decoder\":[4]}", "{\"<y>\":\"5\"}", NULL},
      {"{\"added_tokens_decoder\":{\"4\":7,\"5\":{\"content\":8}}}", "7", NULL},
      {"{\"added_tokens_decoder\":{\"5\":{\"content\":\"<y>\"}}}", "{}",
       "/tokenizer_config.json' has the token '<y>' as 5, but the tokenizer has no such token, and "
       "it is the tokenizer that counts (1 such tokens)"},
      {"{\"added_tokens_decoder\":{\"5\":{\"content\":\"<x>\"}}}", "{\"<z>\":6}",
       "/tokenizer_config.json' has the token '<x>' as 5, but the tokenizer has it as token 4, and "
       "it is the tokenizer that counts (2 such tokens)"},
      {"{}", "{\"<z\\n>\":6}", "/added_tokens.json' has the token '<z?>' as 6"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    (void)scratch_put("tokenizer_config.json", cases[i].config, strlen(cases[i].config));
    (void)scratch_put("added_tokens.json", cases[i].added, strlen(cases[i].added));
    assert_int_equal(count_warnings(folder, &w), cases[i].warning != NULL);
    if (cases[i].warning && !strstr(w.last, cases[i].warning)) fail_msg("%zu: %s", i, w.last);
  }
}

/* What decoding a token gives, of a tokenizer.json. */
static void assert_decodes(const char *json, int32_t token, unsigned flags, const char *expected) {
  uly_tokenizer *tokenizer;
  uly_text text = {.size = sizeof text};
  assert_ok(open_text("tokenizer.json", json, &tokenizer));
  assert_ok(uly_tokenizer_decode(tokenizer, &token, 1, flags, &text));
  assert_int_equal(text.num, strlen(expected));
  if (text.num > 0) assert_memory_equal(text.bytes, expected, strlen(expected));
  uly_text_free(&text);
  uly_tokenizer_close(tokenizer);
}

/* A token that is a space becomes nothing at the beginning of a text even if the vocabulary has no
 * other tokens. */
static void test_empty_first(void **state) {
  (void)state;
  assert_decodes(
      "{\"model\":{\"vocab\":{\"\u2581\":0},\"merges\":[]},"
      "\"decoder\":{\"type\":\"Metaspace\",\"replacement\":\"\u2581\"}}",
      0, 0, "");
}

/* A byte of a character that ByteFallback makes is no byte-level character, whatever follows it in
 * memory. */
static void test_byte_level_of_byte(void **state) {
  (void)state;
  assert_decodes(
      "{\"model\":{\"vocab\":{\"<0xC4>\":0},\"merges\":[],\"byte_fallback\":true},"
      "\"decoder\":{\"type\":\"Sequence\",\"decoders\":"
      "[{\"type\":\"ByteFallback\"},{\"type\":\"ByteLevel\"}]}}",
      0, 0, "\xc4");
}

/* A name with characters that stand for no byte is its own text, whether it is that of an added token
 * or of one in the vocabulary. */
static void test_name_beyond_bytes(void **state) {
  (void)state;
  static const char json[] =
      "{\"model\":{\"vocab\":{\"\u0120a\":0,\"a\u2581b\":1},\"merges\":[]},"
      "\"pre_tokenizer\":{\"type\":\"ByteLevel\",\"add_prefix_space\":false},"
      "\"decoder\":{\"type\":\"ByteLevel\"},"
      "\"added_tokens\":[{\"id\":2,\"content\":\"<\uff5cend\uff5c>\",\"special\":true}]}";
  assert_decodes(json, 0, 0, " a");
  assert_decodes(json, 1, 0, "a\u2581b");
  assert_decodes(json, 2, 0, "<\uff5cend\uff5c>");
}

/* A special token that is to be found in normalized text has what the normalizer makes of its name
 * as its text. If that is another one, decoding does not leave it out: so it is in the package. */
static void test_normalized_special(void **state) {
  (void)state;
#define LOWER "{\"normalizer\":{\"type\":\"Lowercase\"}," MODEL ",\"added_tokens\":[{\"id\":4,"
  const unsigned skip = ULY_DETOKENIZE_SKIP_SPECIAL;
  static const char changed[] = LOWER "\"content\":\"MASK\",\"special\":true}]}";
  static const char same[] = LOWER "\"content\":\"mask\",\"special\":true}]}";
  static const char raw[] = LOWER "\"content\":\"MASK\",\"special\":true,\"normalized\":false}]}";
  assert_decodes(changed, 4, skip, "mask");
  assert_decodes(changed, 4, 0, "mask");
  assert_decodes(same, 4, skip, "");
  assert_decodes(same, 4, 0, "mask");
  assert_decodes(raw, 4, skip, "");
  assert_decodes(raw, 4, 0, "MASK");
#undef LOWER
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(test_refused, scratch_set_up, scratch_tear_down),
      cmocka_unit_test(test_ranks_refused),
      cmocka_unit_test_setup_teardown(test_elsewhere, scratch_set_up, scratch_tear_down),
      cmocka_unit_test_setup_teardown(test_empty_first, scratch_set_up, scratch_tear_down),
      cmocka_unit_test_setup_teardown(test_byte_level_of_byte, scratch_set_up, scratch_tear_down),
      cmocka_unit_test_setup_teardown(test_name_beyond_bytes, scratch_set_up, scratch_tear_down),
      cmocka_unit_test_setup_teardown(test_normalized_special, scratch_set_up, scratch_tear_down),
      cmocka_unit_test_setup_teardown(test_hash, scratch_set_up, scratch_tear_down),
      cmocka_unit_test_setup_teardown(test_folder, scratch_set_up, scratch_tear_down)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
