/* The attention plan behind uly_attention: one object for attention over a sequence that is cut over
 * ranks. Declared here for the rooms above; the functions are in ulysses.h. */
#ifndef ULY_SEQ_ATTENTION_H
#define ULY_SEQ_ATTENTION_H

#include "comm/mesh.h"
#include "ops/mask.h"
#include "ops/ops.h"
#include "parallel/ulysses.h"

struct uly_attention {
  uly_mesh *mesh;
  uly_attention_desc desc; /* its mask points into `mask` */
  uly__mask *mask;
  uly__ulysses ulysses;
  const uly__ops *ops;
  /* Buffers of the simple functions; allocated at the first call of uly_attention_forward. */
  uly_attention_bytes bytes;
  void *simple; /* one piece behind all of them */
  void *qkv_tokens, *qkv_heads, *o_tokens, *o_heads, *d_o_heads, *workspace;
  float *lse;
};

/* Like uly_attention_create without agreement among the ranks; mesh may be an offline one. */
uly_status uly__attention_plan(uly_mesh *mesh, const uly_attention_desc *desc, uly_attention **out);

/* Bytes that this rank sends to attend forward (Q, K, V to heads, outputs back) and backward (the
 * gradient of the outputs to heads, those of Q, K, V back). Where the ranks do not divide tokens or heads
 * the two differ on a rank, though not in sum. */
int64_t uly__attention_sent_forward(const uly_attention *plan);
int64_t uly__attention_sent_backward(const uly_attention *plan);

#endif
