/* Work goes in pieces that stay in cache; threads share out the pieces, and no sum depends on where
 * they are cut. */
#include "ops/tree_sum.h"

#include "ops/ops.h"

enum { PIECE = 1024 };

static int64_t piece_length(int64_t begin, int64_t count) {
  return count - begin < PIECE ? count - begin : PIECE;
}

/* Sets out[n] to the sum of parts first .. first + num - 1, elements begin .. begin + n. The
 * recursion is as deep as the tree. */
static void sum_piece(uly_dtype dtype, const void *parts, int64_t stride, int64_t first,
                      int64_t num, int64_t begin, int64_t n, float *out) {
  if (num == 1) {
    int64_t at = first * stride + begin;
    if (dtype == ULY_F32)
      memmove(out, (const float *)parts + at, (size_t)n * sizeof *out);
    else
      for (int64_t i = 0; i < n; i++) out[i] = uly__bf16_to_f32(((const uint16_t *)parts)[at + i]);
    return;
  }
  int64_t left = 1;
  while (left * 2 < num) left *= 2;
  float right[PIECE];
  sum_piece(dtype, parts, stride, first + left, num - left, begin, n, right);
  sum_piece(dtype, parts, stride, first, left, begin, n, out);
  for (int64_t i = 0; i < n; i++) out[i] += right[i];
}

static void tree_sum(uly__stream *stream, uly_dtype dtype, const void *parts, int64_t num,
                     int64_t stride, int64_t count, float *out) {
  (void)stream;
#pragma omp parallel for schedule(static)
  for (int64_t begin = 0; begin < count; begin += PIECE) {
    int64_t n = piece_length(begin, count);
    float sum[PIECE];
    sum_piece(dtype, parts, stride, 0, num, begin, n, sum);
    memcpy(out + begin, sum, (size_t)n * sizeof *sum);
  }
}

static void tree_push(uly__stream *stream, float *const *levels, int64_t index, int64_t count,
                      const float *x) {
  (void)stream;
#pragma omp parallel for schedule(static)
  for (int64_t begin = 0; begin < count; begin += PIECE) {
    int64_t n = piece_length(begin, count);
    float sum[PIECE];
    int level = 0;
    memcpy(sum, x + begin, (size_t)n * sizeof *sum);
    for (int64_t left = index; left & 1; left >>= 1, level++)
      for (int64_t i = 0; i < n; i++) sum[i] = levels[level][begin + i] + sum[i];
    memcpy(levels[level] + begin, sum, (size_t)n * sizeof *sum);
  }
}

static void tree_finish(uly__stream *stream, float *const *levels, int64_t index, int64_t count,
                        float *x) {
  (void)stream;
#pragma omp parallel for schedule(static)
  for (int64_t begin = 0; begin < count; begin += PIECE) {
    int64_t n = piece_length(begin, count);
    int level = 0;
    for (int64_t left = index; left; left >>= 1, level++)
      for (int64_t i = 0; i < n && (left & 1); i++)
        x[begin + i] = levels[level][begin + i] + x[begin + i];
  }
}

void uly__ops_tree(uly__ops *table) {
  table->tree_sum = tree_sum;
  table->tree_push = tree_push;
  table->tree_finish = tree_finish;
}
