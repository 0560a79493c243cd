/* Model configurations: presets, and reading and writing Hugging Face's config.json. */
#include "model/config.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/printable.h"

typedef struct preset {
  const char *name, *about;
  int gpt2;
  int64_t hidden, ffn, vocab;
  int layers, q_heads, kv_heads, head_dim;
} preset;

static const preset presets[] = {
    {"llama-1m", "1M parameters, bytes, 4 heads", 0, 128, 384, 257, 5, 4, 2, 32},
    {"llama-4m", "4M parameters, bytes, 8 heads", 0, 256, 704, 257, 5, 8, 4, 32},
    {"llama-25m", "25M parameters, bytes, 8 heads", 0, 512, 1408, 257, 8, 8, 4, 64},
    {"llama-110m", "110M parameters, bytes, 12 heads", 0, 768, 2560, 257, 15, 12, 4, 64},
    {"llama-1b", "1.2B parameters, 128,256 tokens, 32 heads", 0, 2048, 8192, 128256, 16, 32, 8, 64},
    {"gpt2-3m", "3M parameters, bytes, 8 heads, up to 16,384 tokens", 1, 128, 512, 257, 4, 8, 8,
     16},
    {"gpt2-124m", "124M parameters, 50,257 tokens, 12 heads", 1, 768, 3072, 50257, 12, 12, 12, 64},
};
enum { NUM_PRESETS = sizeof presets / sizeof presets[0], MAX_BYTES = 16 << 20 };

const char *const *uly_model_presets(void) {
  static const char *names[NUM_PRESETS + 1];
  for (int i = 0; i < NUM_PRESETS; i++) names[i] = presets[i].name;
  return names;
}

static const preset *find_preset(const char *name) {
  for (int i = 0; i < NUM_PRESETS; i++)
    if (strcmp(presets[i].name, name) == 0) return &presets[i];
  return NULL;
}

const char *uly_model_preset_about(const char *name) {
  const preset *found = find_preset(name);
  return found ? found->about : NULL;
}

/* What GPT-2 and the Llama family fix before any number is known. */
static uly__model_config family(const char *model_type) {
  uly__model_config config = {0};
  bool gpt2 = strcmp(model_type, "gpt2") == 0;
  snprintf(config.model_type, sizeof config.model_type, "%s", model_type);
  config.norm = gpt2 ? ULY_NORM_LAYER : ULY_NORM_RMS;
  config.rope = config.gated = !gpt2;
  config.qkv_bias = gpt2 || strcmp(model_type, "qwen2") == 0;
  config.o_bias = config.mlp_bias = config.tied = gpt2;
  config.norm_eps = gpt2 ? 1e-5f : 1e-6f;
  config.rope_theta = 10000.0;
  config.init_std = 0.02;
  return config;
}

static uly__model_config from_preset(const preset *p) {
  uly__model_config config = family(p->gpt2 ? "gpt2" : "llama");
  config.hidden = p->hidden;
  config.ffn = p->ffn;
  config.vocab = p->vocab;
  config.num_layers = p->layers;
  config.num_q_heads = p->q_heads;
  config.num_kv_heads = p->kv_heads;
  config.head_dim = p->head_dim;
  config.tied = true;
  config.norm_eps = 1e-5f;
  /* RoPE needs no table: its limit is only what the model was meant for. */
  config.max_positions = !p->gpt2 ? (int64_t)1 << 22 : p->vocab == 257 ? 16384 : 1024;
  /* Long sequences want slow rotations: Llama 3's base. */
  config.rope_theta = 500000.0;
  return config;
}

/* ---------------------------------------------------------------- reading config.json */

typedef struct reader {
  const json_t *json;
  const char *path;
} reader;

/* A string of the file, fit for a message. */
static uly__printable printable(const char *text, const char *where_none) {
  return uly__make_printable(text ? text : where_none);
}

/* key absent or null: *value stays. */
static uly_status read_int(const reader *r, const char *key, int64_t lowest, int64_t largest,
                           int64_t *value) {
  const json_t *item = json_object_get(r->json, key);
  if (!item || json_is_null(item)) return ULY_OK;
  if (!json_is_integer(item) || json_integer_value(item) < lowest ||
      json_integer_value(item) > largest)
    ULY_FAIL(ULY_ERR_CONFIG, "'%s': \"%s\" must be an integer from %lld to %lld", r->path, key,
             (long long)lowest, (long long)largest);
  *value = json_integer_value(item);
  return ULY_OK;
}

static uly_status read_small(const reader *r, const char *key, int64_t lowest, int *value) {
  int64_t wide = *value;
  ULY_TRY(read_int(r, key, lowest, 1 << 20, &wide));
  *value = (int)wide;
  return ULY_OK;
}

/* Within f32, in which it is computed with: what would be 0 or infinite there is refused. */
static uly_status read_real(const reader *r, const json_t *from, const char *key, double *value) {
  const double lowest = 1e-37, largest = 1e38;
  const json_t *item = json_object_get(from, key);
  if (!item || json_is_null(item)) return ULY_OK;
  double number = json_number_value(item);
  if (!json_is_number(item) || number < lowest || number > largest)
    ULY_FAIL(ULY_ERR_CONFIG, "'%s': \"%s\" must be a positive number, from %g to %g", r->path, key,
             lowest, largest);
  *value = number;
  return ULY_OK;
}

static uly_status read_bool(const reader *r, const char *key, bool *value) {
  const json_t *item = json_object_get(r->json, key);
  if (!item || json_is_null(item)) return ULY_OK;
  if (!json_is_boolean(item))
    ULY_FAIL(ULY_ERR_CONFIG, "'%s': \"%s\" must be true or false", r->path, key);
  *value = json_is_true(item);
  return ULY_OK;
}

/* A setting that changes the mathematics and has only one supported value. */
static uly_status require_text(const reader *r, const char *key, const char *supported,
                               const char *also) {
  const json_t *item = json_object_get(r->json, key);
  const char *text = json_string_value(item);
  if (!item || json_is_null(item)) return ULY_OK;
  if (!text || (strcmp(text, supported) != 0 && strcmp(text, also) != 0))
    ULY_FAIL(ULY_ERR_CONFIG, "'%s': \"%s\" is %s, but only \"%s\" is supported", r->path, key,
             printable(text, "no text").text, supported);
  return ULY_OK;
}

static uly_status require_bool(const reader *r, const char *key, bool supported) {
  bool value = supported;
  ULY_TRY(read_bool(r, key, &value));
  if (value != supported)
    ULY_FAIL(ULY_ERR_CONFIG, "'%s': \"%s\" is %s, which is not supported", r->path, key,
             value ? "true" : "false");
  return ULY_OK;
}

/* Attention that is not full in some layers, or rotates a part of a head. */
static uly_status refuse_variants(const reader *r) {
  double rotated = 1;
  size_t i;
  json_t *type;
  json_array_foreach(json_object_get(r->json, "layer_types"), i, type) {
    const char *text = json_string_value(type);
    if (!text || strcmp(text, "full_attention") != 0)
      ULY_FAIL(ULY_ERR_CONFIG,
               "'%s': \"layer_types\" names %s, but only \"full_attention\" is supported", r->path,
               printable(text, "no text").text);
  }
  ULY_TRY(read_real(r, r->json, "partial_rotary_factor", &rotated));
  if (rotated != 1)
    ULY_FAIL(ULY_ERR_CONFIG, "'%s': \"partial_rotary_factor\" is %g, but only 1 is supported",
             r->path, rotated);
  return require_bool(r, "use_sliding_window", false);
}

static uly_status refuse_rope_scaling(const reader *r, const json_t *rope) {
  if (!rope || json_is_null(rope)) return ULY_OK;
  const char *type = json_string_value(json_object_get(rope, "rope_type"));
  if (!type) type = json_string_value(json_object_get(rope, "type"));
  if (!type || strcmp(type, "default") != 0)
    ULY_FAIL(ULY_ERR_CONFIG, "'%s': scaled RoPE (\"%s\") is not supported: only \"default\" is",
             r->path, printable(type, "unnamed").text);
  return ULY_OK;
}

static uly_status read_llama(const reader *r, uly__model_config *c) {
  const json_t *rope_parameters = json_object_get(r->json, "rope_parameters");
  bool attention_bias = false;
  double eps = (double)c->norm_eps;
  ULY_TRY(read_int(r, "hidden_size", 1, 1 << 20, &c->hidden));
  ULY_TRY(read_int(r, "intermediate_size", 1, 1 << 22, &c->ffn));
  ULY_TRY(read_small(r, "num_hidden_layers", 1, &c->num_layers));
  ULY_TRY(read_small(r, "num_attention_heads", 1, &c->num_q_heads));
  c->num_kv_heads = c->num_q_heads;
  ULY_TRY(read_small(r, "num_key_value_heads", 1, &c->num_kv_heads));
  ULY_TRY(read_small(r, "head_dim", 1, &c->head_dim));
  ULY_TRY(read_int(r, "max_position_embeddings", 1, (int64_t)1 << 40, &c->max_positions));
  ULY_TRY(read_real(r, r->json, "rms_norm_eps", &eps));
  ULY_TRY(read_real(r, r->json, "rope_theta", &c->rope_theta));
  ULY_TRY(read_real(r, rope_parameters, "rope_theta", &c->rope_theta));
  ULY_TRY(refuse_rope_scaling(r, json_object_get(r->json, "rope_scaling")));
  ULY_TRY(refuse_rope_scaling(r, rope_parameters));
  ULY_TRY(read_bool(r, "attention_bias", &attention_bias));
  ULY_TRY(read_bool(r, "mlp_bias", &c->mlp_bias));
  ULY_TRY(refuse_variants(r));
  ULY_TRY(require_text(r, "hidden_act", "silu", "swish"));
  if (attention_bias) c->qkv_bias = c->o_bias = true;
  c->norm_eps = (float)eps;
  return ULY_OK;
}

static uly_status read_gpt2(const reader *r, uly__model_config *c) {
  double eps = (double)c->norm_eps;
  ULY_TRY(read_int(r, "n_embd", 1, 1 << 20, &c->hidden));
  c->ffn = 4 * c->hidden;
  ULY_TRY(read_int(r, "n_inner", 1, 1 << 22, &c->ffn));
  ULY_TRY(read_small(r, "n_layer", 1, &c->num_layers));
  ULY_TRY(read_small(r, "n_head", 1, &c->num_q_heads));
  c->num_kv_heads = c->num_q_heads;
  ULY_TRY(read_int(r, "n_positions", 1, (int64_t)1 << 30, &c->max_positions));
  ULY_TRY(read_real(r, r->json, "layer_norm_epsilon", &eps));
  ULY_TRY(require_text(r, "activation_function", "gelu_new", "gelu_pytorch_tanh"));
  ULY_TRY(require_bool(r, "scale_attn_weights", true));
  ULY_TRY(require_bool(r, "scale_attn_by_inverse_layer_idx", false));
  c->norm_eps = (float)eps;
  return ULY_OK;
}

/* Completes head_dim and checks what the shapes must satisfy. */
static uly_status check(const char *path, uly__model_config *c) {
  if (!c->hidden || !c->ffn || !c->vocab || !c->num_layers || !c->num_q_heads || !c->max_positions)
    ULY_FAIL(ULY_ERR_CONFIG,
             "'%s': width, layers, heads, positions and vocabulary must all be given (hidden_size, "
             "num_hidden_layers, ... or n_embd, n_layer, ...)",
             path);
  if (!c->head_dim) {
    if (c->hidden % c->num_q_heads)
      ULY_FAIL(ULY_ERR_CONFIG, "'%s': a width of %lld does not divide into %d heads", path,
               (long long)c->hidden, c->num_q_heads);
    c->head_dim = (int)(c->hidden / c->num_q_heads);
  }
  if (c->head_dim > ULY_MAX_HEAD_DIM)
    ULY_FAIL(ULY_ERR_CONFIG, "'%s': a head dimension of %d is above the kernels' %d", path,
             c->head_dim, ULY_MAX_HEAD_DIM);
  if (c->rope && c->head_dim % 2)
    ULY_FAIL(ULY_ERR_CONFIG, "'%s': RoPE needs an even head dimension, not %d", path, c->head_dim);
  /* In f64, so that nothing overflows before it is refused. */
  double width =
      2.0 * ((double)c->num_q_heads + c->num_kv_heads) * c->head_dim + 3.0 * (double)c->ffn;
  double around =
      (2.0 * (double)c->vocab + (c->rope ? 0 : (double)c->max_positions)) * (double)c->hidden;
  if (c->num_layers * width * (double)c->hidden + around > 0x1p44)
    ULY_FAIL(ULY_ERR_CONFIG, "'%s': the model has more than 2^44 parameters", path);
  if (c->num_q_heads % c->num_kv_heads)
    ULY_FAIL(ULY_ERR_CONFIG, "'%s': %d query heads are not a multiple of %d key/value heads", path,
             c->num_q_heads, c->num_kv_heads);
  return ULY_OK;
}

static uly_status read_config(const reader *r, uly__model_config *config) {
  const char *type = json_string_value(json_object_get(r->json, "model_type"));
  if (!type || (strcmp(type, "llama") && strcmp(type, "qwen2") && strcmp(type, "gpt2")))
    ULY_FAIL(ULY_ERR_CONFIG, "'%s': \"model_type\" is \"%s\"; supported are llama, qwen2 and gpt2",
             r->path, printable(type, "missing").text);
  *config = family(type);
  ULY_TRY(strcmp(type, "gpt2") == 0 ? read_gpt2(r, config) : read_llama(r, config));
  ULY_TRY(read_int(r, "vocab_size", 1, 1 << 30, &config->vocab));
  ULY_TRY(read_bool(r, "tie_word_embeddings", &config->tied));
  ULY_TRY(read_real(r, r->json, "initializer_range", &config->init_std));
  return check(r->path, config);
}

/* What is no preset may be meant to be one. */
static uly_status load_text(const char *path, char **text, int64_t *length) {
  uly_status status = uly__file_load(path, "model configuration", MAX_BYTES, text, length);
  if (status == ULY_OK || status == ULY_ERR_MEMORY) return status;
  char names[256] = "", why[1024];
  snprintf(why, sizeof why, "%s", uly_last_error());
  for (int i = 0; i < NUM_PRESETS; i++) {
    size_t used = strlen(names);
    snprintf(names + used, sizeof names - used, "%s%s", i ? ", " : "", presets[i].name);
  }
  ULY_FAIL(ULY_ERR_CONFIG, "'%s' is neither a preset (%s) nor a config.json: %s", path, names, why);
}

uly_status uly__model_config_load(const char *name_or_path, uly__model_config *config) {
  const preset *found = find_preset(name_or_path);
  if (found) {
    *config = from_preset(found);
    return ULY_OK;
  }
  char *text;
  int64_t length;
  json_error_t error;
  ULY_TRY(load_text(name_or_path, &text, &length));
  json_t *json = json_loadb(text, (size_t)length, JSON_REJECT_DUPLICATES, &error);
  free(text);
  if (!json)
    ULY_FAIL(ULY_ERR_CONFIG, "'%s', line %d: %s", name_or_path, error.line,
             printable(error.text, "").text);
  reader r = {json, name_or_path};
  uly_status status = read_config(&r, config);
  json_decref(json);
  return status;
}

/* ---------------------------------------------------------------- writing config.json */

static json_t *llama_json(const uly__model_config *c) {
  json_t *json = json_object();
  json_object_set_new(json, "hidden_act", json_string("silu"));
  json_object_set_new(json, "hidden_size", json_integer(c->hidden));
  json_object_set_new(json, "intermediate_size", json_integer(c->ffn));
  json_object_set_new(json, "num_hidden_layers", json_integer(c->num_layers));
  json_object_set_new(json, "num_attention_heads", json_integer(c->num_q_heads));
  json_object_set_new(json, "num_key_value_heads", json_integer(c->num_kv_heads));
  json_object_set_new(json, "head_dim", json_integer(c->head_dim));
  json_object_set_new(json, "max_position_embeddings", json_integer(c->max_positions));
  json_object_set_new(json, "rms_norm_eps", json_real((double)c->norm_eps));
  json_object_set_new(json, "rope_theta", json_real(c->rope_theta));
  json_object_set_new(json, "attention_bias", json_boolean(c->o_bias));
  json_object_set_new(json, "mlp_bias", json_boolean(c->mlp_bias));
  return json;
}

static json_t *gpt2_json(const uly__model_config *c) {
  json_t *json = json_object();
  json_object_set_new(json, "activation_function", json_string("gelu_new"));
  json_object_set_new(json, "n_embd", json_integer(c->hidden));
  json_object_set_new(json, "n_inner", json_integer(c->ffn));
  json_object_set_new(json, "n_layer", json_integer(c->num_layers));
  json_object_set_new(json, "n_head", json_integer(c->num_q_heads));
  json_object_set_new(json, "n_positions", json_integer(c->max_positions));
  json_object_set_new(json, "layer_norm_epsilon", json_real((double)c->norm_eps));
  return json;
}

char *uly__model_config_json(const uly__model_config *config) {
  bool gpt2 = strcmp(config->model_type, "gpt2") == 0;
  json_t *json = gpt2 ? gpt2_json(config) : llama_json(config);
  json_object_set_new(json, "model_type", json_string(config->model_type));
  json_object_set_new(json, "vocab_size", json_integer(config->vocab));
  json_object_set_new(json, "tie_word_embeddings", json_boolean(config->tied));
  json_object_set_new(json, "initializer_range", json_real(config->init_std));
  json_object_set_new(json, "torch_dtype", json_string("float32"));
  char *text = json_dumps(json, JSON_INDENT(2) | JSON_SORT_KEYS);
  json_decref(json);
  return text;
}
