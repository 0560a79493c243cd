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

/* Returns how many bytes forward keeps of a row's softmax: those of a uly__softmax_row, or, with a
 * user's callback, those of a float, the log-sum-exp. */
int64_t uly__local_softmax_bytes(const uly_attention *plan);
/* Returns the bytes of backward's workspace for a block. */
int64_t uly__local_workspace_bytes(const uly_attention *plan, const uly__head_block *block);

/* Attend with the heads of a block; `index` is for the trace. Backward reads d_o, which is laid out
 * like o, and writes d_qkv, which is laid out like qkv. */
uly_status uly__local_forward(const uly_attention *plan, int mask, const uly__head_block *block,
                              uly__local_rows rows, int64_t index);
uly_status uly__local_backward(const uly_attention *plan, int mask, const uly__head_block *block,
                               uly__local_rows rows, const void *d_o, void *d_qkv, void *workspace,
                               int64_t index);

/* Writes the natural logarithms of the sums of exp(scale * q.k) of rows [first, first + count) of
 * softmax. */
void uly__local_lse(const uly_attention *plan, const void *softmax, int64_t first, int64_t count,
                    float *lse);

/* Copies a block's keys and values of all N tokens to [kv heads][capacity][d]; keys and values
 * point to the places of the block's first key/value head. */
void uly__local_copy_kv(const uly_attention *plan, const uly__head_block *block, const void *qkv,
                        int64_t capacity, void *keys, void *values);

#endif
