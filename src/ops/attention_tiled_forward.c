/* Forward of tiled attention: online softmax (FlashAttention-2, 2307.08691). Lanes are queries, so
 * softmax runs down columns, and nothing ever crosses lanes. tile_groups.h and tile_hidden.h have
 * what both directions share. */
#include "ops/attention_tiled.h"
#include "ops/mask.h"
#include "ops/tile_hidden.h"

/* Hides scores[keys][queries]: a hidden key has no score, and so a probability of exactly 0. */
static void hide_keys_of_queries(const uly__attention_args *a, int head, int64_t query,
                                 int64_t num_queries, int64_t key, int64_t num_keys,
                                 float *scores) {
  uint64_t seen[LANES];
  load_seen(a, head, query, num_queries, key, num_keys, seen);
  for (int64_t r = 0; r < num_keys; r++)
    for (int lane = 0; lane < LANES; lane++)
      if (!(seen[lane] >> r & 1)) scores[r * LANES + lane] = -INFINITY;
}

/* One step of online softmax: scores [keys][LANES] become probabilities relative to the new
 * maximum, as pairs of keys. The maximum is -infinity before a query has seen a score above that.
 * NaN goes into the sum and stays there, whatever it does to the maximum. shrink: what earlier sums
 * are multiplied by; returns whether that is 1 for all. */
static bool softmax_step(int64_t num_keys, float to_log2, const float *scores, word *pairs,
                         float *largest, float *sum, float *shrink) {
  ivec changed = {0};
  for (int lane = 0; lane < LANES; lane += 2 * WIDTH) {
    vec base[2], total[2];
    for (int j = 0; j < 2; j++) {
      int at = lane + j * WIDTH;
      vec old = load_vec(largest + at), larger = old;
      for (int64_t r = 0; r < num_keys; r++)
        larger = max_vec(larger, load_vec(scores + r * LANES + at));
      changed |= larger != old;
      base[j] = (vec)((ivec)larger & (larger != -INFINITY)); /* -infinity - 0 is not NaN */
      vec factor = exp2_vec((old - base[j]) * to_log2);
      total[j] = load_vec(sum + at) * factor;
      *vec_at(shrink + at) = factor;
      *vec_at(largest + at) = larger;
    }
    for (int64_t r = 0; r < num_keys; r += 2) {
      vec p[2][2] = {{{0}}};
      for (int i = 0; i < 2 && r + i < num_keys; i++)
        for (int j = 0; j < 2; j++) {
          vec score = load_vec(scores + (r + i) * LANES + lane + j * WIDTH);
          p[i][j] = exp2_vec((score - base[j]) * to_log2);
          total[j] += p[i][j];
        }
      store_pairs(pairs, r, lane, p);
    }
    for (int j = 0; j < 2; j++) *vec_at(sum + lane + j * WIDTH) = total[j];
  }
  int any = 0;
  for (int i = 0; i < WIDTH; i++) any |= changed[i];
  return !any;
}

/* A block of queries, and its results so far. */
typedef struct query_block {
  int64_t begin, count;
  float largest[LANES], sum[LANES]; /* of softmax */
  word *q;                          /* [w][LANES] */
  float *out;                       /* [d][LANES] */
} query_block;

/* Keys and values of one block, as operands. */
typedef struct key_tile {
  int64_t key, count;
  const word *k;
  int64_t k_ld;
  summed_rows v; /* v.finite: NULL until a tile hides */
} key_tile;

/* Processes a tile. hides: some pairs do not see each other; then v.finite is set. */
static void forward_tile(const uly__attention_args *a, int head, query_block *queries,
                         const key_tile *keys, bool hides) {
  _Alignas(64) float scores[LANES * LANES], shrink[LANES];
  _Alignas(64) word p[LANES * LANES];
  int d = a->head_dim;
  product((operands){keys->k, keys->k_ld, 1, queries->q, LANES, scores, LANES}, true, keys->count,
          num_words(d), LANES);
  if (hides)
    hide_keys_of_queries(a, head, queries->begin, queries->count, keys->key, keys->count, scores);
  bool same = softmax_step(keys->count, uly__attention_to_log2(a->scale), scores, p,
                           queries->largest, queries->sum, shrink);
  for (int i = 0; i < d && !same; i++)
    for (int lane = 0; lane < LANES; lane += WIDTH)
      *vec_at(queries->out + i * LANES + lane) *= load_vec(shrink + lane);
  const summed_rows *v = &keys->v;
  product((operands){hides ? v->finite : v->pairs, 1, hides ? v->finite_ld : v->ld, p, LANES,
                     queries->out, LANES},
          false, d, num_words(keys->count), LANES);
  if (!hides || !v->leaves_out) return;
  uint64_t seen[LANES];
  load_seen(a, head, queries->begin, queries->count, keys->key, keys->count, seen);
  add_left_out(a, (hidden_product){.x = v,
                                   .weights = p,
                                   .weight = weight_in_pairs,
                                   .c = queries->out,
                                   .c_i = LANES,
                                   .c_lane = 1,
                                   .seen = seen});
}

static uly__softmax_row *softmax_rows(const uly__attention_args *a, int head, int64_t query) {
  return a->softmax + head * a->softmax_stride + query;
}

/* Returns where the outputs of a block are kept from one call to the next, [d][LANES]. */
static float *kept_outputs(const uly__attention_args *a, int head, int64_t query) {
  uly__attention_sums sums;
  uly__attention_carve_sums(a, a->sums, &sums);
  return sums.o + (head * num_blocks(a->queries) * LANES + query) * a->head_dim;
}

/* Goes on with what an earlier call has summed. */
static void resume(const uly__attention_args *a, int head, query_block *queries) {
  const uly__softmax_row *softmax = softmax_rows(a, head, queries->begin);
  for (int64_t lane = 0; lane < queries->count; lane++) {
    queries->largest[lane] = softmax[lane].largest;
    queries->sum[lane] = softmax[lane].log2_sum;
  }
  memcpy(queries->out, kept_outputs(a, head, queries->begin),
         (size_t)a->head_dim * LANES * sizeof *queries->out);
}

/* Keeps the sums for a later call. */
static void suspend(const uly__attention_args *a, int head, const query_block *queries) {
  uly__softmax_row *softmax = softmax_rows(a, head, queries->begin);
  for (int64_t lane = 0; lane < queries->count; lane++)
    softmax[lane] = (uly__softmax_row){queries->largest[lane], queries->sum[lane]};
  memcpy(kept_outputs(a, head, queries->begin), queries->out,
         (size_t)a->head_dim * LANES * sizeof *queries->out);
}

static void load_queries(const uly__attention_args *a, int head, int64_t begin,
                         query_block *queries) {
  word buffer[LANES * MAX_D];
  int d = a->head_dim;
  head_rows rows = block_rows(a, q_head_of(a, a->q, head), begin);
  queries->begin = begin;
  queries->count = rows.count;
  pack_lanes(rows, d, a->dtype, buffer, queries->q);
  if (a->scale < 0) negate(num_words(d), queries->q);
  for (int lane = 0; lane < LANES; lane++) {
    queries->largest[lane] = -INFINITY;
    queries->sum[lane] = 0;
  }
  if (a->resumes)
    resume(a, head, queries);
  else
    memset(queries->out, 0, (size_t)d * LANES * sizeof *queries->out);
}

/* Stores the outputs, which are divided by the sum, not multiplied by 1 / sum, so that the mean of
 * equal values is that value. A query without any score above -infinity has a sum of 0, and its
 * output is 0 / 0: NaN. */
static void store_outputs(const uly__attention_args *a, int head, query_block *queries) {
  float one[LANES];
  uly__softmax_row *softmax = softmax_rows(a, head, queries->begin);
  for (int64_t lane = 0; lane < queries->count; lane++) {
    softmax[lane] = (uly__softmax_row){queries->largest[lane], log2f(queries->sum[lane])};
    one[lane] = 1.0f;
  }
  for (int i = 0; i < a->head_dim; i++)
    for (int lane = 0; lane < LANES; lane += WIDTH)
      *vec_at(queries->out + i * LANES + lane) /= load_vec(queries->sum + lane);
  store_lanes(a, block_rows(a, o_head_of(a, a->o, head), queries->begin), one, queries->out);
}

/* Returns the first block of keys, at or after row `key`, of which some query row of [q_begin,
 * q_end) sees some: Nk or more if there is none. */
static int64_t next_keys(const uly__attention_args *a, int head, int64_t q_begin, int64_t q_end,
                         int64_t key) {
  int64_t q = a->queries.begin, k = a->keys.begin;
  return uly__mask_next_keys(a->mask, a->first_q_head + head, q + q_begin, q + q_end, k, k + key,
                             LANES) -
         k;
}

/* Processes a group; the first of at most `size` blocks begins at `query`. */
static void forward_group(const uly__attention_args *a, int head, int64_t query, int64_t size,
                          int64_t *tiles) {
  _Alignas(64) float out[GROUP_WIDTH * LANES];
  _Alignas(64) word q[GROUP_WIDTH * LANES / PER_WORD], k_buffer[LANES * MAX_D],
      v_buffer[LANES * MAX_D], finite[LANES * MAX_D];
  query_block blocks[MAX_GROUP];
  head_tensor all_k = kv_head_of(a, a->k, kv_head(a, head));
  head_tensor all_v = kv_head_of(a, a->v, kv_head(a, head));
  int d = a->head_dim, num = 0;
  int64_t words = num_words(d), q_end = uly__min(query + size * LANES, a->queries.count);
  int64_t key = next_keys(a, head, query, q_end, 0);
  if (key >= a->keys.count && a->resumes && a->suspends) return;
  for (int64_t at = query; at < q_end; at += LANES, num++) {
    blocks[num].q = q + num * words * LANES;
    blocks[num].out = out + num * d * LANES;
    load_queries(a, head, at, &blocks[num]);
  }
  for (; key < a->keys.count; key = next_keys(a, head, query, q_end, key + LANES)) {
    head_rows k = block_rows(a, all_k, key), v = block_rows(a, all_v, key);
    key_tile keys = {.key = key, .count = k.count};
    prefetch_block(a, all_k, key + LANES);
    prefetch_block(a, all_v, key + LANES);
    keys.k = row_words(k, d, a->dtype, k_buffer, &keys.k_ld);
    keys.v.rows = v;
    keys.v.pairs = pair_words(v, d, a->dtype, v_buffer, &keys.v.ld);
    for (int i = 0; i < num; i++) {
      uly__tile tile = tile_between(a, head, blocks[i].begin, blocks[i].count, key, keys.count);
      bool hides = tile == ULY_TILE_PARTIAL;
      if (hides && !keys.v.finite) find_finite(&keys.v, d, finite);
      if (tile != ULY_TILE_SKIP) forward_tile(a, head, &blocks[i], &keys, hides);
    }
    *tiles += num;
    poll(a, tiles);
  }
  for (int i = 0; i < num; i++) {
    if (a->suspends)
      suspend(a, head, &blocks[i]);
    else
      store_outputs(a, head, &blocks[i]);
  }
}

void ULY_FOR_ISA(uly__attention_tiled_forward)(uly__stream *stream, const uly__attention_args *a) {
  (void)stream;
  int64_t blocks = num_blocks(a->queries);
  int64_t size = group_size(a, blocks * a->num_q_heads, GROUPS_OF_A_THREAD);
  int64_t groups = num_groups(blocks, size);
  /* Heads are processed one by one, so that their keys and values stay in cache. Late blocks of
   * queries see more keys under a causal mask, so these come first. */
#pragma omp parallel
  {
    int64_t tiles = 0;
#pragma omp for schedule(dynamic)
    for (int64_t i = 0; i < groups * a->num_q_heads; i++)
      forward_group(a, (int)(i / groups), (groups - 1 - i % groups) * size * LANES, size, &tiles);
  }
}
