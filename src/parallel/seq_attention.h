/* The attention plan behind uly_attention: one object for attention over a sequence that is cut
 * over ranks. Declared here for the rooms above; the functions are in ulysses.h. */
#ifndef ULY_SEQ_ATTENTION_H
#define ULY_SEQ_ATTENTION_H

#include "comm/mesh.h"
#include "ops/mask.h"
#include "ops/ops.h"
#include "parallel/ulysses.h"

/* More than the kinds of layers of any model. */
enum { ULY_MAX_MASKS = 1024 };

/* Bytes of the buffers of ulysses.h's explicit calls. softmax: [query heads, N] of
 * uly__softmax_row; or of float, the log-sum-exp, which a user's kernel keeps. */
typedef struct uly__attention_sizes {
  int64_t qkv_tokens, qkv_heads, o_tokens, o_heads, softmax, workspace;
} uly__attention_sizes;

typedef struct uly__simple_buffers uly__simple_buffers;

struct uly_attention {
  int64_t id; /* unique in the process */
  uly_mesh *mesh;
  uly_attention_desc desc; /* its masks are NULL: see `masks` */
  int num_masks;
  uly__mask **masks;
  /* A caller's lists of documents: the one in use, and room to try the next. */
  struct {
    int64_t *room; /* [2][max] */
    int64_t max;
    int used;      /* which of the two lists */
    uint64_t hash; /* of the documents in use */
  } documents;
  uly_token_run run; /* tokens of this rank */
  uly__ulysses ulysses;
  const uly__ops *ops;
  uly__stream *stream;
  uly__group *group; /* the ranks that share the sequence */
  /* What is on its way in each direction; the rest is for the trace. */
  struct {
    uly__request request;
    bool under_way;
    int round;
    double began;
  } travel[2];
  /* The kernels call it now and then; NULL: nothing is under way during their work. */
  void (*poll)(void *context);
  void *poll_context;
  /* Buffers of the simple functions; NULL before the first call. */
  uly__simple_buffers *simple;
};

/* Like uly_attention_create without agreement among the ranks. The structs of desc have the sizes
 * that this library knows. */
uly_status uly__attention_plan(uly_mesh *mesh, const uly_attention_desc *desc, uly_attention **out);

/* Like uly_attention_set_documents, but the list is not copied: it must stay as it is while it is
 * in use. */
uly_status uly__attention_use_documents(uly_attention *plan, const int64_t *doc_start,
                                        int64_t num_docs);

/* Records the documents that are in use, for comparisons. (public_attention.c) */
void uly__attention_hash_documents(uly_attention *plan);

double uly__attention_pairs(const uly_attention *plan, int mask);

int uly__attention_num_groups(const uly_attention *plan);
uly__head_block uly__attention_block(const uly_attention *plan, int group);
uly__attention_sizes uly__attention_sizes_of(const uly_attention *plan);

/* Copy key/value heads that several groups need from the first block that holds them to the others;
 * and sum their gradients in f32 into the first. (shared_kv.c) */
void uly__attention_share_kv(const uly_attention *plan, void *qkv_tokens);
void uly__attention_sum_kv(const uly_attention *plan, void *d_qkv_tokens);

/* Frees the buffers of the simple functions, if any. (simple_attention.c) */
void uly__attention_free_simple(uly_attention *plan);

/* --- Exchanges round by round, which overlap with computation: one of each direction may be under
 * way. Collective over the sp ranks, in the same order on all. */

typedef enum uly__exchange_step {
  ULY_QKV_TO_HEADS = 0, /* forward */
  ULY_O_TO_TOKENS,
  ULY_O_TO_HEADS, /* backward: gradients of O, then of Q, K and V */
  ULY_QKV_TO_TOKENS
} uly__exchange_step;

int uly__attention_num_rounds(const uly_attention *plan);

/* Returns whether some key/value head is in two groups: then no round may be sent before all are
 * projected and uly__attention_share_kv has been called. */
bool uly__attention_shares_kv(const uly_attention *plan);

/* Where a round begins in the buffers of all rounds, and its size on the head side, in bytes. */
typedef struct uly__round {
  int64_t qkv_tokens, o_tokens, qkv_heads, o_heads;
  int64_t qkv_heads_bytes, o_heads_bytes;
} uly__round;

uly__round uly__attention_round(const uly_attention *plan, int round);

/* Starts an exchange; from and to are those of this round. */
uly_status uly__attention_start(uly_attention *plan, uly__exchange_step step, uly_traffic kind,
                                int round, const void *from, void *to);
/* Waits for the exchange of this step's direction. */
uly_status uly__attention_wait(uly_attention *plan, uly__exchange_step step, int round);
/* Drives what is under way. Not collective. */
uly_status uly__attention_poll(uly_attention *plan);

/* Compute local attention on one round: the pointers are to its own part of each buffer, except
 * that softmax is that of all rounds. Not collective. */
uly_status uly__attention_round_forward(const uly_attention *plan, int mask, int round,
                                        const void *qkv_heads, void *o_heads, void *softmax);
uly_status uly__attention_round_backward(const uly_attention *plan, int mask, int round,
                                         const void *qkv_heads, const void *o_heads,
                                         const void *softmax, const void *d_o_heads,
                                         void *d_qkv_heads, void *workspace);

/* Writes the natural logarithms of the sums of exp(scale * q.k) of rows [first, first + count) of all
 * rounds' softmax. */
void uly__attention_lse(const uly_attention *plan, const void *softmax, int64_t first,
                        int64_t count, float *lse);

/* --- All rounds, one after the other, without overlap. */

/* Exchanges all rounds. tokens, heads: the buffers of the two sides. Collective over the sp
 * ranks. */
uly_status uly__attention_exchange(uly_attention *plan, uly__exchange_step step, uly_traffic kind,
                                   const void *tokens, const void *heads);

uly_status uly__attention_forward(const uly_attention *plan, int mask, const void *qkv_heads,
                                  void *o_heads, void *softmax);
uly_status uly__attention_backward(const uly_attention *plan, int mask, const void *qkv_heads,
                                   const void *o_heads, const void *softmax, const void *d_o_heads,
                                   void *d_qkv_heads, void *workspace);

/* Return the bytes that this rank sends to attend forward (Q, K, V to heads, outputs back) and
 * backward (the gradient of the outputs to heads, those of Q, K, V back). If the ranks do not
 * divide tokens or heads, the two differ on a rank, but not in sum. */
int64_t uly__attention_sent_forward(const uly_attention *plan);
int64_t uly__attention_sent_backward(const uly_attention *plan);

#endif
