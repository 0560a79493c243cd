/* The settings that a checkpoint records: see settings_json.h. */
#include "store/settings_json.h"

#include <assert.h>
#include <string.h>

#include "base/status.h"
#include "comm/mesh.h"
#include "store/settings.h"

static bool is_in_object(const uly_setting *s) { return strchr(s->record, '.') != NULL; }

/* Returns the value of a key that is left out: the default or, if that is -1 because the model
 * decides, 0, which a run has in its place. */
static uly_setting_value absent_value(const uly_setting *s) {
  return s->unset ? (uly_setting_value){.integer = 0} : s->initial;
}

static bool is_left_out(const uly_setting *s, const uly_train_config *config) {
  if (!is_in_object(s)) return false;
  if (s->needs) return !uly__setting_has_effect(s, config);
  return uly__setting_get(s, config).integer == absent_value(s).integer;
}

static json_t *to_json(const uly_setting *s, uly_setting_value value) {
  assert(s->type != ULY_SETTING_TEXT); /* nobody would free it after it is read */
  if (s->type == ULY_SETTING_REAL) return json_real(value.real);
  if (s->type == ULY_SETTING_CHOICE) return json_string(s->words[value.integer]);
  if (s->type == ULY_SETTING_BOOLEAN) return json_true();
  return json_integer((json_int_t)value.integer);
}

/* Returns whether the item is a value that the setting may have. A key that is there at all turns
 * on a BOOLEAN, which may share its key with a setting that needs it. */
static bool from_json(const uly_setting *s, const json_t *item, uly_setting_value *value) {
  const char *text = json_string_value(item);
  if (s->type == ULY_SETTING_BOOLEAN) {
    value->integer = 1;
    return true;
  }
  if (s->type == ULY_SETTING_REAL) {
    value->real = json_number_value(item);
    return json_is_number(item) && uly__setting_allows(s, *value);
  }
  if (s->type != ULY_SETTING_CHOICE) {
    value->integer = (uint64_t)json_integer_value(item);
    return json_is_integer(item) && uly__setting_allows(s, *value);
  }
  for (value->integer = 0; text && s->words[value->integer]; value->integer++)
    if (strcmp(text, s->words[value->integer]) == 0) return true;
  return false;
}

/* Takes the first word off a key such as "attention.window"; returns false if it is the last. */
static bool take_word(const char **key, char word[64]) {
  size_t length = strcspn(*key, ".");
  if (!(*key)[length]) return false;
  snprintf(word, 64, "%.*s", (int)length, *key);
  *key += length + 1;
  return true;
}

static void write_one(json_t *json, const uly_setting *s, const uly_train_config *config) {
  const char *key = s->record;
  char word[64];
  while (take_word(&key, word)) {
    if (!json_object_get(json, word)) json_object_set_new(json, word, json_object());
    json = json_object_get(json, word);
  }
  json_object_set_new(json, key, to_json(s, uly__setting_get(s, config)));
}

void uly__settings_write_json(json_t *json, const uly_train_config *config) {
  for (int in_object = 0; in_object < 2; in_object++) {
    if (in_object) json_object_set_new(json, "attention", json_object()); /* empty, if need be */
    for (int i = 0; i < uly__num_settings; i++) {
      const uly_setting *s = &uly__settings[i];
      if (!s->record || is_in_object(s) != in_object || is_left_out(s, config)) continue;
      write_one(json, s, config);
    }
  }
}

static uly_status read_one(const json_t *json, const uly_setting *s, const char *path,
                           uly_train_config *config) {
  const char *key = s->record;
  char word[64], range[ULY_RANGE_TEXT];
  while (json && take_word(&key, word)) {
    json = json_object_get(json, word);
    if (json && !json_is_object(json))
      ULY_FAIL(ULY_ERR_DATA, "'%s': \"%s\" is not an object", path, word);
  }
  const json_t *item = json_object_get(json, key);
  uly_setting_value value = absent_value(s);
  if (item ? !from_json(s, item, &value) : !is_in_object(s)) {
    if (s->type == ULY_SETTING_CHOICE)
      ULY_FAIL(ULY_ERR_DATA, "'%s': \"%s\" is missing or is not a word that a save writes", path,
               key);
    uly__setting_range(s, range);
    ULY_FAIL(ULY_ERR_DATA, "'%s': \"%s\" is missing or is not a number %s", path, key, range);
  }
  uly__setting_put(s, config, value);
  return ULY_OK;
}

uly_status uly__settings_read_json(const json_t *json, const char *path, uly_train_config *config) {
  *config = uly__train_config_default();
  for (int i = 0; i < uly__num_settings; i++) {
    const uly_setting *s = &uly__settings[i];
    if (s->record && uly__setting_has_effect(s, config)) ULY_TRY(read_one(json, s, path, config));
  }
  return ULY_OK;
}
