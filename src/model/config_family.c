/* What the models of a family have in common. */
#include <string.h>

#include "model/config.h"

uly__model_config uly__model_config_family(const char *name) {
  uly__model_config config = {0};
  bool gpt2 = strcmp(name, "gpt2") == 0;
  snprintf(config.family, sizeof config.family, "%s", name);
  config.norm = gpt2 ? ULY_NORM_LAYER : ULY_NORM_RMS;
  config.rope = config.gated = !gpt2;
  config.qkv_bias = gpt2 || strcmp(name, "qwen2") == 0;
  config.o_bias = config.mlp_bias = config.tied = gpt2;
  config.norm_eps = gpt2 ? 1e-5f : 1e-6f;
  config.rope_theta = 10000.0;
  config.init_std = 0.02;
  return config;
}
