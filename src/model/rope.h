/* RoPE and its scaled forms, with which a model sees more positions than it was trained with. The
 * formulas and the names are those of transformers; parameters that are left out in a file have
 * been replaced by their defaults before they come here (model/config_rope.c).
 *
 * Sources: RoPE, Su et al. 2021; linear, Chen et al., arXiv 2306.15595; YaRN, Peng et al., arXiv
 * 2309.00071; LongRoPE, Ding et al., arXiv 2402.13753; llama3, the Llama 3.1 release. */
#ifndef ULY_ROPE_H
#define ULY_ROPE_H

#include "ops/ops.h"

typedef enum uly__rope_type {
  ULY_ROPE_DEFAULT = 0,
  ULY_ROPE_LINEAR,
  ULY_ROPE_DYNAMIC,
  ULY_ROPE_LLAMA3,
  ULY_ROPE_YARN,
  ULY_ROPE_LONGROPE
} uly__rope_type;

/* Names of the types, with NULL at the end. */
extern const char *const uly__rope_names[];

/* How frequencies are scaled. Members that a type does not use are 0. */
typedef struct uly__rope_scaling {
  uly__rope_type type;
  double factor;
  /* The positions that the model was trained for before its RoPE was scaled. */
  int64_t original_positions;
  double attention_factor;                  /* yarn, longrope */
  double low_freq_factor, high_freq_factor; /* llama3 */
  double beta_fast, beta_slow;              /* yarn */
  bool truncate;                            /* yarn */
  /* longrope, [d / 2]: for sequences within the original positions, and beyond them. */
  double short_factor[ULY_MAX_HEAD_DIM / 2], long_factor[ULY_MAX_HEAD_DIM / 2];
} uly__rope_scaling;

/* Returns the attention factor that yarn or longrope has unless a file gives another, for scaling
 * whose other members are set; 1 for other types. */
double uly__rope_attention_factor(const uly__rope_scaling *scaling);

/* Returns the frequencies of RoPE with this base, and the scale of its cosines and sines. Dynamic
 * RoPE and longrope depend on seq_len, the number of tokens of a sequence. */
uly__rope uly__rope_plan(double theta, int head_dim, const uly__rope_scaling *scaling,
                         int64_t seq_len);

#endif
