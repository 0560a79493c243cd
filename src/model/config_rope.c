/* Reads and writes what config.json says about RoPE, as transformers does.
 *
 * Version 5 of transformers has an object "rope_parameters" with rope_theta and rope_type in it;
 * version 4 has rope_theta and an object "rope_scaling", whose type may be called "type". A file
 * may have both: an older object that is not empty takes precedence over the newer one, and a key
 * in an object over the same key beside it. Both forms are written. */
#include <math.h>
#include <string.h>

#include "model/config_values.h"

/* The keys that an object may have. "finetuned" says only how a model was made. */
static const char *const keys[] = {"rope_type",        "type",
                                   "rope_theta",       "partial_rotary_factor",
                                   "factor",           "original_max_position_embeddings",
                                   "attention_factor", "low_freq_factor",
                                   "high_freq_factor", "beta_fast",
                                   "beta_slow",        "mscale",
                                   "mscale_all_dim",   "truncate",
                                   "short_factor",     "long_factor",
                                   "finetuned",        NULL};
enum { NUM_DEFAULT_KEYS = 4 }; /* those of the default type come first */

static int find_key(const char *name) {
  int i = 0;
  while (keys[i] && strcmp(keys[i], name) != 0) i++;
  return keys[i] ? i : -1;
}

/* Refuses to rotate only a part of a head. */
static uly_status refuse_partial_rotation(const uly__config_reader *r, const json_t *from) {
  double rotated = 1;
  ULY_TRY(uly__config_real(r, from, "partial_rotary_factor", &rotated));
  if (rotated != 1)
    ULY_FAIL(ULY_ERR_CONFIG, "'%s': \"partial_rotary_factor\" is %g, but only 1 is supported",
             r->path, rotated);
  return ULY_OK;
}

/* Finds the type that an object names. An object that names none is of the default type, unless it
 * has numbers of another type. */
static uly_status read_type(const uly__config_reader *r, const char *object, const json_t *rope,
                            uly__rope_type *type) {
  const char *key;
  json_t *value;
  const json_t *item = json_object_get(rope, "rope_type");
  if (!item) item = json_object_get(rope, "type");
  json_object_foreach((json_t *)(uintptr_t)rope, key, value) {
    int i = find_key(key);
    if (i < 0)
      ULY_FAIL(ULY_ERR_CONFIG,
               "'%s': \"%s\" has \"%s\", which is not a key of any type of RoPE that is supported",
               r->path, object, uly__make_printable(key).text);
    if (!item && i >= NUM_DEFAULT_KEYS)
      ULY_FAIL(ULY_ERR_CONFIG,
               "'%s': \"%s\" has \"%s\" and no \"rope_type\": add the type of RoPE that it belongs "
               "to",
               r->path, object, keys[i]);
  }
  *type = ULY_ROPE_DEFAULT;
  if (!item) return ULY_OK;
  const char *name = json_string_value(item);
  int i = 0;
  while (uly__rope_names[i] && (!name || strcmp(name, uly__rope_names[i]) != 0)) i++;
  if (name && strcmp(name, "su") == 0) i = ULY_ROPE_LONGROPE; /* its former name */
  if (!uly__rope_names[i])
    ULY_FAIL(ULY_ERR_CONFIG,
             "'%s': \"%s\" is of type %s, but only default, linear, dynamic, llama3, yarn and "
             "longrope are supported",
             r->path, object, uly__quote(name).text);
  *type = (uly__rope_type)i;
  return ULY_OK;
}

/* Reads a number that the type needs. */
static uly_status need(const uly__config_reader *r, const json_t *rope, const char *key,
                       uly__rope_type type, double *value) {
  if (!uly__config_has(rope, key))
    ULY_FAIL(ULY_ERR_CONFIG, "'%s': RoPE of type %s needs \"%s\"", r->path, uly__rope_names[type],
             key);
  return uly__config_real(r, rope, key, value);
}

/* Reads the positions that the model was trained for before it was scaled: beside the object, in
 * it, or those that it has now. */
static uly_status read_original(const uly__config_reader *r, const json_t *rope,
                                uly__model_config *c) {
  static const char key[] = "original_max_position_embeddings";
  int64_t *value = &c->scaling.original_positions;
  *value = c->max_positions;
  /* RoPE of these types goes on from the positions that config.json names. */
  if (c->scaling.type == ULY_ROPE_LINEAR || c->scaling.type == ULY_ROPE_DYNAMIC) return ULY_OK;
  ULY_TRY(uly__config_int(r, rope, key, 1, ULY_MOST_POSITIONS, value));
  return uly__config_int(r, r->json, key, 1, ULY_MOST_POSITIONS, value);
}

/* Reads the factor. Yarn and longrope may leave it to the numbers of positions. */
static uly_status read_factor(const uly__config_reader *r, const json_t *rope,
                              uly__model_config *c) {
  uly__rope_scaling *s = &c->scaling;
  if ((s->type == ULY_ROPE_YARN || s->type == ULY_ROPE_LONGROPE) &&
      !uly__config_has(rope, "factor"))
    s->factor = (double)c->max_positions / (double)s->original_positions;
  else
    ULY_TRY(need(r, rope, "factor", s->type, &s->factor));
  return ULY_OK;
}

static uly_status read_llama3(const uly__config_reader *r, const json_t *rope,
                              uly__rope_scaling *s) {
  ULY_TRY(need(r, rope, "low_freq_factor", s->type, &s->low_freq_factor));
  ULY_TRY(need(r, rope, "high_freq_factor", s->type, &s->high_freq_factor));
  if (s->low_freq_factor >= s->high_freq_factor)
    ULY_FAIL(ULY_ERR_CONFIG,
             "'%s': \"low_freq_factor\" is %g, but it must be below \"high_freq_factor\", which is "
             "%g",
             r->path, s->low_freq_factor, s->high_freq_factor);
  return ULY_OK;
}

/* Reads one of the numbers that yarn derives its scale from; 0 counts as missing. */
static uly_status read_mscale(const uly__config_reader *r, const json_t *rope, const char *key,
                              double *value) {
  const json_t *item = json_object_get(rope, key);
  if (json_is_number(item) && json_number_value(item) == 0) return ULY_OK;
  return uly__config_real(r, rope, key, value);
}

/* Returns the scale that yarn derives from the factor and mscale. */
static double yarn_mscale(double factor, double mscale) {
  return factor <= 1 ? 1 : 0.1 * mscale * log(factor) + 1;
}

static uly_status read_yarn(const uly__config_reader *r, const json_t *rope, double theta,
                            uly__rope_scaling *s) {
  double mscale = 0, mscale_all_dim = 0;
  s->beta_fast = 32;
  s->beta_slow = 1;
  s->truncate = true;
  s->attention_factor = uly__rope_attention_factor(s);
  if (theta <= 1)
    ULY_FAIL(ULY_ERR_CONFIG, "'%s': RoPE of type yarn needs a \"rope_theta\" above 1, not %g",
             r->path, theta);
  ULY_TRY(uly__config_real(r, rope, "beta_fast", &s->beta_fast));
  ULY_TRY(uly__config_real(r, rope, "beta_slow", &s->beta_slow));
  ULY_TRY(uly__config_bool(r, rope, "truncate", &s->truncate));
  ULY_TRY(read_mscale(r, rope, "mscale", &mscale));
  ULY_TRY(read_mscale(r, rope, "mscale_all_dim", &mscale_all_dim));
  if (mscale > 0 && mscale_all_dim > 0)
    s->attention_factor = yarn_mscale(s->factor, mscale) / yarn_mscale(s->factor, mscale_all_dim);
  return uly__config_real(r, rope, "attention_factor", &s->attention_factor);
}

static uly_status read_factors(const uly__config_reader *r, const json_t *rope, const char *key,
                               int half, double *out) {
  const json_t *list = json_object_get(rope, key);
  bool is_good = json_is_array(list) && json_array_size(list) == (size_t)half;
  for (int i = 0; is_good && i < half; i++) {
    const json_t *item = json_array_get(list, (size_t)i);
    out[i] = json_number_value(item);
    is_good = json_is_number(item) && out[i] >= 1e-3 && out[i] <= 1e9;
  }
  if (!is_good)
    ULY_FAIL(ULY_ERR_CONFIG,
             "'%s': \"%s\" must be a list of %d numbers from 0.001 to 1e9, one for each pair of "
             "elements of a head",
             r->path, key, half);
  return ULY_OK;
}

static uly_status read_longrope(const uly__config_reader *r, const json_t *rope, int head_dim,
                                uly__rope_scaling *s) {
  ULY_TRY(read_factors(r, rope, "short_factor", head_dim / 2, s->short_factor));
  ULY_TRY(read_factors(r, rope, "long_factor", head_dim / 2, s->long_factor));
  if (s->original_positions < 2)
    ULY_FAIL(ULY_ERR_CONFIG,
             "'%s': RoPE of type longrope needs \"original_max_position_embeddings\" of at least 2",
             r->path);
  s->attention_factor = uly__rope_attention_factor(s);
  return uly__config_real(r, rope, "attention_factor", &s->attention_factor);
}

static uly_status read_scaling(const uly__config_reader *r, const json_t *rope,
                               uly__model_config *c) {
  uly__rope_scaling *s = &c->scaling;
  if (s->type == ULY_ROPE_DEFAULT) return ULY_OK;
  if (s->type == ULY_ROPE_DYNAMIC && c->head_dim <= 2)
    ULY_FAIL(ULY_ERR_CONFIG, "'%s': dynamic RoPE needs a head dimension above 2", r->path);
  ULY_TRY(read_original(r, rope, c));
  ULY_TRY(read_factor(r, rope, c));
  if (s->type == ULY_ROPE_LLAMA3) return read_llama3(r, rope, s);
  if (s->type == ULY_ROPE_YARN) return read_yarn(r, rope, c->rope_theta, s);
  if (s->type == ULY_ROPE_LONGROPE) return read_longrope(r, rope, c->head_dim, s);
  return ULY_OK;
}

/* Returns the parameters in an object that has them once for each kind of layer, if they are the
 * same for all; NULL: the object is not of this form. */
static uly_status take_nested(const uly__config_reader *r, const char *object, const json_t *rope,
                              const json_t **out) {
  static const char *const kinds[] = {"full_attention", "sliding_attention", NULL};
  *out = NULL;
  size_t num = 0;
  for (int i = 0; kinds[i]; i++) {
    const json_t *of_kind = json_object_get(rope, kinds[i]);
    num += of_kind != NULL;
    if (!uly__config_has(rope, kinds[i])) continue;
    if (*out && !json_equal(*out, of_kind))
      ULY_FAIL(ULY_ERR_CONFIG,
               "'%s': \"%s\" differs between kinds of layers, which is not supported", r->path,
               object);
    *out = of_kind;
  }
  if (*out && num != json_object_size(rope))
    ULY_FAIL(ULY_ERR_CONFIG, "'%s': \"%s\" has parameters for kinds of layers and other keys",
             r->path, object);
  return ULY_OK;
}

/* Finds the object with RoPE's parameters, and checks both objects that may hold them. */
static uly_status find_parameters(const uly__config_reader *r, const json_t **out,
                                  uly__rope_type *type) {
  static const char *const objects[] = {"rope_parameters", "rope_scaling"};
  *out = NULL;
  *type = ULY_ROPE_DEFAULT;
  for (int i = 0; i < 2; i++) {
    const json_t *rope = json_object_get(r->json, objects[i]), *nested;
    if (!uly__config_has(r->json, objects[i])) continue;
    if (!json_is_object(rope))
      ULY_FAIL(ULY_ERR_CONFIG, "'%s': \"%s\" must be an object, or null", r->path, objects[i]);
    ULY_TRY(take_nested(r, objects[i], rope, &nested));
    if (nested) rope = nested;
    if (!json_is_object(rope))
      ULY_FAIL(ULY_ERR_CONFIG,
               "'%s': \"%s\" holds something other than an object for a kind of "
               "layer",
               r->path, objects[i]);
    uly__rope_type found;
    ULY_TRY(read_type(r, objects[i], rope, &found));
    ULY_TRY(refuse_partial_rotation(r, rope));
    if (json_object_size(rope) == 0 && *out) continue;
    *out = rope;
    *type = found;
  }
  return refuse_partial_rotation(r, r->json);
}

/* Reads which layers have no RoPE: their entry is 0. Only SmolLM3 has such layers. */
static uly_status read_layers(const uly__config_reader *r, uly__model_config *c) {
  int64_t interval = 4;
  const json_t *list;
  if (!uly__is_family(c, "smollm3")) return ULY_OK;
  ULY_TRY(uly__config_int(r, r->json, "no_rope_layer_interval", 1, ULY_MAX_LAYERS, &interval));
  ULY_TRY(uly__config_list(r, "no_rope_layers", c->num_layers, &list));
  for (int i = 0; i < c->num_layers; i++) {
    const json_t *item = list ? json_array_get(list, (size_t)i) : NULL;
    int64_t has_rope = item ? json_integer_value(item) : (i + 1) % interval != 0;
    if ((item && !json_is_integer(item)) || (has_rope != 0 && has_rope != 1))
      ULY_FAIL(ULY_ERR_CONFIG,
               "'%s': entry %d of \"no_rope_layers\" must be 1 (with RoPE) or 0 (without)", r->path,
               i);
    if (!has_rope) c->layers[i] |= ULY_LAYER_HAS_NO_ROPE;
  }
  return ULY_OK;
}

uly_status uly__config_read_rope(const uly__config_reader *r, uly__model_config *config) {
  const json_t *rope;
  ULY_TRY(find_parameters(r, &rope, &config->scaling.type));
  ULY_TRY(uly__config_real(r, r->json, "rope_theta", &config->rope_theta));
  ULY_TRY(uly__config_real(r, rope, "rope_theta", &config->rope_theta));
  ULY_TRY(read_layers(r, config));
  return read_scaling(r, rope, config);
}

/* -------------------------------------------------------------------------------- writing */

static json_t *make_list(const double *values, int num) {
  json_t *list = json_array();
  for (int i = 0; i < num; i++) json_array_append_new(list, json_real(values[i]));
  return list;
}

static void set_real(json_t *json, const char *key, double value) {
  json_object_set_new(json, key, json_real(value));
}

/* Adds the parameters of a scaled type. A default attention factor is left out, since some programs
 * know only that. */
static void write_scaling(const uly__rope_scaling *s, int half, json_t *rope) {
  if (s->type == ULY_ROPE_DEFAULT) return;
  set_real(rope, "factor", s->factor);
  if (s->type == ULY_ROPE_LINEAR || s->type == ULY_ROPE_DYNAMIC) return;
  json_object_set_new(rope, "original_max_position_embeddings",
                      json_integer(s->original_positions));
  if (s->attention_factor > 0 && s->attention_factor != uly__rope_attention_factor(s))
    set_real(rope, "attention_factor", s->attention_factor);
  if (s->type == ULY_ROPE_LLAMA3) {
    set_real(rope, "low_freq_factor", s->low_freq_factor);
    set_real(rope, "high_freq_factor", s->high_freq_factor);
  } else if (s->type == ULY_ROPE_YARN) {
    set_real(rope, "beta_fast", s->beta_fast);
    set_real(rope, "beta_slow", s->beta_slow);
    if (!s->truncate) json_object_set_new(rope, "truncate", json_false());
  } else {
    json_object_set_new(rope, "short_factor", make_list(s->short_factor, half));
    json_object_set_new(rope, "long_factor", make_list(s->long_factor, half));
  }
}

static json_t *list_layers(const uly__model_config *c) {
  json_t *list = json_array();
  for (int i = 0; i < c->num_layers; i++)
    json_array_append_new(list, json_integer(uly__layer_has_rope(c, i)));
  return list;
}

void uly__config_write_rope(const uly__model_config *config, json_t *json) {
  if (!config->rope) return;
  const uly__rope_scaling *s = &config->scaling;
  json_t *rope = json_pack("{s:s}", "rope_type", uly__rope_names[s->type]);
  write_scaling(s, config->head_dim / 2, rope);
  if (s->type != ULY_ROPE_DEFAULT) json_object_set_new(json, "rope_scaling", json_copy(rope));
  json_t *parameters = json_copy(rope);
  set_real(parameters, "rope_theta", config->rope_theta);
  json_object_set_new(json, "rope_parameters", parameters);
  if (uly__is_family(config, "smollm3"))
    json_object_set_new(json, "no_rope_layers", list_layers(config));
  json_decref(rope);
}
