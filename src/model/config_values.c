/* Reads single values of a config.json: see config_values.h. */
#include "model/config_values.h"

#include <string.h>

uly__quoted uly__quote(const char *text) {
  uly__quoted out = {"something other than a string"};
  if (text) snprintf(out.text, sizeof out.text, "\"%s\"", uly__make_printable(text).text);
  return out;
}

uly_status uly__config_int(const uly__config_reader *r, const json_t *from, const char *key,
                           int64_t lowest, int64_t largest, int64_t *value) {
  const json_t *item = json_object_get(from, key);
  if (!uly__config_has(from, key)) return ULY_OK;
  if (!json_is_integer(item) || json_integer_value(item) < lowest ||
      json_integer_value(item) > largest)
    ULY_FAIL(ULY_ERR_CONFIG, "'%s': \"%s\" must be an integer from %lld to %lld", r->path, key,
             (long long)lowest, (long long)largest);
  *value = json_integer_value(item);
  return ULY_OK;
}

uly_status uly__config_small(const uly__config_reader *r, const char *key, int64_t lowest,
                             int64_t largest, int *value) {
  int64_t wide = *value;
  ULY_TRY(uly__config_int(r, r->json, key, lowest, largest, &wide));
  *value = (int)wide;
  return ULY_OK;
}

uly_status uly__config_real(const uly__config_reader *r, const json_t *from, const char *key,
                            double *value) {
  const double lowest = 1e-37, largest = 1e38;
  const json_t *item = json_object_get(from, key);
  if (!uly__config_has(from, key)) return ULY_OK;
  double number = json_number_value(item);
  if (!json_is_number(item) || number < lowest || number > largest)
    ULY_FAIL(ULY_ERR_CONFIG, "'%s': \"%s\" must be a positive number, from %g to %g", r->path, key,
             lowest, largest);
  *value = number;
  return ULY_OK;
}

uly_status uly__config_bool(const uly__config_reader *r, const json_t *from, const char *key,
                            bool *value) {
  const json_t *item = json_object_get(from, key);
  if (!uly__config_has(from, key)) return ULY_OK;
  if (!json_is_boolean(item))
    ULY_FAIL(ULY_ERR_CONFIG, "'%s': \"%s\" must be true or false", r->path, key);
  *value = json_is_true(item);
  return ULY_OK;
}

uly_status uly__config_list(const uly__config_reader *r, const char *key, int num_layers,
                            const json_t **list) {
  *list = uly__config_has(r->json, key) ? json_object_get(r->json, key) : NULL;
  if (*list && (!json_is_array(*list) || json_array_size(*list) != (size_t)num_layers))
    ULY_FAIL(ULY_ERR_CONFIG,
             "'%s': \"%s\" must be a list with one entry for each of the %d layers, or null",
             r->path, key, num_layers);
  return ULY_OK;
}

uly_status uly__config_require_text(const uly__config_reader *r, const char *key,
                                    const char *supported, const char *also) {
  const char *text = json_string_value(json_object_get(r->json, key));
  if (!uly__config_has(r->json, key)) return ULY_OK;
  if (!text || (strcmp(text, supported) != 0 && strcmp(text, also) != 0))
    ULY_FAIL(ULY_ERR_CONFIG, "'%s': \"%s\" is %s, but only \"%s\" is supported", r->path, key,
             uly__quote(text).text, supported);
  return ULY_OK;
}

uly_status uly__config_require_bool(const uly__config_reader *r, const char *key, bool supported) {
  bool value = supported;
  ULY_TRY(uly__config_bool(r, r->json, key, &value));
  if (value != supported)
    ULY_FAIL(ULY_ERR_CONFIG, "'%s': \"%s\" is %s, which is not supported", r->path, key,
             value ? "true" : "false");
  return ULY_OK;
}
