/* The exchange of DeepSpeed-Ulysses: sequence slices <-> heads, as a table computed once.
 *
 * The heads of a rank are exchanged in rounds, one group of heads in each, so that the exchange of
 * one group can run while another one computes.
 *
 * Legend: N tokens (of a rank of the ring, if there is one), T_s tokens of rank s, R rounds; w_p
 * for a round is (hq_g + 2 hkv_g) d for Q, K and V together, hq_g d for outputs, where g is the
 * round's group of rank p.
 *   token side of rank s: R rounds of P blocks [T_s, w_p]; block p goes to rank p
 *   head side of rank p:  R rounds of P blocks [T_s, w_p]; those of a round together are
 *                         [N, w_p]: the tokens of one rank after those of another
 * So data are sent from where the projection wrote them, and arrive where attention reads them. */
#ifndef ULY_ULYSSES_H
#define ULY_ULYSSES_H

#include "base/split.h"
#include "comm/mesh.h"
#include "parallel/head_blocks.h"
#include "parallel/token_cut.h"

/* Counts of the all-to-all of each round, and offsets from the beginning of the round, in units of
 * a head's row (head_dim elements). */
typedef struct uly__exchange_side {
  int64_t *counts, *offsets; /* [R][P] */
} uly__exchange_side;

typedef struct uly__exchange {
  uly__exchange_side tokens, heads; /* of this rank's buffers on the token side and the head side */
} uly__exchange;

/* Where a group begins on the head side of the rank that owns it, in elements. */
typedef struct uly__head_place {
  int64_t qkv_offset, o_offset;
} uly__head_place;

typedef struct uly__ulysses {
  int size, rank;        /* P and my index */
  int num_groups;        /* G head groups: rank p owns the R from p R on */
  int num_rounds;        /* R = G / P */
  uly__head_range heads; /* that are dealt: this rank's share of tensor parallelism */
  int head_dim;
  int64_t num_tokens;      /* N */
  uly__part *slices;       /* [P] tokens of each rank */
  uly__head_block *blocks; /* [G] heads of each group, and where they lie on the token side */
  uly__head_place *places; /* [G] */
  uly__exchange qkv, o;
} uly__ulysses;

/* Returns ULY_ERR_CONFIG, saying why and which hybrid with a ring would work, unless the ranks of
 * Ulysses can share the heads. */
uly_status uly__ulysses_applicable(const uly_mesh *mesh, const uly_attention_desc *desc);

/* Deals the heads to the ranks of Ulysses, neighbours in the cut, and computes both exchanges.
 * ULY_ERR_CONFIG names what cannot work; it is the same on all ranks of the mesh. */
uly_status uly__ulysses_create(const uly_mesh *mesh, const uly__token_cut *cut,
                               const uly_attention_desc *desc, uly__ulysses *out);
void uly__ulysses_destroy(uly__ulysses *ulysses);

/* Returns the group of rank p in a round. */
int uly__ulysses_group(const uly__ulysses *ulysses, int p, int round);

/* Returns the heads that rank p attends with, in all rounds. */
uly__head_range uly__ulysses_heads(const uly__ulysses *ulysses, int p);

/* Returns one round's counts and offsets. */
uly__blocks uly__ulysses_blocks(const uly__ulysses *ulysses, const uly__exchange_side *side,
                                int round);

/* Returns the bytes that this rank sends in all rounds of one direction. */
int64_t uly__ulysses_sent(const uly__ulysses *ulysses, const uly__exchange_side *from,
                          int64_t element_bytes);

#endif
