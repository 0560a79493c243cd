/* Tokens to text: see tokenizer.h. */
#include <stdlib.h>

#include "base/sized.h"
#include "tokenizer/tokenizer.h"

/* Appends bytes to a text. */
static uly_status append(uly_text *text, const void *bytes, int64_t n) {
  if (text->num + n > text->capacity) {
    int64_t capacity = text->num + n + text->capacity / 2 + 256;
    char *grown = realloc(text->bytes, (size_t)capacity);
    if (!grown) ULY_FAIL(ULY_ERR_MEMORY, "no memory for a text of %lld bytes", (long long)capacity);
    text->bytes = grown;
    text->capacity = capacity;
  }
  if (n > 0) memcpy(text->bytes + text->num, bytes, (size_t)n);
  text->num += n;
  return ULY_OK;
}

static int compare_ids(const void *a, const void *b) {
  int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;
  return (x > y) - (x < y);
}

void uly__tokenizer_sort_special(uly_tokenizer *t) {
  if (t->num_special > 0)
    qsort(t->special, (size_t)t->num_special, sizeof *t->special, compare_ids);
}

static bool is_special(const uly_tokenizer *t, int32_t token) {
  return t->num_special > 0 &&
         bsearch(&token, t->special, (size_t)t->num_special, sizeof token, compare_ids);
}

/* Leaves out what a text loses at its beginning. */
static void strip_first(const uly__joining *joining, uly_text *text, const unsigned char **bytes,
                        int64_t *n) {
  int64_t length = (int64_t)strlen(joining->stripped);
  for (; text->num_lost < joining->num_stripped && *n >= length; text->num_lost++) {
    if (memcmp(*bytes, joining->stripped, (size_t)length) != 0) break;
    *bytes += length;
    *n -= length;
  }
}

/* Returns whether the next token is the first one of a text. */
static bool is_first(const uly__joining *joining, const uly_text *text) {
  if (!joining->first_is_empty) return text->num_tokens == 0;
  return text->num == 0 && text->num_lost < joining->num_stripped;
}

static uly_status decode_one(const uly_tokenizer *t, int32_t token, uly_text *text) {
  const uly__joining *joining = &t->joining;
  int64_t n = 0;
  const unsigned char *bytes = NULL;
  if (is_first(joining, text)) bytes = uly__vocab_get(&joining->first_bytes, token, &n);
  text->num_lost += bytes && joining->first_is_empty;
  if (!bytes) bytes = uly__vocab_get(&joining->bytes, token, &n);
  if (!bytes)
    ULY_FAIL(ULY_ERR_DATA, "there is no token %ld: the tokenizer has %lld, the largest is %lld",
             (long)token, (long long)t->info.num_tokens, (long long)t->info.vocab - 1);
  if (text->num_tokens > 0)
    ULY_TRY(append(text, joining->separator, (int64_t)strlen(joining->separator)));
  if (text->num == 0 && joining->stripped[0]) strip_first(joining, text, &bytes, &n);
  ULY_TRY(append(text, bytes, n));
  text->num_tokens++;
  return ULY_OK;
}

uly_status uly_tokenizer_decode(const uly_tokenizer *tokenizer, const int32_t *tokens,
                                int64_t num_tokens, unsigned flags, uly_text *text) {
  ULY_NOT_NULL(tokenizer);
  if (num_tokens != 0) ULY_NOT_NULL(tokens);
  ULY_TRY(uly__sized_check(text, "uly_text"));
  if (flags & ~(unsigned)ULY_DETOKENIZE_SKIP_SPECIAL)
    ULY_FAIL(ULY_ERR_CONFIG, "the flags %#x are not all known", flags);
  for (int64_t i = 0; i < num_tokens; i++) {
    if (flags & ULY_DETOKENIZE_SKIP_SPECIAL && is_special(tokenizer, tokens[i])) continue;
    ULY_TRY(decode_one(tokenizer, tokens[i], text));
  }
  return ULY_OK;
}

void uly_text_free(uly_text *text) {
  if (!text) return;
  free(text->bytes);
  text->bytes = NULL;
  text->num = text->capacity = text->num_tokens = text->num_lost = 0;
}

uly_status uly_tokenizer_name(const uly_tokenizer *tokenizer, int64_t token, const char **name,
                              int64_t *num_bytes) {
  ULY_NOT_NULL(tokenizer);
  ULY_NOT_NULL(name);
  ULY_NOT_NULL(num_bytes);
  const unsigned char *found = uly__vocab_get(&tokenizer->changed_names, token, num_bytes);
  if (!found) found = uly__vocab_get(&tokenizer->names, token, num_bytes);
  if (!found) found = uly__vocab_get(&tokenizer->bpe.vocab, token, num_bytes);
  if (!found)
    ULY_FAIL(ULY_ERR_DATA, "there is no token %lld: the tokenizer has %lld, the largest is %lld",
             (long long)token, (long long)tokenizer->info.num_tokens,
             (long long)tokenizer->info.vocab - 1);
  *name = (const char *)found;
  return ULY_OK;
}

uly_status uly_tokenizer_find(const uly_tokenizer *tokenizer, const char *name, int64_t num_bytes,
                              int64_t *token) {
  ULY_NOT_NULL(tokenizer);
  ULY_NOT_NULL(name);
  ULY_NOT_NULL(token);
  *token = uly__vocab_find(&tokenizer->names, name, num_bytes);
  if (*token < 0) *token = uly__vocab_find(&tokenizer->bpe.vocab, name, num_bytes);
  return ULY_OK;
}
