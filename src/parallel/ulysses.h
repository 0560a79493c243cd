/* The exchange of DeepSpeed-Ulysses: sequence slices <-> heads, as a table computed once.
 *
 * Legend: N tokens, T_s tokens of rank s, hq_g and hkv_g heads of group g; w_p the sum over the groups of
 * rank p of (hq_g + 2 hkv_g) d for Q, K and V together, of hq_g d for outputs.
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
  int num_groups; /* G head groups, a multiple of P: rank p owns the G/P from p G/P on */
  int num_q_heads, num_kv_heads, head_dim;
  int64_t num_tokens;          /* N */
  uly__part *slices;           /* [P] tokens of each rank */
  uly_attention_block *blocks; /* [G] heads of each group, and where they lie */
  uly__exchange qkv, o;
} uly__ulysses;

/* Cuts tokens and heads and computes both exchanges. ULY_ERR_CONFIG names what cannot work. */
uly_status uly__ulysses_create(int size, int rank, const uly_attention_desc *desc,
                               uly__ulysses *out);
void uly__ulysses_destroy(uly__ulysses *ulysses);

/* Groups [*first, *first + the result) belong to rank p. */
int uly__ulysses_groups(const uly__ulysses *ulysses, int p, int *first);

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
