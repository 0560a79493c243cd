/* Tests that a text may be cut where uly__tokenizer_cut says so: the tokens of the parts are those
 * of the whole, on random texts, windows and flags. ROUNDS=n in the environment makes n cuts for
 * each tokenizer; with ULY_TEST_FEW there are few. */
#include "tokenizer/text_cuts.h"

#include "tokenizer_testing.h"

enum { ROUNDS = 30000, FEW_ROUNDS = 3000, MOST = 600 };

static uint64_t seed = 88172645463325252u;

static uint32_t draw(uint32_t below) {
  seed ^= seed << 13, seed ^= seed >> 7, seed ^= seed << 17;
  return (uint32_t)(seed >> 33) % below;
}

/* Puts pieces of the texts together; a piece may end anywhere, but at the end of a character. */
static int64_t draw_text(const json_t *texts, char *out) {
  static const char *const between[] = {"",     " ",         "  ",      "a ",     ".",
                                        "\n",   "b, c d",    "<s>",     "é word", "x<|endoftext|>y",
                                        " 12 ", "it's x's ", "ア・イ ", "  b  c", "\u2581 \u2581"};
  int64_t n = 0;
  while (n < MOST / 3) {
    const json_t *text = json_array_get(texts, draw((uint32_t)json_array_size(texts)));
    int64_t length = (int64_t)json_string_length(text);
    if (length > 60) length = 60;
    const char *bytes = json_string_value(text),
               *more = between[draw(sizeof between / sizeof *between)];
    while (length > 0 && ((unsigned char)bytes[length] & 0xc0) == 0x80) length--;
    memcpy(out + n, bytes, (size_t)length);
    n += length;
    memcpy(out + n, more, strlen(more));
    n += (int64_t)strlen(more);
  }
  return n;
}

static int find_rounds(void) {
  const char *rounds = getenv("ROUNDS");
  if (rounds) return atoi(rounds);
  return has_few_cases() ? FEW_ROUNDS : ROUNDS;
}

static void encode(const uly_tokenizer *tokenizer, const char *text, int64_t n, unsigned flags,
                   uly_token_list *list) {
  char *copy = malloc((size_t)n + 1); /* of its size, so that a sanitizer sees what is read */
  memcpy(copy, text, (size_t)n);
  assert_ok(uly_tokenizer_encode(tokenizer, copy, n, flags, list));
  free(copy);
}

/* Cuts one text at what is found in a window of it. Returns whether there was a place. */
static bool try_cut(const char *name, const uly_tokenizer *tokenizer, const char *text, int64_t n) {
  int64_t begin = draw(2) ? 0 : (int64_t)draw((uint32_t)n);
  int64_t end = begin + 1 + (int64_t)draw((uint32_t)(n - begin));
  int64_t cut = uly__tokenizer_cut(tokenizer, text + begin, end - begin);
  unsigned flags = draw(2) ? ULY_TOKENIZE_SPECIAL : 0;
  uly_token_list whole = {.size = sizeof whole}, parts = {.size = sizeof parts};
  if (cut == 0) return false;
  assert_true(cut > 0 && cut < end - begin);
  encode(tokenizer, text, n, flags, &whole);
  encode(tokenizer, text, begin + cut, flags, &parts);
  encode(tokenizer, text + begin + cut, n - begin - cut, flags | ULY__TOKENIZE_CONTINUES, &parts);
  if (whole.num != parts.num ||
      memcmp(whole.tokens, parts.tokens, (size_t)whole.num * sizeof *whole.tokens) != 0)
    fail_msg("%s: '%.*s' cut at %lld ('%.10s') gives other tokens", name, (int)n, text,
             (long long)(begin + cut), text + begin + cut);
  uly_token_list_free(&whole);
  uly_token_list_free(&parts);
  return true;
}

static void test_cuts(void **state) {
  (void)state;
  /* Tokenizers whose texts can be cut; the others must say that theirs cannot. */
  static const char cuttable[] =
      " gpt2 holes llama3 qwen2 qwen35 o200k tekken deepseek digits llama2 unknown fused "
      "ranks ranks_cl100k pieces prefix ";
  int rounds = find_rounds();
  const char *name;
  json_t *one, *root = tokenizer_cases(), *texts = json_object_get(root, "texts");
  char text[2 * MOST];
  json_object_foreach(json_object_get(root, "tokenizers"), name, one) {
    uly_tokenizer *tokenizer = open_case(one);
    char word[64];
    int num = 0;
    for (int i = 0; i < rounds; i++) num += try_cut(name, tokenizer, text, draw_text(texts, text));
    snprintf(word, sizeof word, " %s ", name);
    if (strstr(cuttable, word) ? num < rounds / 10 : num > 0)
      fail_msg("%s: %d of %d texts were cut", name, num, rounds);
    uly_tokenizer_close(tokenizer);
  }
  json_decref(root);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_cuts)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
