/* Writes config.json so that transformers computes the same or refuses to load it: see config.h. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/status.h"
#include "model/config.h"
#include "ops/mask.h"

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

static bool is_family(const uly__model_config *c, const char *name) {
  return strcmp(c->family, name) == 0;
}

static json_t *weights_json(const uly__model_config *c) {
  json_t *json = is_family(c, "gpt2") ? gpt2_json(c) : llama_json(c);
  json_object_set_new(json, "model_type", json_string(c->family));
  json_object_set_new(json, "vocab_size", json_integer(c->vocab));
  json_object_set_new(json, "tie_word_embeddings", json_boolean(c->tied));
  json_object_set_new(json, "initializer_range", json_real(c->init_std));
  json_object_set_new(json, "torch_dtype", json_string("float32"));
  return json;
}

static char *dump(json_t *json) {
  char *text = json_dumps(json, JSON_INDENT(2) | JSON_SORT_KEYS);
  json_decref(json);
  return text;
}

char *uly__model_config_weights(const uly__model_config *config) {
  return dump(weights_json(config));
}

uly_status uly__model_config_is_same(const uly__model_config *a, const uly__model_config *b,
                                     bool *is_same) {
  uly__model_config other = *b;
  if (a->rope && b->rope) other.max_positions = a->max_positions;
  char *text = uly__model_config_weights(a), *other_text = uly__model_config_weights(&other);
  *is_same = text && other_text && strcmp(text, other_text) == 0;
  bool has_memory = text && other_text;
  free(text);
  free(other_text);
  if (!has_memory) ULY_FAIL(ULY_ERR_MEMORY, "no memory for a model's description");
  return ULY_OK;
}

/* The type of transformers that computes the same; NULL, NULL: there is none. */
typedef struct hf_type {
  const char *name, *class_name;
} hf_type;

static hf_type find_type(const uly__model_config *c) {
  bool has_more_biases = c->o_bias || c->mlp_bias;
  if (c->sparse != ULY_SPARSE_NONE) return (hf_type){0};
  if (is_family(c, "llama") && c->window == 0) return (hf_type){"llama", "LlamaForCausalLM"};
  if (is_family(c, "llama") && !has_more_biases) return (hf_type){"mistral", "MistralForCausalLM"};
  if (is_family(c, "qwen2") && c->window == 0 && !has_more_biases)
    return (hf_type){"qwen2", "Qwen2ForCausalLM"};
  return (hf_type){0};
}

char *uly__model_config_json(const uly__model_config *config) {
  hf_type type = find_type(config);
  json_t *json = weights_json(config);
  char own_name[32];
  snprintf(own_name, sizeof own_name, ULY_OWN_MODEL_TYPE "%s", config->family);
  json_object_set_new(json, "model_type", json_string(type.name ? type.name : own_name));
  json_object_set_new(json, "architectures",
                      json_pack("[s]", type.class_name ? type.class_name : "UlyssesForCausalLM"));
  if (type.name && strcmp(type.name, "llama") != 0) { /* others have no such keys */
    (void)json_object_del(json, "attention_bias");
    (void)json_object_del(json, "mlp_bias");
  }
  /* Some versions of transformers would take a default of 4,096 for a window. */
  if (type.name && strcmp(type.name, "qwen2") == 0) {
    json_object_set_new(json, "use_sliding_window", json_false());
    json_object_set_new(json, "sliding_window", json_null());
  }
  /* Version 4 of transformers reads rope_theta, version 5 this object. */
  if (config->rope)
    json_object_set_new(
        json, "rope_parameters",
        json_pack("{s:s, s:f}", "rope_type", "default", "rope_theta", config->rope_theta));
  if (config->window > 0) json_object_set_new(json, "sliding_window", json_integer(config->window));
  if (config->sparse != ULY_SPARSE_NONE)
    json_object_set_new(json, "sparse", json_string(uly__sparse_names[config->sparse]));
  return dump(json);
}
