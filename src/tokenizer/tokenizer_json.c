/* Reads a tokenizer.json, the file of the package `tokenizers`. */
#include "tokenizer/tokenizer_json.h"

#include <string.h>

#include "base/printable.h"
#include "tokenizer/tokenizer_readers.h"

/* Keeps what the normalizer has made of the name of an added token. */
static uly_status add_changed(uly_tokenizer *t, const char *name, int64_t n, const void *changed,
                              int64_t num, const uly__added_token *token, bool *is_changed) {
  *is_changed = num != n || memcmp(changed, name, (size_t)n) != 0;
  if (*is_changed) ULY_TRY(uly__vocab_add(&t->changed_names, token->id, changed, num, false));
  return num > 0 ? uly__added_add(&t->added[1], changed, num, token) : ULY_OK;
}

/* Adds a name to those that are found in texts. One that is found in normalized text is normalized
 * itself; *is_changed says whether that makes it another one. */
static uly_status add_name(uly_tokenizer *t, const char *name, int64_t n, bool is_normalized,
                           const uly__added_token *token, bool *is_changed) {
  *is_changed = false;
  if (!is_normalized) return uly__added_add(&t->added[0], name, n, token);
  uly__buffer buffers[2] = {{0}, {0}};
  uly__matcher *matcher;
  const unsigned char *changed;
  int64_t num;
  ULY_TRY(uly__matcher_create(&matcher));
  uly_status status = uly__normalize(&t->normalizer, matcher, buffers, (const unsigned char *)name,
                                     n, false, &changed, &num);
  if (status == ULY_OK) status = add_changed(t, name, n, changed, num, token, is_changed);
  uly__matcher_free(matcher);
  uly__buffer_free(&buffers[0]);
  uly__buffer_free(&buffers[1]);
  return status;
}

/* Refuses an id that the package would not give: that of the vocabulary, if the name is in it, or
 * else the next one after the number of tokens in the vocabulary, which no token of it may have. */
static uly_status check_added_id(const uly_tokenizer *t, const char *name, const json_t *known,
                                 int64_t id, int64_t next) {
  int64_t n;
  if (known && json_integer_value(known) != id)
    ULY_FAIL(ULY_ERR_DATA, "the added token '%s' has the id %lld, but %lld in the vocabulary",
             uly__make_printable(name).text, (long long)id, (long long)json_integer_value(known));
  if (!known && id != next)
    ULY_FAIL(ULY_ERR_DATA,
             "the added token '%s' has the id %lld, but the next id is %lld: added tokens that are "
             "not in the vocabulary are numbered in the order of their list, and begin at the "
             "number of tokens in the vocabulary",
             uly__make_printable(name).text, (long long)id, (long long)next);
  if (!known && uly__vocab_get(&t->bpe.vocab, id, &n))
    ULY_FAIL(ULY_ERR_DATA, "the added token '%s' has the id %lld of a token in the vocabulary",
             uly__make_printable(name).text, (long long)id);
  return ULY_OK;
}

/* Reads an added token; *next is the next id of those that are not in the vocabulary. */
static uly_status read_added(const json_t *json, const json_t *vocab, int64_t *next,
                             uly_tokenizer *t) {
  const json_t *id = json_object_get(json, "id");
  uly__added_token token = {0};
  const char *name;
  int64_t n;
  bool is_normalized, is_changed;
  ULY_TRY(uly__json_text(json, "content", &name, &n));
  if (!json_is_integer(id)) ULY_FAIL(ULY_ERR_DATA, "an added token has no integer \"id\"");
  if (n == 0) return ULY_OK;
  ULY_TRY(uly__json_flag(json, "single_word", false, &token.single_word));
  ULY_TRY(uly__json_flag(json, "lstrip", false, &token.lstrip));
  ULY_TRY(uly__json_flag(json, "rstrip", false, &token.rstrip));
  ULY_TRY(uly__json_flag(json, "special", false, &token.special));
  ULY_TRY(uly__json_flag(json, "normalized", true, &is_normalized));
  const json_t *known = strlen(name) == (size_t)n ? json_object_get(vocab, name) : NULL;
  ULY_TRY(check_added_id(t, name, known, json_integer_value(id), *next));
  *next += !known;
  ULY_TRY(uly__vocab_add(&t->names, json_integer_value(id), name, n, true));
  token.id = (int32_t)json_integer_value(id);
  ULY_TRY(add_name(t, name, n, is_normalized, &token, &is_changed));
  /* The package looks for the text of a token among the names of special tokens. */
  if (token.special && !is_changed) t->special[t->num_special++] = token.id;
  return ULY_OK;
}

static uly_status read_all_added(const json_t *list, const json_t *vocab, uly_tokenizer *t) {
  if (!list || json_is_null(list)) return ULY_OK;
  if (!json_is_array(list)) ULY_FAIL(ULY_ERR_DATA, "\"added_tokens\" is not a list");
  t->special = malloc((json_array_size(list) + 1) * sizeof *t->special);
  if (!t->special) ULY_FAIL(ULY_ERR_MEMORY, "no memory for added tokens");
  int64_t next = (int64_t)json_object_size(vocab);
  for (size_t i = 0; i < json_array_size(list); i++)
    ULY_TRY(read_added(json_array_get(list, i), vocab, &next, t));
  uly__tokenizer_sort_special(t);
  return ULY_OK;
}

/* Refuses a post-processor that puts nonexistent tokens around a text. */
static uly_status check_around(const uly_tokenizer *t) {
  int64_t n;
  for (int i = 0; i < t->num_before + t->num_after; i++) {
    int32_t id = i < t->num_before ? t->before[i] : t->after[i - t->num_before];
    if (!uly__vocab_get(&t->joining.bytes, id, &n))
      ULY_FAIL(ULY_ERR_DATA,
               "the post-processor puts token %ld around a text: there is no such token", (long)id);
  }
  return ULY_OK;
}

static uly_status read_root(json_t *root, uly_tokenizer *t) {
  json_t *model = json_object_get(root, "model"), *vocab = json_object_get(model, "vocab");
  ULY_TRY(uly__read_normalizer(json_object_get(root, "normalizer"), &t->normalizer));
  ULY_TRY(uly__read_pre_tokenizer(json_object_get(root, "pre_tokenizer"), &t->pre_tokenizer));
  t->bpe.is_byte_level = t->pre_tokenizer.is_byte_level;
  ULY_TRY(uly__read_model(model, &t->bpe));
  ULY_TRY(read_all_added(json_object_get(root, "added_tokens"), vocab, t));
  ULY_TRY(uly__read_post_processor(json_object_get(root, "post_processor"), t));
  ULY_TRY(uly__read_decoder(json_object_get(root, "decoder"), vocab, &t->names, &t->changed_names,
                            &t->joining));
  ULY_TRY(check_around(t));
  t->info.unk = t->bpe.unk;
  snprintf(t->info.kind, sizeof t->info.kind, "%s",
           t->bpe.is_byte_level ? "byte-level BPE" : "BPE");
  return ULY_OK;
}

uly_status uly__tokenizer_read_json(const char *bytes, int64_t n, uly_tokenizer *out) {
  json_error_t error;
  json_t *root = json_loadb(bytes, (size_t)n, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &error);
  if (!root)
    ULY_FAIL(ULY_ERR_DATA, "line %d, column %d: this is not JSON: %s", error.line, error.column,
             uly__make_printable(error.text).text);
  uly_status status = read_root(root, out);
  json_decref(root);
  return status;
}

/* ---------------------------------------------------------------------------- GPT-2 */

/* Takes the lines of a merges.txt, without the first, which begins with #version. */
static uly_status read_merge_lines(const char *text, int64_t n, json_t *merges) {
  for (const char *at = text, *end = text + n; at < end;) {
    const char *newline = memchr(at, '\n', (size_t)(end - at)), *stop = newline ? newline : end;
    size_t length = (size_t)(stop - at);
    if (length > 0 && at[length - 1] == '\r') length--;
    bool is_merge = length > 0 && !(at == text && length > 8 && memcmp(at, "#version", 8) == 0);
    if (is_merge && json_array_append_new(merges, json_stringn(at, length)) != 0)
      ULY_FAIL(ULY_ERR_DATA, "merges.txt is not UTF-8");
    at = stop + 1;
  }
  return ULY_OK;
}

/* Makes what a tokenizer.json of GPT-2 would hold; takes over vocab. */
static json_t *make_gpt2(json_t *vocab, json_t **merges) {
  *merges = json_array();
  return json_pack("{s:{s:s,s:o,s:O},s:{s:s,s:b},s:{s:s},s:[{s:s,s:i,s:b,s:b}]}", "model", "type",
                   "BPE", "vocab", vocab, "merges", *merges, "pre_tokenizer", "type", "ByteLevel",
                   "add_prefix_space", 0, "decoder", "type", "ByteLevel", "added_tokens", "content",
                   "<|endoftext|>", "id", 50256, "special", 1, "normalized", 0);
}

uly_status uly__tokenizer_read_gpt2(const char *vocab, int64_t num_vocab, const char *merges,
                                    int64_t num_merges, uly_tokenizer *out) {
  enum { NUM_TOKENS = 50257, NUM_MERGES = 50000 };
  json_error_t error;
  json_t *list, *ids = json_loadb(vocab, (size_t)num_vocab, JSON_REJECT_DUPLICATES, &error);
  if (!ids)
    ULY_FAIL(ULY_ERR_DATA, "line %d, column %d: this is not JSON: %s", error.line, error.column,
             uly__make_printable(error.text).text);
  bool is_gpt2 = json_object_size(ids) == NUM_TOKENS &&
                 json_integer_value(json_object_get(ids, "<|endoftext|>")) == NUM_TOKENS - 1;
  json_t *root = make_gpt2(ids, &list);
  uly_status status = root && list ? read_merge_lines(merges, num_merges, list)
                                   : uly_fail(ULY_ERR_MEMORY, "no memory for a tokenizer");
  if (status == ULY_OK && !(is_gpt2 && json_array_size(list) == NUM_MERGES))
    status = uly_fail(ULY_ERR_DATA,
                      "vocab.json and merges.txt are not those of GPT-2, and do not say how the "
                      "model divides texts into words: save its tokenizer.json with transformers");
  if (status == ULY_OK) status = read_root(root, out);
  json_decref(list);
  json_decref(root);
  return status;
}
