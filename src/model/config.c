/* Model configurations: presets, and files, which config_read.c and config_write.c handle. */
#include "model/config.h"

#include <stdlib.h>
#include <string.h>

#include "base/file.h"

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
  const preset *found = name ? find_preset(name) : NULL;
  return found ? found->about : NULL;
}

static uly__model_config from_preset(const preset *p) {
  uly__model_config config = uly__model_config_family(p->gpt2 ? "gpt2" : "llama");
  config.hidden = p->hidden;
  config.ffn = p->ffn;
  config.vocab = p->vocab;
  config.num_layers = p->layers;
  config.num_q_heads = p->q_heads;
  config.num_kv_heads = p->kv_heads;
  config.head_dim = p->head_dim;
  config.tied = true;
  config.norm_eps = 1e-5;
  /* RoPE needs no table: its limit is only what the model was made for. */
  config.max_positions = !p->gpt2 ? (int64_t)1 << 22 : p->vocab == 257 ? 16384 : 1024;
  /* Otherwise transformers would take tokens of its own for those of a text. */
  for (int i = 0; i < ULY_NUM_SPECIAL_TOKENS; i++) strcpy(config.special_tokens[i], "null");
  /* Long sequences need slow rotations: the base is that of Llama 3. */
  config.rope_theta = 500000.0;
  return config;
}

/* Loads the text of a file. If that fails, the name may have been meant as a preset. */
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
  ULY_TRY(load_text(name_or_path, &text, &length));
  uly_status status = uly__model_config_read(text, length, name_or_path, config);
  free(text);
  return status;
}
