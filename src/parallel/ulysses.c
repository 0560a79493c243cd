/* The sequence <-> head exchange: which rank owns which heads, and what is sent. Source:
 * DeepSpeed-Ulysses, arXiv 2309.14509, section 3. */
#include "parallel/ulysses.h"

#include <stdbool.h>
#include <stdlib.h>

#include "parallel/head_share.h"

/* Returns the largest divisor of n that is at most `most`. */
static int largest_divisor(int n, int most) {
  int divisor = most < n ? most : n;
  while (n % divisor != 0) divisor--;
  return divisor;
}

uly_status uly__ulysses_applicable(const uly_mesh *mesh, const uly_attention_desc *d) {
  int size = uly__mesh_extent(mesh, ULY_AXIS_ULYSSES), least = uly__head_share_least(mesh, d);
  char heads[64];
  ULY_TRY(uly__head_share_check(mesh, d));
  uly__head_share_name(mesh, d, heads);
  if (size > least)
    ULY_FAIL(ULY_ERR_CONFIG,
             "%d sequence-parallel ranks cannot share %s: Ulysses gives each rank at least one, so "
             "1 to %d ranks work here (use mesh.sp = %d or less, and mesh.dp for the rest; or "
             "mesh.ulysses = %d, and mesh.ring for the rest)",
             size, heads, least, least, largest_divisor(size, least));
  if (d->head_groups < 0 || d->head_groups > least || d->head_groups % size != 0)
    ULY_FAIL(ULY_ERR_CONFIG,
             "desc.head_groups is %d, but it must be a multiple of the %d ranks, and at most the "
             "%s",
             d->head_groups, size, heads);
  return ULY_OK;
}

int uly__ulysses_group(const uly__ulysses *ulysses, int p, int round) {
  return p * ulysses->num_rounds + round;
}

uly__head_range uly__ulysses_heads(const uly__ulysses *ulysses, int p) {
  return uly__head_blocks_range(
      &ulysses->blocks[uly__ulysses_group(ulysses, p, 0)],
      &ulysses->blocks[uly__ulysses_group(ulysses, p, ulysses->num_rounds - 1)]);
}

/* Returns the number of heads in a row of what is exchanged with rank p in a round. */
static int64_t row_heads(const uly__ulysses *u, int p, int round, bool with_kv) {
  const uly__head_block *block = &u->blocks[uly__ulysses_group(u, p, round)];
  return block->q_count + (with_kv ? 2 * (int64_t)block->kv_count : 0);
}

/* Places the groups on the head sides of their ranks, round after round. */
static void place_on_head_side(uly__ulysses *u) {
  for (int p = 0; p < u->size; p++) {
    uly__head_place at = {0};
    for (int round = 0; round < u->num_rounds; round++) {
      int g = uly__ulysses_group(u, p, round);
      u->places[g] = at;
      at.qkv_offset += u->num_tokens * u->blocks[g].qkv_stride;
      at.o_offset += u->num_tokens * u->blocks[g].o_stride;
    }
  }
}

/* Checks that all counts of a share fit into an int, in which MPI counts. They are checked here for
 * all ranks and their parts, so that all refuse together. */
static uly_status check_counts(const uly__ulysses *u) {
  int64_t all_heads = 0, most_tokens = 0;
  for (int p = 0; p < u->size; p++) {
    int64_t heads = 0;
    for (int round = 0; round < u->num_rounds; round++) heads += row_heads(u, p, round, true);
    all_heads += heads;
    if (u->slices[p].count > most_tokens) most_tokens = u->slices[p].count;
    if (u->num_tokens * heads > INT32_MAX) /* at most 2^40 x 3 x 2^20 */
      ULY_FAIL(
          ULY_ERR_CONFIG,
          "%lld tokens of %lld heads on one rank are more than an MPI exchange can count: use more "
          "ranks",
          (long long)u->num_tokens, (long long)heads);
  }
  if (most_tokens * all_heads > INT32_MAX)
    ULY_FAIL(
        ULY_ERR_CONFIG,
        "%lld tokens of a rank with %lld heads are more than an MPI exchange can count: use more "
        "ranks",
        (long long)most_tokens, (long long)all_heads);
  return ULY_OK;
}

/* Fills in the offsets within each round. */
static void fill_offsets(const uly__ulysses *u, const uly__exchange_side *side) {
  for (int round = 0; round < u->num_rounds; round++) {
    int64_t offset = 0;
    for (int i = round * u->size; i < (round + 1) * u->size; i++) {
      side->offsets[i] = offset;
      offset += side->counts[i];
    }
  }
}

static void count_exchange(const uly__ulysses *u, uly__exchange *exchange, bool with_kv) {
  for (int round = 0; round < u->num_rounds; round++)
    for (int p = 0; p < u->size; p++) {
      int at = round * u->size + p;
      exchange->tokens.counts[at] = u->slices[u->rank].count * row_heads(u, p, round, with_kv);
      exchange->heads.counts[at] = u->slices[p].count * row_heads(u, u->rank, round, with_kv);
    }
  fill_offsets(u, &exchange->tokens);
  fill_offsets(u, &exchange->heads);
}

/* Places the tokens of the ranks on the head side, one rank after the other. */
static void place_tokens(uly__ulysses *u, const uly__token_cut *cut) {
  for (int p = 0; p < u->size; p++) {
    u->slices[p] = (uly__part){u->num_tokens, uly__token_cut_count(cut, cut->rank - u->rank + p)};
    u->num_tokens += u->slices[p].count;
  }
}

/* Deals the heads of rank `index` of tensor parallelism. */
static void deal_share(const uly_mesh *mesh, const uly_attention_desc *desc, int index,
                       uly__ulysses *u) {
  u->heads = uly__head_share(mesh, desc, index);
  uly__head_blocks_deal(u->heads, desc->num_q_heads / desc->num_kv_heads, u->head_dim,
                        u->num_groups, u->blocks);
}

/* Deals the heads of this rank's share, after those of every other, whose counts are checked
 * too. */
static uly_status deal(const uly_mesh *mesh, const uly_attention_desc *desc, uly__ulysses *u) {
  int num = uly__mesh_extent(mesh, ULY_AXIS_TP), mine = uly__mesh_index(mesh, ULY_AXIS_TP);
  for (int i = 1; i <= num; i++) {
    deal_share(mesh, desc, (mine + i) % num, u);
    ULY_TRY(check_counts(u));
  }
  return ULY_OK;
}

uly_status uly__ulysses_create(const uly_mesh *mesh, const uly__token_cut *cut,
                               const uly_attention_desc *desc, uly__ulysses *out) {
  int size = uly__mesh_extent(mesh, ULY_AXIS_ULYSSES);
  *out = (uly__ulysses){.size = size,
                        .rank = uly__mesh_index(mesh, ULY_AXIS_ULYSSES),
                        .num_groups = desc->head_groups ? desc->head_groups : size,
                        .head_dim = desc->head_dim};
  ULY_TRY(uly__ulysses_applicable(mesh, desc));
  out->num_rounds = out->num_groups / size;
  size_t P = (size_t)out->num_groups; /* ranks x rounds */
  int64_t *counts = calloc(8 * P, sizeof *counts);
  out->slices = calloc((size_t)size, sizeof *out->slices);
  out->blocks = calloc((size_t)out->num_groups, sizeof *out->blocks);
  out->places = calloc((size_t)out->num_groups, sizeof *out->places);
  out->qkv.tokens = (uly__exchange_side){counts, counts + P};
  if (!counts || !out->slices || !out->blocks || !out->places) {
    uly__ulysses_destroy(out);
    ULY_FAIL(ULY_ERR_MEMORY, "no memory for an exchange among %d ranks", size);
  }
  out->qkv.heads = (uly__exchange_side){counts + 2 * P, counts + 3 * P};
  out->o.tokens = (uly__exchange_side){counts + 4 * P, counts + 5 * P};
  out->o.heads = (uly__exchange_side){counts + 6 * P, counts + 7 * P};
  place_tokens(out, cut);
  uly_status status = deal(mesh, desc, out);
  if (status != ULY_OK) {
    uly__ulysses_destroy(out);
    return status;
  }
  uly__head_blocks_place(out->num_groups, out->num_rounds, cut->count, out->blocks);
  place_on_head_side(out);
  count_exchange(out, &out->qkv, true);
  count_exchange(out, &out->o, false);
  return ULY_OK;
}

void uly__ulysses_destroy(uly__ulysses *ulysses) {
  free(ulysses->slices);
  free(ulysses->blocks);
  free(ulysses->places);
  free(ulysses->qkv.tokens.counts); /* the one allocation behind all eight arrays */
  *ulysses = (uly__ulysses){0};
}

uly__blocks uly__ulysses_blocks(const uly__ulysses *ulysses, const uly__exchange_side *side,
                                int round) {
  int at = round * ulysses->size;
  return (uly__blocks){side->counts + at, side->offsets + at};
}

int64_t uly__ulysses_sent(const uly__ulysses *ulysses, const uly__exchange_side *from,
                          int64_t element_bytes) {
  int64_t bytes = 0;
  for (int round = 0; round < ulysses->num_rounds; round++)
    bytes += uly__traffic_all_to_all(ulysses->size, ulysses->rank,
                                     uly__ulysses_blocks(ulysses, from, round).counts,
                                     ulysses->head_dim * element_bytes);
  return bytes;
}
