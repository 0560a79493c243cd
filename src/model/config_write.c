/* Writes config.json so that transformers computes the same or refuses to load it: see config.h. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/status.h"
#include "model/config_values.h"
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
  json_object_set_new(json, "rms_norm_eps", json_real((double)(float)c->norm_eps));
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
  json_object_set_new(json, "layer_norm_epsilon", json_real((double)(float)c->norm_eps));
  return json;
}

static bool is_mistral(const uly__model_config *c) {
  return uly__is_family(c, "mistral") || uly__is_family(c, "ministral");
}

/* Describes what the weights depend on, with the epsilon of norms in f32. Mistral models have the
 * weights of a Llama. */
static json_t *weights_json(const uly__model_config *c) {
  json_t *json = uly__is_family(c, "gpt2") ? gpt2_json(c) : llama_json(c);
  json_object_set_new(json, "model_type", json_string(is_mistral(c) ? "llama" : c->family));
  json_object_set_new(json, "vocab_size", json_integer(c->vocab));
  json_object_set_new(json, "tie_word_embeddings", json_boolean(c->tied));
  json_object_set_new(json, "initializer_range", json_real(c->init_std));
  json_object_set_new(json, "torch_dtype", json_string("float32"));
  if (c->scaling.type != ULY_ROPE_DEFAULT || uly__is_family(c, "smollm3"))
    uly__config_write_rope(c, json);
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

/* Returns whether transformers has models of this family with these biases. */
static bool has_usual_biases(const uly__model_config *c) {
  if (uly__is_family(c, "llama") || uly__is_family(c, "smollm3")) return c->qkv_bias == c->o_bias;
  if (uly__is_family(c, "qwen3")) return c->qkv_bias == c->o_bias && !c->mlp_bias;
  return c->qkv_bias == uly__model_config_family(c->family).qkv_bias && !c->o_bias && !c->mlp_bias;
}

/* Returns the type of transformers that computes the same; NULL: there is none. */
static const char *find_type(const uly__model_config *c) {
  int num = uly__num_layers_with_window(c);
  if (c->sparse != ULY_SPARSE_NONE || uly__is_family(c, "gpt2") || !has_usual_biases(c))
    return NULL;
  if (!uly__is_family(c, "llama") && !is_mistral(c)) return c->family;
  if (num == 0) return uly__is_family(c, "ministral") ? "mistral" : c->family;
  if (c->qkv_bias || c->mlp_bias) return NULL;
  bool all_have_it = num == c->num_layers && !uly__is_family(c, "ministral");
  return all_have_it ? "mistral" : "ministral";
}

static const char *class_of(const char *type) {
  static const struct {
    const char *type, *name;
  } classes[] = {
      {"llama", "LlamaForCausalLM"},         {"mistral", "MistralForCausalLM"},
      {"ministral", "MinistralForCausalLM"}, {"qwen2", "Qwen2ForCausalLM"},
      {"qwen3", "Qwen3ForCausalLM"},         {"smollm3", "SmolLM3ForCausalLM"},
      {"gpt2", "GPT2LMHeadModel"},
  };
  for (size_t i = 0; i < sizeof classes / sizeof classes[0]; i++)
    if (strcmp(classes[i].type, type) == 0) return classes[i].name;
  return "UlyssesForCausalLM";
}

/* Makes the config.json of a model_type. */
static json_t *make_json(const uly__model_config *c, const char *type) {
  json_t *json = weights_json(c);
  bool is_hf = strncmp(type, ULY_OWN_MODEL_TYPE, strlen(ULY_OWN_MODEL_TYPE)) != 0;
  bool has_bias_keys = !is_hf || strcmp(type, "llama") == 0 || strcmp(type, "smollm3") == 0;
  json_object_set_new(json, "model_type", json_string(type));
  json_object_set_new(json, "architectures", json_pack("[s]", class_of(type)));
  if (!has_bias_keys) (void)json_object_del(json, "mlp_bias");
  if (!has_bias_keys && strcmp(type, "qwen3") != 0) (void)json_object_del(json, "attention_bias");
  json_object_set_new(json, uly__is_family(c, "gpt2") ? "layer_norm_epsilon" : "rms_norm_eps",
                      json_real(c->norm_eps));
  for (int i = 0; i < ULY_NUM_SPECIAL_TOKENS; i++)
    if (c->special_tokens[i][0])
      json_object_set_new(json, uly__special_token_keys[i],
                          json_loads(c->special_tokens[i], JSON_DECODE_ANY, NULL));
  uly__config_write_rope(c, json);
  uly__config_write_layers(c, type, json);
  if (c->sparse != ULY_SPARSE_NONE)
    json_object_set_new(json, "sparse", json_string(uly__sparse_names[c->sparse]));
  return json;
}

char *uly__model_config_json(const uly__model_config *config) {
  const char *type = find_type(config);
  char own_name[32];
  snprintf(own_name, sizeof own_name, ULY_OWN_MODEL_TYPE "%s", config->family);
  return dump(make_json(config, type ? type : own_name));
}

/* Returns the type of transformers whose tensors have Hugging Face's names and layout. */
static const char *find_export_type(const uly__model_config *c) {
  bool is_gpt2 = uly__is_family(c, "gpt2") && c->qkv_bias && c->o_bias && c->mlp_bias;
  if (is_gpt2 && c->sparse == ULY_SPARSE_NONE && c->window == 0 &&
      c->num_q_heads * (int64_t)c->head_dim == c->hidden)
    return c->family;
  return find_type(c);
}

/* Returns what transformers lacks, for a model that it has no type for. */
static const char *find_reason(const uly__model_config *c) {
  if (c->sparse != ULY_SPARSE_NONE) return "sparse blocks";
  if (uly__is_family(c, "gpt2") && c->window > 0) return "a window";
  if (uly__is_family(c, "gpt2") || !has_usual_biases(c))
    return "biases that other models of its family lack";
  return "biases together with a window";
}

uly_status uly__model_config_export(const uly__model_config *config, const char *dtype,
                                    char **text) {
  const char *type = find_export_type(config);
  *text = NULL;
  if (!type)
    ULY_FAIL(ULY_ERR_CONFIG,
             "transformers has no model that computes the same as this %s, which has %s: only this "
             "program can use it",
             config->family, find_reason(config));
  json_t *json = make_json(config, type);
  json_object_set_new(json, "torch_dtype", json_string(dtype));
  json_object_set_new(json, "dtype", json_string(dtype));
  *text = dump(json);
  if (!*text) ULY_FAIL(ULY_ERR_MEMORY, "no memory for a model's description");
  return ULY_OK;
}
