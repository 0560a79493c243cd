/* Tests tokenizers against the packages `tokenizers`, `tiktoken` and `sentencepiece`, whose results
 * tools/make_tokenizer_golden.py has written to data/tokenizers; and what the interface promises
 * besides. */
#include <jansson.h>
#include <pthread.h>

#include "testing.h"
#include "tokenizer_testing.h"

/* ------------------------------------------------------------------------- golden files */

static json_t *case_text(const json_t *group, size_t i, json_t *otherwise) {
  char key[32];
  snprintf(key, sizeof key, "%zu", i);
  json_t *found = json_object_get(group, key);
  return found ? found : otherwise;
}

static void assert_tokens(const char *name, const json_t *text, const json_t *expected,
                          const uly_token_list *got) {
  bool is_same = (size_t)got->num == json_array_size(expected);
  for (size_t i = 0; is_same && i < json_array_size(expected); i++)
    is_same = got->tokens[i] == json_integer_value(json_array_get(expected, i));
  if (is_same) return;
  char *wanted = json_dumps(expected, JSON_COMPACT);
  print_error("%s, '%s': %lld tokens instead of %s\n", name, json_string_value(text),
              (long long)got->num, wanted);
  free(wanted);
  fail();
}

static void check_encoding(const char *name, const uly_tokenizer *tokenizer, const json_t *text,
                           unsigned flags, const json_t *expected) {
  uly_token_list list = {.size = sizeof list};
  assert_ok(uly_tokenizer_encode(tokenizer, json_string_value(text),
                                 (int64_t)json_string_length(text), flags, &list));
  assert_tokens(name, text, expected, &list);
  uly_token_list_free(&list);
}

/* The package replaces bytes that are no characters; they are not compared. Token by token gives
 * the same as all at once. */
static void check_decoding(const char *name, const uly_tokenizer *tokenizer, const json_t *ids,
                           const json_t *expected) {
  uly_text text = {.size = sizeof text}, again = {.size = sizeof again};
  for (size_t i = 0; i < json_array_size(ids); i++) {
    int32_t id = (int32_t)json_integer_value(json_array_get(ids, i));
    assert_ok(uly_tokenizer_decode(tokenizer, &id, 1, 0, &text));
  }
  int32_t *all = malloc((json_array_size(ids) + 1) * sizeof *all);
  for (size_t i = 0; i < json_array_size(ids); i++)
    all[i] = (int32_t)json_integer_value(json_array_get(ids, i));
  assert_ok(uly_tokenizer_decode(tokenizer, all, (int64_t)json_array_size(ids), 0, &again));
  assert_int_equal(text.num, again.num);
  if (text.num > 0) assert_memory_equal(text.bytes, again.bytes, (size_t)text.num);
  bool is_text = !memmem(json_string_value(expected), json_string_length(expected), "\ufffd", 3);
  if (is_text &&
      (json_string_length(expected) != (size_t)text.num ||
       (text.num > 0 && memcmp(text.bytes, json_string_value(expected), (size_t)text.num) != 0))) {
    print_error("%s: '%.*s' instead of '%s'\n", name, (int)text.num, text.bytes,
                json_string_value(expected));
    fail();
  }
  free(all);
  uly_text_free(&text);
  uly_text_free(&again);
}

static void test_golden(void **state) {
  (void)state;
  const char *name;
  json_t *one, *root = tokenizer_cases(), *texts = json_object_get(root, "texts");
  assert_true(json_array_size(texts) > 40);
  assert_true(json_object_size(json_object_get(root, "tokenizers")) > 25);
  json_object_foreach(json_object_get(root, "tokenizers"), name, one) {
    uly_tokenizer *tokenizer = open_case(one);
    for (size_t i = 0; i < json_array_size(texts); i++) {
      json_t *text = json_array_get(texts, i),
             *ids = json_array_get(json_object_get(one, "ids"), i);
      check_encoding(name, tokenizer, text, ULY_TOKENIZE_SPECIAL, ids);
      if (json_object_get(one, "plain"))
        check_encoding(name, tokenizer, text, 0, case_text(json_object_get(one, "plain"), i, ids));
      if (json_object_get(one, "around"))
        check_encoding(name, tokenizer, text, ULY_TOKENIZE_SPECIAL | ULY_TOKENIZE_AROUND,
                       case_text(json_object_get(one, "around"), i, ids));
      check_decoding(name, tokenizer, ids, case_text(json_object_get(one, "decoded"), i, text));
    }
    uly_tokenizer_close(tokenizer);
  }
  json_decref(root);
}

/* ------------------------------------------------------------------------ the interface */

static void test_info(void **state) {
  (void)state;
  json_t *root = tokenizer_cases(), *all = json_object_get(root, "tokenizers");
  uly_tokenizer_info info = {.size = sizeof info}, other = {.size = sizeof other};
  uly_tokenizer *tokenizer = open_case(json_object_get(all, "llama3"));
  const char *name;
  int64_t n, token;
  assert_ok(uly_tokenizer_get_info(tokenizer, &info));
  assert_string_equal(info.kind, "byte-level BPE");
  assert_ok(uly_tokenizer_find(tokenizer, "<s>", 3, &token));
  assert_int_equal(info.bos, token);
  assert_ok(uly_tokenizer_find(tokenizer, "<|endoftext|>", 13, &token));
  assert_int_equal(info.eos, token);
  assert_int_equal(info.unk, -1);
  /* One id is left out. */
  assert_int_equal(info.vocab, info.num_tokens + 1);
  assert_ok(uly_tokenizer_name(tokenizer, info.vocab - 1, &name, &n));
  assert_int_equal(n, 4);
  assert_memory_equal(name, " Ach", 4);
  assert_ok(uly_tokenizer_find(tokenizer, " Ach", 4, &token));
  assert_int_equal(token, info.vocab - 1);
  assert_ok(uly_tokenizer_find(tokenizer, "none such", 9, &token));
  assert_int_equal(token, -1);
  assert_fails(uly_tokenizer_name(tokenizer, info.vocab - 4, &name, &n), ULY_ERR_DATA, "no token");
  assert_fails(uly_tokenizer_name(tokenizer, -1, &name, &n), ULY_ERR_DATA, "no token -1");
  int32_t bad = (int32_t)info.vocab;
  uly_text text = {.size = sizeof text};
  assert_fails(uly_tokenizer_decode(tokenizer, &bad, 1, 0, &text), ULY_ERR_DATA, "no token");
  uly_tokenizer_close(tokenizer);

  tokenizer = open_case(json_object_get(all, "pieces"));
  assert_ok(uly_tokenizer_get_info(tokenizer, &other));
  assert_string_equal(other.kind, "SentencePiece");
  assert_int_equal(other.unk, 0);
  assert_int_equal(other.bos, 1);
  assert_int_equal(other.eos, 2);
  assert_true(other.hash != info.hash);
  uly_tokenizer_close(tokenizer);
  json_decref(root);
}

static void test_skip_special(void **state) {
  (void)state;
  json_t *root = tokenizer_cases();
  uly_tokenizer *tokenizer =
      open_case(json_object_get(json_object_get(root, "tokenizers"), "llama3"));
  uly_token_list list = {.size = sizeof list};
  uly_text text = {.size = sizeof text};
  assert_ok(uly_tokenizer_encode(tokenizer, "a<s>b", 5, ULY_TOKENIZE_SPECIAL | ULY_TOKENIZE_AROUND,
                                 &list));
  assert_int_equal(list.num, 5);
  assert_ok(
      uly_tokenizer_decode(tokenizer, list.tokens, list.num, ULY_DETOKENIZE_SKIP_SPECIAL, &text));
  assert_int_equal(text.num, 2);
  assert_memory_equal(text.bytes, "ab", 2);
  uly_text_free(&text);
  uly_token_list_free(&list);
  uly_tokenizer_close(tokenizer);
  json_decref(root);
}

/* Python's "...".encode().decode(errors="replace") gives the same number of U+FFFD. */
static void test_not_utf8(void **state) {
  (void)state;
  static const struct {
    const char *text;
    int bad;
    const char *replaced;
  } cases[] = {{"ab\xff", 2, "ab\ufffd"},
               {"\x80", 0, "\ufffd"},
               {"12345678\xc3", 8, "12345678\ufffd"},
               {"\xe2\x82x", 0, "\ufffdx"},
               {"\xf0\x9f\x98", 0, "\ufffd"},
               {"\xf0\x9f\x98\xff\xff", 0, "\ufffd\ufffd\ufffd"},
               {"\xed\xa0\x80", 0, "\ufffd\ufffd\ufffd"},
               {"\xc0\xaf", 0, "\ufffd\ufffd"},
               {"\xf4\x90\x80\x80", 0, "\ufffd\ufffd\ufffd\ufffd"},
               {"\xe0\x80\x80", 0, "\ufffd\ufffd\ufffd"},
               {"é\xf5z", 2, "é\ufffdz"}};
  json_t *root = tokenizer_cases();
  uly_tokenizer *tokenizer =
      open_case(json_object_get(json_object_get(root, "tokenizers"), "llama3"));
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    char message[64];
    uly_token_list list = {.size = sizeof list};
    uly_text text = {.size = sizeof text};
    int64_t n = (int64_t)strlen(cases[i].text);
    snprintf(message, sizeof message, "not UTF-8: see its byte %d", cases[i].bad);
    assert_fails(uly_tokenizer_encode(tokenizer, cases[i].text, n, 0, &list), ULY_ERR_DATA,
                 message);
    assert_int_equal(list.num, 0);
    assert_ok(uly_tokenizer_encode(tokenizer, cases[i].text, n, ULY_TOKENIZE_REPLACE, &list));
    assert_ok(uly_tokenizer_decode(tokenizer, list.tokens, list.num, 0, &text));
    assert_int_equal(text.num, strlen(cases[i].replaced));
    assert_memory_equal(text.bytes, cases[i].replaced, (size_t)text.num);
    uly_text_free(&text);
    uly_token_list_free(&list);
  }
  uly_tokenizer_close(tokenizer);
  json_decref(root);
}

/* Long words take a heap, whose result is that of the list; and no quadratic time. */
static void test_long_words(void **state) {
  (void)state;
  enum { LONG = 3000000 };
  json_t *root = tokenizer_cases();
  uly_tokenizer *tokenizer =
      open_case(json_object_get(json_object_get(root, "tokenizers"), "gpt2"));
  char *text = malloc(LONG);
  uly_token_list list = {.size = sizeof list};
  memset(text, 'a', LONG);
  assert_ok(uly_tokenizer_encode(tokenizer, text, LONG, 0, &list));
  uly_text again = {.size = sizeof again};
  assert_ok(uly_tokenizer_decode(tokenizer, list.tokens, list.num, 0, &again));
  assert_int_equal(again.num, LONG);
  assert_memory_equal(again.bytes, text, LONG);
  uly_text_free(&again);
  uly_token_list_free(&list);
  free(text);
  uly_tokenizer_close(tokenizer);
  json_decref(root);
}

typedef struct job {
  const uly_tokenizer *tokenizer;
  const json_t *texts, *ids;
  int num_wrong;
} job;

static void *encode_all(void *context) {
  job *j = context;
  for (int round = 0; round < 20; round++)
    for (size_t i = 0; i < json_array_size(j->texts); i++) {
      const json_t *text = json_array_get(j->texts, i), *ids = json_array_get(j->ids, i);
      uly_token_list list = {.size = sizeof list};
      uly_status status =
          uly_tokenizer_encode(j->tokenizer, json_string_value(text),
                               (int64_t)json_string_length(text), ULY_TOKENIZE_SPECIAL, &list);
      j->num_wrong += status != ULY_OK || (size_t)list.num != json_array_size(ids);
      for (int64_t k = 0; k < list.num; k++)
        j->num_wrong += list.tokens[k] != json_integer_value(json_array_get(ids, (size_t)k));
      uly_token_list_free(&list);
    }
  return NULL;
}

static void test_threads(void **state) {
  (void)state;
  enum { NUM = 4 };
  json_t *root = tokenizer_cases(),
         *one = json_object_get(json_object_get(root, "tokenizers"), "qwen2");
  uly_tokenizer *tokenizer = open_case(one);
  pthread_t threads[NUM];
  job jobs[NUM];
  for (int i = 0; i < NUM; i++) {
    jobs[i] = (job){tokenizer, json_object_get(root, "texts"), json_object_get(one, "ids"), 0};
    assert_int_equal(pthread_create(&threads[i], NULL, encode_all, &jobs[i]), 0);
  }
  for (int i = 0; i < NUM; i++) {
    pthread_join(threads[i], NULL);
    assert_int_equal(jobs[i].num_wrong, 0);
  }
  uly_tokenizer_close(tokenizer);
  json_decref(root);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_golden),       cmocka_unit_test(test_info),
      cmocka_unit_test(test_skip_special), cmocka_unit_test(test_not_utf8),
      cmocka_unit_test(test_long_words),   cmocka_unit_test(test_threads)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
