/* Reads the beginning of the input as the file of a tokenizer: a tokenizer.json, ranks of tiktoken
 * (with the pattern of GPT-2) or a SentencePiece model. The last byte says how many bytes before it
 * are a text, which is encoded, decoded, and encoded again in two parts where it may be cut. */
#include <string.h>

#include "fuzzing.h"
#include "tokenizer/text_cuts.h"

/* Encodes a text in memory of its size. Returns whether that succeeded: a pattern may take too
 * long. */
static bool encode(const uly_tokenizer *tokenizer, const uint8_t *text, size_t n, unsigned flags,
                   uly_token_list *list) {
  char *copy = fuzz_alloc(n);
  memcpy(copy, text, n);
  uly_status status = uly_tokenizer_encode(tokenizer, copy, (int64_t)n, flags, list);
  if (status != ULY_OK) fuzz_check_refusal(status, uly_last_error());
  free(copy);
  return status == ULY_OK;
}

static void check_tokens(const uly_tokenizer *tokenizer, const uly_token_list *list) {
  uly_tokenizer_info info = {.size = sizeof info};
  uly_text text = {.size = sizeof text};
  FUZZ_CHECK(uly_tokenizer_get_info(tokenizer, &info) == ULY_OK, "no info");
  for (int64_t i = 0; i < list->num; i++)
    FUZZ_CHECK(list->tokens[i] >= 0 && list->tokens[i] < info.vocab, "token %ld",
               (long)list->tokens[i]);
  uly_status status = uly_tokenizer_decode(tokenizer, list->tokens, list->num, 0, &text);
  FUZZ_CHECK(status == ULY_OK, "%s", uly_last_error());
  uly_text_free(&text);
}

static void check_cut(const uly_tokenizer *tokenizer, const uint8_t *text, size_t n, unsigned flags,
                      const uly_token_list *whole) {
  int64_t cut = uly__tokenizer_cut(tokenizer, (const char *)text, (int64_t)n);
  uly_token_list parts = {.size = sizeof parts};
  if (cut == 0) return;
  FUZZ_CHECK(cut > 0 && (size_t)cut < n, "cut at %lld of %zu", (long long)cut, n);
  if (encode(tokenizer, text, (size_t)cut, flags, &parts) &&
      encode(tokenizer, text + cut, n - (size_t)cut, flags | ULY__TOKENIZE_CONTINUES, &parts)) {
    FUZZ_CHECK(parts.num == whole->num, "%lld tokens in parts, %lld in all", (long long)parts.num,
               (long long)whole->num);
    FUZZ_CHECK(whole->num == 0 || memcmp(parts.tokens, whole->tokens,
                                         (size_t)whole->num * sizeof *whole->tokens) == 0,
               "other tokens in parts, cut at %lld", (long long)cut);
  }
  uly_token_list_free(&parts);
}

static void check_text(const uly_tokenizer *tokenizer, const uint8_t *text, size_t n) {
  for (unsigned flags = 0; flags < 8; flags++) {
    uly_token_list list = {.size = sizeof list};
    if (encode(tokenizer, text, n, flags, &list)) {
      check_tokens(tokenizer, &list);
      if (!(flags & ULY_TOKENIZE_AROUND)) check_cut(tokenizer, text, n, flags, &list);
    }
    uly_token_list_free(&list);
  }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  fuzz_clear();
  if (size == 0) return 0;
  size_t text = data[size - 1] < size ? data[size - 1] : size - 1, file = size - 1 - text;
  const uly_tokenizer_config config = {
      .size = sizeof config,
      .pattern =
          "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"};
  uly_tokenizer *tokenizer;
  const char *path = fuzz_file("tokenizer", data, file);
  bool has_ranks = file > 4 && memchr(data, ' ', 8 < file ? 8 : file) && data[0] != '{';
  uly_status status = uly_tokenizer_open(path, has_ranks ? &config : NULL, &tokenizer);
  if (status != ULY_OK) {
    fuzz_check_refusal(status, uly_last_error());
    FUZZ_CHECK(!tokenizer, "a tokenizer in spite of a refusal");
    return 0;
  }
  check_text(tokenizer, data + file, text);
  uly_tokenizer_close(tokenizer);
  return 0;
}
