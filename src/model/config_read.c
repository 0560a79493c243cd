/* Reads Hugging Face's config.json: takes what transformers would compute, or refuses. */
#include <jansson.h>
#include <stdint.h>
#include <string.h>

#include "base/printable.h"
#include "model/config.h"
#include "ops/mask.h"

/* The kind of model_type: a name of transformers', mistral, or one of our own. */
typedef enum type_kind { TYPE_PLAIN = 0, TYPE_MISTRAL, TYPE_OWN } type_kind;

typedef struct reader {
  const json_t *json;
  const char *path;
  type_kind type;
} reader;

/* The most positions of RoPE, and of a window. */
static const int64_t MAX_POSITIONS = (int64_t)1 << 40;

/* A string of the file, fit for a message. */
static uly__printable printable(const char *text) { return uly__make_printable(text); }

/* Holds the same in quotes, or words for a value that is not a string (NULL). */
typedef struct quoted {
  char text[sizeof(uly__printable) + 2];
} quoted;

static quoted quote(const char *text) {
  quoted out = {"something other than a string"};
  if (text) snprintf(out.text, sizeof out.text, "\"%s\"", printable(text).text);
  return out;
}

/* Reads an integer. If key is absent or null, *value stays as it is. */
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

/* Reads a real number within f32, in which it is computed with: a number that would be 0 or
 * infinite there is refused. */
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

/* Checks a setting that changes the mathematics and has only one supported value. */
static uly_status require_text(const reader *r, const char *key, const char *supported,
                               const char *also) {
  const json_t *item = json_object_get(r->json, key);
  const char *text = json_string_value(item);
  if (!item || json_is_null(item)) return ULY_OK;
  if (!text || (strcmp(text, supported) != 0 && strcmp(text, also) != 0))
    ULY_FAIL(ULY_ERR_CONFIG, "'%s': \"%s\" is %s, but only \"%s\" is supported", r->path, key,
             quote(text).text, supported);
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

/* Refuses layers whose attention is not full. */
static uly_status refuse_layer_types(const reader *r) {
  size_t i;
  json_t *type, *types = json_object_get(r->json, "layer_types");
  if (types && !json_is_null(types) && !json_is_array(types))
    ULY_FAIL(ULY_ERR_CONFIG, "'%s': \"layer_types\" must be a list, or null", r->path);
  json_array_foreach(types, i, type) {
    const char *text = json_string_value(type);
    if (!text || strcmp(text, "full_attention") != 0)
      ULY_FAIL(ULY_ERR_CONFIG,
               "'%s': \"layer_types\" names %s, but only \"full_attention\" is supported", r->path,
               quote(text).text);
  }
  return require_bool(r, "use_sliding_window", false);
}

/* Refuses to rotate only a part of a head. */
static uly_status refuse_partial_rotation(const reader *r, const json_t *from) {
  double rotated = 1;
  ULY_TRY(read_real(r, from, "partial_rotary_factor", &rotated));
  if (rotated != 1)
    ULY_FAIL(ULY_ERR_CONFIG, "'%s': \"partial_rotary_factor\" is %g, but only 1 is supported",
             r->path, rotated);
  return ULY_OK;
}

/* Checks that the object describes the default RoPE. An object that names no type does so, unless
 * it has numbers of another type. */
static uly_status check_rope(const reader *r, const char *key) {
  const json_t *rope = json_object_get(r->json, key);
  if (!rope || json_is_null(rope)) return ULY_OK;
  if (!json_is_object(rope))
    ULY_FAIL(ULY_ERR_CONFIG, "'%s': \"%s\" must be an object, or null", r->path, key);
  const json_t *type = json_object_get(rope, "rope_type");
  if (!type) type = json_object_get(rope, "type");
  if (type && (!json_is_string(type) || strcmp(json_string_value(type), "default") != 0))
    ULY_FAIL(ULY_ERR_CONFIG,
             "'%s': \"%s\" is of type %s: scaled RoPE is not supported, only \"default\" is",
             r->path, key, quote(json_string_value(type)).text);
  const char *name;
  json_t *value;
  json_object_foreach((json_t *)(uintptr_t)rope, name, value) {
    if (type || strcmp(name, "rope_theta") == 0 || strcmp(name, "partial_rotary_factor") == 0)
      continue;
    ULY_FAIL(ULY_ERR_CONFIG,
             "'%s': \"%s\" has \"%s\" and no \"rope_type\": scaled RoPE is not supported, only "
             "\"default\" is",
             r->path, key, printable(name).text);
  }
  return refuse_partial_rotation(r, rope);
}

/* Reads RoPE's base as transformers does: the older object, unless it is empty, takes precedence
 * over the newer one, and a key in an object over the same key beside it. */
static uly_status read_rope(const reader *r, uly__model_config *c) {
  const json_t *scaling = json_object_get(r->json, "rope_scaling");
  const char *key = json_object_size(scaling) > 0 ? "rope_scaling" : "rope_parameters";
  ULY_TRY(check_rope(r, "rope_scaling"));
  ULY_TRY(check_rope(r, "rope_parameters"));
  ULY_TRY(refuse_partial_rotation(r, r->json));
  ULY_TRY(read_real(r, r->json, "rope_theta", &c->rope_theta));
  return read_real(r, json_object_get(r->json, key), "rope_theta", &c->rope_theta);
}

/* Notes a dropout, which is not used. Training says so at its start. */
static uly_status read_dropout(const reader *r, const char *key, uly__model_config *c) {
  const json_t *item = json_object_get(r->json, key);
  if (!item || json_is_null(item)) return ULY_OK;
  double rate = json_number_value(item);
  if (!json_is_number(item) || !(rate >= 0 && rate <= 1))
    ULY_FAIL(ULY_ERR_CONFIG, "'%s': \"%s\" must be a number from 0 to 1", r->path, key);
  if (rate > 0) c->dropout = key;
  return ULY_OK;
}

/* Returns whether the keys of biases count. In Qwen2 and Mistral, the biases are fixed. Types of
 * our own may have others; a file that an older version of this program wrote has no such type, and
 * is recognized by the key that it lacks. */
static bool has_bias_keys(const reader *r, const uly__model_config *c) {
  bool is_old_save =
      json_object_get(r->json, "torch_dtype") && !json_object_get(r->json, "architectures");
  if (strcmp(c->family, "llama") == 0) return r->type != TYPE_MISTRAL;
  return r->type == TYPE_OWN || is_old_save;
}

static uly_status read_biases(const reader *r, uly__model_config *c) {
  bool attention_bias = false;
  if (!has_bias_keys(r, c)) return ULY_OK;
  ULY_TRY(read_bool(r, "attention_bias", &attention_bias));
  ULY_TRY(read_bool(r, "mlp_bias", &c->mlp_bias));
  if (attention_bias) c->qkv_bias = c->o_bias = true;
  return ULY_OK;
}

static uly_status read_llama(const reader *r, uly__model_config *c) {
  double eps = (double)c->norm_eps;
  ULY_TRY(read_int(r, "hidden_size", 1, 1 << 20, &c->hidden));
  ULY_TRY(read_int(r, "intermediate_size", 1, 1 << 22, &c->ffn));
  ULY_TRY(read_small(r, "num_hidden_layers", 1, &c->num_layers));
  ULY_TRY(read_small(r, "num_attention_heads", 1, &c->num_q_heads));
  c->num_kv_heads = c->num_q_heads;
  ULY_TRY(read_small(r, "num_key_value_heads", 1, &c->num_kv_heads));
  ULY_TRY(read_small(r, "head_dim", 1, &c->head_dim));
  ULY_TRY(read_int(r, "max_position_embeddings", 1, MAX_POSITIONS, &c->max_positions));
  ULY_TRY(read_real(r, r->json, "rms_norm_eps", &eps));
  ULY_TRY(read_rope(r, c));
  ULY_TRY(read_biases(r, c));
  ULY_TRY(read_dropout(r, "attention_dropout", c));
  ULY_TRY(refuse_layer_types(r));
  ULY_TRY(require_text(r, "hidden_act", "silu", "swish"));
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
  ULY_TRY(read_dropout(r, "resid_pdrop", c));
  ULY_TRY(read_dropout(r, "embd_pdrop", c));
  ULY_TRY(read_dropout(r, "attn_pdrop", c));
  c->norm_eps = (float)eps;
  return ULY_OK;
}

/* Completes head_dim and checks what the shapes must satisfy. */
static uly_status check(const char *path, uly__model_config *c) {
  if (!c->hidden || !c->ffn || !c->vocab || !c->num_layers || !c->num_q_heads || !c->max_positions)
    ULY_FAIL(ULY_ERR_CONFIG,
             "'%s': width, layers, heads, positions and vocabulary must all be given "
             "(hidden_size, num_hidden_layers, ... or n_embd, n_layer, ...)",
             path);
  if (!c->head_dim) {
    if (c->hidden % c->num_q_heads)
      ULY_FAIL(ULY_ERR_CONFIG, "'%s': a width of %lld does not divide into %d heads", path,
               (long long)c->hidden, c->num_q_heads);
    c->head_dim = (int)(c->hidden / c->num_q_heads);
  }
  if (c->head_dim > ULY_MAX_HEAD_DIM)
    ULY_FAIL(ULY_ERR_CONFIG,
             "'%s': a head dimension of %d is above the %d that the kernels support", path,
             c->head_dim, ULY_MAX_HEAD_DIM);
  if (c->rope && c->head_dim % 2)
    ULY_FAIL(ULY_ERR_CONFIG, "'%s': RoPE needs an even head dimension, not %d", path, c->head_dim);
  /* In f64, nothing overflows before it is refused. */
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

/* Reads how the model attends. Only these two types say something about it. */
static uly_status read_attention(const reader *r, uly__model_config *c) {
  const json_t *window = json_object_get(r->json, "sliding_window");
  const char *pattern = json_string_value(json_object_get(r->json, "sparse"));
  int i = ULY_SPARSE_NONE;
  if (r->type == TYPE_PLAIN) return ULY_OK;
  if (r->type == TYPE_MISTRAL && !window) c->window = 4096; /* as transformers does */
  ULY_TRY(read_int(r, "sliding_window", 1, MAX_POSITIONS, &c->window));
  if (r->type == TYPE_MISTRAL || !json_object_get(r->json, "sparse")) return ULY_OK;
  while (uly__sparse_names[i] && (!pattern || strcmp(pattern, uly__sparse_names[i]) != 0)) i++;
  if (!uly__sparse_names[i])
    ULY_FAIL(ULY_ERR_CONFIG, "'%s': \"sparse\" is %s, which is not a pattern of blocks", r->path,
             quote(pattern).text);
  c->sparse = (uly_sparse_pattern)i;
  return ULY_OK;
}

/* Finds the family that model_type names, and what kind of name it is. */
static uly_status read_type(reader *r, const char **family) {
  const json_t *type = json_object_get(r->json, "model_type");
  const char *name = json_string_value(type);
  size_t length = strlen(ULY_OWN_MODEL_TYPE);
  *family = name;
  if (name && strcmp(name, "mistral") == 0) {
    r->type = TYPE_MISTRAL;
    *family = "llama";
  } else if (name && strncmp(name, ULY_OWN_MODEL_TYPE, length) == 0) {
    r->type = TYPE_OWN;
    *family = name + length;
  }
  if (!name || (strcmp(*family, "llama") && strcmp(*family, "qwen2") && strcmp(*family, "gpt2")))
    ULY_FAIL(ULY_ERR_CONFIG,
             "'%s': \"model_type\" is %s; supported are llama, mistral, qwen2 and gpt2, and "
             "what checkpoints name (ulysses_llama, ...)",
             r->path, type ? quote(name).text : "missing");
  return ULY_OK;
}

static uly_status read_config(reader *r, uly__model_config *config) {
  const char *family;
  ULY_TRY(read_type(r, &family));
  *config = uly__model_config_family(family);
  ULY_TRY(strcmp(family, "gpt2") == 0 ? read_gpt2(r, config) : read_llama(r, config));
  ULY_TRY(read_attention(r, config));
  ULY_TRY(read_int(r, "vocab_size", 1, 1 << 30, &config->vocab));
  ULY_TRY(read_bool(r, "tie_word_embeddings", &config->tied));
  ULY_TRY(read_real(r, r->json, "initializer_range", &config->init_std));
  return check(r->path, config);
}

uly_status uly__model_config_read(const char *text, int64_t length, const char *path,
                                  uly__model_config *config) {
  json_error_t error;
  json_t *json = json_loadb(text, (size_t)length, JSON_REJECT_DUPLICATES, &error);
  if (!json)
    ULY_FAIL(ULY_ERR_CONFIG, "'%s', line %d: %s", path, error.line, printable(error.text).text);
  reader r = {.json = json, .path = path};
  uly_status status = read_config(&r, config);
  json_decref(json);
  return status;
}
