/* Describes what a model is: the Llama families and GPT-2 are settings of one block. Keys follow
 * Hugging Face's config.json.
 *
 * A config.json that this program writes can be read by transformers if that computes the same from
 * the weights beside it. Otherwise, model_type is "ulysses_" and the family, which transformers
 * refuses:
 *
 *   llama       every layer sees all tokens before it
 *   mistral     all layers have a window (sliding_window: a query sees the keys at a distance below
 *               it, as with our window), or none has one
 *   ministral   a Mistral whose layers differ: layer_types says which of them have the window
 *   qwen2       biases of Q, K and V; layer_types
 *   qwen3       RMSNorm of every head of Q and K; layer_types
 *   smollm3     layers without RoPE, no_rope_layers; layer_types
 *   gpt2        learned positions, LayerNorm, GELU
 *   ulysses_*   a model of a family whose biases, window or sparse blocks transformers does not
 *               know there; and in checkpoints any GPT-2, whose tensors have the names and the
 *               layout of a Llama's there
 *
 * Keys of our own are "sparse", the pattern of sparse blocks, and sliding_window in any family. */
#ifndef ULY_CONFIG_H
#define ULY_CONFIG_H

#include <stdbool.h>
#include <string.h>

#include "model/rope.h"

/* The most layers of a model. */
enum { ULY_MAX_LAYERS = 4096 };

/* What may differ between the layers of a model; flags. */
enum { ULY_LAYER_HAS_WINDOW = 1 << 0, ULY_LAYER_HAS_NO_ROPE = 1 << 1 };

/* Keys of special tokens. */
enum { ULY_NUM_SPECIAL_TOKENS = 3 };
extern const char *const uly__special_token_keys[ULY_NUM_SPECIAL_TOKENS];

typedef struct uly__model_config {
  char family[16]; /* as listed above */
  int64_t hidden;  /* h */
  int64_t ffn;     /* f: width of the MLP */
  int64_t vocab;   /* V */
  int64_t max_positions;
  int num_layers, num_q_heads, num_kv_heads, head_dim;
  uly__norm norm; /* RMSNorm or LayerNorm; LayerNorm has biases */
  double norm_eps;
  bool qk_norm; /* RMSNorm of every head of Q and K */
  bool rope;    /* else learned positions */
  double rope_theta;
  uly__rope_scaling scaling;
  bool gated; /* SwiGLU, else GELU (tanh) */
  bool qkv_bias, o_bias, mlp_bias;
  bool tied; /* the head is the embedding */
  double init_std;
  /* How the model attends: the number of tokens that a token sees, including itself, in the layers
   * that have a window (0: no layer has one), and the pattern of sparse blocks, whose sizes the run
   * knows. */
  int64_t window;
  uly_sparse_pattern sparse;
  /* The key of a dropout that the file asks for, which is not used; NULL if there is none. */
  const char *dropout;
  uint8_t layers[ULY_MAX_LAYERS]; /* flags of each layer */
  /* The tokens that begin, end and pad a text, as JSON from the file, or "" if the key is missing.
   * They are kept so that the file that is written has them, too. */
  char special_tokens[ULY_NUM_SPECIAL_TOKENS][256];
} uly__model_config;

/* Loads a configuration. name_or_path: a preset, or the path of a config.json. */
uly_status uly__model_config_load(const char *name_or_path, uly__model_config *config);
/* Reads the text of a config.json; path is for messages. */
uly_status uly__model_config_read(const char *text, int64_t length, const char *path,
                                  uly__model_config *config);

/* Returns what the name of a family determines before any number is known. */
uly__model_config uly__model_config_family(const char *name);

/* Returns whether the model is of the family with this name. */
static inline bool uly__is_family(const uly__model_config *config, const char *name) {
  return strcmp(config->family, name) == 0;
}

/* The names of the families, with NULL at the end; and the same as part of a sentence. */
extern const char *const uly__family_names[];
extern const char uly__families[];

/* The beginning of a model_type of our own. */
#define ULY_OWN_MODEL_TYPE "ulysses_"

/* Sets the window of the layers that have one; if none has one, all layers get it. 0: no layer has
 * a window. */
void uly__model_config_set_window(uly__model_config *config, int64_t window);
/* Returns whether a layer sees only a window. */
static inline bool uly__layer_has_window(const uly__model_config *config, int layer) {
  return config->window > 0 && (config->layers[layer] & ULY_LAYER_HAS_WINDOW);
}
/* Returns the number of such layers. */
int uly__num_layers_with_window(const uly__model_config *config);
/* Returns whether a layer has RoPE, which rotates its queries and keys. */
static inline bool uly__layer_has_rope(const uly__model_config *config, int layer) {
  return config->rope && !(config->layers[layer] & ULY_LAYER_HAS_NO_ROPE);
}

/* Returns the positions that the model was trained with, before its RoPE was scaled. */
int64_t uly__rope_trained_positions(const uly__model_config *config);
/* Scales RoPE, so that a model sees `factor` times as many positions; type: linear, llama3 or yarn.
 * Returns ULY_ERR_CONFIG if the model has learned positions, or RoPE of another scaled type. */
uly_status uly__model_config_scale_rope(uly__model_config *config, uly__rope_type type,
                                        double factor);

/* Returns the config.json of a configuration, malloc'ed, or NULL if there is no memory. The same
 * configuration gives the same text. */
char *uly__model_config_json(const uly__model_config *config);
/* Sets *text, malloc'ed, to the config.json with which transformers computes the same from weights
 * of this type in Hugging Face's names and layout. Returns ULY_ERR_CONFIG, saying why, if
 * transformers has no such model. dtype: "float32", "bfloat16" or "float16". */
uly_status uly__model_config_export(const uly__model_config *config, const char *dtype,
                                    char **text);
/* Returns a text of what the weights depend on, which is everything but windows and sparse blocks:
 * malloc'ed, or NULL if there is no memory. Checkpoints of version 3 hold the checksum of this
 * text. */
char *uly__model_config_weights(const uly__model_config *config);
/* Checks whether weights of one model are weights of the other. RoPE needs no table, so with it the
 * number of positions that a model was made for makes no difference. */
uly_status uly__model_config_is_same(const uly__model_config *a, const uly__model_config *b,
                                     bool *is_same);
/* Returns whether two models have parameters of the same names and shapes. They may compute
 * different things from these, with other frequencies of RoPE for instance. */
bool uly__model_config_fits(const uly__model_config *a, const uly__model_config *b);

#endif
