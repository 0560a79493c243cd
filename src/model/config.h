/* Describes what a model is: the Llama family and GPT-2 are two settings of one block. Keys follow
 * Hugging Face's config.json.
 *
 * Transformers reads a config.json that this program writes where it computes the same from the
 * weights beside it. Elsewhere model_type is "ulysses_" and the family, which transformers refuses:
 *
 *   llama, qwen2    full attention
 *   mistral         a Llama without biases that has a window, sliding_window: a query sees the keys
 *                   of a distance below it, as with our window
 *   ulysses_llama   a Llama with biases and a window, or with sparse blocks
 *   ulysses_qwen2   a Qwen2 with a window (transformers 4.45 to 4.48 read use_sliding_window and
 * attend to all), with sparse blocks, or with biases that Qwen2 does not have
 *   ulysses_gpt2    any GPT-2: our tensors have the names and the layout of a Llama's
 *
 * Keys of our own are "sparse", the pattern of sparse blocks, and sliding_window in any family. */
#ifndef ULY_CONFIG_H
#define ULY_CONFIG_H

#include <stdbool.h>

#include "ops/ops.h"

typedef struct uly__model_config {
  char family[16]; /* "llama", "qwen2" or "gpt2" */
  int64_t hidden;  /* h */
  int64_t ffn;     /* f: width of the MLP */
  int64_t vocab;   /* V */
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
  /* How the model attends: the number of tokens that one sees, including itself (0: all before it),
   * and the pattern of sparse blocks, whose sizes the run knows. */
  int64_t window;
  uly_sparse_pattern sparse;
  /* The key of a dropout that the file asks for, which is not used; NULL if there is none. */
  const char *dropout;
} uly__model_config;

/* Loads a configuration. name_or_path: a preset, or the path of a config.json. */
uly_status uly__model_config_load(const char *name_or_path, uly__model_config *config);
/* Reads the text of a config.json; path is for messages. */
uly_status uly__model_config_read(const char *text, int64_t length, const char *path,
                                  uly__model_config *config);

/* Returns what "llama", "qwen2" or "gpt2" determines before any number is known. */
uly__model_config uly__model_config_family(const char *name);

/* The beginning of a model_type of our own. */
#define ULY_OWN_MODEL_TYPE "ulysses_"

/* Returns the config.json of a configuration, malloc'ed, or NULL if there is no memory. The same
 * configuration gives the same text. */
char *uly__model_config_json(const uly__model_config *config);
/* Returns a text of what the weights depend on, which is everything but window and sparse blocks:
 * malloc'ed, or NULL if there is no memory. Checkpoints of version 3 hold the checksum of this
 * text. */
char *uly__model_config_weights(const uly__model_config *config);
/* Checks whether weights of one model are weights of the other. RoPE needs no table, so with it the
 * number of positions that a model was made for makes no difference. */
uly_status uly__model_config_is_same(const uly__model_config *a, const uly__model_config *b,
                                     bool *is_same);

#endif
