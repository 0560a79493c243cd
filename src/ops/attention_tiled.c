/* Tiled attention with online softmax (FlashAttention-2, 2307.08691), forward and backward.
 * Compiled once for each instruction set (ULY_ISA).
 *
 * A tile is LANES x TILE pairs. One side of it, the *lanes*, lies across vector registers: queries in
 * forward and for dQ, keys for dK and dV. The lanes' rows are transposed once into [d][LANES]; the
 * other side is read in its own layout, element by element, broadcast against the lanes. So every
 * product below has one form,
 *     C[m][LANES] += sum_k A(m, k) B[k][LANES],
 * softmax runs down columns without crossing lanes, and no other operand is packed or transposed.
 *
 * Backward takes two passes, one over query blocks (dQ), one over key blocks (dK, dV): each block is
 * summed by one thread in a fixed order, so results do not depend on the number of threads, at the
 * price of computing the scores twice. Sums are f32. */
#include <assert.h>
#include <math.h>

#include "ops/mask.h"
#include "ops/ops.h"
#include "ops/vector_math.h"

#define CAT_(a, b) a##b
#define CAT(a, b) CAT_(a, b)

/* WIDTH: floats of a vector. ROWS x 2 vectors of accumulators fit the register file. */
#if defined(__AVX512F__)
enum { WIDTH = 16, ROWS = 8 };
#elif defined(__AVX2__)
enum { WIDTH = 8, ROWS = 4 };
#else
enum { WIDTH = 4, ROWS = 4 };
#endif
enum { LANES = 64, TILE = 64, MAX_D = ULY_MAX_HEAD_DIM };

typedef float vec __attribute__((vector_size(WIDTH * 4), aligned(4), may_alias));

static inline int64_t min64(int64_t a, int64_t b) { return a < b ? a : b; }

/* `rows` rows of C, all lanes. A(m, k) = a[m * row + k * col]. */
static inline __attribute__((always_inline)) void product_rows(int rows, int k_count,
                                                               const float *a, int64_t row,
                                                               int64_t col, const float *b,
                                                               float *c) {
  for (int lane = 0; lane < LANES; lane += 2 * WIDTH) {
    vec sum[ROWS][2];
#pragma GCC unroll 8
    for (int m = 0; m < rows; m++) {
      sum[m][0] = *(const vec *)(c + m * LANES + lane);
      sum[m][1] = *(const vec *)(c + m * LANES + lane + WIDTH);
    }
    for (int k = 0; k < k_count; k++) {
      vec b0 = *(const vec *)(b + k * LANES + lane);
      vec b1 = *(const vec *)(b + k * LANES + lane + WIDTH);
#pragma GCC unroll 8
      for (int m = 0; m < rows; m++) {
        float factor = a[m * row + k * col];
        sum[m][0] += factor * b0;
        sum[m][1] += factor * b1;
      }
    }
#pragma GCC unroll 8
    for (int m = 0; m < rows; m++) {
      *(vec *)(c + m * LANES + lane) = sum[m][0];
      *(vec *)(c + m * LANES + lane + WIDTH) = sum[m][1];
    }
  }
}

/* C += A B. Two forms, so that the compiler knows which stride is 1. */
static void add_product(int m_count, int k_count, const float *a, int64_t ld, const float *b,
                        float *c) {
  int m = 0;
  for (; m + ROWS <= m_count; m += ROWS)
    product_rows(ROWS, k_count, a + m * ld, ld, 1, b, c + m * LANES);
  for (; m < m_count; m++) product_rows(1, k_count, a + m * ld, ld, 1, b, c + m * LANES);
}

static void add_transposed_product(int m_count, int k_count, const float *a, int64_t ld,
                                   const float *b, float *c) {
  int m = 0;
  for (; m + ROWS <= m_count; m += ROWS)
    product_rows(ROWS, k_count, a + m, 1, ld, b, c + m * LANES);
  for (; m < m_count; m++) product_rows(1, k_count, a + m, 1, ld, b, c + m * LANES);
}

/* Rows [begin, begin + count) of a head as f32: in place, or widened into buffer. */
static const float *rows_f32(const uly_local_attention *a, const void *x, int64_t stride, int head,
                             int64_t begin, int64_t count, float *buffer, int64_t *ld) {
  int64_t at = begin * stride + (int64_t)head * a->head_dim;
  if (a->dtype == ULY_F32) {
    *ld = stride;
    return (const float *)x + at;
  }
  *ld = a->head_dim;
  for (int64_t r = 0; r < count; r++) {
    const uint16_t *from = (const uint16_t *)x + at + r * stride;
    float *to = buffer + r * a->head_dim;
#pragma omp simd
    for (int i = 0; i < a->head_dim; i++) to[i] = uly__bf16_to_f32(from[i]);
  }
  return buffer;
}

/* lanes[d][LANES] = factor * rows transposed; lanes beyond count are zero. */
static void load_lanes(const uly_local_attention *a, const void *x, int64_t stride, int head,
                       int64_t begin, int64_t count, float factor, float *lanes) {
  int64_t at = begin * stride + (int64_t)head * a->head_dim;
  for (int i = 0; i < a->head_dim; i++)
    for (int64_t lane = 0; lane < LANES; lane++)
      lanes[i * LANES + lane] =
          lane < count ? factor * uly__load(x, a->dtype, at + lane * stride + i) : 0.0f;
}

/* The way back, each lane multiplied by its factor. */
static void store_lanes(const uly_local_attention *a, void *x, int64_t stride, int head,
                        int64_t begin, int64_t count, const float *factor, const float *lanes) {
  int64_t at = begin * stride + (int64_t)head * a->head_dim;
  for (int64_t lane = 0; lane < count; lane++)
    for (int i = 0; i < a->head_dim; i++)
      uly__store(x, a->dtype, at + lane * stride + i, factor[lane] * lanes[i * LANES + lane]);
}

static int kv_head(const uly_local_attention *a, int q_head) {
  return (q_head + a->group_offset) / a->group_size;
}

static int64_t next_keys(const uly_local_attention *a, int head, int64_t query, int64_t num_queries,
                         int64_t key) {
  return uly__mask_next_keys(a->mask_index, a->first_q_head + head, query, query + num_queries, key,
                             TILE);
}

static int64_t next_queries(const uly_local_attention *a, int head, int64_t key, int64_t num_keys,
                            int64_t query) {
  return uly__mask_next_queries(a->mask_index, a->first_q_head + head, key, key + num_keys, query,
                                TILE);
}

static uly__tile tile_of(const uly_local_attention *a, int head, int64_t query, int64_t num_queries,
                         int64_t key, int64_t num_keys) {
  return uly__mask_tile(a->mask_index, a->first_q_head + head, query, query + num_queries, key,
                        key + num_keys);
}

/* Scores of pairs that the mask hides, so low that their exponential is 0. */
static const float hidden = -1e30f;

static_assert(LANES <= 64 && TILE <= 64, "a row of a tile is one word of uly__mask_bits");

/* scores: [keys][LANES], queries across. */
static void hide_queries(const uly_local_attention *a, int head, int64_t query, int64_t num_queries,
                         int64_t key, int64_t num_keys, float *scores) {
  for (int64_t lane = 0; lane < num_queries; lane++) {
    uint64_t seen = uly__mask_bits(a->mask_index, a->first_q_head + head, query + lane, key);
    for (int64_t r = 0; r < num_keys; r++)
      if (!(seen >> r & 1)) scores[r * LANES + lane] = hidden;
  }
}

/* scores: [queries][LANES], keys across. */
static void hide_keys(const uly_local_attention *a, int head, int64_t query, int64_t num_queries,
                      int64_t key, int64_t num_keys, float *scores) {
  for (int64_t r = 0; r < num_queries; r++) {
    uint64_t seen = uly__mask_bits(a->mask_index, a->first_q_head + head, query + r, key);
    for (int64_t lane = 0; lane < num_keys; lane++)
      if (!(seen >> lane & 1)) scores[r * LANES + lane] = hidden;
  }
}

/* One step of online softmax: scores [keys][LANES] become probabilities relative to the new
 * maximum; shrink is what earlier sums must be multiplied by. */
static void softmax_step(int64_t num_keys, float *scores, float *largest, float *sum,
                         float *shrink) {
  float larger[LANES], total[LANES];
  memcpy(larger, largest, sizeof larger);
  for (int64_t r = 0; r < num_keys; r++)
#pragma omp simd
    for (int lane = 0; lane < LANES; lane++) {
      float s = scores[r * LANES + lane];
      larger[lane] = s > larger[lane] ? s : larger[lane];
    }
#pragma omp simd
  for (int lane = 0; lane < LANES; lane++) {
    shrink[lane] = uly__exp(largest[lane] - larger[lane]);
    total[lane] = sum[lane] * shrink[lane];
    largest[lane] = larger[lane];
  }
  for (int64_t r = 0; r < num_keys; r++)
#pragma omp simd
    for (int lane = 0; lane < LANES; lane++) {
      float p = uly__exp(scores[r * LANES + lane] - larger[lane]);
      scores[r * LANES + lane] = p;
      total[lane] += p;
    }
  memcpy(sum, total, sizeof total);
}

static void forward_block(const uly_local_attention *a, int head, int64_t query) {
  int d = a->head_dim;
  int64_t N = a->num_tokens, num_queries = min64(LANES, N - query), ld;
  _Alignas(64) float q[MAX_D * LANES], out[MAX_D * LANES], scores[TILE * LANES],
      buffer[TILE * MAX_D], largest[LANES], sum[LANES], shrink[LANES];
  load_lanes(a, a->q, a->qkv_stride, head, query, num_queries, a->scale, q);
  memset(out, 0, (size_t)d * LANES * sizeof *out);
  for (int lane = 0; lane < LANES; lane++) largest[lane] = hidden, sum[lane] = 0;
  for (int64_t key = next_keys(a, head, query, num_queries, 0); key < N;
       key = next_keys(a, head, query, num_queries, key + TILE)) {
    int64_t num_keys = min64(TILE, N - key);
    uly__tile tile = tile_of(a, head, query, num_queries, key, num_keys);
    if (tile == ULY_TILE_SKIP) continue;
    memset(scores, 0, sizeof scores);
    const float *k = rows_f32(a, a->k, a->qkv_stride, kv_head(a, head), key, num_keys, buffer, &ld);
    add_product((int)num_keys, d, k, ld, q, scores);
    if (tile == ULY_TILE_PARTIAL) hide_queries(a, head, query, num_queries, key, num_keys, scores);
    softmax_step(num_keys, scores, largest, sum, shrink);
    for (int i = 0; i < d; i++)
#pragma omp simd
      for (int lane = 0; lane < LANES; lane++) out[i * LANES + lane] *= shrink[lane];
    const float *v = rows_f32(a, a->v, a->qkv_stride, kv_head(a, head), key, num_keys, buffer, &ld);
    add_transposed_product(d, (int)num_keys, v, ld, scores, out);
  }
  for (int64_t lane = 0; lane < num_queries; lane++) {
    a->lse[head * N + query + lane] = largest[lane] + logf(sum[lane]);
    sum[lane] = 1.0f / sum[lane];
  }
  store_lanes(a, a->o, a->o_stride, head, query, num_queries, sum, out);
}

static void forward(const uly_local_attention *a) {
  int64_t blocks = (a->num_tokens + LANES - 1) / LANES;
  /* Late query blocks see more keys under a causal mask: the heavy ones first. */
#pragma omp parallel for schedule(dynamic)
  for (int64_t i = 0; i < blocks * a->num_q_heads; i++)
    forward_block(a, (int)(i % a->num_q_heads), (blocks - 1 - i / a->num_q_heads) * LANES);
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

static void d_query_block(const uly_local_attention *a, const float *delta, int head,
                          int64_t query) {
  int d = a->head_dim, kv = kv_head(a, head);
  int64_t N = a->num_tokens, num_queries = min64(LANES, N - query), ld;
  _Alignas(64) float q[MAX_D * LANES], d_o[MAX_D * LANES], d_q[MAX_D * LANES], p[TILE * LANES],
      d_p[TILE * LANES], buffer[TILE * MAX_D], lse[LANES], dl[LANES], factor[LANES];
  load_lanes(a, a->q, a->qkv_stride, head, query, num_queries, a->scale, q);
  load_lanes(a, a->d_o, a->o_stride, head, query, num_queries, 1.0f, d_o);
  memset(d_q, 0, (size_t)d * LANES * sizeof *d_q);
  for (int lane = 0; lane < LANES; lane++) {
    lse[lane] = lane < num_queries ? a->lse[head * N + query + lane] : 0.0f;
    dl[lane] = lane < num_queries ? delta[head * N + query + lane] : 0.0f;
    factor[lane] = a->scale;
  }
  for (int64_t key = next_keys(a, head, query, num_queries, 0); key < N;
       key = next_keys(a, head, query, num_queries, key + TILE)) {
    int64_t num_keys = min64(TILE, N - key);
    uly__tile tile = tile_of(a, head, query, num_queries, key, num_keys);
    if (tile == ULY_TILE_SKIP) continue;
    memset(p, 0, sizeof p);
    memset(d_p, 0, sizeof d_p);
    const float *v = rows_f32(a, a->v, a->qkv_stride, kv, key, num_keys, buffer, &ld);
    add_product((int)num_keys, d, v, ld, d_o, d_p);
    const float *k = rows_f32(a, a->k, a->qkv_stride, kv, key, num_keys, buffer, &ld);
    add_product((int)num_keys, d, k, ld, q, p);
    if (tile == ULY_TILE_PARTIAL) hide_queries(a, head, query, num_queries, key, num_keys, p);
    for (int64_t r = 0; r < num_keys; r++)
#pragma omp simd
      for (int lane = 0; lane < LANES; lane++)
        d_p[r * LANES + lane] =
            uly__exp(p[r * LANES + lane] - lse[lane]) * (d_p[r * LANES + lane] - dl[lane]);
    add_transposed_product(d, (int)num_keys, k, ld, d_p, d_q);
  }
  store_lanes(a, a->d_q, a->qkv_stride, head, query, num_queries, factor, d_q);
}

static void d_key_block(const uly_local_attention *a, const float *delta, int kv, int64_t key) {
  int d = a->head_dim;
  int64_t N = a->num_tokens, num_keys = min64(LANES, N - key), ld_q, ld_o;
  _Alignas(64) float k[MAX_D * LANES], v[MAX_D * LANES], d_k[MAX_D * LANES], d_v[MAX_D * LANES],
      p[TILE * LANES], d_p[TILE * LANES], q_buffer[TILE * MAX_D], o_buffer[TILE * MAX_D],
      factor[LANES], one[LANES];
  load_lanes(a, a->k, a->qkv_stride, kv, key, num_keys, a->scale, k);
  load_lanes(a, a->v, a->qkv_stride, kv, key, num_keys, 1.0f, v);
  memset(d_k, 0, (size_t)d * LANES * sizeof *d_k);
  memset(d_v, 0, (size_t)d * LANES * sizeof *d_v);
  for (int lane = 0; lane < LANES; lane++) factor[lane] = a->scale, one[lane] = 1.0f;
  for (int head = 0; head < a->num_q_heads; head++) {
    if (kv_head(a, head) != kv) continue;
    for (int64_t query = next_queries(a, head, key, num_keys, 0); query < N;
         query = next_queries(a, head, key, num_keys, query + TILE)) {
      int64_t num_queries = min64(TILE, N - query);
      uly__tile tile = tile_of(a, head, query, num_queries, key, num_keys);
      if (tile == ULY_TILE_SKIP) continue;
      const float *lse = a->lse + head * N + query, *dl = delta + head * N + query;
      const float *q = rows_f32(a, a->q, a->qkv_stride, head, query, num_queries, q_buffer, &ld_q);
      const float *d_o =
          rows_f32(a, a->d_o, a->o_stride, head, query, num_queries, o_buffer, &ld_o);
      memset(p, 0, sizeof p);
      memset(d_p, 0, sizeof d_p);
      add_product((int)num_queries, d, q, ld_q, k, p);
      add_product((int)num_queries, d, d_o, ld_o, v, d_p);
      if (tile == ULY_TILE_PARTIAL) hide_keys(a, head, query, num_queries, key, num_keys, p);
      for (int64_t r = 0; r < num_queries; r++)
#pragma omp simd
        for (int lane = 0; lane < LANES; lane++) {
          float probability = uly__exp(p[r * LANES + lane] - lse[r]);
          p[r * LANES + lane] = probability;
          d_p[r * LANES + lane] = probability * (d_p[r * LANES + lane] - dl[r]);
        }
      add_transposed_product(d, (int)num_queries, d_o, ld_o, p, d_v);
      add_transposed_product(d, (int)num_queries, q, ld_q, d_p, d_k);
    }
  }
  store_lanes(a, a->d_k, a->qkv_stride, kv, key, num_keys, factor, d_k);
  store_lanes(a, a->d_v, a->qkv_stride, kv, key, num_keys, one, d_v);
}

static void backward(const uly_local_attention *a, float *delta) {
  int64_t blocks = (a->num_tokens + LANES - 1) / LANES;
  compute_delta(a, delta);
#pragma omp parallel
  {
#pragma omp for schedule(dynamic) nowait
    for (int64_t i = 0; i < blocks * a->num_q_heads; i++)
      d_query_block(a, delta, (int)(i % a->num_q_heads), (blocks - 1 - i / a->num_q_heads) * LANES);
#pragma omp for schedule(dynamic)
    for (int64_t i = 0; i < blocks * a->num_kv_heads; i++)
      d_key_block(a, delta, (int)(i % a->num_kv_heads), i / a->num_kv_heads * LANES);
  }
}

void CAT(uly__attention_tiled_, ULY_ISA)(uly__ops *table) {
  table->attention_forward = forward;
  table->attention_backward = backward;
}
