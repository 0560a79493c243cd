/* Text to tokens: see tokenizer.h. */
#include "tokenizer/tokenizer.h"

#include <stdlib.h>

#include "base/sized.h"
#include "tokenizer/word_cache.h"

struct uly__encoder {
  uly__encoder *next;
  const uly_tokenizer *tokenizer;
  uly__pre_tokenizer_run run;
  uly__bpe_scratch scratch;
  uly__word_cache *cache;
  uly__buffer normalized[2], replaced;
  /* The caller's text, whose memory ends where the text does; and the list that tokens go to. */
  const unsigned char *text, *text_end;
  uly_token_list *out;
  uly_status status; /* of a callback */
};

/* -------------------------------------------------------------------------- encoders */

static uly_status take_word(void *context, const unsigned char *word, int64_t n);

static uly_status create(const uly_tokenizer *tokenizer, uly__encoder *e) {
  e->tokenizer = tokenizer;
  e->run.pre_tokenizer = &tokenizer->pre_tokenizer;
  e->run.classes = uly__class_table_get();
  e->run.take = take_word;
  e->run.context = e;
  e->cache = aligned_alloc(64, sizeof *e->cache);
  if (!e->cache || !e->run.classes) ULY_FAIL(ULY_ERR_MEMORY, "no memory to encode text");
  memset(e->cache, 0, sizeof *e->cache);
  return uly__matcher_create(&e->run.matcher);
}

uly_status uly__encoder_take(const uly_tokenizer *tokenizer, uly__encoder **out) {
  /* The list of encoders may change, since it is not part of what the tokenizer is. */
  uly_tokenizer *t = (uly_tokenizer *)tokenizer;
  (void)pthread_mutex_lock(&t->lock);
  uly__encoder *e = *out = t->encoders;
  if (e) t->encoders = e->next;
  (void)pthread_mutex_unlock(&t->lock);
  if (e) return ULY_OK;
  e = calloc(1, sizeof *e);
  if (!e) ULY_FAIL(ULY_ERR_MEMORY, "no memory to encode text");
  uly_status status = create(tokenizer, e);
  if (status == ULY_OK)
    *out = e;
  else
    uly__encoder_free(e);
  return status;
}

void uly__encoder_return(const uly_tokenizer *tokenizer, uly__encoder *encoder) {
  uly_tokenizer *t = (uly_tokenizer *)tokenizer;
  (void)pthread_mutex_lock(&t->lock);
  encoder->next = t->encoders;
  t->encoders = encoder;
  (void)pthread_mutex_unlock(&t->lock);
}

uly__encoder *uly__encoder_next(const uly__encoder *encoder) { return encoder->next; }

void uly__encoder_free(uly__encoder *e) {
  if (!e) return;
  for (int i = 0; i <= ULY__MOST_STEPS; i++) uly__buffer_free(&e->run.changed[i]);
  uly__buffer_free(&e->normalized[0]);
  uly__buffer_free(&e->normalized[1]);
  uly__buffer_free(&e->replaced);
  uly__bpe_scratch_free(&e->scratch);
  uly__matcher_free(e->run.matcher);
  free(e->cache);
  free(e);
}

/* ------------------------------------------------------------------------------ words */

/* Makes room for `more` tokens. */
static uly_status reserve(uly_token_list *list, int64_t more) {
  if (list->num + more <= list->capacity) return ULY_OK;
  int64_t capacity = list->num + more + list->capacity / 2 + 256;
  int32_t *grown = realloc(list->tokens, (size_t)capacity * sizeof *grown);
  if (!grown) ULY_FAIL(ULY_ERR_MEMORY, "no memory for %lld tokens", (long long)capacity);
  list->tokens = grown;
  list->capacity = capacity;
  return ULY_OK;
}

static uly_status encode_word(uly__encoder *e, const unsigned char *word, int64_t n, int64_t *num) {
  uly_token_list *out = e->out;
  ULY_TRY(uly__bpe_encode(&e->tokenizer->bpe, &e->scratch, word, n, out->tokens + out->num, num));
  out->num += *num;
  return ULY_OK;
}

/* Takes a word of more than 15 bytes. Words that are too long to be kept are rarely met again. */
static uly_status take_long(uly__encoder *e, const unsigned char *word, int64_t n) {
  uly_token_list *out = e->out;
  int64_t num;
  if (n > ULY__LONG_WORD) return encode_word(e, word, n, &num);
  uly__long_word *place = uly__long_place(e->cache, word, n);
  if (uly__is_long_word(place, word, n)) {
    memcpy(out->tokens + out->num, place->tokens, sizeof place->tokens);
    out->num += place->num;
    return ULY_OK;
  }
  ULY_TRY(encode_word(e, word, n, &num));
  uly__keep_long(place, word, n, out->tokens + out->num - num, num);
  return ULY_OK;
}

/* Takes a word of the text, or of a buffer in which a step has changed it. */
static uly_status take_word(void *context, const unsigned char *word, int64_t n) {
  uly__encoder *e = context;
  uly_token_list *out = e->out;
  ULY_TRY(reserve(out, n + ULY__LONG_TOKENS));
  if (n > ULY__SHORT_WORD) return take_long(e, word, n);
  uint64_t key[2];
  bool is_open = word < e->text || word >= e->text_end || e->text_end - word >= 16;
  uly__word_key(word, n, is_open, key);
  uly__short_word *set = uly__short_set(e->cache, key);
  const uly__short_word *known = uly__find_short(set, key);
  if (known) {
    memcpy(out->tokens + out->num, known->tokens, sizeof known->tokens);
    out->num += known->num;
    return ULY_OK;
  }
  int64_t num;
  ULY_TRY(encode_word(e, word, n, &num));
  uly__keep_short(set, key, out->tokens + out->num - num, num);
  return ULY_OK;
}

/* -------------------------------------------------------------------------- the text */

/* Where a stretch of text lies, and how it is to be taken. */
typedef struct stretch {
  const unsigned char *text;
  int64_t n;
  /* The beginning of all that is encoded; follows text that was encoded before. */
  bool is_first, continues;
} stretch;

static uly_status add_token(uly__encoder *e, int32_t token) {
  ULY_TRY(reserve(e->out, 1));
  e->out->tokens[e->out->num++] = token;
  return ULY_OK;
}

/* Adds the ids that libsentencepiece hands on. */
static void take_ids(void *context, const int *ids, int64_t num) {
  uly__encoder *e = context;
  e->status = reserve(e->out, num);
  for (int64_t i = 0; e->status == ULY_OK && i < num; i++) e->out->tokens[e->out->num++] = ids[i];
}

/* The model puts a space before every text; one that continues another begins with it. */
static uly_status take_pieces(uly__encoder *e, stretch s) {
  const char *text = (const char *)s.text + s.continues;
  if (!uly__sentencepiece_encode(e->tokenizer->sentencepiece, text, s.n - s.continues, take_ids, e))
    ULY_FAIL(ULY_ERR_MEMORY, "SentencePiece cannot encode %lld bytes", (long long)s.n);
  return e->status;
}

static uly_status take_text(uly__encoder *e, stretch s) {
  if (e->tokenizer->sentencepiece) return take_pieces(e, s);
  return uly__pre_tokenizer_divide(&e->run, s.text, s.n, s.is_first);
}

static uly_status take_raw(uly__encoder *e, stretch s, bool wants_special);

/* Finds the added tokens of a set, and takes what is between them: set 0 in text as it is, and set
 * 1 in normalized text. */
static uly_status find_added(uly__encoder *e, int set, stretch s, bool wants_special) {
  const uly__added *added = &e->tokenizer->added[set];
  for (int64_t at = 0; at < s.n;) {
    uly__added_match match;
    uly__added_find(added, s.text, s.n, at, wants_special, &match);
    int64_t end = match.token ? match.begin : s.n;
    stretch before = {s.text + at, end - at, s.is_first && at == 0, s.continues && at == 0};
    if (end > at) ULY_TRY(set == 0 ? take_raw(e, before, wants_special) : take_text(e, before));
    if (match.token) ULY_TRY(add_token(e, match.token->id));
    at = match.token ? match.end : s.n;
  }
  return ULY_OK;
}

static uly_status take_raw(uly__encoder *e, stretch s, bool wants_special) {
  stretch changed = s;
  ULY_TRY(uly__normalize(&e->tokenizer->normalizer, e->run.matcher, e->normalized, s.text, s.n,
                         s.continues, &changed.text, &changed.n));
  return find_added(e, 1, changed, wants_special);
}

/* Replaces what is not UTF-8. */
static uly_status replace_broken(uly__buffer *out, const unsigned char *text, int64_t n) {
  out->n = 0;
  for (int64_t at = 0; at < n;) {
    int64_t valid = uly__utf8_valid(text + at, n - at);
    ULY_TRY(uly__buffer_add(out, text + at, valid));
    at += valid;
    if (at == n) break;
    ULY_TRY(uly__buffer_add(out, "\xef\xbf\xbd", 3));
    at += uly__utf8_broken(text + at, n - at);
  }
  return ULY_OK;
}

static uly_status add_tokens(uly__encoder *e, const int32_t *tokens, int num) {
  for (int i = 0; i < num; i++) ULY_TRY(add_token(e, tokens[i]));
  return ULY_OK;
}

static uly_status encode(uly__encoder *e, const unsigned char *text, int64_t n, unsigned flags) {
  const uly_tokenizer *t = e->tokenizer;
  int64_t valid = uly__utf8_valid(text, n);
  bool continues = flags & ULY__TOKENIZE_CONTINUES;
  if (valid < n) {
    if (!(flags & ULY_TOKENIZE_REPLACE))
      ULY_FAIL(ULY_ERR_DATA, "the text is not UTF-8: see its byte %lld", (long long)valid);
    ULY_TRY(replace_broken(&e->replaced, text, n));
    text = e->replaced.bytes;
    n = e->replaced.n;
  }
  if (flags & ULY_TOKENIZE_AROUND) ULY_TRY(add_tokens(e, t->before, t->num_before));
  stretch all = {text, n, !continues, continues};
  ULY_TRY(find_added(e, 0, all, flags & ULY_TOKENIZE_SPECIAL));
  return flags & ULY_TOKENIZE_AROUND ? add_tokens(e, t->after, t->num_after) : ULY_OK;
}

uly_status uly__encoder_encode(uly__encoder *encoder, const char *text, int64_t num_bytes,
                               unsigned flags, uly_token_list *tokens) {
  const unsigned char *bytes = (const unsigned char *)text;
  int64_t num = tokens->num;
  encoder->out = tokens;
  encoder->text = bytes;
  encoder->text_end = bytes + num_bytes;
  uly_status status = encode(encoder, bytes, num_bytes, flags);
  if (status != ULY_OK) tokens->num = num;
  return status;
}

uly_status uly_tokenizer_encode(const uly_tokenizer *tokenizer, const char *text, int64_t num_bytes,
                                unsigned flags, uly_token_list *tokens) {
  enum { KNOWN = 2 * ULY_TOKENIZE_REPLACE - 1 };
  ULY_NOT_NULL(tokenizer);
  ULY_NOT_NULL(text);
  ULY_TRY(uly__sized_check(tokens, "uly_token_list"));
  if (flags & ~(unsigned)(KNOWN | ULY__TOKENIZE_CONTINUES))
    ULY_FAIL(ULY_ERR_CONFIG, "the flags %#x are not all known", flags);
  if (num_bytes < 0) ULY_FAIL(ULY_ERR_CONFIG, "a text has %lld bytes", (long long)num_bytes);
  uly__encoder *e;
  ULY_TRY(uly__encoder_take(tokenizer, &e));
  uly_status status = uly__encoder_encode(e, text, num_bytes, flags, tokens);
  uly__encoder_return(tokenizer, e);
  return status;
}

void uly_token_list_free(uly_token_list *list) {
  if (!list) return;
  free(list->tokens);
  list->tokens = NULL;
  list->num = list->capacity = 0;
}
