/* Ops that treat elements one by one: fills, roundings, sums, the angles of RoPE, and the search
 * for numbers that are not finite. Their speed is that of memory, or does not matter, so one build
 * serves all instruction sets. */
#include <math.h>

#include "base/integers.h"
#include "base/rng.h"
#include "ops/ops.h"

/* The number of elements that a thread fills at a time. */
enum { PIECE = 1 << 14 };

static void fill(uly__stream *stream, int64_t n, float value, float *x) {
  (void)stream;
#pragma omp parallel for schedule(static) if (n > PIECE)
  for (int64_t i = 0; i < n; i++) x[i] = value;
}

static void fill_normal(uly__stream *stream, uint64_t seed, uint64_t numbers, int64_t begin,
                        int64_t n, float std, float *x) {
  (void)stream;
#pragma omp parallel for schedule(dynamic) if (n > PIECE)
  for (int64_t at = 0; at < n; at += PIECE)
    uly__rng_normal(seed, numbers, begin + at, uly__min(PIECE, n - at), std, x + at);
}

static void to_f32(uly__stream *stream, int64_t n, const uint16_t *x, float *y) {
  (void)stream;
  for (int64_t i = 0; i < n; i++) y[i] = uly__bf16_to_f32(x[i]);
}

/* Element i of the result lies below element i of x. */
static void round_in_place(uly__stream *stream, int64_t n, float *x) {
  uint16_t *rounded = (uint16_t *)(void *)x;
  (void)stream;
  for (int64_t i = 0; i < n; i++) {
    float value = x[i];
    uint16_t bits = uly__f32_to_bf16(value);
    memcpy(&rounded[i], &bits, sizeof bits);
  }
}

static void keep_sum(uly__stream *stream, int64_t n, uly_dtype dtype, const float *x, bool is_first,
                     void *sum) {
  (void)stream;
#pragma omp parallel for schedule(static)
  for (int64_t i = 0; i < n; i++)
    uly__store(sum, dtype, i, is_first ? x[i] : uly__load(sum, dtype, i) + x[i]);
}

static void sum_rows(uly__stream *stream, int64_t rows, int64_t cols, uly_dtype dtype, int num,
                     void *const *x, const int64_t *ld) {
  (void)stream;
#pragma omp parallel for schedule(static)
  for (int64_t r = 0; r < rows; r++)
    for (int64_t c = 0; c < cols; c++) {
      float sum = uly__load(x[0], dtype, r * ld[0] + c);
      for (int i = 1; i < num; i++) sum += uly__load(x[i], dtype, r * ld[i] + c);
      uly__store(x[0], dtype, r * ld[0] + c, sum);
    }
}

static int64_t find_nonfinite(uly__stream *stream, int64_t rows, int64_t cols, int64_t ld,
                              uly_dtype dtype, const void *x, float *value) {
  (void)stream;
  for (int64_t r = 0; r < rows; r++)
    for (int64_t c = 0; c < cols; c++) {
      *value = uly__load(x, dtype, r * ld + c);
      if (!isfinite(*value)) return r * cols + c;
    }
  return -1;
}

static void softmax_lse(uly__stream *stream, int64_t n, const uly__softmax_row *rows, float scale,
                        float *lse) {
  (void)stream;
  for (int64_t i = 0; i < n; i++) lse[i] = uly__softmax_lse(rows[i], scale);
}

/* Computes angles in f64: at positions of millions f32 would lose the phase. */
static void rope_table(uly__stream *stream, int64_t rows, const int64_t *positions, int head_dim,
                       const uly__rope *rope, float *table) {
  (void)stream;
  int half = head_dim / 2;
#pragma omp parallel for schedule(static)
  for (int64_t r = 0; r < rows; r++)
    for (int i = 0; i < half; i++) {
      double angle = (double)positions[r] * rope->frequency[i];
      table[r * head_dim + i] = (float)(cos(angle) * rope->scale);
      table[r * head_dim + half + i] = (float)(sin(angle) * rope->scale);
    }
}

void uly__ops_elements(uly__ops *table) {
  table->fill = fill;
  table->fill_normal = fill_normal;
  table->to_f32 = to_f32;
  table->round_in_place = round_in_place;
  table->keep_sum = keep_sum;
  table->sum_rows = sum_rows;
  table->find_nonfinite = find_nonfinite;
  table->softmax_lse = softmax_lse;
  table->rope_table = rope_table;
}
