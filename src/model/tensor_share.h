/* Tensor parallelism gives each of its ranks contiguous parts of the heads, of the MLP's inner
 * features, of the vocabulary and of the learned positions (Megatron-LM, arXiv 1909.08053). The
 * sizes of the parts differ by at most one. A key/value head is held by every rank that has a query
 * head which uses it, and is owned by the first of these ranks. */
#ifndef ULY_TENSOR_SHARE_H
#define ULY_TENSOR_SHARE_H

#include "base/split.h"
#include "model/config.h"

typedef struct uly__tensor_share {
  /* The number of ranks of tensor parallelism, and the index of this rank among them. 1 and 0: the
   * model is not divided. */
  int size, index;
  /* owned_kv: the key/value heads that no other rank counts or saves. */
  uly__part q_heads, kv_heads, owned_kv;
  uly__part ffn, vocab, positions;
} uly__tensor_share;

/* Returns the share of rank `index` of `size` ranks. */
uly__tensor_share uly__tensor_share_of(const uly__model_config *config, int size, int index);

/* Returns ULY_ERR_CONFIG, with a message that says what cannot be divided, unless every rank gets
 * at least one MLP feature and one token of the vocabulary. Attention checks its heads itself. */
uly_status uly__tensor_share_check(const uly__model_config *config, int size);

#endif
