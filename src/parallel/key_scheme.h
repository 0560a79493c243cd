/* How the queries of a rank meet the keys and values that other ranks of its ring hold, for one
 * block of heads. The schemes of seq_scheme.h call it where they attend.
 *
 *   whole   the ring has one rank, which attends to the whole sequence
 *   ring    keys and values are passed around the ring
 *   gather  every rank receives all keys and values at once
 *
 * The rows of a rank are those that its rank of the ring holds: plan->rows. */
#ifndef ULY_KEY_SCHEME_H
#define ULY_KEY_SCHEME_H

#include "parallel/seq_scheme.h"

/* Where one block of heads lies: rows of qkv and o are the block's strides apart. */
typedef struct uly__local_rows {
  const void *qkv;
  void *o;
  void *softmax; /* [q_count, rows] */
} uly__local_rows;

/* One forward or backward pass with one block of heads. */
typedef struct uly__key_call {
  int mask;
  uly_traffic kind;
  const uly__head_block *block;
  uly__local_rows rows;
  /* Backward reads d_o, which is laid out like o, and writes d_qkv, which is laid out like qkv. */
  const void *d_o;
  void *d_qkv;
  void *workspace;
  /* What has failed before. Then the exchanges are made all the same, and nothing is computed. */
  uly_status status;
  int64_t index; /* of the block or round, for the trace */
} uly__key_call;

typedef struct uly__key_scheme {
  const char *name;
  /* Returns ULY_ERR_CONFIG, saying why, if the scheme cannot compute this attention. */
  uly_status (*applicable)(const uly_mesh *mesh, const uly_attention_desc *desc);
  /* Make and free what the scheme keeps in the plan, `key_own`. NULL: nothing. */
  uly_status (*create)(uly_attention *plan);
  void (*destroy)(uly_attention *plan);
  /* Returns the bytes of the workspace of a pass with a block. Blocks take turns in it. */
  int64_t (*workspace_bytes)(const uly_attention *plan, const uly__head_block *block,
                             bool is_backward);
  /* Attend, and take the gradients back. Collective over the ring. */
  uly_status (*forward)(uly_attention *plan, const uly__key_call *call);
  uly_status (*backward)(uly_attention *plan, const uly__key_call *call);
  /* These do the same for some of the rows (see seq_scheme.h). NULL means that all rows attend at
   * once. */
  uly_status (*forward_rows)(uly_attention *plan, const uly__key_call *call, uly__part rows);
  uly_status (*backward_rows)(uly_attention *plan, const uly__key_call *call, uly__part rows);
  /* Drives what is under way. Not collective. NULL: nothing ever is. */
  uly_status (*poll)(uly_attention *plan);
  /* Return the bytes that this rank sends in a pass with a block. */
  int64_t (*sent_forward)(const uly_attention *plan, const uly__head_block *block);
  int64_t (*sent_backward)(const uly_attention *plan, const uly__head_block *block);
} uly__key_scheme;

extern const uly__key_scheme uly__keys_whole, uly__keys_ring, uly__keys_gather;

#endif
