/* The exchange of DeepSpeed-Ulysses: sequence slices <-> heads, as a table computed once.
 *
 * Legend: N tokens, T_s tokens of rank s, hq_p and hkv_p heads of rank p, w_p = (hq_p + 2 hkv_p) d for
 * Q, K and V together, hq_p d for outputs.
 *   token side of rank s: P blocks [T_s, w_p]; block p goes to rank p
 *   head side of rank p:  P blocks [T_s, w_p]; together [N, w_p], since slices are contiguous
 * So what is sent is where the projection wrote it, and what arrives is where attention reads it. */
#ifndef ULY_ULYSSES_H
#define ULY_ULYSSES_H

#include "base/split.h"
#include "comm/comm.h"

/* Counts and offsets of one all-to-all in units of a head's row (head_dim elements). */
typedef struct uly__exchange_side {
  int64_t *counts, *offsets; /* [P] */
} uly__exchange_side;

typedef struct uly__exchange {
  uly__exchange_side tokens, heads; /* of this rank's buffers on the token side and the head side */
} uly__exchange;

typedef struct uly__ulysses {
  int size, rank; /* P and my index */
  int num_q_heads, num_kv_heads, head_dim;
  int64_t num_tokens;          /* N */
  uly__part *slices;           /* [P] tokens of each rank */
  uly_attention_block *blocks; /* [P] heads of each rank, and where their block lies */
  uly__exchange qkv, o;
} uly__ulysses;

/* Cuts tokens and heads and computes both exchanges. ULY_ERR_CONFIG names what cannot work. */
uly_status uly__ulysses_create(int size, int rank, int64_t num_tokens, int64_t token_tile,
                               int num_q_heads, int num_kv_heads, int head_dim, uly__ulysses *out);
void uly__ulysses_destroy(uly__ulysses *ulysses);

/* Moves one tensor; element_bytes 2 or 4. comm is the group of the P ranks. */
uly_status uly__ulysses_to_heads(const uly__ulysses *ulysses, const uly__exchange *exchange,
                                 uly__comm *comm, uly_traffic kind, int64_t element_bytes,
                                 const void *tokens, void *heads);
uly_status uly__ulysses_to_tokens(const uly__ulysses *ulysses, const uly__exchange *exchange,
                                  uly__comm *comm, uly_traffic kind, int64_t element_bytes,
                                  const void *heads, void *tokens);

/* Bytes that this rank sends in each direction. */
int64_t uly__ulysses_sent(const uly__ulysses *ulysses, const uly__exchange_side *from,
                          int64_t element_bytes);

#endif
