/* The sequence <-> head exchange: who owns which tokens and heads, and what travels. Source:
 * DeepSpeed-Ulysses, arXiv 2309.14509, section 3. */
#include "parallel/ulysses.h"

#include <stdlib.h>

static uly_status check(int size, int64_t num_tokens, int64_t token_tile, int num_q_heads,
                        int num_kv_heads, int head_dim) {
  if (num_tokens < 1) ULY_FAIL(ULY_ERR_CONFIG, "a stream of %lld tokens", (long long)num_tokens);
  if (num_tokens > (int64_t)1 << 40)
    ULY_FAIL(ULY_ERR_CONFIG, "a stream of %lld tokens is more than 2^40", (long long)num_tokens);
  if (token_tile < 0 || token_tile > (int64_t)1 << 40)
    ULY_FAIL(ULY_ERR_CONFIG, "a token tile of %lld", (long long)token_tile);
  if (num_q_heads < 1 || num_kv_heads < 1 || head_dim < 1)
    ULY_FAIL(ULY_ERR_CONFIG,
             "%d query heads, %d key/value heads and a head dimension of %d: all must "
             "be positive",
             num_q_heads, num_kv_heads, head_dim);
  if (num_q_heads > 1 << 20 || head_dim > 1 << 20)
    ULY_FAIL(ULY_ERR_CONFIG, "%d heads of dimension %d: neither may be above 2^20", num_q_heads,
             head_dim);
  if (num_q_heads % num_kv_heads != 0)
    ULY_FAIL(ULY_ERR_CONFIG, "%d query heads are not a multiple of %d key/value heads", num_q_heads,
             num_kv_heads);
  if (size > num_q_heads)
    ULY_FAIL(ULY_ERR_CONFIG,
             "%d sequence-parallel ranks cannot share %d query heads: Ulysses gives each rank at "
             "least one, so 1 to %d ranks work here (use --sp %d or less, and --dp for the rest)",
             size, num_q_heads, num_q_heads, num_q_heads);
  return ULY_OK;
}

/* Heads of each rank: query heads in contiguous parts that differ by at most one; key/value heads
 * that these use. Neighbours may share one. */
static void cut_heads(uly__ulysses *u) {
  int group = u->num_q_heads / u->num_kv_heads;
  int64_t T = u->slices[u->rank].count, qkv_offset = 0, o_offset = 0;
  for (int p = 0; p < u->size; p++) {
    uly__part q = uly__split(u->num_q_heads, 1, u->size, p);
    uly_attention_block *block = &u->blocks[p];
    block->q_begin = (int)q.begin;
    block->q_count = (int)q.count;
    block->kv_begin = block->q_begin / group;
    block->kv_count = (block->q_begin + block->q_count - 1) / group - block->kv_begin + 1;
    const uly_attention_block *before = block - 1;
    block->kv_shared = p > 0 && block->kv_begin < before->kv_begin + before->kv_count;
    block->qkv_stride = (int64_t)(block->q_count + 2 * block->kv_count) * u->head_dim;
    block->o_stride = (int64_t)block->q_count * u->head_dim;
    block->qkv_offset = qkv_offset;
    block->o_offset = o_offset;
    qkv_offset += T * block->qkv_stride;
    o_offset += T * block->o_stride;
  }
}

/* MPI counts in int, and so does every rank's part of the exchange: checked here for all ranks, so that
 * all refuse together. */
static uly_status check_counts(const uly__ulysses *u) {
  int64_t all_heads = 0, most_tokens = u->slices[0].count;
  for (int p = 0; p < u->size; p++) {
    int64_t heads = u->blocks[p].q_count + 2 * (int64_t)u->blocks[p].kv_count;
    all_heads += heads;
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

static void fill_offsets(const uly__exchange_side *side, int size) {
  int64_t offset = 0;
  for (int p = 0; p < size; p++) {
    side->offsets[p] = offset;
    offset += side->counts[p];
  }
}

static void count_exchange(const uly__ulysses *u, uly__exchange *exchange, int with_kv) {
  const uly_attention_block *mine = &u->blocks[u->rank];
  for (int p = 0; p < u->size; p++) {
    const uly_attention_block *theirs = &u->blocks[p];
    int64_t their_heads = theirs->q_count + (with_kv ? 2 * theirs->kv_count : 0);
    int64_t my_heads = mine->q_count + (with_kv ? 2 * mine->kv_count : 0);
    exchange->tokens.counts[p] = u->slices[u->rank].count * their_heads;
    exchange->heads.counts[p] = u->slices[p].count * my_heads;
  }
  fill_offsets(&exchange->tokens, u->size);
  fill_offsets(&exchange->heads, u->size);
}

uly_status uly__ulysses_create(int size, int rank, int64_t num_tokens, int64_t token_tile,
                               int num_q_heads, int num_kv_heads, int head_dim, uly__ulysses *out) {
  *out = (uly__ulysses){.size = size,
                        .rank = rank,
                        .num_q_heads = num_q_heads,
                        .num_kv_heads = num_kv_heads,
                        .head_dim = head_dim,
                        .num_tokens = num_tokens};
  ULY_TRY(check(size, num_tokens, token_tile, num_q_heads, num_kv_heads, head_dim));
  size_t P = (size_t)size;
  int64_t *counts = calloc(8 * P, sizeof *counts);
  out->slices = calloc(P, sizeof *out->slices);
  out->blocks = calloc(P, sizeof *out->blocks);
  out->qkv.tokens = (uly__exchange_side){counts, counts + P};
  if (!counts || !out->slices || !out->blocks) {
    uly__ulysses_destroy(out);
    ULY_FAIL(ULY_ERR_MEMORY, "no memory for an exchange among %d ranks", size);
  }
  out->qkv.heads = (uly__exchange_side){counts + 2 * P, counts + 3 * P};
  out->o.tokens = (uly__exchange_side){counts + 4 * P, counts + 5 * P};
  out->o.heads = (uly__exchange_side){counts + 6 * P, counts + 7 * P};
  for (int p = 0; p < size; p++)
    out->slices[p] = uly__split(num_tokens, token_tile ? token_tile : 1, size, p);
  cut_heads(out);
  uly_status status = check_counts(out);
  if (status != ULY_OK) {
    uly__ulysses_destroy(out);
    return status;
  }
  count_exchange(out, &out->qkv, 1);
  count_exchange(out, &out->o, 0);
  return ULY_OK;
}

void uly__ulysses_destroy(uly__ulysses *ulysses) {
  free(ulysses->slices);
  free(ulysses->blocks);
  free(ulysses->qkv.tokens.counts); /* the one allocation behind all eight arrays */
  *ulysses = (uly__ulysses){0};
}

static uly_status move(const uly__ulysses *u, const uly__exchange_side *from,
                       const uly__exchange_side *to, uly__comm *comm, uly_traffic kind,
                       int64_t element_bytes, const void *send, void *recv) {
  return uly__all_to_all(comm, kind, u->head_dim * element_bytes, send, from->counts, from->offsets,
                         recv, to->counts, to->offsets);
}

uly_status uly__ulysses_to_heads(const uly__ulysses *ulysses, const uly__exchange *exchange,
                                 uly__comm *comm, uly_traffic kind, int64_t element_bytes,
                                 const void *tokens, void *heads) {
  return move(ulysses, &exchange->tokens, &exchange->heads, comm, kind, element_bytes, tokens,
              heads);
}

uly_status uly__ulysses_to_tokens(const uly__ulysses *ulysses, const uly__exchange *exchange,
                                  uly__comm *comm, uly_traffic kind, int64_t element_bytes,
                                  const void *heads, void *tokens) {
  return move(ulysses, &exchange->heads, &exchange->tokens, comm, kind, element_bytes, heads,
              tokens);
}

int64_t uly__ulysses_sent(const uly__ulysses *ulysses, const uly__exchange_side *from,
                          int64_t element_bytes) {
  return uly__traffic_all_to_all(ulysses->size, ulysses->rank, from->counts,
                                 ulysses->head_dim * element_bytes);
}
