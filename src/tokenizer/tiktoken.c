/* Reads a file of ranks of the package `tiktoken`: lines of a token's bytes in base64 and its rank,
 * which is its id. Two neighbours merge if their bytes together are a token, whose rank is that of
 * the merge.
 *
 * Each token of more than one byte is the merge of one pair only: the last two tokens that its
 * bytes become. For when two tokens that make it meet in a longer word, no merge has crossed their
 * ends; so what happened between these ends is what happens to its bytes alone. */
#include <assert.h>
#include <ctype.h>
#include <string.h>

#include "base/printable.h"
#include "tokenizer/known_tiktoken.h"
#include "tokenizer/tokenizer_readers.h"

/* Bytes of a file, and of a token. Putting a token together takes the square of its bytes. */
enum { MOST_BYTES = 1 << 25, LONGEST = 512 };

/* -------------------------------------------------------------------------------- lines */

static int value_of(char c) {
  static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  const char *at = c ? strchr(digits, c) : NULL;
  return at ? (int)(at - digits) : -1;
}

/* Decodes base64 at s, and returns where it ends; NULL if it is not valid. */
static const char *decode_base64(const char *s, const char *end, uly__buffer *out) {
  assert(out->bytes); /* reserved */
  uint32_t bits = 0;
  int num = 0;
  const char *begin = s;
  for (int value; s < end && (value = value_of(*s)) >= 0; s++) {
    bits = bits << 6 | (uint32_t)value;
    if (++num % 4 != 1) out->bytes[out->n++] = (unsigned char)(bits >> (6 - 2 * ((num - 1) % 4)));
  }
  int num_padding = (4 - num % 4) % 4;
  for (int i = 0; i < num_padding; i++, s++)
    if (s >= end || *s != '=') return NULL;
  return num % 4 == 1 || s == begin ? NULL : s;
}

static uly_status read_line(const char *line, const char *end, int64_t number, uly__buffer *bytes,
                            uly__vocab *out) {
  bytes->n = 0;
  ULY_TRY(uly__buffer_reserve(bytes, end - line));
  const char *space = decode_base64(line, end, bytes), *at = space;
  int64_t rank = 0;
  while (at && at < end && *at == ' ') at++;
  const char *digits = at;
  for (; at && at < end && isdigit((unsigned char)*at) && rank < ULY__MAX_TOKENS; at++)
    rank = 10 * rank + (*at - '0');
  while (at && at > digits && at < end && (*at == '\r' || *at == ' ')) at++;
  if (!space || at == digits || digits == space || at != end)
    ULY_FAIL(ULY_ERR_DATA, "line %lld is not a token in base64 and its rank", (long long)number);
  return uly__vocab_add(out, rank, bytes->bytes, bytes->n, true);
}

static uly_status read_lines(const char *text, int64_t n, uly__buffer *bytes, uly__vocab *out) {
  int64_t number = 0;
  for (const char *at = text, *end = text + n; at < end;) {
    const char *newline = memchr(at, '\n', (size_t)(end - at)), *stop = newline ? newline : end;
    number++;
    if (stop > at) ULY_TRY(read_line(at, stop, number, bytes, out));
    at = stop + 1;
  }
  return ULY_OK;
}

/* ------------------------------------------------------------------------------- merges */

/* A token that is put together again: parts of its bytes, each of them a token, and for each the
 * token that it makes with the next one, or -1. */
typedef struct assembly {
  const uly__vocab *vocab;
  const unsigned char *bytes;
  int num;
  int begins[LONGEST + 1];
  int32_t made[LONGEST];
} assembly;

static void look_up(assembly *a, int i) {
  a->made[i] = uly__vocab_find(a->vocab, a->bytes + a->begins[i], a->begins[i + 2] - a->begins[i]);
}

/* Merges neighbours, the lowest rank first, until two are left or none can be merged. */
static void assemble(assembly *a) {
  for (int i = 0; i + 1 < a->num; i++) look_up(a, i);
  while (a->num > 2) {
    uint32_t lowest = UINT32_MAX; /* -1 is the largest */
    int at = 0;
    for (int i = 0; i + 1 < a->num; i++)
      if ((uint32_t)a->made[i] < lowest) lowest = (uint32_t)a->made[at = i];
    if (lowest == UINT32_MAX) return;
    a->num--;
    for (int i = at + 1; i <= a->num; i++) a->begins[i] = a->begins[i + 1];
    for (int i = at + 1; i + 1 < a->num; i++) a->made[i] = a->made[i + 1];
    if (at > 0) look_up(a, at - 1);
    if (at + 1 < a->num) look_up(a, at);
  }
}

static uly_status find_merge(uly__bpe *bpe, int64_t id) {
  assembly a = {.vocab = &bpe->vocab};
  int64_t n;
  a.bytes = uly__vocab_get(&bpe->vocab, id, &n);
  if (!a.bytes || n < 2) return ULY_OK;
  if (n > LONGEST)
    ULY_FAIL(ULY_ERR_DATA, "the token %lld has %lld bytes, but at most %d are supported",
             (long long)id, (long long)n, LONGEST);
  a.num = (int)n;
  for (int i = 0; i <= n; i++) a.begins[i] = i;
  assemble(&a);
  if (a.num > 2) return ULY_OK; /* only a word of its own */
  int32_t left = uly__vocab_find(&bpe->vocab, a.bytes, a.begins[1]);
  int32_t right = uly__vocab_find(&bpe->vocab, a.bytes + a.begins[1], n - a.begins[1]);
  return uly__bpe_add_pair(bpe, left, right, (uint32_t)id, (int32_t)id);
}

static uly_status make_model(uly__bpe *bpe) {
  bpe->is_byte_level = bpe->ignore_merges = true;
  bpe->unk = -1;
  for (int i = 0; i < 256; i++) {
    unsigned char byte = (unsigned char)i;
    bpe->bytes[i] = uly__vocab_find(&bpe->vocab, &byte, 1);
    if (bpe->bytes[i] < 0) ULY_FAIL(ULY_ERR_DATA, "the byte %d has no rank", i);
  }
  for (int64_t id = 0; id < bpe->vocab.end; id++) ULY_TRY(find_merge(bpe, id));
  return ULY_OK;
}

/* ----------------------------------------------------------------------- special tokens */

static uly_status add_special(uly_tokenizer *t, const char *name, int64_t id) {
  const uly__added_token token = {.id = (int32_t)id, .special = true};
  int64_t n = (int64_t)strlen(name);
  int32_t *grown = realloc(t->special, (size_t)(t->num_special + 1) * sizeof *grown);
  if (!grown) ULY_FAIL(ULY_ERR_MEMORY, "no memory for special tokens");
  t->special = grown;
  t->special[t->num_special++] = token.id;
  if (n == 0) ULY_FAIL(ULY_ERR_CONFIG, "a special token has no name");
  ULY_TRY(uly__vocab_add(&t->names, id, name, n, true));
  ULY_TRY(uly__added_add(&t->added[0], name, n, &token));
  return uly__vocab_add(&t->joining.bytes, id, name, n, false);
}

static uly_status add_known(uly_tokenizer *t, const uly__rank_names *names) {
  int64_t id = 0;
  for (; names->name; names++) {
    if (names->id > 0) id = names->id;
    if (names->num == 0) ULY_TRY(add_special(t, names->name, id++));
    for (int i = 0; i < names->num; i++) {
      char name[96];
      snprintf(name, sizeof name, "%s%d|>", names->name, names->first + i);
      ULY_TRY(add_special(t, name, id++));
    }
  }
  return ULY_OK;
}

static uly_status add_around(uly_tokenizer *t, const char *begin) {
  int64_t id;
  if (!begin) return ULY_OK;
  ULY_TRY(uly_tokenizer_find(t, begin, (int64_t)strlen(begin), &id));
  t->before = malloc(sizeof *t->before);
  if (!t->before) ULY_FAIL(ULY_ERR_MEMORY, "no memory for a tokenizer");
  t->before[t->num_before++] = (int32_t)id;
  return ULY_OK;
}

/* ------------------------------------------------------------------------------ reading */

static uly_status set_pattern(uly_tokenizer *t, const char *pattern) {
  const uly__known_pattern *known = uly__known_pattern_find(pattern, ULY__RUST);
  uly__step *step = &t->pre_tokenizer.steps[t->pre_tokenizer.num_steps++];
  t->pre_tokenizer.is_byte_level = true;
  step->kind = known ? ULY__STEP_SCANNER : ULY__STEP_PATTERN;
  step->known = known;
  if (known) step->scan = known->scan;
  step->string = strdup(pattern);
  if (!step->string) ULY_FAIL(ULY_ERR_MEMORY, "no memory for a tokenizer");
  step->num_string = (int64_t)strlen(pattern);
  return known ? ULY_OK : uly__pattern_compile(pattern, ULY__RUST, &step->pattern);
}

static uly_status set_known(uly_tokenizer *t, const char *file) {
  const uly__known_ranks *known = uly__known_ranks_find(&t->bpe.vocab, file);
  if (!known)
    ULY_FAIL(ULY_ERR_CONFIG,
             "these are %lld ranks that the library does not know, and such a file does not say "
             "how texts are divided into words: give the regular expression of the model "
             "(uly_tokenizer_config)",
             (long long)t->bpe.vocab.num);
  if (known->uses_nfc) t->normalizer.changes[t->normalizer.num_changes++].form = ULY__NFC;
  ULY_TRY(set_pattern(t, known->pattern));
  ULY_TRY(add_known(t, known->names));
  return add_around(t, known->begin);
}

static uly_status set_given(uly_tokenizer *t, const uly_tokenizer_config *config) {
  if (!config->special_tokens && config->num_special_tokens != 0)
    ULY_FAIL(ULY_ERR_CONFIG, "there are %d special tokens, but no list of their names",
             config->num_special_tokens);
  ULY_TRY(set_pattern(t, config->pattern));
  for (int i = 0; i < config->num_special_tokens; i++) {
    if (!config->special_tokens[i])
      ULY_FAIL(ULY_ERR_CONFIG, "the name of special token %d is NULL", i);
    ULY_TRY(add_special(t, config->special_tokens[i], t->bpe.vocab.end + i));
  }
  return ULY_OK;
}

uly_status uly__tokenizer_read_tiktoken(const char *text, int64_t n, const char *file,
                                        const uly_tokenizer_config *config,
                                        uly_tokenizer *tokenizer) {
  uly_tokenizer *t = tokenizer;
  uly__buffer bytes = {0};
  if (n > MOST_BYTES)
    ULY_FAIL(ULY_ERR_DATA, "there are %lld bytes of ranks, but at most %d are supported",
             (long long)n, MOST_BYTES);
  uly_status status = read_lines(text, n, &bytes, &t->bpe.vocab);
  uly__buffer_free(&bytes);
  ULY_TRY(status);
  ULY_TRY(make_model(&t->bpe));
  for (int64_t id = 0, length; id < t->bpe.vocab.end; id++) {
    const unsigned char *token = uly__vocab_get(&t->bpe.vocab, id, &length);
    if (token) ULY_TRY(uly__vocab_add(&t->joining.bytes, id, token, length, false));
  }
  t->joining.separator = "";
  ULY_TRY(config->pattern ? set_given(t, config) : set_known(t, file));
  uly__tokenizer_sort_special(t);
  snprintf(t->info.kind, sizeof t->info.kind, "tiktoken");
  return ULY_OK;
}
