/* The post-processor of a tokenizer.json: what stands before and after a text. */
#include <string.h>

#include "base/printable.h"
#include "tokenizer/tokenizer_json.h"

enum { MOST = 64 }; /* tokens around a text */

static uly_status add(int32_t **tokens, int *num, int place, json_int_t id) {
  if (*num == MOST) ULY_FAIL(ULY_ERR_DATA, "there are more than %d tokens around a text", MOST);
  if (id < 0 || id >= ULY__MAX_TOKENS)
    ULY_FAIL(ULY_ERR_DATA, "a token around a text has the id %lld", (long long)id);
  if (!*tokens) *tokens = malloc(MOST * sizeof **tokens);
  if (!*tokens) ULY_FAIL(ULY_ERR_MEMORY, "no memory for a tokenizer");
  for (int i = (*num)++; i > place; i--) (*tokens)[i] = (*tokens)[i - 1];
  (*tokens)[place] = (int32_t)id;
  return ULY_OK;
}

/* Adds a token outside of those that are there: before the first, or after the last. */
static uly_status add_outside(uly_tokenizer *t, bool is_before, int place, json_int_t id) {
  return is_before ? add(&t->before, &t->num_before, place, id)
                   : add(&t->after, &t->num_after, t->num_after, id);
}

/* Reads TemplateProcessing: a list of special tokens around the sequence A. */
static uly_status read_template(const json_t *json, uly_tokenizer *t) {
  const json_t *single = json_object_get(json, "single");
  bool is_before = true;
  int place = 0;
  if (!json_is_array(single)) ULY_FAIL(ULY_ERR_DATA, "a template has no list \"single\"");
  for (size_t i = 0; i < json_array_size(single); i++) {
    const json_t *item = json_array_get(single, i);
    const json_t *sequence = json_object_get(item, "Sequence");
    const json_t *special = json_object_get(item, "SpecialToken");
    const char *id;
    ULY_TRY(uly__json_text(sequence ? sequence : special, "id", &id, NULL));
    if (sequence && (strcmp(id, "A") != 0 || !is_before))
      ULY_FAIL(ULY_ERR_DATA, "the template for one text has a second text in it");
    if (sequence) is_before = false;
    if (sequence) continue;
    const json_t *ids =
        json_object_get(json_object_get(json_object_get(json, "special_tokens"), id), "ids");
    if (!json_is_array(ids))
      ULY_FAIL(ULY_ERR_DATA, "a template names '%s', but gives no ids for it",
               uly__make_printable(id).text);
    for (size_t j = 0; j < json_array_size(ids); j++)
      ULY_TRY(add_outside(t, is_before, place++, json_integer_value(json_array_get(ids, j))));
  }
  if (is_before) ULY_FAIL(ULY_ERR_DATA, "the template for one text has no text in it");
  return ULY_OK;
}

/* Reads BertProcessing and RobertaProcessing: "cls" and "sep" are pairs of a name and an id. */
static uly_status read_pair(const json_t *json, uly_tokenizer *t) {
  const json_t *first = json_array_get(json_object_get(json, "cls"), 1);
  const json_t *last = json_array_get(json_object_get(json, "sep"), 1);
  if (!json_is_integer(first) || !json_is_integer(last))
    ULY_FAIL(ULY_ERR_DATA, "a post-processor lacks the ids of \"cls\" or \"sep\"");
  ULY_TRY(add_outside(t, true, 0, json_integer_value(first)));
  return add_outside(t, false, 0, json_integer_value(last));
}

static uly_status read_processor(const json_t *json, uly_tokenizer *t) {
  const char *type;
  ULY_TRY(uly__json_text(json, "type", &type, NULL));
  if (strcmp(type, "ByteLevel") == 0) return ULY_OK; /* about offsets only */
  if (strcmp(type, "TemplateProcessing") == 0) return read_template(json, t);
  if (strcmp(type, "BertProcessing") == 0 || strcmp(type, "RobertaProcessing") == 0)
    return read_pair(json, t);
  ULY_FAIL(ULY_ERR_DATA,
           "the post-processor %s is not supported: ByteLevel, TemplateProcessing, BertProcessing, "
           "RobertaProcessing and a Sequence of these are",
           uly__make_printable(type).text);
}

uly_status uly__read_post_processor(json_t *json, uly_tokenizer *tokenizer) {
  json_t *list;
  ULY_TRY(uly__json_list(json, "processors", &list));
  uly_status status = ULY_OK;
  for (size_t i = 0; status == ULY_OK && i < json_array_size(list); i++)
    status = read_processor(json_array_get(list, i), tokenizer);
  json_decref(list);
  return status;
}
