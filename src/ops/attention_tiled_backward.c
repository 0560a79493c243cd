/* Backward of tiled attention (FlashAttention-2, 2307.08691). Lanes are keys. tile_groups.h has
 * what both directions share.
 *
 * One pass over the tiles, five products each: a thread takes a group of blocks of keys, sums their
 * dK and dV, and adds to dQ, kept in f32 for one head at a time. At every block of queries the
 * groups take their turns in ascending order, so no sum depends on the number of threads or on the
 * size of a group. */
#include <sched.h>
#include <stdatomic.h>

#include "ops/attention_tiled.h"
#include "ops/mask.h"
#include "ops/tile_hidden.h"

/* What the threads of a backward pass share: query heads that use one key/value head. */
typedef struct pass {
  const uly__attention_args *a;
  uly__attention_workspace work;
  int kv, first_head, num_heads;
  int64_t blocks;         /* of queries */
  int64_t group_size;     /* blocks of keys */
  bool is_first, is_last; /* of the key/value head's passes */
} pass;

/* Returns rows of dQ of one of the pass's heads: with sums that stay, every head has its own. */
static float *d_q_rows(const pass *p, int head, int64_t query) {
  int index = p->a->sums ? head : head - p->first_head;
  return p->work.d_q + (index * p->blocks * LANES + query) * padded(p->a->head_dim);
}

/* Returns a turn. Turns are numbered through the heads of a pass. progress[g] > t: groups of keys
 * up to g are past turn t. */
static int64_t turn_of(const pass *p, int head, int64_t query) {
  return (head - p->first_head) * p->blocks + query / LANES;
}

static void wait_for_turn(const pass *p, int64_t group, int64_t turn) {
  if (group == 0) return;
  const _Atomic int64_t *before = &p->work.progress[group - 1];
  for (int spins = 0; atomic_load_explicit(before, memory_order_acquire) <= turn; spins++)
    if (spins > 1000) sched_yield(); /* another thread needs this core */
}

static void end_turn(const pass *p, int64_t group, int64_t turn) {
  atomic_store_explicit(&p->work.progress[group], turn + 1, memory_order_release);
}

/* A tile's probabilities and the gradients of its scores. */
typedef struct tile_gradient {
  word p[LANES * LANES];        /* probabilities, pairs of queries */
  word d_scores[LANES * LANES]; /* pairs of queries */
} tile_gradient;

/* Computes the gradient of scores. scores, d_p: [queries][LANES], d_p being the gradient of the
 * probabilities; d_rows: that of the scores, as rows. hides: keys count only if their bit is set in
 * seen[query]. */
ULY_INLINE void score_gradient(const pass *p, int head, int64_t query, int64_t num_queries,
                               const float *scores, const float *d_p, bool hides,
                               const uint64_t *seen, tile_gradient *out, word *d_rows) {
  const uly__attention_args *a = p->a;
  const uly__softmax_row *softmax_rows = a->softmax + head * a->softmax_stride + query;
  const float *deltas = p->work.delta + head * a->queries.count + query;
  float to_log2 = uly__attention_to_log2(a->scale);
  for (int64_t r = 0; r < num_queries; r += 2)
    for (int lane = 0; lane < LANES; lane += 2 * WIDTH) {
      vec probability[2][2] = {{{0}}}, d_score[2][2] = {{{0}}};
      for (int i = 0; i < 2 && r + i < num_queries; i++) {
        uly__softmax_row softmax = softmax_rows[r + i];
        float delta = deltas[r + i];
        for (int j = 0; j < 2; j++) {
          int64_t from = (r + i) * LANES + lane + j * WIDTH;
          vec power = (load_vec(scores + from) - softmax.largest) * to_log2 - softmax.log2_sum;
          probability[i][j] = exp2_vec(min_vec((vec){0}, power));
          d_score[i][j] = probability[i][j] * (load_vec(d_p + from) - delta);
          if (!hides) continue;
          uint64_t bits = seen[r + i] >> (lane + j * WIDTH);
          probability[i][j] = only_lanes(probability[i][j], bits);
          d_score[i][j] = only_lanes(d_score[i][j], bits);
        }
      }
      store_pairs(out->p, r, lane, probability);
      store_pairs(out->d_scores, r, lane, d_score);
      store_rows(d_rows, r, lane, d_score);
    }
}

/* A block of keys, and its gradients so far. */
typedef struct key_block {
  int64_t begin, count;
  word *k, *v;      /* [w][LANES]; k with scale's sign */
  word *k_pairs;    /* [LANES / PER_WORD][padded(d)] */
  float *d_k, *d_v; /* [d][LANES] */
  /* The rows k_pairs; its finite elements are in the same place. */
  summed_rows summed;
} key_block;

typedef struct key_group {
  int64_t index, begin, end;
  int num;
  key_block blocks[MAX_GROUP];
  _Alignas(64) word words[3 * GROUP_WIDTH * LANES / PER_WORD];
  _Alignas(64) float sums[2 * GROUP_WIDTH * LANES];
} key_group;

/* Queries of one block and the gradients of their outputs, as operands. */
typedef struct query_tile {
  int64_t query, count;
  const word *q, *d_o;
  int64_t q_ld, d_o_ld;
  summed_rows q_pairs, d_o_pairs; /* finite: NULL until a tile hides */
} query_tile;

/* Adds to C[i][lane] the sum over queries of weights times rows. seen: NULL if everything is
 * seen. */
ULY_INLINE void add_product(const uly__attention_args *a, const summed_rows *x, const word *weights,
                            const uint64_t *seen, float *c) {
  const word *rows = seen ? x->finite : x->pairs;
  int64_t ld = seen ? x->finite_ld : x->ld;
  product((operands){rows, 1, ld, weights, LANES, c, LANES}, false, a->head_dim,
          num_words(x->rows.count), LANES);
  if (seen && x->leaves_out)
    add_left_out(a, (hidden_product){.x = x,
                                     .weights = weights,
                                     .weight = weight_in_pairs,
                                     .c = c,
                                     .c_i = LANES,
                                     .c_lane = 1,
                                     .seen = seen,
                                     .rows_are_queries = true});
}

/* Adds a tile to dK and dV; d_rows: what dQ is computed from. hides: some pairs, or lanes beyond
 * the last key, do not count. */
static void backward_tile(const pass *p, const key_block *keys, int head, const query_tile *queries,
                          bool hides, word *d_rows) {
  const uly__attention_args *a = p->a;
  _Alignas(64) float scores[LANES * LANES], d_p[LANES * LANES];
  _Alignas(64) tile_gradient tile;
  uint64_t bits[LANES], *seen = hides ? bits : NULL;
  int d = a->head_dim;
  int64_t rows = queries->count;
  product((operands){queries->q, queries->q_ld, 1, keys->k, LANES, scores, LANES}, true, rows,
          num_words(d), LANES);
  product((operands){queries->d_o, queries->d_o_ld, 1, keys->v, LANES, d_p, LANES}, true, rows,
          num_words(d), LANES);
  if (hides) {
    load_seen(a, head, queries->query, rows, keys->begin, keys->count, bits);
    score_gradient(p, head, queries->query, rows, scores, d_p, true, bits, &tile, d_rows);
  } else {
    score_gradient(p, head, queries->query, rows, scores, d_p, false, NULL, &tile, d_rows);
  }
  add_product(a, &queries->d_o_pairs, tile.p, seen, keys->d_v);
  add_product(a, &queries->q_pairs, tile.d_scores, seen, keys->d_k);
}

/* Returns the weight of a key for a query, from rows [queries][LANES / PER_WORD]. */
static float weight_in_rows(const word *weights, int64_t key, int64_t query) {
  return element(weights[(query * LANES + key) / PER_WORD], key % PER_WORD);
}

/* Adds to the rows of dQ the values that are not finite in the keys that their queries see. */
static void add_left_out_keys(const pass *p, const key_block *keys, int head,
                              const query_tile *queries, const word *d_rows, float *d_q) {
  const uly__attention_args *a = p->a;
  uint64_t seen[LANES];
  load_seen(a, head, queries->query, queries->count, keys->begin, keys->count, seen);
  add_left_out(a, (hidden_product){.x = &keys->summed,
                                   .weights = d_rows,
                                   .weight = weight_in_rows,
                                   .c = d_q,
                                   .c_i = 1,
                                   .c_lane = padded(a->head_dim),
                                   .seen = seen});
}

/* Adds to dQ what the group's tiles, of which some are seen, have left in d_rows, when it is the
 * group's turn. */
static void add_to_d_q(const pass *p, const key_group *group, int head, const query_tile *queries,
                       const bool *seen, word d_rows[][LANES * LANES]) {
  int width = padded(p->a->head_dim);
  int64_t turn = turn_of(p, head, queries->query);
  float *d_q = d_q_rows(p, head, queries->query);
  wait_for_turn(p, group->index, turn);
  for (int i = 0; i < group->num; i++) {
    const key_block *keys = &group->blocks[i];
    if (!seen[i]) continue;
    product((operands){d_rows[i], LANES / PER_WORD, 1, keys->k_pairs, width, d_q, width}, false,
            queries->count, num_words(keys->count), width);
    if (keys->summed.leaves_out) add_left_out_keys(p, keys, head, queries, d_rows[i], d_q);
  }
  end_turn(p, group->index, turn);
}

/* Processes the queries of one block against the group of keys. */
static void backward_queries(const pass *p, const key_group *group, int head, int64_t query) {
  const uly__attention_args *a = p->a;
  _Alignas(64) word buffers[6][LANES * MAX_D], d_rows[MAX_GROUP][LANES * LANES];
  bool seen[MAX_GROUP] = {false}, any = false;
  int d = a->head_dim;
  head_tensor all_q = q_head_of(a, a->q, head), all_d_o = o_head_of(a, a->d_o, head);
  head_rows q = block_rows(a, all_q, query), d_o = block_rows(a, all_d_o, query);
  query_tile queries = {
      .query = query, .count = q.count, .q_pairs = {.rows = q}, .d_o_pairs = {.rows = d_o}};
  prefetch_block(a, all_q, query + LANES);
  prefetch_block(a, all_d_o, query + LANES);
  queries.q = row_words(q, d, a->dtype, buffers[0], &queries.q_ld);
  queries.d_o = row_words(d_o, d, a->dtype, buffers[1], &queries.d_o_ld);
  queries.q_pairs.pairs = pair_words(q, d, a->dtype, buffers[2], &queries.q_pairs.ld);
  queries.d_o_pairs.pairs = pair_words(d_o, d, a->dtype, buffers[3], &queries.d_o_pairs.ld);
  for (int i = 0; i < group->num; i++) {
    const key_block *keys = &group->blocks[i];
    uly__tile tile = tile_between(a, head, query, q.count, keys->begin, keys->count);
    bool hides = tile == ULY_TILE_PARTIAL || keys->count < LANES;
    seen[i] = tile != ULY_TILE_SKIP;
    any |= seen[i];
    if (!seen[i]) continue;
    if (hides && !queries.q_pairs.finite) {
      find_finite(&queries.q_pairs, d, buffers[4]);
      find_finite(&queries.d_o_pairs, d, buffers[5]);
    }
    backward_tile(p, keys, head, &queries, hides, d_rows[i]);
  }
  if (any) add_to_d_q(p, group, head, &queries, seen, d_rows);
}

/* Processes all queries that see the group of keys. */
static void backward_tiles(const pass *p, const key_group *group, int head, int64_t *tiles) {
  const uly__attention_args *a = p->a;
  int64_t q = a->queries.begin, k = a->keys.begin;
  for (int64_t query = 0;; query += LANES) {
    query = uly__mask_next_queries(a->mask, a->first_q_head + head, k + group->begin,
                                   k + group->end, q, q + query, LANES) -
            q;
    if (query >= a->queries.count) return;
    backward_queries(p, group, head, query);
    *tiles += group->num;
    poll(a, tiles);
  }
}

static void load_keys(const pass *p, int64_t begin, key_block *keys) {
  const uly__attention_args *a = p->a;
  int d = a->head_dim;
  word buffer[LANES * MAX_D];
  head_rows k = block_rows(a, kv_head_of(a, a->k, p->kv), begin);
  head_rows v = block_rows(a, kv_head_of(a, a->v, p->kv), begin);
  keys->begin = begin;
  keys->count = k.count;
  pack_lanes(k, d, a->dtype, buffer, keys->k);
  if (a->scale < 0) negate(num_words(d), keys->k);
  pack_lanes(v, d, a->dtype, buffer, keys->v);
  pack_pairs(k, d, a->dtype, keys->k_pairs);
  keys->summed = (summed_rows){.rows = k, .pairs = keys->k_pairs, .ld = padded(d)};
  find_finite(&keys->summed, d, keys->k_pairs);
  size_t bytes = (size_t)(d * LANES) * sizeof(float);
  const float *kept = p->is_first ? NULL : p->work.d_kv + begin * 2 * d;
  if (kept) {
    memcpy(keys->d_k, kept, bytes);
    memcpy(keys->d_v, kept + d * LANES, bytes);
  } else {
    memset(keys->d_k, 0, bytes);
    memset(keys->d_v, 0, bytes);
  }
}

static void load_group(const pass *p, int64_t index, key_group *group) {
  int64_t first = index * p->group_size, left = num_blocks(p->a->keys) - first;
  int64_t width = padded(p->a->head_dim), words = width * LANES / PER_WORD;
  group->index = index;
  group->num = (int)uly__min(p->group_size, left);
  group->begin = first * LANES;
  group->end = uly__min((first + group->num) * LANES, p->a->keys.count);
  for (int i = 0; i < group->num; i++) {
    word *at = group->words + 3 * i * words;
    float *sums = group->sums + 2 * i * width * LANES;
    group->blocks[i] = (key_block){.k = at,
                                   .v = at + words,
                                   .k_pairs = at + 2 * words,
                                   .d_k = sums,
                                   .d_v = sums + width * LANES};
    load_keys(p, (first + i) * LANES, &group->blocks[i]);
  }
}

typedef float four __attribute__((vector_size(16), aligned(4), may_alias));

/* Adds factor * four lanes of lanes[4][LANES] to four rows. */
ULY_INLINE void add_four_lanes(float *rows, int64_t stride, float factor, const float *lanes) {
  four x[4];
  for (int i = 0; i < 4; i++) x[i] = factor * *(const four *)(const void *)(lanes + i * LANES);
  for (int i = 0; i < 4; i++)
    *(four *)(void *)(rows + i * stride) += (four){x[0][i], x[1][i], x[2][i], x[3][i]};
}

/* Adds factor * lanes[d][LANES] to a block's rows of a head of d_kv, four by four. Element
 * by element, this took 8% of the backward pass when a call had few queries. */
static void add_lanes(const uly__attention_args *a, const key_block *keys, int head, float factor,
                      const float *lanes) {
  int64_t stride = 2 * (int64_t)a->num_kv_heads * a->head_dim;
  int64_t whole = keys->count / 4 * 4, fours = a->head_dim / 4 * 4;
  float *rows = a->d_kv + keys->begin * stride + (int64_t)head * a->head_dim;
  for (int64_t lane = 0; lane < whole; lane += 4)
    for (int64_t i = 0; i < fours; i += 4)
      add_four_lanes(rows + lane * stride + i, stride, factor, lanes + i * LANES + lane);
  for (int64_t lane = 0; lane < keys->count; lane++)
    for (int64_t i = lane < whole ? fours : 0; i < a->head_dim; i++)
      rows[lane * stride + i] += factor * lanes[i * LANES + lane];
}

static void store_keys(const pass *p, const key_block *keys) {
  const uly__attention_args *a = p->a;
  int d = a->head_dim;
  if (!p->is_last) {
    size_t bytes = (size_t)(d * LANES) * sizeof(float);
    float *kept = p->work.d_kv + keys->begin * 2 * d;
    memcpy(kept, keys->d_k, bytes);
    memcpy(kept + d * LANES, keys->d_v, bytes);
    return;
  }
  if (a->d_kv) {
    add_lanes(a, keys, p->kv, a->scale, keys->d_k);
    add_lanes(a, keys, a->num_kv_heads + p->kv, 1.0f, keys->d_v);
    return;
  }
  float factor[LANES], one[LANES];
  for (int lane = 0; lane < LANES; lane++) factor[lane] = a->scale, one[lane] = 1.0f;
  store_lanes(a, block_rows(a, kv_head_of(a, a->d_k, p->kv), keys->begin), factor, keys->d_k);
  store_lanes(a, block_rows(a, kv_head_of(a, a->d_v, p->kv), keys->begin), one, keys->d_v);
}

/* Computes the part of the gradients that belongs to a group of keys. */
static void backward_group(const pass *p, int64_t index, int64_t *tiles) {
  key_group group;
  int64_t last_turn = p->num_heads * p->blocks - 1;
  load_group(p, index, &group);
  for (int i = 0; i < p->num_heads; i++) backward_tiles(p, &group, p->first_head + i, tiles);
  wait_for_turn(p, index, last_turn);
  end_turn(p, index, last_turn);
  for (int i = 0; i < group.num; i++) store_keys(p, &group.blocks[i]);
}

static void compute_delta(const uly__attention_args *a, float *delta) {
#pragma omp parallel for schedule(static)
  for (int64_t query = 0; query < a->queries.count; query++)
    for (int head = 0; head < a->num_q_heads; head++) {
      int64_t at = query * a->o_stride + (int64_t)head * a->head_dim;
      float sum = 0;
#pragma omp simd reduction(+ : sum)
      for (int i = 0; i < a->head_dim; i++)
        sum += uly__load(a->o, a->dtype, at + i) * uly__load(a->d_o, a->dtype, at + i);
      delta[head * a->queries.count + query] = sum;
    }
}

static void clear_sums(const pass *p) {
  size_t bytes = (size_t)(LANES * padded(p->a->head_dim)) * sizeof(float);
#pragma omp parallel for schedule(static)
  for (int64_t block = 0; block < p->blocks; block++)
    for (int i = 0; i < p->num_heads; i++)
      memset(d_q_rows(p, p->first_head + i, block * LANES), 0, bytes);
}

static void store_d_q(const pass *p, int head) {
  const uly__attention_args *a = p->a;
#pragma omp parallel for schedule(static)
  for (int64_t query = 0; query < a->queries.count; query++) {
    int64_t at = query * a->q_stride + (int64_t)head * a->head_dim;
    const float *sum = d_q_rows(p, head, query);
    for (int i = 0; i < a->head_dim; i++) uly__store(a->d_q, a->dtype, at + i, a->scale * sum[i]);
  }
}

static void backward_pass(const pass *p) {
  int64_t next = 0, groups = num_groups(num_blocks(p->a->keys), p->group_size);
  if (!p->a->resumes) clear_sums(p);
  for (int64_t group = 0; group < groups; group++)
    atomic_store_explicit(&p->work.progress[group], 0, memory_order_relaxed);
#pragma omp parallel
  for (int64_t tiles = 0;;) {
    int64_t group;
    /* Groups begin in ascending order, so one that is waited for has begun before. */
#pragma omp atomic capture
    group = next++;
    if (group >= groups) break;
    backward_group(p, group, &tiles);
  }
  for (int i = 0; i < p->num_heads && !p->a->suspends; i++) store_d_q(p, p->first_head + i);
}

void ULY_FOR_ISA(uly__attention_tiled_backward)(uly__stream *stream, const uly__attention_args *a,
                                                void *workspace) {
  (void)stream;
  pass p = {.a = a,
            .blocks = num_blocks(a->queries),
            .group_size = group_size(a, num_blocks(a->keys), GROUPS_OF_A_THREAD)};
  /* Within a window only as many groups as it spans work at the same time, since they take
   * turns. */
  int64_t window = uly__mask_desc(a->mask)->window;
  if (window > 0) p.group_size = uly__min(p.group_size, group_size(a, window / LANES, 2));
  uly__attention_carve(a, workspace, &p.work);
  if (!a->resumes) compute_delta(a, p.work.delta);
  for (int head = 0; head < a->num_q_heads; head += p.num_heads) {
    int end = head + 1;
    p.kv = kv_head(a, head);
    p.first_head = head;
    while (end < a->num_q_heads && end - head < p.work.num_together && kv_head(a, end) == p.kv)
      end++;
    p.num_heads = end - head;
    p.is_first = head == 0 || kv_head(a, head - 1) != p.kv;
    p.is_last = end == a->num_q_heads || kv_head(a, end) != p.kv;
    backward_pass(&p);
  }
}
