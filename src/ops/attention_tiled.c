/* Tiled attention with online softmax (FlashAttention-2, 2307.08691), forward and backward. Compiled once for
 * each instruction set (ULY_ISA), over the words of tile_words.h.
 *
 * A tile is LANES x LANES pairs of tokens. One side, the *lanes*, lies across vector registers: queries in
 * forward, keys in backward. The lanes' rows are transposed once; the other side is read in its own layout. In
 * forward softmax runs down columns, so nothing ever crosses lanes. A thread takes a group of blocks of lanes: what
 * it reads of the other side comes from memory, and is packed, once for all of them.
 *
 * Backward makes one pass over the tiles, five products each: a thread takes a group of blocks of keys, sums their dK
 * and dV, and adds to dQ, kept in f32 for one head at a time. At every block of queries the groups take their turns
 * in ascending order, so no sum depends on the number of threads or on the size of a group.
 *
 * Exponentials are powers of 2: scores are multiplied by scale / ln 2. */
#include <math.h>
#include <omp.h>
#include <sched.h>
#include <stdatomic.h>

#include "ops/mask.h"
#include "ops/tile_words.h"

#define CAT_(a, b) a##b
#define CAT(a, b) CAT_(a, b)

static const float log2_e = 1.44269504f, ln_2 = 0.69314718f;

ULY_INLINE int64_t min64(int64_t a, int64_t b) { return a < b ? a : b; }

static int64_t num_blocks(const uly_local_attention *a) {
  return (a->num_tokens + LANES - 1) / LANES;
}

/* Blocks of a group, and their widths in all: with what a thread holds of them they fit its second cache. */
enum { MAX_GROUP = 4, GROUP_WIDTH = 512 };

/* Groups that a thread should get at least, so that all end at about the same time. */
enum { GROUPS_OF_A_THREAD = 8 };

/* As large as leaves each thread so many of the groups of `blocks`. */
static int64_t group_size(const uly_local_attention *a, int64_t blocks, int64_t for_a_thread) {
  int64_t size = MAX_GROUP, enough = for_a_thread * omp_get_max_threads();
  while (size > 1 && (size * padded(a->head_dim) > GROUP_WIDTH || blocks / size < enough))
    size /= 2;
  return size;
}

static int64_t num_groups(int64_t blocks, int64_t size) { return (blocks + size - 1) / size; }

static int kv_head(const uly_local_attention *a, int q_head) {
  return (q_head + a->group_offset) / a->group_size;
}

/* Tokens `begin` and after, of one block. */
static head_rows block_rows(const uly_local_attention *a, const void *x, int64_t stride, int head,
                            int64_t begin) {
  return (head_rows){uly__at(x, a->dtype, begin * stride + (int64_t)head * a->head_dim), stride,
                     min64(LANES, a->num_tokens - begin)};
}

/* The block that begins there, if any, will be wanted soon. */
static void prefetch_block(const uly_local_attention *a, const void *x, int64_t stride, int head,
                           int64_t begin) {
  int64_t element = uly__dtype_bytes(a->dtype);
  if (begin < a->num_tokens)
    prefetch_rows(block_rows(a, x, stride, head, begin), a->head_dim * element, stride * element);
}

/* x[lane][d] = factor[lane] * lanes[d][LANES], in the storage type. */
static void store_lanes(const uly_local_attention *a, head_rows to, const float *factor,
                        const float *lanes) {
  for (int64_t lane = 0; lane < to.count; lane++) {
    void *row = uly__at(to.x, a->dtype, lane * to.stride);
    for (int i = 0; i < a->head_dim; i++)
      uly__store(row, a->dtype, i, factor[lane] * lanes[i * LANES + lane]);
  }
}

/* Score of a pair that the mask hides, so low that its exponential is nothing, and finite when multiplied. */
static float hidden_score(const uly_local_attention *a) {
  return (a->scale < 0 ? 1e30f : -1e30f) / fmaxf(1.0f, fabsf(a->scale));
}

/* ---------------------------------------------------------------------------- forward */

/* scores[keys][queries]. */
static void hide_keys_of_queries(const uly_local_attention *a, int head, int64_t query,
                                 int64_t num_queries, int64_t key, int64_t num_keys,
                                 float *scores) {
  uint64_t bits[LANES] = {0};
  float hidden = hidden_score(a);
  for (int64_t lane = 0; lane < num_queries; lane++)
    bits[lane] = uly__mask_bits(a->mask_index, a->first_q_head + head, query + lane, key);
  for (int64_t r = 0; r < num_keys; r++)
    for (int lane = 0; lane < LANES; lane++)
      if (!(bits[lane] >> r & 1)) scores[r * LANES + lane] = hidden;
}

/* One step of online softmax: scores [keys][LANES] become probabilities relative to the new maximum, as pairs of
 * keys. shrink: what earlier sums are multiplied by; returns whether that is 1 for all. */
static bool softmax_step(int64_t num_keys, float to_log2, const float *scores, word *pairs,
                         float *largest, float *sum, float *shrink) {
  ivec changed = {0};
  for (int lane = 0; lane < LANES; lane += 2 * WIDTH) {
    vec larger[2], total[2];
    for (int j = 0; j < 2; j++) {
      int at = lane + j * WIDTH;
      vec old = load_vec(largest + at);
      larger[j] = old;
      for (int64_t r = 0; r < num_keys; r++)
        larger[j] = max_vec(larger[j], load_vec(scores + r * LANES + at) * to_log2);
      changed |= larger[j] != old;
      vec factor = exp2_vec(old - larger[j]);
      total[j] = load_vec(sum + at) * factor;
      *vec_at(shrink + at) = factor;
      *vec_at(largest + at) = larger[j];
    }
    for (int64_t r = 0; r < num_keys; r += 2) {
      vec p[2][2] = {{{0}}};
      for (int i = 0; i < 2 && r + i < num_keys; i++)
        for (int j = 0; j < 2; j++) {
          vec score = load_vec(scores + (r + i) * LANES + lane + j * WIDTH);
          p[i][j] = exp2_vec(score * to_log2 - larger[j]);
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

/* A block of queries, and what came of it so far. */
typedef struct query_block {
  int64_t begin, count;
  float largest[LANES], sum[LANES]; /* of softmax */
  word *q;                          /* [w][LANES] */
  float *out;                       /* [d][LANES] */
} query_block;

/* Keys and values of one block, as operands. */
typedef struct key_tile {
  int64_t key, count;
  const word *k, *v;
  int64_t k_ld, v_ld;
} key_tile;

static void forward_tile(const uly_local_attention *a, int head, query_block *queries,
                         const key_tile *keys, bool hides) {
  _Alignas(64) float scores[LANES * LANES], shrink[LANES];
  _Alignas(64) word p[LANES * LANES];
  int d = a->head_dim;
  product((operands){keys->k, keys->k_ld, 1, queries->q, LANES, scores, LANES}, true, keys->count,
          num_words(d), LANES);
  if (hides)
    hide_keys_of_queries(a, head, queries->begin, queries->count, keys->key, keys->count, scores);
  bool same = softmax_step(keys->count, a->scale * log2_e, scores, p, queries->largest,
                           queries->sum, shrink);
  for (int i = 0; i < d && !same; i++)
    for (int lane = 0; lane < LANES; lane += WIDTH)
      *vec_at(queries->out + i * LANES + lane) *= load_vec(shrink + lane);
  product((operands){keys->v, 1, keys->v_ld, p, LANES, queries->out, LANES}, false, d,
          num_words(keys->count), LANES);
}

static void load_queries(const uly_local_attention *a, int head, int64_t begin,
                         query_block *queries) {
  word buffer[LANES * MAX_D];
  int d = a->head_dim;
  head_rows rows = block_rows(a, a->q, a->qkv_stride, head, begin);
  queries->begin = begin;
  queries->count = rows.count;
  pack_lanes(rows, d, a->dtype, buffer, queries->q);
  memset(queries->out, 0, (size_t)d * LANES * sizeof *queries->out);
  for (int lane = 0; lane < LANES; lane++) {
    queries->largest[lane] = hidden_score(a) * a->scale * log2_e;
    queries->sum[lane] = 0;
  }
}

static void store_outputs(const uly_local_attention *a, int head, query_block *queries) {
  float *sum = queries->sum;
  for (int64_t lane = 0; lane < queries->count; lane++) {
    a->lse[head * a->num_tokens + queries->begin + lane] =
        ln_2 * queries->largest[lane] + logf(sum[lane]);
    sum[lane] = 1.0f / sum[lane];
  }
  store_lanes(a, block_rows(a, a->o, a->o_stride, head, queries->begin), sum, queries->out);
}

/* Tiles between two polls: about a tenth of a millisecond. */
enum { POLL_TILES = 16 };

/* By the thread that called for attention; *tiles: those that a thread has done since it last polled. */
static void poll(const uly_local_attention *a, int64_t *tiles) {
  if (*tiles < POLL_TILES || !a->poll || omp_get_thread_num() != 0) return;
  a->poll(a->poll_context);
  *tiles = 0;
}

/* The first of at most `size` blocks begins at `query`. */
static void forward_group(const uly_local_attention *a, int head, int64_t query, int64_t size,
                          int64_t *tiles) {
  _Alignas(64) float out[GROUP_WIDTH * LANES];
  _Alignas(64) word q[GROUP_WIDTH * LANES / PER_WORD], k_buffer[LANES * MAX_D],
      v_buffer[LANES * MAX_D];
  query_block blocks[MAX_GROUP];
  int d = a->head_dim, kv = kv_head(a, head), mask_head = a->first_q_head + head, num = 0;
  int64_t N = a->num_tokens, words = num_words(d);
  for (int64_t at = query; num < size && at < N; at += LANES, num++) {
    blocks[num].q = q + num * words * LANES;
    blocks[num].out = out + num * d * LANES;
    load_queries(a, head, at, &blocks[num]);
  }
  int64_t q_end = min64(query + size * LANES, N);
  for (int64_t key = 0;; key += LANES) {
    key = uly__mask_next_keys(a->mask_index, mask_head, query, q_end, key, LANES);
    if (key >= N) break;
    head_rows k = block_rows(a, a->k, a->qkv_stride, kv, key);
    head_rows v = block_rows(a, a->v, a->qkv_stride, kv, key);
    key_tile keys = {.key = key, .count = k.count};
    prefetch_block(a, a->k, a->qkv_stride, kv, key + LANES);
    prefetch_block(a, a->v, a->qkv_stride, kv, key + LANES);
    keys.k = row_words(k, d, a->dtype, k_buffer, &keys.k_ld);
    keys.v = pair_words(v, d, a->dtype, v_buffer, &keys.v_ld);
    for (int i = 0; i < num; i++) {
      uly__tile tile = uly__mask_tile(a->mask_index, mask_head, blocks[i].begin,
                                      blocks[i].begin + blocks[i].count, key, key + keys.count);
      if (tile != ULY_TILE_SKIP) forward_tile(a, head, &blocks[i], &keys, tile == ULY_TILE_PARTIAL);
    }
    *tiles += num;
    poll(a, tiles);
  }
  for (int i = 0; i < num; i++) store_outputs(a, head, &blocks[i]);
}

static void forward(const uly_local_attention *a) {
  int64_t size = group_size(a, num_blocks(a) * a->num_q_heads, GROUPS_OF_A_THREAD);
  int64_t groups = num_groups(num_blocks(a), size);
  /* Head by head, so that its keys and values stay in cache. Late blocks of queries see more keys under a causal
   * mask: the heavy ones first. */
#pragma omp parallel
  {
    int64_t tiles = 0;
#pragma omp for schedule(dynamic)
    for (int64_t i = 0; i < groups * a->num_q_heads; i++)
      forward_group(a, (int)(i / groups), (groups - 1 - i % groups) * size * LANES, size, &tiles);
  }
}

/* --------------------------------------------------------------------------- backward */

/* What the threads of a backward pass share: query heads that use one key/value head. */
typedef struct pass {
  const uly_local_attention *a;
  uly__attention_workspace work;
  int kv, first_head, num_heads;
  int64_t group_size;     /* blocks of keys */
  bool is_first, is_last; /* of this key/value head's passes */
} pass;

/* Rows of dQ of one of the pass's heads. */
static float *d_q_rows(const pass *p, int head, int64_t query) {
  int64_t tokens = num_blocks(p->a) * LANES;
  return p->work.d_q + ((head - p->first_head) * tokens + query) * padded(p->a->head_dim);
}

/* Turns are numbered through the heads of a pass. progress[g] > t: groups of keys up to g are past turn t. */
static int64_t turn_of(const pass *p, int head, int64_t query) {
  return (head - p->first_head) * num_blocks(p->a) + query / LANES;
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

/* scores[queries][keys]. */
static void hide_keys(const uly_local_attention *a, int head, int64_t query, int64_t num_queries,
                      int64_t key, float *scores) {
  float hidden = hidden_score(a);
  for (int64_t r = 0; r < num_queries; r++) {
    uint64_t bits = uly__mask_bits(a->mask_index, a->first_q_head + head, query + r, key);
    for (int lane = 0; lane < LANES; lane++)
      if (!(bits >> lane & 1)) scores[r * LANES + lane] = hidden;
  }
}

/* What a tile's scores and their gradients become. */
typedef struct tile_gradient {
  word p[LANES * LANES];        /* probabilities, pairs of queries */
  word d_scores[LANES * LANES]; /* pairs of queries */
} tile_gradient;

/* scores, d_p: [queries][LANES], d_p the gradient of the probabilities; d_rows: that of the scores, as rows. */
static void score_gradient(const pass *p, int head, int64_t query, int64_t num_queries,
                           const float *scores, const float *d_p, tile_gradient *out,
                           word *d_rows) {
  const uly_local_attention *a = p->a;
  int64_t at = head * a->num_tokens + query;
  float to_log2 = a->scale * log2_e;
  for (int64_t r = 0; r < num_queries; r += 2)
    for (int lane = 0; lane < LANES; lane += 2 * WIDTH) {
      vec probability[2][2] = {{{0}}}, d_score[2][2] = {{{0}}};
      for (int i = 0; i < 2 && r + i < num_queries; i++) {
        float lse = a->lse[at + r + i] * log2_e, delta = p->work.delta[at + r + i];
        for (int j = 0; j < 2; j++) {
          int64_t from = (r + i) * LANES + lane + j * WIDTH;
          probability[i][j] = exp2_vec(load_vec(scores + from) * to_log2 - lse);
          d_score[i][j] = probability[i][j] * (load_vec(d_p + from) - delta);
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
  word *k, *v;      /* [w][LANES] */
  word *k_pairs;    /* [LANES / PER_WORD][padded(d)] */
  float *d_k, *d_v; /* [d][LANES] */
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
  const word *q, *d_o, *q_pairs, *d_o_pairs;
  int64_t q_ld, d_o_ld, q_pairs_ld, d_o_pairs_ld;
} query_tile;

/* Adds to dK and dV; d_rows: what dQ is made of. hides: some pairs, or lanes beyond the last key, do not count. */
static void backward_tile(const pass *p, const key_block *keys, int head, const query_tile *queries,
                          bool hides, word *d_rows) {
  const uly_local_attention *a = p->a;
  _Alignas(64) float scores[LANES * LANES], d_p[LANES * LANES];
  _Alignas(64) tile_gradient tile;
  int d = a->head_dim;
  int64_t rows = queries->count;
  product((operands){queries->q, queries->q_ld, 1, keys->k, LANES, scores, LANES}, true, rows,
          num_words(d), LANES);
  product((operands){queries->d_o, queries->d_o_ld, 1, keys->v, LANES, d_p, LANES}, true, rows,
          num_words(d), LANES);
  if (hides) hide_keys(a, head, queries->query, rows, keys->begin, scores);
  score_gradient(p, head, queries->query, rows, scores, d_p, &tile, d_rows);
  product((operands){queries->d_o_pairs, 1, queries->d_o_pairs_ld, tile.p, LANES, keys->d_v, LANES},
          false, d, num_words(rows), LANES);
  product(
      (operands){queries->q_pairs, 1, queries->q_pairs_ld, tile.d_scores, LANES, keys->d_k, LANES},
      false, d, num_words(rows), LANES);
}

/* Adds to dQ what the group's tiles, of which some are seen, have left in d_rows; when it is the group's turn. */
static void add_to_d_q(const pass *p, const key_group *group, int head, const query_tile *queries,
                       const bool *seen, word d_rows[][LANES * LANES]) {
  int width = padded(p->a->head_dim);
  int64_t turn = turn_of(p, head, queries->query);
  float *d_q = d_q_rows(p, head, queries->query);
  wait_for_turn(p, group->index, turn);
  for (int i = 0; i < group->num; i++) {
    const key_block *keys = &group->blocks[i];
    if (seen[i])
      product((operands){d_rows[i], LANES / PER_WORD, 1, keys->k_pairs, width, d_q, width}, false,
              queries->count, num_words(keys->count), width);
  }
  end_turn(p, group->index, turn);
}

/* Queries of one block against the group of keys. */
static void backward_queries(const pass *p, const key_group *group, int head, int64_t query) {
  const uly_local_attention *a = p->a;
  _Alignas(64) word buffers[4][LANES * MAX_D], d_rows[MAX_GROUP][LANES * LANES];
  bool seen[MAX_GROUP] = {false}, any = false;
  int d = a->head_dim;
  head_rows q = block_rows(a, a->q, a->qkv_stride, head, query);
  head_rows d_o = block_rows(a, a->d_o, a->o_stride, head, query);
  query_tile queries = {.query = query, .count = q.count};
  prefetch_block(a, a->q, a->qkv_stride, head, query + LANES);
  prefetch_block(a, a->d_o, a->o_stride, head, query + LANES);
  queries.q = row_words(q, d, a->dtype, buffers[0], &queries.q_ld);
  queries.d_o = row_words(d_o, d, a->dtype, buffers[1], &queries.d_o_ld);
  queries.q_pairs = pair_words(q, d, a->dtype, buffers[2], &queries.q_pairs_ld);
  queries.d_o_pairs = pair_words(d_o, d, a->dtype, buffers[3], &queries.d_o_pairs_ld);
  for (int i = 0; i < group->num; i++) {
    const key_block *keys = &group->blocks[i];
    uly__tile tile = uly__mask_tile(a->mask_index, a->first_q_head + head, query, query + q.count,
                                    keys->begin, keys->begin + keys->count);
    seen[i] = tile != ULY_TILE_SKIP;
    any |= seen[i];
    if (seen[i])
      backward_tile(p, keys, head, &queries, tile == ULY_TILE_PARTIAL || keys->count < LANES,
                    d_rows[i]);
  }
  if (any) add_to_d_q(p, group, head, &queries, seen, d_rows);
}

/* All queries that see the group of keys. */
static void backward_tiles(const pass *p, const key_group *group, int head, int64_t *tiles) {
  const uly_local_attention *a = p->a;
  for (int64_t query = 0;; query += LANES) {
    query = uly__mask_next_queries(a->mask_index, a->first_q_head + head, group->begin, group->end,
                                   query, LANES);
    if (query >= a->num_tokens) return;
    backward_queries(p, group, head, query);
    *tiles += group->num;
    poll(a, tiles);
  }
}

static void load_keys(const pass *p, int64_t begin, key_block *keys) {
  const uly_local_attention *a = p->a;
  int d = a->head_dim;
  word buffer[LANES * MAX_D];
  head_rows k = block_rows(a, a->k, a->qkv_stride, p->kv, begin);
  head_rows v = block_rows(a, a->v, a->qkv_stride, p->kv, begin);
  keys->begin = begin;
  keys->count = k.count;
  pack_lanes(k, d, a->dtype, buffer, keys->k);
  pack_lanes(v, d, a->dtype, buffer, keys->v);
  pack_pairs(k, d, a->dtype, keys->k_pairs);
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
  int64_t first = index * p->group_size, left = num_blocks(p->a) - first;
  int64_t width = padded(p->a->head_dim), words = width * LANES / PER_WORD;
  group->index = index;
  group->num = (int)min64(p->group_size, left);
  group->begin = first * LANES;
  group->end = min64((first + group->num) * LANES, p->a->num_tokens);
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

static void store_keys(const pass *p, const key_block *keys) {
  const uly_local_attention *a = p->a;
  int d = a->head_dim;
  if (!p->is_last) {
    size_t bytes = (size_t)(d * LANES) * sizeof(float);
    float *kept = p->work.d_kv + keys->begin * 2 * d;
    memcpy(kept, keys->d_k, bytes);
    memcpy(kept + d * LANES, keys->d_v, bytes);
    return;
  }
  float factor[LANES], one[LANES];
  for (int lane = 0; lane < LANES; lane++) factor[lane] = a->scale, one[lane] = 1.0f;
  store_lanes(a, block_rows(a, a->d_k, a->qkv_stride, p->kv, keys->begin), factor, keys->d_k);
  store_lanes(a, block_rows(a, a->d_v, a->qkv_stride, p->kv, keys->begin), one, keys->d_v);
}

/* The part of the gradients that a group of keys makes. */
static void backward_group(const pass *p, int64_t index, int64_t *tiles) {
  key_group group;
  int64_t last_turn = p->num_heads * num_blocks(p->a) - 1;
  load_group(p, index, &group);
  for (int i = 0; i < p->num_heads; i++) backward_tiles(p, &group, p->first_head + i, tiles);
  wait_for_turn(p, index, last_turn);
  end_turn(p, index, last_turn);
  for (int i = 0; i < group.num; i++) store_keys(p, &group.blocks[i]);
}

static void compute_delta(const uly_local_attention *a, float *delta) {
#pragma omp parallel for schedule(static)
  for (int64_t query = 0; query < a->num_tokens; query++)
    for (int head = 0; head < a->num_q_heads; head++) {
      int64_t at = query * a->o_stride + (int64_t)head * a->head_dim;
      float sum = 0;
#pragma omp simd reduction(+ : sum)
      for (int i = 0; i < a->head_dim; i++)
        sum += uly__load(a->o, a->dtype, at + i) * uly__load(a->d_o, a->dtype, at + i);
      delta[head * a->num_tokens + query] = sum;
    }
}

static void clear_sums(const pass *p) {
  int64_t blocks = num_blocks(p->a);
  size_t bytes = (size_t)(LANES * padded(p->a->head_dim)) * sizeof(float);
#pragma omp parallel for schedule(static)
  for (int64_t block = 0; block < blocks; block++) {
    atomic_store_explicit(&p->work.progress[block], 0, memory_order_relaxed);
    for (int i = 0; i < p->num_heads; i++)
      memset(d_q_rows(p, p->first_head + i, block * LANES), 0, bytes);
  }
}

static void store_d_q(const pass *p, int head) {
  const uly_local_attention *a = p->a;
#pragma omp parallel for schedule(static)
  for (int64_t query = 0; query < a->num_tokens; query++) {
    int64_t at = query * a->qkv_stride + (int64_t)head * a->head_dim;
    const float *sum = d_q_rows(p, head, query);
    for (int i = 0; i < a->head_dim; i++) uly__store(a->d_q, a->dtype, at + i, a->scale * sum[i]);
  }
}

static void backward_pass(const pass *p) {
  int64_t next = 0, groups = num_groups(num_blocks(p->a), p->group_size);
  clear_sums(p);
#pragma omp parallel
  for (int64_t tiles = 0;;) {
    int64_t group;
    /* In ascending order: whoever is waited for has begun before. */
#pragma omp atomic capture
    group = next++;
    if (group >= groups) break;
    backward_group(p, group, &tiles);
  }
  for (int i = 0; i < p->num_heads; i++) store_d_q(p, p->first_head + i);
}

static void backward(const uly_local_attention *a, void *workspace) {
  pass p = {.a = a, .group_size = group_size(a, num_blocks(a), GROUPS_OF_A_THREAD)};
  /* Within a window only as many groups as it spans are at work at a time, since they take turns. */
  int64_t window = uly__mask_desc(a->mask_index)->window;
  if (window > 0) p.group_size = min64(p.group_size, group_size(a, window / LANES, 2));
  uly__attention_carve(a, workspace, &p.work);
  compute_delta(a, p.work.delta);
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

#ifdef ULY_BF16_DOT

static uly__ops others; /* what does what this file cannot */

/* Words of two need even rows. */
static bool is_for_pairs(const uly_local_attention *a) {
  return a->dtype == ULY_BF16 && a->head_dim % 2 == 0 && a->qkv_stride % 2 == 0 &&
         a->o_stride % 2 == 0;
}

static void forward_pairs(const uly_local_attention *a) {
  (is_for_pairs(a) ? forward : others.attention_forward)(a);
}

static void backward_pairs(const uly_local_attention *a, void *workspace) {
  (is_for_pairs(a) ? backward : others.attention_backward)(a, workspace);
}

void CAT(uly__attention_tiled_, ULY_ISA)(uly__ops *table) {
  others = *table;
  table->attention_forward = forward_pairs;
  table->attention_backward = backward_pairs;
}

#else

void CAT(uly__attention_tiled_, ULY_ISA)(uly__ops *table) {
  table->attention_forward = forward;
  table->attention_backward = backward;
}

#endif
