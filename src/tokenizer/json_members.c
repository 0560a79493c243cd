/* Members of JSON objects, as a tokenizer.json has them. */
#include <string.h>

#include "base/printable.h"
#include "tokenizer/tokenizer_json.h"

uly_status uly__json_text(const json_t *object, const char *key, const char **text, int64_t *n) {
  const json_t *member = json_object_get(object, key);
  if (!json_is_string(member)) ULY_FAIL(ULY_ERR_DATA, "\"%s\" is missing or not a string", key);
  *text = json_string_value(member);
  if (n) *n = (int64_t)json_string_length(member);
  if (!n && strlen(*text) != json_string_length(member))
    ULY_FAIL(ULY_ERR_DATA, "\"%s\" contains a NUL character", key);
  return ULY_OK;
}

uly_status uly__json_flag(const json_t *object, const char *key, bool otherwise, bool *flag) {
  const json_t *member = json_object_get(object, key);
  *flag = member && !json_is_null(member) ? json_is_true(member) : otherwise;
  if (member && !json_is_boolean(member) && !json_is_null(member))
    ULY_FAIL(ULY_ERR_DATA, "\"%s\" is neither true nor false", key);
  return ULY_OK;
}

uly_status uly__json_list(json_t *object, const char *key, json_t **list) {
  const char *type = NULL;
  *list = NULL;
  if (object && !json_is_null(object)) ULY_TRY(uly__json_text(object, "type", &type, NULL));
  bool is_sequence = type && strcmp(type, "Sequence") == 0;
  if (is_sequence) {
    *list = json_incref(json_object_get(object, key));
    if (json_is_array(*list)) return ULY_OK;
    json_decref(*list);
    *list = NULL;
    ULY_FAIL(ULY_ERR_DATA, "a Sequence has no \"%s\"", key);
  }
  *list = json_array();
  if (!*list || (type && json_array_append(*list, object) != 0))
    ULY_FAIL(ULY_ERR_MEMORY, "no memory for a tokenizer");
  return ULY_OK;
}

uly_status uly__json_pattern(const json_t *object, const char **text, int64_t *n, bool *is_regex) {
  const json_t *pattern = json_object_get(object, "pattern");
  *is_regex = json_object_get(pattern, "Regex") != NULL;
  ULY_TRY(uly__json_text(pattern, *is_regex ? "Regex" : "String", text, n));
  if (*n == 0) ULY_FAIL(ULY_ERR_DATA, "a pattern is empty");
  if (*is_regex && memchr(*text, 0, (size_t)*n))
    ULY_FAIL(ULY_ERR_DATA, "a pattern contains a NUL character");
  return ULY_OK;
}
