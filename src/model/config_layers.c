/* Reads and writes which layers of a model have a window. Each family of transformers says it in
 * its own way; see config.h. */
#include <string.h>

#include "model/config_values.h"

static const char full[] = "full_attention", sliding[] = "sliding_attention";

static bool is_qwen(const uly__model_config *c) {
  return uly__is_family(c, "qwen2") || uly__is_family(c, "qwen3");
}

/* Returns whether windows of this family are in effect only with use_sliding_window. */
static bool has_switch(const uly__model_config *c) {
  return is_qwen(c) || uly__is_family(c, "smollm3");
}

/* Returns whether a layer has the window of a file that does not list the kinds of layers. */
static bool has_window(const uly__model_config *c, int layer, int64_t first_with_window) {
  if (is_qwen(c)) return layer >= first_with_window;
  if (uly__is_family(c, "smollm3")) return c->layers[layer] & ULY_LAYER_HAS_NO_ROPE;
  return true;
}

static uly_status read_kinds(const uly__config_reader *r, const json_t *list,
                             int64_t first_with_window, uly__model_config *c) {
  for (int i = 0; i < c->num_layers; i++) {
    const char *kind = list ? json_string_value(json_array_get(list, (size_t)i)) : NULL;
    bool has = kind ? strcmp(kind, sliding) == 0 : has_window(c, i, first_with_window);
    if (list && (!kind || (!has && strcmp(kind, full) != 0)))
      ULY_FAIL(ULY_ERR_CONFIG,
               "'%s': \"layer_types\" names %s, but only \"%s\" and \"%s\" are supported", r->path,
               uly__quote(kind).text, full, sliding);
    if (list && has && c->window == 0)
      ULY_FAIL(ULY_ERR_CONFIG,
               "'%s': \"layer_types\" names \"%s\", but the model has no window: %s", r->path,
               sliding,
               has_switch(c) ? "set \"use_sliding_window\" and \"sliding_window\""
                             : "a model of this type has no such layers, or \"sliding_window\" is "
                               "missing");
    if (list && !has && c->window > 0 && uly__is_family(c, "mistral") && r->type == ULY_TYPE_HF)
      ULY_FAIL(ULY_ERR_CONFIG,
               "'%s': \"layer_types\" names \"%s\", but all layers of a mistral must have the "
               "window: use \"model_type\" ministral",
               r->path, full);
    if (has) c->layers[i] |= ULY_LAYER_HAS_WINDOW;
  }
  return ULY_OK;
}

/* Reads the window, as far as it is in effect. */
static uly_status read_window(const uly__config_reader *r, uly__model_config *c) {
  bool is_mistral = uly__is_family(c, "mistral") || uly__is_family(c, "ministral");
  bool is_used = is_mistral || r->type == ULY_TYPE_OWN;
  if (!has_switch(c) && !is_mistral)
    ULY_TRY(uly__config_require_bool(r, "use_sliding_window", false));
  if (has_switch(c) && r->type == ULY_TYPE_HF)
    ULY_TRY(uly__config_bool(r, r->json, "use_sliding_window", &is_used));
  if (!is_used) return ULY_OK;
  /* This is the default of transformers. */
  bool is_absent = !json_object_get(r->json, "sliding_window");
  if (is_absent && r->type == ULY_TYPE_HF && !uly__is_family(c, "smollm3")) c->window = 4096;
  return uly__config_int(r, r->json, "sliding_window", 1, ULY_MOST_POSITIONS, &c->window);
}

uly_status uly__config_read_layers(const uly__config_reader *r, uly__model_config *config) {
  int64_t first_with_window = is_qwen(config) && r->type == ULY_TYPE_HF ? 28 : 0;
  const json_t *kinds;
  ULY_TRY(read_window(r, config));
  if (r->type == ULY_TYPE_HF)
    ULY_TRY(uly__config_int(r, r->json, "max_window_layers", 0, INT64_MAX, &first_with_window));
  ULY_TRY(uly__config_list(r, "layer_types", config->num_layers, &kinds));
  ULY_TRY(read_kinds(r, kinds, first_with_window, config));
  if (uly__num_layers_with_window(config) == 0) uly__model_config_set_window(config, 0);
  return ULY_OK;
}

/* -------------------------------------------------------------------------------- writing */

static json_t *list_kinds(const uly__model_config *c) {
  json_t *list = json_array();
  for (int i = 0; i < c->num_layers; i++)
    json_array_append_new(list, json_string(uly__layer_has_window(c, i) ? sliding : full));
  return list;
}

/* Returns the first of the last layers that all have a window. */
static int first_with_window(const uly__model_config *c) {
  int first = c->num_layers;
  while (first > 0 && uly__layer_has_window(c, first - 1)) first--;
  return first;
}

void uly__config_write_layers(const uly__model_config *config, const char *type, json_t *json) {
  int num = uly__num_layers_with_window(config);
  bool is_hf = strncmp(type, ULY_OWN_MODEL_TYPE, strlen(ULY_OWN_MODEL_TYPE)) != 0;
  if (is_hf && strcmp(type, "llama") == 0) return;
  if (num > 0) json_object_set_new(json, "sliding_window", json_integer(config->window));
  if (is_hf && num == 0) json_object_set_new(json, "sliding_window", json_null());
  if (is_hf && has_switch(config))
    json_object_set_new(json, "use_sliding_window", json_boolean(num > 0));
  if (is_hf && is_qwen(config) && num > 0)
    json_object_set_new(json, "max_window_layers", json_integer(first_with_window(config)));
  bool lists = is_hf ? strcmp(type, "mistral") != 0 : num < config->num_layers;
  if (num > 0 && lists) json_object_set_new(json, "layer_types", list_kinds(config));
}
