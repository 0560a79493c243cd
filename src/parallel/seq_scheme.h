/* What attention over a cut sequence is: the functions of a scheme, which says how the queries of a
 * rank meet the keys and values of the others.
 *
 * The caller writes Q, K and V of its tokens into the plan's blocks (head_blocks.h), and reads
 * outputs from blocks like them; in backward it is the other way round. What is exchanged in
 * between, in which rounds and through which buffers, is the scheme's own. A local failure does not
 * end a schedule: the scheme goes through all of its exchanges, so that no rank waits for another,
 * and returns the first failure. */
#ifndef ULY_SEQ_SCHEME_H
#define ULY_SEQ_SCHEME_H

#include "base/split.h"
#include "comm/mesh.h"
#include "device/arena.h"
#include "parallel/head_blocks.h"

/* What forward keeps of one layer for backward; and its outputs, in blocks like the plan's, which
 * the scheme's backward does not read. */
typedef struct uly__seq_kept {
  void *qkv;     /* what attention has read */
  void *o;       /* what it has written */
  void *softmax; /* [query heads of this rank, N] */
  void *outputs;
} uly__seq_kept;

/* What a plan is used for besides forward, and has buffers for. */
enum { ULY_SEQ_BACKWARD = 1 << 0, ULY_SEQ_LSE = 1 << 1 };

/* The buffers that all layers of a plan share and the caller writes or reads; what else a scheme
 * needs is its own. Without backward, d_o and d_qkv are NULL. Buffers that are never alive together
 * may share a place, so a call may overwrite what it reads. */
typedef struct uly__seq_work {
  void *qkv;   /* Q, K and V before forward; NULL if the scheme wants them in kept->qkv */
  void *d_o;   /* gradients of outputs before backward */
  void *d_qkv; /* gradients of Q, K and V after backward */
} uly__seq_work;

/* One forward or backward pass of a layer. */
typedef struct uly__seq_call {
  int mask;
  uly_traffic kind;
  const uly__seq_kept *kept;
  /* Writes Q, K and V of blocks first, first + step, ... Forward asks for every block once, as late
   * as its schedule allows. */
  void (*project)(void *context, int first, int step);
  void *context;
} uly__seq_call;

/* A contiguous part of a plan's blocks. */
typedef struct uly__block_range {
  int first, num;
} uly__block_range;

typedef struct uly__seq_scheme {
  const char *name;
  /* Returns ULY_ERR_CONFIG, saying why, if the scheme cannot compute this attention on this
   * mesh. */
  uly_status (*applicable)(const uly_mesh *mesh, const uly_attention_desc *desc);
  /* Sets desc->head_groups for a model whose heads are exchanged in so many rounds; 0: in as many
   * as run best. Returns ULY_ERR_CONFIG if there are more rounds than heads. */
  uly_status (*deal_heads)(const uly_mesh *mesh, int rounds, uly_attention_desc *desc);
  /* Makes what the scheme keeps in a plan: `own`, the cut and the blocks. */
  uly_status (*create)(uly_attention *plan);
  void (*destroy)(uly_attention *plan);
  /* Carves everything of out but the outputs. */
  void (*carve_kept)(const uly_attention *plan, uly__arena *arena, uly__seq_kept *out);
  /* Returns the bytes of a place for outputs; 0: they are in kept->o. */
  int64_t (*outputs_bytes)(const uly_attention *plan);
  void (*carve_work)(uly_attention *plan, unsigned uses, uly__arena *arena);
  /* Attend, and take the gradients back. Collective over the ranks of the sequence. */
  uly_status (*forward)(uly_attention *plan, const uly__seq_call *call);
  uly_status (*backward)(uly_attention *plan, const uly__seq_call *call);
  /* These do the same in several calls, each for some of this rank's rows, so that the caller can
   * use the outputs of some rows while others attend (see uly__attention_takes_rows). Before the
   * first forward call, the caller has projected Q, K and V of all rows. Backward calls take the
   * rows in ascending order: d_q of a call's rows is complete after it, and d_k and d_v are
   * complete after the last call. NULL means that the scheme needs all rows at once. */
  uly_status (*forward_rows)(uly_attention *plan, const uly__seq_call *call, uly__part rows);
  uly_status (*backward_rows)(uly_attention *plan, const uly__seq_call *call, uly__part rows);
  /* Drives what is under way. Not collective. NULL: nothing ever is. */
  uly_status (*poll)(uly_attention *plan);
  /* Writes the log-sum-exp of this rank's tokens, [T, query heads of the share]. Collective. */
  uly_status (*lse)(uly_attention *plan, const uly__seq_kept *kept, float *lse);
  /* Returns the heads whose keys and values of all N tokens a rank has after forward. */
  uly__head_range (*heads_of)(const uly_attention *plan, int rank);
  /* Copies these to keys and values, [kv_count][capacity][d] each. */
  void (*copy_kv)(const uly_attention *plan, const uly__seq_kept *kept, int64_t capacity,
                  void *keys, void *values);
  /* Returns the blocks of heads with which this rank attends: `num` of them, from `first` on. */
  uly__block_range (*attended)(const uly_attention *plan);
  /* Return the bytes that this rank sends in a pass to exchange heads. */
  int64_t (*sent_forward)(const uly_attention *plan);
  int64_t (*sent_backward)(const uly_attention *plan);
} uly__seq_scheme;

/* The schemes, uly__scheme_local and so on, in the order of preference: a model takes the first one
 * that is applicable.
 *   local    all of the sequence is on one rank: nothing is exchanged
 *   ulysses  the sequence is cut, and heads are exchanged for it */
#define ULY_SEQ_SCHEMES(X) X(local) X(ulysses)

#define ULY_DECLARE_SCHEME(name) extern const uly__seq_scheme uly__scheme_##name;
ULY_SEQ_SCHEMES(ULY_DECLARE_SCHEME)
#undef ULY_DECLARE_SCHEME

#endif
