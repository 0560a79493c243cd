/* What a model is: the Llama family and GPT-2 are two settings of one block. Keys follow Hugging
 * Face's config.json. */
#ifndef ULY_CONFIG_H
#define ULY_CONFIG_H

#include <stdbool.h>

#include "ops/ops.h"

typedef struct uly__model_config {
  char model_type[16]; /* "llama", "qwen2" or "gpt2": which keys config.json is written with */
  int64_t hidden;      /* h */
  int64_t ffn;         /* f: width of the MLP */
  int64_t vocab;       /* V */
  int64_t max_positions;
  int num_layers, num_q_heads, num_kv_heads, head_dim;
  uly__norm norm; /* RMSNorm or LayerNorm; LayerNorm has biases */
  float norm_eps;
  bool rope; /* else learned positions */
  double rope_theta;
  bool gated; /* SwiGLU, else GELU (tanh) */
  bool qkv_bias, o_bias, mlp_bias;
  bool tied; /* the head is the embedding */
  double init_std;
} uly__model_config;

/* name_or_path: a preset, or the path of a config.json. */
uly_status uly__model_config_load(const char *name_or_path, uly__model_config *config);

/* The config.json of a configuration, malloc'ed; the same configuration gives the same text. NULL
 * without memory. */
char *uly__model_config_json(const uly__model_config *config);

#endif
