/* Says what the models of a family have in common, and makes the changes that a run asks for. */
#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "model/config.h"

const char *const uly__family_names[] = {"llama", "mistral", "ministral", "qwen2",
                                         "qwen3", "smollm3", "gpt2",      NULL};
const char uly__families[] = "llama, mistral, ministral, qwen2, qwen3, smollm3 and gpt2";

const char *const uly__special_token_keys[ULY_NUM_SPECIAL_TOKENS] = {"bos_token_id", "eos_token_id",
                                                                     "pad_token_id"};

uly__model_config uly__model_config_family(const char *name) {
  uly__model_config config = {0};
  bool gpt2 = strcmp(name, "gpt2") == 0, smollm3 = strcmp(name, "smollm3") == 0;
  snprintf(config.family, sizeof config.family, "%s", name);
  config.norm = gpt2 ? ULY_NORM_LAYER : ULY_NORM_RMS;
  config.rope = config.gated = !gpt2;
  config.qkv_bias = gpt2 || strcmp(name, "qwen2") == 0;
  config.qk_norm = strcmp(name, "qwen3") == 0;
  config.o_bias = config.mlp_bias = gpt2;
  config.tied = gpt2 || smollm3;
  config.norm_eps = gpt2 ? 1e-5 : 1e-6;
  config.rope_theta = smollm3 ? 2e6 : 10000.0;
  config.init_std = 0.02;
  return config;
}

int uly__num_layers_with_window(const uly__model_config *config) {
  int num = 0;
  for (int i = 0; i < config->num_layers; i++) num += uly__layer_has_window(config, i);
  return num;
}

bool uly__model_config_fits(const uly__model_config *a, const uly__model_config *b) {
  return a->hidden == b->hidden && a->ffn == b->ffn && a->vocab == b->vocab &&
         a->num_layers == b->num_layers && a->num_q_heads == b->num_q_heads &&
         a->num_kv_heads == b->num_kv_heads && a->head_dim == b->head_dim && a->norm == b->norm &&
         a->qk_norm == b->qk_norm && a->rope == b->rope &&
         (a->rope || a->max_positions == b->max_positions) && a->gated == b->gated &&
         a->qkv_bias == b->qkv_bias && a->o_bias == b->o_bias && a->mlp_bias == b->mlp_bias &&
         a->tied == b->tied;
}

void uly__model_config_set_window(uly__model_config *config, int64_t window) {
  uint8_t flags = 0;
  for (int i = 0; i < config->num_layers; i++) flags |= config->layers[i];
  config->window = window;
  if (flags & ULY_LAYER_HAS_WINDOW) return;
  for (int i = 0; i < config->num_layers; i++) config->layers[i] |= ULY_LAYER_HAS_WINDOW;
}

/* Returns the parameters that a scaled type has unless a file gives others. */
static uly__rope_scaling default_scaling(uly__rope_type type, double factor, int64_t original) {
  uly__rope_scaling scaling = {.type = type, .factor = factor, .original_positions = original};
  switch (type) {
    case ULY_ROPE_LLAMA3:
      scaling.low_freq_factor = 1;
      scaling.high_freq_factor = 4;
      break;
    case ULY_ROPE_YARN:
      scaling.beta_fast = 32;
      scaling.beta_slow = 1;
      scaling.truncate = true;
      scaling.attention_factor = uly__rope_attention_factor(&scaling);
      break;
    default: assert(type == ULY_ROPE_LINEAR);
  }
  return scaling;
}

int64_t uly__rope_trained_positions(const uly__model_config *config) {
  int64_t original = config->scaling.original_positions;
  return original > 0 ? original : config->max_positions;
}

uly_status uly__model_config_scale_rope(uly__model_config *config, uly__rope_type type,
                                        double factor) {
  uly__rope_scaling *scaling = &config->scaling;
  if (!config->rope)
    ULY_FAIL(ULY_ERR_CONFIG,
             "config.rope_scaling is %s, but the model has learned positions, not RoPE: leave it "
             "out",
             uly__rope_names[type]);
  /* A file does not say for how many positions linear RoPE was trained before. */
  if (scaling->type != ULY_ROPE_DEFAULT && (scaling->type != type || type == ULY_ROPE_LINEAR))
    ULY_FAIL(
        ULY_ERR_CONFIG,
        "config.rope_scaling is %s, but the model already has RoPE of type %s: only llama3 and "
        "yarn can be given another factor, and only for a model that has the same type",
        uly__rope_names[type], uly__rope_names[scaling->type]);
  if (scaling->type == type && scaling->factor == factor) return ULY_OK;
  if (scaling->type == ULY_ROPE_YARN &&
      scaling->attention_factor != uly__rope_attention_factor(scaling))
    ULY_FAIL(ULY_ERR_CONFIG,
             "config.rope_factor is %g, but the model's RoPE has an attention factor of its own, "
             "%g, which belongs to its factor of %g: change both in its config.json",
             factor, scaling->attention_factor, scaling->factor);
  int64_t original = uly__rope_trained_positions(config);
  if (scaling->type == ULY_ROPE_DEFAULT) *scaling = default_scaling(type, factor, original);
  scaling->factor = factor;
  if (type == ULY_ROPE_YARN) scaling->attention_factor = uly__rope_attention_factor(scaling);
  config->max_positions = (int64_t)(factor * (double)original);
  return ULY_OK;
}
