/* What local attention works on: whole sequences of some heads, on one device. */
#ifndef ULY_ATTENTION_ARGS_H
#define ULY_ATTENTION_ARGS_H

#include "ops/mask.h"

/* Query head i (0 <= i < num_q_heads) is head first_q_head + i of all Hq, which masks with a layout for
 * each head are about; it uses key/value head (i + group_offset) / group_size. Rows are `stride` elements
 * apart; heads of a token are adjacent. lse is the natural logarithm of each row's sum of
 * exp(scale * q.k). N tokens, d = head_dim. */
typedef struct uly__attention_args {
  int64_t num_tokens;
  int num_q_heads, num_kv_heads, head_dim;
  int first_q_head;
  int group_size, group_offset;
  uly_dtype dtype;
  const uly__mask *mask;
  float scale;
  int64_t qkv_stride, o_stride;
  /* [N, heads, d], rows qkv_stride apart */
  const void *q, *k, *v;
  /* [N, heads, d], rows o_stride apart: forward writes it, backward reads it. */
  void *o;
  /* [num_q_heads, N]: forward writes it, backward reads it. */
  float *lse;
  /* Backward reads d_o, which is like o, and writes the others, which are like q, k, v. */
  const void *d_o;
  void *d_q, *d_k, *d_v;
  /* Drives what is under way beside. The thread that called for attention calls it now and then. NULL where
   * nothing is under way. */
  void (*poll)(void *context);
  void *poll_context;
} uly__attention_args;

#endif
