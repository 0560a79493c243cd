/* Reads single values of a config.json, with messages that name the file and the key. */
#ifndef ULY_CONFIG_VALUES_H
#define ULY_CONFIG_VALUES_H

#include <jansson.h>

#include "base/printable.h"
#include "model/config.h"

/* The kind of model_type: a name that transformers has, or one of our own. */
typedef enum uly__type_kind { ULY_TYPE_HF = 0, ULY_TYPE_OWN } uly__type_kind;

typedef struct uly__config_reader {
  const json_t *json;
  const char *path;
  uly__type_kind type;
} uly__config_reader;

/* The most positions of RoPE, and of a window. */
#define ULY_MOST_POSITIONS ((int64_t)1 << 40)

/* Holds a string of the file in quotes, fit for a message, or words for a value that is not a
 * string (NULL). */
typedef struct uly__quoted {
  char text[sizeof(uly__printable) + 2];
} uly__quoted;
uly__quoted uly__quote(const char *text);

/* Returns whether the key is there, and not null. */
static inline bool uly__config_has(const json_t *from, const char *key) {
  const json_t *item = json_object_get(from, key);
  return item && !json_is_null(item);
}

/* These read a value if its key is there and not null; otherwise *value stays as it is. Real
 * numbers lie within f32, in which they are computed with: a number that would be 0 or infinite
 * there is refused. */
uly_status uly__config_int(const uly__config_reader *r, const json_t *from, const char *key,
                           int64_t lowest, int64_t largest, int64_t *value);
uly_status uly__config_small(const uly__config_reader *r, const char *key, int64_t lowest,
                             int64_t largest, int *value);
uly_status uly__config_real(const uly__config_reader *r, const json_t *from, const char *key,
                            double *value);
uly_status uly__config_bool(const uly__config_reader *r, const json_t *from, const char *key,
                            bool *value);

/* Sets *list to a list with one entry for each layer, or to NULL if its key is missing or null. */
uly_status uly__config_list(const uly__config_reader *r, const char *key, int num_layers,
                            const json_t **list);

/* These check a setting that changes the mathematics and has only one supported value, which has
 * two names. */
uly_status uly__config_require_text(const uly__config_reader *r, const char *key,
                                    const char *supported, const char *also);
uly_status uly__config_require_bool(const uly__config_reader *r, const char *key, bool supported);

/* Reads what config.json says about RoPE (config_rope.c); the numbers of layers, of positions and
 * of elements of a head are known. */
uly_status uly__config_read_rope(const uly__config_reader *r, uly__model_config *config);
/* Adds what config.json says about RoPE to `json`. */
void uly__config_write_rope(const uly__model_config *config, json_t *json);

/* Reads which layers have a window (config_layers.c); those without RoPE are known. */
uly_status uly__config_read_layers(const uly__config_reader *r, uly__model_config *config);
/* Adds which layers have a window to `json`, for a model of this type. */
void uly__config_write_layers(const uly__model_config *config, const char *type, json_t *json);

#endif
