/* The model of a tokenizer.json: a vocabulary and merges. */
#include <string.h>

#include "base/printable.h"
#include "tokenizer/tokenizer_json.h"

/* The model that is being read, with room for the longest name. */
typedef struct reading {
  uly__bpe *bpe;
  uly__buffer bytes;
} reading;

/* Turns the name of a token into what the vocabulary holds: r->bytes. *is_found says whether words
 * can be made of it. */
static uly_status convert(reading *r, const char *name, int64_t n, bool *is_found) {
  r->bytes.n = 0;
  *is_found = true;
  ULY_TRY(uly__buffer_reserve(&r->bytes, n));
  if (!r->bpe->is_byte_level) return uly__buffer_add(&r->bytes, name, n);
  *is_found = uly__bytes_of_characters(name, n, &r->bytes);
  if (*is_found) return ULY_OK;
  return uly__buffer_add(&r->bytes, name, n);
}

static uly_status read_vocab(reading *r, json_t *vocab) {
  const char *name;
  json_t *id;
  if (!json_is_object(vocab)) ULY_FAIL(ULY_ERR_DATA, "the model has no \"vocab\" with tokens");
  json_object_foreach(vocab, name, id) {
    bool is_found;
    if (!json_is_integer(id))
      ULY_FAIL(ULY_ERR_DATA, "the id of the token '%s' is not an integer",
               uly__make_printable(name).text);
    ULY_TRY(convert(r, name, (int64_t)strlen(name), &is_found));
    ULY_TRY(uly__vocab_add(&r->bpe->vocab, json_integer_value(id), r->bytes.bytes, r->bytes.n,
                           is_found));
  }
  return ULY_OK;
}

/* Finds one half of a merge, and appends its bytes to `made`. */
static uly_status find_half(reading *r, const char *name, int64_t n, uly__buffer *made,
                            int32_t *id) {
  bool is_found;
  ULY_TRY(convert(r, name, n, &is_found));
  *id = is_found ? uly__vocab_find(&r->bpe->vocab, r->bytes.bytes, r->bytes.n) : -1;
  if (*id >= 0) return uly__buffer_add(made, r->bytes.bytes, r->bytes.n);
  char text[128];
  snprintf(text, sizeof text, "%.*s", n < 120 ? (int)n : 120, name);
  ULY_FAIL(ULY_ERR_DATA, "a merge names '%s', which is not a token",
           uly__make_printable(text).text);
}

static uly_status read_merge(reading *r, const json_t *merge, uint32_t rank, uly__buffer *made) {
  const char *left = json_string_value(merge), *right = NULL;
  int64_t num_left = 0, num_right = 0;
  if (left) {
    const char *space = strchr(left, ' ');
    right = space && !strchr(space + 1, ' ') ? space + 1 : NULL;
    num_left = space ? space - left : 0;
    num_right = right ? (int64_t)strlen(right) : 0;
  } else if (json_array_size(merge) == 2) {
    left = json_string_value(json_array_get(merge, 0));
    right = json_string_value(json_array_get(merge, 1));
    num_left = (int64_t)json_string_length(json_array_get(merge, 0));
    num_right = (int64_t)json_string_length(json_array_get(merge, 1));
  }
  if (!left || !right) ULY_FAIL(ULY_ERR_DATA, "merge %u is not a pair of tokens", (unsigned)rank);
  int32_t a, b;
  made->n = 0;
  ULY_TRY(find_half(r, left, num_left, made, &a));
  ULY_TRY(find_half(r, right, num_right, made, &b));
  int32_t id = uly__vocab_find(&r->bpe->vocab, made->bytes, made->n);
  if (id < 0)
    ULY_FAIL(ULY_ERR_DATA,
             "merge %u makes something that is not a token from the tokens %ld and %ld",
             (unsigned)rank, (long)a, (long)b);
  return uly__bpe_add_pair(r->bpe, a, b, rank, id);
}

static uly_status read_merges(reading *r, const json_t *merges) {
  uly__buffer made = {0};
  uly_status status = ULY_OK;
  if (!json_is_array(merges)) ULY_FAIL(ULY_ERR_DATA, "the model has no list of \"merges\"");
  for (size_t i = 0; status == ULY_OK && i < json_array_size(merges); i++)
    status = read_merge(r, json_array_get(merges, i), (uint32_t)i, &made);
  uly__buffer_free(&made);
  return status;
}

/* Finds the tokens of single bytes: as symbols, or as what unknown characters become. */
static uly_status find_bytes(uly__bpe *bpe) {
  int num = 0;
  for (int i = 0; i < 256; i++) {
    char name[8];
    unsigned char byte = (unsigned char)i;
    snprintf(name, sizeof name, "<0x%02X>", (unsigned)i);
    bpe->bytes[i] = bpe->is_byte_level ? uly__vocab_find(&bpe->vocab, &byte, 1)
                                       : uly__vocab_find(&bpe->vocab, name, 6);
    num += bpe->bytes[i] >= 0;
  }
  if (bpe->is_byte_level && bpe->byte_fallback && num < 256)
    ULY_FAIL(ULY_ERR_DATA, "a byte-level model with byte_fallback lacks tokens of %d bytes",
             256 - num);
  return ULY_OK;
}

/* Refuses a model that is not BPE, or that has settings which are not supported. */
static uly_status check_model(const json_t *json) {
  static const char *const unsupported[] = {"continuing_subword_prefix", "end_of_word_suffix"};
  const json_t *type = json_object_get(json, "type");
  const char *name = json_is_string(type) ? json_string_value(type) : "BPE";
  if (!json_is_object(json)) ULY_FAIL(ULY_ERR_DATA, "there is no \"model\"");
  if (strcmp(name, "BPE") != 0)
    ULY_FAIL(ULY_ERR_DATA,
             "the model is %s, but only BPE is supported in a tokenizer.json: if there is a "
             "tokenizer.model of SentencePiece beside it, open that",
             uly__make_printable(name).text);
  for (size_t i = 0; i < sizeof unsupported / sizeof *unsupported; i++)
    if (json_string_length(json_object_get(json, unsupported[i])) > 0)
      ULY_FAIL(ULY_ERR_DATA, "the model has a %s, which is not supported", unsupported[i]);
  if (json_number_value(json_object_get(json, "dropout")) != 0)
    ULY_FAIL(ULY_ERR_DATA, "the model has dropout, which makes the tokens of a text random");
  return ULY_OK;
}

static uly_status read_unknown(const json_t *json, uly__bpe *bpe) {
  const json_t *unk = json_object_get(json, "unk_token");
  bpe->unk = -1;
  if (!unk || json_is_null(unk)) return ULY_OK;
  if (!json_is_string(unk)) ULY_FAIL(ULY_ERR_DATA, "\"unk_token\" is not a string");
  bpe->unk = uly__vocab_find(&bpe->vocab, json_string_value(unk), (int64_t)json_string_length(unk));
  for (int64_t i = 0, n; bpe->unk < 0 && i < bpe->vocab.end; i++) {
    const unsigned char *bytes = uly__vocab_get(&bpe->vocab, i, &n);
    if (bytes && n == (int64_t)json_string_length(unk) &&
        memcmp(bytes, json_string_value(unk), (size_t)n) == 0)
      bpe->unk = (int32_t)i;
  }
  if (bpe->unk < 0)
    ULY_FAIL(ULY_ERR_DATA, "the unknown token '%s' is not in the vocabulary",
             uly__make_printable(json_string_value(unk)).text);
  return ULY_OK;
}

uly_status uly__read_model(json_t *json, uly__bpe *bpe) {
  reading r = {.bpe = bpe};
  ULY_TRY(check_model(json));
  ULY_TRY(uly__json_flag(json, "ignore_merges", false, &bpe->ignore_merges));
  ULY_TRY(uly__json_flag(json, "fuse_unk", false, &bpe->fuse_unk));
  ULY_TRY(uly__json_flag(json, "byte_fallback", false, &bpe->byte_fallback));
  uly_status status = read_vocab(&r, json_object_get(json, "vocab"));
  if (status == ULY_OK) status = read_merges(&r, json_object_get(json, "merges"));
  if (status == ULY_OK) status = read_unknown(json, bpe);
  uly__buffer_free(&r.bytes);
  return status == ULY_OK ? find_bytes(bpe) : status;
}
