/* Calls the kernels of attention, or a user's callback, for one block of heads: the parts that all
 * key schemes share. */
#ifndef ULY_LOCAL_ATTENTION_H
#define ULY_LOCAL_ATTENTION_H

#include "parallel/seq_attention.h"

/* Returns how many bytes forward keeps of a row's softmax: those of a uly__softmax_row, or, with a
 * user's callback, those of a float, the log-sum-exp. */
int64_t uly__local_softmax_bytes(const uly_attention *plan);

/* Describes the shape of a block's attention, for all rows of this rank: neither its mask nor its
 * pointers, and no keys unless the ring has one rank. */
uly__attention_args uly__local_shape(const uly_attention *plan, const uly__head_block *block);

/* Writes the natural logarithms of the sums of exp(scale * q.k) of rows [first, first + count) of
 * softmax. */
void uly__local_lse(const uly_attention *plan, const void *softmax, int64_t first, int64_t count,
                    float *lse);

/* Returns the number of elements in a row that holds only a block's keys and values,
 * [2 kv_count, d], keys before values. */
int64_t uly__key_row(const uly_attention *plan, const uly__head_block *block);

/* Rounds such rows of gradients, one for each row of this rank, to the plan's dtype, and puts them
 * into the block's rows d_qkv. d_kv is overwritten. */
void uly__local_put_kv(const uly_attention *plan, const uly__head_block *block, float *d_kv,
                       void *d_qkv);

/* Copies a block's keys and values of all rows to [kv heads][capacity][d]; keys and values point to
 * the places of the block's first key/value head. */
void uly__local_copy_kv(const uly_attention *plan, const uly__head_block *block, const void *qkv,
                        int64_t capacity, void *keys, void *values);

#endif
