/* Tiled attention with online softmax (FlashAttention-2, 2307.08691), forward and backward. Compiled once for
 * each instruction set (ULY_ISA), over the words of tile_words.h.
 *
 * A tile is LANES x LANES pairs of tokens. One side, the *lanes*, lies across vector registers: queries in
 * forward, keys in backward. The lanes' rows are transposed once; the other side is read in its own layout. In
 * forward softmax runs down columns, so nothing ever crosses lanes.
 *
 * Backward makes one pass over the tiles, five products each: a thread takes a block of keys, sums its dK and dV,
 * and adds to dQ, kept in f32 for one head at a time. At every block of queries the blocks of keys take their
 * turns in ascending order, so no sum depends on the number of threads.
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

static void forward_block(const uly_local_attention *a, int head, int64_t query) {
  _Alignas(64) float scores[LANES * LANES], out[MAX_D * LANES], largest[LANES], sum[LANES],
      shrink[LANES];
  _Alignas(64) word q[MAX_D * LANES / PER_WORD], p[LANES * LANES], buffer[LANES * MAX_D];
  int d = a->head_dim, kv = kv_head(a, head);
  head_rows queries = block_rows(a, a->q, a->qkv_stride, head, query);
  float to_log2 = a->scale * log2_e;
  pack_lanes(queries, d, a->dtype, buffer, q);
  memset(out, 0, (size_t)d * LANES * sizeof *out);
  for (int lane = 0; lane < LANES; lane++) largest[lane] = hidden_score(a) * to_log2, sum[lane] = 0;

  int mask_head = a->first_q_head + head;
  int64_t N = a->num_tokens, q_end = query + queries.count;
  for (int64_t key = 0;; key += LANES) {
    key = uly__mask_next_keys(a->mask_index, mask_head, query, q_end, key, LANES);
    if (key >= N) break;
    head_rows keys = block_rows(a, a->k, a->qkv_stride, kv, key);
    head_rows values = block_rows(a, a->v, a->qkv_stride, kv, key);
    uly__tile tile = uly__mask_tile(a->mask_index, mask_head, query, q_end, key, key + keys.count);
    if (tile == ULY_TILE_SKIP) continue;
    int64_t ld;
    prefetch_block(a, a->k, a->qkv_stride, kv, key + LANES);
    prefetch_block(a, a->v, a->qkv_stride, kv, key + LANES);
    const word *k = row_words(keys, d, a->dtype, buffer, &ld);
    product((operands){k, ld, 1, q, LANES, scores, LANES}, true, keys.count, num_words(d), LANES);
    if (tile == ULY_TILE_PARTIAL)
      hide_keys_of_queries(a, head, query, queries.count, key, keys.count, scores);
    bool same = softmax_step(keys.count, to_log2, scores, p, largest, sum, shrink);
    for (int i = 0; i < d && !same; i++)
      for (int lane = 0; lane < LANES; lane += WIDTH)
        *vec_at(out + i * LANES + lane) *= load_vec(shrink + lane);
    const word *v = pair_words(values, d, a->dtype, buffer, &ld);
    product((operands){v, 1, ld, p, LANES, out, LANES}, false, d, num_words(keys.count), LANES);
  }
  for (int64_t lane = 0; lane < queries.count; lane++) {
    a->lse[head * N + query + lane] = ln_2 * largest[lane] + logf(sum[lane]);
    sum[lane] = 1.0f / sum[lane];
  }
  store_lanes(a, block_rows(a, a->o, a->o_stride, head, query), sum, out);
}

/* By the thread that called, between blocks. */
static void poll(const uly_local_attention *a) {
  if (a->poll && omp_get_thread_num() == 0) a->poll(a->poll_context);
}

static void forward(const uly_local_attention *a) {
  int64_t blocks = num_blocks(a);
  /* Head by head, so that its keys and values stay in cache. Late blocks of queries see more keys under a causal
   * mask: the heavy ones first. */
#pragma omp parallel for schedule(dynamic)
  for (int64_t i = 0; i < blocks * a->num_q_heads; i++) {
    forward_block(a, (int)(i / blocks), (blocks - 1 - i % blocks) * LANES);
    poll(a);
  }
}

/* --------------------------------------------------------------------------- backward */

/* What the threads of a backward pass share: query heads that use one key/value head. */
typedef struct pass {
  const uly_local_attention *a;
  uly__attention_workspace work;
  int kv, first_head, num_heads;
  bool is_first, is_last; /* of this key/value head's passes */
} pass;

/* Rows of dQ of one of the pass's heads. */
static float *d_q_rows(const pass *p, int head, int64_t query) {
  int64_t tokens = num_blocks(p->a) * LANES;
  return p->work.d_q + ((head - p->first_head) * tokens + query) * padded(p->a->head_dim);
}

/* Turns are numbered through the heads of a pass. progress[b] > t: blocks of keys up to b are past turn t. */
static int64_t turn_of(const pass *p, int head, int64_t query) {
  return (head - p->first_head) * num_blocks(p->a) + query / LANES;
}

static void wait_for_turn(const pass *p, int64_t key_block, int64_t turn) {
  if (key_block == 0) return;
  const _Atomic int64_t *before = &p->work.progress[key_block - 1];
  for (int spins = 0; atomic_load_explicit(before, memory_order_acquire) <= turn; spins++)
    if (spins > 1000) sched_yield(); /* another thread needs this core */
}

static void end_turn(const pass *p, int64_t key_block, int64_t turn) {
  atomic_store_explicit(&p->work.progress[key_block], turn + 1, memory_order_release);
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
  word d_rows[LANES * LANES];   /* the same, as rows */
} tile_gradient;

/* scores, d_p: [queries][LANES], d_p the gradient of the probabilities. */
static void score_gradient(const pass *p, int head, int64_t query, int64_t num_queries,
                           const float *scores, const float *d_p, tile_gradient *out) {
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
      store_rows(out->d_rows, r, lane, d_score);
    }
}

/* A block of keys, and its gradients so far. */
typedef struct key_block {
  int64_t index, key, count;
  word k[MAX_D * LANES], v[MAX_D * LANES];      /* [w][LANES] */
  word k_pairs[LANES * MAX_D];                  /* [LANES / PER_WORD][padded(d)] */
  float d_k[MAX_D * LANES], d_v[MAX_D * LANES]; /* [d][LANES] */
} key_block;

/* Queries of one block against the block of keys. */
static void backward_tile(const pass *p, key_block *keys, int head, int64_t query, bool hides) {
  const uly_local_attention *a = p->a;
  _Alignas(64) float scores[LANES * LANES], d_p[LANES * LANES];
  _Alignas(64) word buffer[LANES * MAX_D];
  _Alignas(64) tile_gradient tile;
  int d = a->head_dim, width = padded(d);
  head_rows queries = block_rows(a, a->q, a->qkv_stride, head, query);
  head_rows d_outs = block_rows(a, a->d_o, a->o_stride, head, query);
  int64_t rows = queries.count, ld;
  prefetch_block(a, a->q, a->qkv_stride, head, query + LANES);
  prefetch_block(a, a->d_o, a->o_stride, head, query + LANES);
  const word *q = row_words(queries, d, a->dtype, buffer, &ld);
  product((operands){q, ld, 1, keys->k, LANES, scores, LANES}, true, rows, num_words(d), LANES);
  const word *d_o = row_words(d_outs, d, a->dtype, buffer, &ld);
  product((operands){d_o, ld, 1, keys->v, LANES, d_p, LANES}, true, rows, num_words(d), LANES);
  if (hides) hide_keys(a, head, query, rows, keys->key, scores);
  score_gradient(p, head, query, rows, scores, d_p, &tile);

  const word *d_o_pairs = pair_words(d_outs, d, a->dtype, buffer, &ld);
  product((operands){d_o_pairs, 1, ld, tile.p, LANES, keys->d_v, LANES}, false, d, num_words(rows),
          LANES);
  const word *q_pairs = pair_words(queries, d, a->dtype, buffer, &ld);
  product((operands){q_pairs, 1, ld, tile.d_scores, LANES, keys->d_k, LANES}, false, d,
          num_words(rows), LANES);
  wait_for_turn(p, keys->index, turn_of(p, head, query));
  product((operands){tile.d_rows, LANES / PER_WORD, 1, keys->k_pairs, width,
                     d_q_rows(p, head, query), width},
          false, rows, num_words(keys->count), width);
  end_turn(p, keys->index, turn_of(p, head, query));
}

/* All queries that see the block of keys. */
static void backward_tiles(const pass *p, key_block *keys, int head) {
  const uly_local_attention *a = p->a;
  const uly__mask *mask = a->mask_index;
  int mask_head = a->first_q_head + head;
  int64_t N = a->num_tokens, key_end = keys->key + keys->count;
  for (int64_t query = 0;; query += LANES) {
    query = uly__mask_next_queries(mask, mask_head, keys->key, key_end, query, LANES);
    if (query >= N) return;
    uly__tile tile =
        uly__mask_tile(mask, mask_head, query, min64(query + LANES, N), keys->key, key_end);
    if (tile == ULY_TILE_SKIP) continue;
    backward_tile(p, keys, head, query, tile == ULY_TILE_PARTIAL || keys->count < LANES);
  }
}

static void load_keys(const pass *p, int64_t index, key_block *keys) {
  const uly_local_attention *a = p->a;
  int d = a->head_dim;
  word buffer[LANES * MAX_D];
  head_rows k = block_rows(a, a->k, a->qkv_stride, p->kv, index * LANES);
  head_rows v = block_rows(a, a->v, a->qkv_stride, p->kv, index * LANES);
  keys->index = index;
  keys->key = index * LANES;
  keys->count = k.count;
  pack_lanes(k, d, a->dtype, buffer, keys->k);
  pack_lanes(v, d, a->dtype, buffer, keys->v);
  pack_pairs(k, d, a->dtype, keys->k_pairs);
  size_t bytes = (size_t)(d * LANES) * sizeof(float);
  const float *kept = p->is_first ? NULL : p->work.d_kv + index * 2 * d * LANES;
  if (kept) {
    memcpy(keys->d_k, kept, bytes);
    memcpy(keys->d_v, kept + d * LANES, bytes);
  } else {
    memset(keys->d_k, 0, bytes);
    memset(keys->d_v, 0, bytes);
  }
}

static void store_keys(const pass *p, const key_block *keys) {
  const uly_local_attention *a = p->a;
  int d = a->head_dim;
  if (!p->is_last) {
    size_t bytes = (size_t)(d * LANES) * sizeof(float);
    float *kept = p->work.d_kv + keys->index * 2 * d * LANES;
    memcpy(kept, keys->d_k, bytes);
    memcpy(kept + d * LANES, keys->d_v, bytes);
    return;
  }
  float factor[LANES], one[LANES];
  for (int lane = 0; lane < LANES; lane++) factor[lane] = a->scale, one[lane] = 1.0f;
  store_lanes(a, block_rows(a, a->d_k, a->qkv_stride, p->kv, keys->key), factor, keys->d_k);
  store_lanes(a, block_rows(a, a->d_v, a->qkv_stride, p->kv, keys->key), one, keys->d_v);
}

/* The part of the gradients that a block of keys makes. */
static void backward_block(const pass *p, int64_t index) {
  _Alignas(64) key_block keys;
  int64_t last_turn = p->num_heads * num_blocks(p->a) - 1;
  load_keys(p, index, &keys);
  for (int i = 0; i < p->num_heads; i++) backward_tiles(p, &keys, p->first_head + i);
  wait_for_turn(p, index, last_turn);
  end_turn(p, index, last_turn);
  store_keys(p, &keys);
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
  int64_t next = 0;
  clear_sums(p);
#pragma omp parallel
  for (;;) {
    int64_t block;
    /* In ascending order: whoever is waited for has begun before. */
#pragma omp atomic capture
    block = next++;
    if (block >= num_blocks(p->a)) break;
    backward_block(p, block);
    poll(p->a);
  }
  for (int i = 0; i < p->num_heads; i++) store_d_q(p, p->first_head + i);
}

static void backward(const uly_local_attention *a, void *workspace) {
  pass p = {.a = a};
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
