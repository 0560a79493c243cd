/* Reads a config.json of Hugging Face: it is refused, or gives a model that can be computed and
 * whose own config.json reads the same. */
#include <math.h>
#include <string.h>

#include "fuzzing.h"
#include "model/config.h"

static void check_model(const uly__model_config *c) {
  FUZZ_CHECK(c->hidden > 0 && c->ffn > 0 && c->vocab > 0 && c->max_positions > 0, "sizes");
  FUZZ_CHECK(c->num_layers > 0 && c->num_q_heads > 0 && c->num_kv_heads > 0, "counts");
  FUZZ_CHECK(c->head_dim > 0 && c->head_dim <= ULY_MAX_HEAD_DIM, "head_dim %d", c->head_dim);
  FUZZ_CHECK(c->num_q_heads % c->num_kv_heads == 0, "heads");
  FUZZ_CHECK(!c->rope || c->head_dim % 2 == 0, "RoPE in an odd dim");
  /* As they are computed with. */
  FUZZ_CHECK(isfinite(c->norm_eps) && c->norm_eps > 0, "norm_eps %g", (double)c->norm_eps);
  FUZZ_CHECK(isfinite(c->rope_theta) && c->rope_theta > 0, "rope_theta %g", c->rope_theta);
  FUZZ_CHECK(isfinite((float)c->init_std) && (float)c->init_std > 0, "init_std %g", c->init_std);
}

static void check_written(const uly__model_config *config) {
  char *text = uly__model_config_json(config);
  FUZZ_CHECK(text, "no text");
  uly__model_config again;
  memset(&again, 0, sizeof again);
  const char *path = fuzz_file("written", text, strlen(text));
  FUZZ_CHECK(uly__model_config_load(path, &again) == ULY_OK, "%s", uly_last_error());
  char *text_again = uly__model_config_json(&again);
  FUZZ_CHECK(text_again && strcmp(text, text_again) == 0, "%s\nreads as\n%s", text, text_again);
  /* All of it, not only what is written. */
  FUZZ_CHECK(
      again.hidden == config->hidden && again.ffn == config->ffn && again.vocab == config->vocab &&
          again.max_positions == config->max_positions && again.num_layers == config->num_layers &&
          again.num_q_heads == config->num_q_heads && again.num_kv_heads == config->num_kv_heads &&
          again.head_dim == config->head_dim && again.norm == config->norm &&
          again.norm_eps == config->norm_eps && again.rope == config->rope &&
          again.rope_theta == config->rope_theta && again.gated == config->gated &&
          again.qkv_bias == config->qkv_bias && again.o_bias == config->o_bias &&
          again.mlp_bias == config->mlp_bias && again.tied == config->tied &&
          again.init_std == config->init_std && again.window == config->window &&
          again.sparse == config->sparse && strcmp(again.family, config->family) == 0,
      "%s\nis another model", text);
  free(text_again);
  free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  uly__model_config config;
  uly_status status = uly__model_config_load(fuzz_file("input", data, size), &config);
  if (status == ULY_OK) {
    check_model(&config);
    check_written(&config);
  } else {
    fuzz_check_refusal(status, uly_last_error());
  }
  return 0;
}
