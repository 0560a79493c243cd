/* What tensor parallelism gives to each of its ranks: contiguous parts of the heads, of the MLP's
 * inner features, of the vocabulary and of the learned positions (Megatron-LM, arXiv 1909.08053).
 * Parts differ by at most one. A key/value head belongs to every rank that holds a query head which
 * uses it, and is owned by the first of these ranks. */
#ifndef ULY_TENSOR_SHARE_H
#define ULY_TENSOR_SHARE_H

#include "base/split.h"
#include "model/config.h"

typedef struct uly__tensor_share {
  int size, index; /* of the ranks of tensor parallelism; 1, 0: no division */
  uly__part q_heads, kv_heads,
      owned_kv; /* owned_kv: the key/value heads that no other rank counts */
  uly__part ffn, vocab, positions;
} uly__tensor_share;

/* Computes the share of rank `index` of `size`. */
uly__tensor_share uly__tensor_share_of(const uly__model_config *config, int size, int index);

/* Returns ULY_ERR_CONFIG, saying what cannot be divided, unless every rank gets a part of
 * everything. */
uly_status uly__tensor_share_check(const uly__model_config *config, int size);

#endif
