/* Reads Hugging Face's config.json: takes what transformers would compute, or refuses. */
#include <string.h>

#include "model/config_values.h"
#include "ops/mask.h"

/* Notes a dropout, which is not used. Training says so at its start. */
static uly_status read_dropout(const uly__config_reader *r, const char *key, uly__model_config *c) {
  const json_t *item = json_object_get(r->json, key);
  if (!item || json_is_null(item)) return ULY_OK;
  double rate = json_number_value(item);
  if (!json_is_number(item) || !(rate >= 0 && rate <= 1))
    ULY_FAIL(ULY_ERR_CONFIG, "'%s': \"%s\" must be a number from 0 to 1", r->path, key);
  if (rate > 0) c->dropout = key;
  return ULY_OK;
}

/* Returns whether the keys of biases count. The biases of other families are fixed. Types of our
 * own may have others; a file that an older version of this program wrote has no such type, and is
 * recognized by the key that it lacks. */
static bool has_bias_keys(const uly__config_reader *r, const uly__model_config *c) {
  bool is_old_save =
      json_object_get(r->json, "torch_dtype") && !json_object_get(r->json, "architectures");
  return uly__is_family(c, "llama") || uly__is_family(c, "smollm3") || uly__is_family(c, "qwen3") ||
         r->type == ULY_TYPE_OWN || (uly__is_family(c, "qwen2") && is_old_save);
}

static uly_status read_biases(const uly__config_reader *r, uly__model_config *c) {
  bool attention_bias = false;
  if (!has_bias_keys(r, c)) return ULY_OK;
  ULY_TRY(uly__config_bool(r, r->json, "attention_bias", &attention_bias));
  /* In Qwen3, only attention may have biases. */
  if (!uly__is_family(c, "qwen3") || r->type == ULY_TYPE_OWN)
    ULY_TRY(uly__config_bool(r, r->json, "mlp_bias", &c->mlp_bias));
  if (attention_bias) c->qkv_bias = c->o_bias = true;
  return ULY_OK;
}

/* Returns the number of key/value heads that transformers assumes if the file does not say it. */
static int default_kv_heads(const uly__model_config *c) {
  if (uly__is_family(c, "mistral") || uly__is_family(c, "ministral")) return 8;
  if (uly__is_family(c, "qwen2") || uly__is_family(c, "qwen3")) return 32;
  return uly__is_family(c, "smollm3") ? 4 : c->num_q_heads;
}

/* Reads the numbers of heads. A key that is null stands for the number that follows from others;
 * one that is missing, for the family's default. */
static uly_status read_heads(const uly__config_reader *r, uly__model_config *c) {
  ULY_TRY(uly__config_small(r, "num_attention_heads", 1, 1 << 20, &c->num_q_heads));
  c->num_kv_heads = c->num_q_heads;
  if (!json_object_get(r->json, "num_key_value_heads")) c->num_kv_heads = default_kv_heads(c);
  ULY_TRY(uly__config_small(r, "num_key_value_heads", 1, 1 << 20, &c->num_kv_heads));
  if (uly__is_family(c, "qwen3") && !json_object_get(r->json, "head_dim")) c->head_dim = 128;
  return uly__config_small(r, "head_dim", 1, 1 << 20, &c->head_dim);
}

static uly_status read_llama(const uly__config_reader *r, uly__model_config *c) {
  ULY_TRY(uly__config_int(r, r->json, "hidden_size", 1, 1 << 20, &c->hidden));
  ULY_TRY(uly__config_int(r, r->json, "intermediate_size", 1, 1 << 22, &c->ffn));
  ULY_TRY(uly__config_small(r, "num_hidden_layers", 1, ULY_MAX_LAYERS, &c->num_layers));
  ULY_TRY(read_heads(r, c));
  ULY_TRY(uly__config_int(r, r->json, "max_position_embeddings", 1, ULY_MOST_POSITIONS,
                          &c->max_positions));
  ULY_TRY(uly__config_real(r, r->json, "rms_norm_eps", &c->norm_eps));
  ULY_TRY(read_biases(r, c));
  ULY_TRY(read_dropout(r, "attention_dropout", c));
  ULY_TRY(uly__config_require_text(r, "hidden_act", "silu", "swish"));
  return ULY_OK;
}

static uly_status read_gpt2(const uly__config_reader *r, uly__model_config *c) {
  ULY_TRY(uly__config_int(r, r->json, "n_embd", 1, 1 << 20, &c->hidden));
  c->ffn = 4 * c->hidden;
  ULY_TRY(uly__config_int(r, r->json, "n_inner", 1, 1 << 22, &c->ffn));
  ULY_TRY(uly__config_small(r, "n_layer", 1, ULY_MAX_LAYERS, &c->num_layers));
  ULY_TRY(uly__config_small(r, "n_head", 1, 1 << 20, &c->num_q_heads));
  c->num_kv_heads = c->num_q_heads;
  ULY_TRY(uly__config_int(r, r->json, "n_positions", 1, (int64_t)1 << 30, &c->max_positions));
  ULY_TRY(uly__config_real(r, r->json, "layer_norm_epsilon", &c->norm_eps));
  ULY_TRY(uly__config_require_text(r, "activation_function", "gelu_new", "gelu_pytorch_tanh"));
  ULY_TRY(uly__config_require_bool(r, "scale_attn_weights", true));
  ULY_TRY(uly__config_require_bool(r, "scale_attn_by_inverse_layer_idx", false));
  ULY_TRY(uly__config_require_bool(r, "add_cross_attention", false));
  ULY_TRY(read_dropout(r, "resid_pdrop", c));
  ULY_TRY(read_dropout(r, "embd_pdrop", c));
  ULY_TRY(read_dropout(r, "attn_pdrop", c));
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

/* Reads the pattern of sparse blocks, which only types of our own have. */
static uly_status read_sparse(const uly__config_reader *r, uly__model_config *c) {
  const char *pattern = json_string_value(json_object_get(r->json, "sparse"));
  int i = ULY_SPARSE_NONE;
  if (r->type == ULY_TYPE_HF || !json_object_get(r->json, "sparse")) return ULY_OK;
  while (uly__sparse_names[i] && (!pattern || strcmp(pattern, uly__sparse_names[i]) != 0)) i++;
  if (!uly__sparse_names[i])
    ULY_FAIL(ULY_ERR_CONFIG, "'%s': \"sparse\" is %s, which is not a pattern of blocks", r->path,
             uly__quote(pattern).text);
  c->sparse = (uly_sparse_pattern)i;
  return ULY_OK;
}

/* Keeps the tokens that begin, end and pad a text; several tokens may end one. */
static uly_status read_special_tokens(const uly__config_reader *r, uly__model_config *c) {
  for (int i = 0; i < ULY_NUM_SPECIAL_TOKENS; i++) {
    const char *key = uly__special_token_keys[i];
    const json_t *value = json_object_get(r->json, key);
    size_t j, room = sizeof c->special_tokens[i];
    json_t *item;
    bool is_good = !value || json_is_array(value) || json_is_null(value) || json_is_integer(value);
    json_array_foreach(value, j, item) is_good &= json_is_integer(item);
    size_t used = value ? json_dumpb(value, c->special_tokens[i], room - 1, JSON_ENCODE_ANY) : 0;
    if (!is_good || used >= room)
      ULY_FAIL(ULY_ERR_CONFIG, "'%s': \"%s\" must be a token, a short list of tokens, or null",
               r->path, key);
    c->special_tokens[i][used] = '\0';
  }
  return ULY_OK;
}

static bool is_known(const char *family) {
  for (int i = 0; uly__family_names[i]; i++)
    if (strcmp(family, uly__family_names[i]) == 0) return true;
  return false;
}

/* Finds the family that model_type names, and what kind of name it is. */
static uly_status read_type(uly__config_reader *r, const char **family) {
  const json_t *type = json_object_get(r->json, "model_type");
  const char *name = json_string_value(type);
  size_t length = strlen(ULY_OWN_MODEL_TYPE);
  *family = name;
  if (name && strncmp(name, ULY_OWN_MODEL_TYPE, length) == 0) {
    r->type = ULY_TYPE_OWN;
    *family = name + length;
  }
  if (!name || !is_known(*family))
    ULY_FAIL(ULY_ERR_CONFIG,
             "'%s': \"model_type\" is %s; supported are %s, and what checkpoints name "
             "(ulysses_llama, ...)",
             r->path, type ? uly__quote(name).text : "missing", uly__families);
  return ULY_OK;
}

/* Refuses keys that no family needs, but that transformers reads in the files of all families. */
static uly_status refuse_others(const uly__config_reader *r) {
  ULY_TRY(uly__config_require_bool(r, "is_causal", true));
  if (uly__config_has(r->json, "per_layer_config"))
    ULY_FAIL(ULY_ERR_CONFIG,
             "'%s' has a \"per_layer_config\", but layers of different sizes are not supported",
             r->path);
  if (uly__config_has(r->json, "quantization_config"))
    ULY_FAIL(ULY_ERR_CONFIG,
             "'%s' has a \"quantization_config\", but quantized weights are not supported: use the "
             "model that was not quantized",
             r->path);
  return ULY_OK;
}

static uly_status read_config(uly__config_reader *r, uly__model_config *config) {
  const char *family;
  ULY_TRY(read_type(r, &family));
  *config = uly__model_config_family(family);
  ULY_TRY(refuse_others(r));
  ULY_TRY(strcmp(family, "gpt2") == 0 ? read_gpt2(r, config) : read_llama(r, config));
  ULY_TRY(uly__config_int(r, r->json, "vocab_size", 1, 1 << 30, &config->vocab));
  ULY_TRY(uly__config_bool(r, r->json, "tie_word_embeddings", &config->tied));
  ULY_TRY(uly__config_real(r, r->json, "initializer_range", &config->init_std));
  ULY_TRY(check(r->path, config));
  ULY_TRY(read_special_tokens(r, config));
  if (config->rope) ULY_TRY(uly__config_read_rope(r, config));
  ULY_TRY(uly__config_read_layers(r, config));
  return read_sparse(r, config);
}

uly_status uly__model_config_read(const char *text, int64_t length, const char *path,
                                  uly__model_config *config) {
  json_error_t error;
  json_t *json = json_loadb(text, (size_t)length, JSON_REJECT_DUPLICATES, &error);
  if (!json)
    ULY_FAIL(ULY_ERR_CONFIG, "'%s', line %d: %s", path, error.line,
             uly__make_printable(error.text).text);
  uly__config_reader r = {.json = json, .path = path};
  uly_status status = read_config(&r, config);
  json_decref(json);
  return status;
}
