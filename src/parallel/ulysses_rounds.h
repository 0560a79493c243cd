/* What the Ulysses scheme keeps in a plan, and its steps: exchanges round by round, which overlap
 * with computation, and local attention of a round. The explicit calls of the public header consist
 * of the same steps. */
#ifndef ULY_ULYSSES_ROUNDS_H
#define ULY_ULYSSES_ROUNDS_H

#include "parallel/local_attention.h"
#include "parallel/ulysses.h"

/* Bytes of the buffers of all rounds. softmax: [query heads, N] rows. The workspace is that of
 * forward and backward, or that of forward alone. */
typedef struct uly__ulysses_sizes {
  int64_t qkv_tokens, qkv_heads, o_tokens, o_heads, softmax, workspace, forward_workspace;
} uly__ulysses_sizes;

typedef struct uly__ulysses_plan {
  uly__ulysses table;
  uly__ulysses_sizes bytes;
  /* What is on its way in each direction; the rest is for the trace. */
  struct {
    uly__request request;
    bool under_way;
    int round;
    double began;
  } travel[2];
  /* Work of backward: [N, hq d] and [N, (hq + 2 hkv) d] of a round; rounds take turns. */
  void *d_o_heads[2], *d_qkv_heads[2];
  void *workspace;
  /* The log-sum-exp as it is sent, [heads of this rank, N], and received, [query heads
   * of the share, T]. */
  float *lse_out, *lse_in;
} uly__ulysses_plan;

static inline uly__ulysses_plan *uly__ulysses_of(const uly_attention *plan) { return plan->own; }

/* Computes the sizes of a plan that has its table. */
uly__ulysses_sizes uly__ulysses_size(const uly_attention *plan);

/* Returns the place `bytes` past the start of a buffer, for callers that own the buffer. */
static inline void *uly__past(const void *buffer, int64_t bytes) {
  return (char *)(uintptr_t)buffer + bytes;
}

/* Where a round begins in the buffers of all rounds, and its size on the head side, in bytes. */
typedef struct uly__round {
  int64_t qkv_tokens, o_tokens, qkv_heads, o_heads;
  int64_t qkv_heads_bytes, o_heads_bytes;
} uly__round;

uly__round uly__ulysses_round(const uly_attention *plan, int round);

typedef enum uly__exchange_step {
  ULY_QKV_TO_HEADS = 0, /* forward */
  ULY_O_TO_TOKENS,
  ULY_O_TO_HEADS, /* backward: gradients of O, then of Q, K and V */
  ULY_QKV_TO_TOKENS
} uly__exchange_step;

/* Starts an exchange; from and to are those of this round. One of each direction may be under way.
 * Collective over the ranks of the sequence, like the wait. */
uly_status uly__ulysses_start(uly_attention *plan, uly__exchange_step step, uly_traffic kind,
                              int round, const void *from, void *to);
/* Waits for the exchange of this step's direction. */
uly_status uly__ulysses_wait(uly_attention *plan, uly__exchange_step step, int round);
/* Drives what is under way. Not collective. */
uly_status uly__ulysses_poll(uly_attention *plan);

/* Exchanges all rounds, one after the other. tokens, heads: the buffers of the two sides. */
uly_status uly__ulysses_exchange(uly_attention *plan, uly__exchange_step step, uly_traffic kind,
                                 const void *tokens, const void *heads);

/* Describes attention on one round: the pointers are to its own part of each buffer, except that
 * softmax is that of all rounds. The rest of the call is the caller's. */
uly__key_call uly__ulysses_round_call(const uly_attention *plan, int round, const void *qkv_heads,
                                      const void *o_heads, const void *softmax);

/* Carves the buffers of the log-sum-exp. (ulysses_lse.c) */
void uly__ulysses_carve_lse(uly_attention *plan, uly__arena *arena);
/* Does what a scheme's lse does. */
uly_status uly__ulysses_lse(uly_attention *plan, const uly__seq_kept *kept, float *lse);

#endif
