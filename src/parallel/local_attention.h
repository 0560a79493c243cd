/* Attention on one rank, for the schemes: one block of heads, over all tokens of a sequence, by the
 * kernels or by a user's callback. */
#ifndef ULY_LOCAL_ATTENTION_H
#define ULY_LOCAL_ATTENTION_H

#include "parallel/seq_attention.h"

/* Where one block of heads lies: rows of qkv and o are the block's strides apart. */
typedef struct uly__local_rows {
  const void *qkv;
  void *o;
  void *softmax; /* [q_count, N] */
} uly__local_rows;

/* Returns the bytes that forward keeps of the softmax of a row: uly__softmax_row; or float, the
 * log-sum-exp, which a user's callback keeps. */
int64_t uly__local_softmax_bytes(const uly_attention *plan);
/* Returns the bytes of backward's workspace for a block. */
int64_t uly__local_workspace_bytes(const uly_attention *plan, const uly__head_block *block);

/* Attend with the heads of a block; `index` is for the trace. Backward reads d_o, which is like o, and
 * writes d_qkv, which is like qkv. */
uly_status uly__local_forward(const uly_attention *plan, int mask, const uly__head_block *block,
                              uly__local_rows rows, int64_t index);
uly_status uly__local_backward(const uly_attention *plan, int mask, const uly__head_block *block,
                               uly__local_rows rows, const void *d_o, void *d_qkv, void *workspace,
                               int64_t index);

/* Writes the natural logarithms of the sums of exp(scale * q.k) of rows [first, first + count) of
 * softmax. */
void uly__local_lse(const uly_attention *plan, const void *softmax, int64_t first, int64_t count,
                    float *lse);

/* Copies keys and values of a block's rows of num_tokens tokens to [kv heads][capacity][d], of which
 * keys and values are the places of the block's first head. */
void uly__local_copy_kv(const uly_attention *plan, const uly__head_block *block, const void *qkv,
                        int64_t capacity, void *keys, void *values);

#endif
