/* Norms of rows and of heads, and the sums of the residual stream that come before a norm. Compiled
 * once for each instruction set (ULY_ISA), like ops_rows.c.
 *
 * Sources: RMSNorm, Zhang and Sennrich 2019; LayerNorm, Ba et al. 2016. */
#include <math.h>

#include "ops/ops.h"
#include "ops/rows.h"

/* Computes the elements of one row from `at` on. */
static void residual_row(int64_t cols, uly_dtype dtype, int64_t at, const void *x, const float *sum,
                         const void *bias, void *y) {
  for (int64_t c = 0; c < cols; c += ROW_PIECE) {
    float a[ROW_PIECE], b[ROW_PIECE] = {0};
    int64_t n = uly__min(ROW_PIECE, cols - c);
    load_row(a, x, dtype, at + c, n);
    if (bias) load_row(b, bias, dtype, c, n);
    const float *s = sum + at + c;
    for (int64_t i = 0; i < n; i++) a[i] += s[i] + b[i];
    store_row(y, dtype, at + c, a, n);
  }
}

static void residual(uly__stream *stream, int64_t rows, int64_t cols, uly_dtype dtype,
                     const void *x, const float *sum, const void *bias, void *y) {
  (void)stream;
#pragma omp parallel for schedule(static)
  for (int64_t r = 0; r < rows; r++) residual_row(cols, dtype, r * cols, x, sum, bias, y);
}

/* Computes mean (0 for RMSNorm) and 1 / sqrt(variance + eps) of a row. */
static void row_statistics(uly__norm kind, int64_t cols, float eps, uly_dtype dtype, const void *x,
                           int64_t at, float *mean, float *rstd) {
  float a[ROW_PIECE];
  double sum = 0, squares = 0;
  if (kind == ULY_NORM_LAYER)
    for (int64_t c = 0; c < cols; c += ROW_PIECE) {
      int64_t n = uly__min(ROW_PIECE, cols - c);
      float part = 0;
      load_row(a, x, dtype, at + c, n);
#pragma omp simd reduction(+ : part)
      for (int64_t i = 0; i < n; i++) part += a[i];
      sum += part;
    }
  *mean = (float)(sum / (double)cols);
  for (int64_t c = 0; c < cols; c += ROW_PIECE) {
    int64_t n = uly__min(ROW_PIECE, cols - c);
    float part = 0, center = *mean;
    load_row(a, x, dtype, at + c, n);
#pragma omp simd reduction(+ : part)
    for (int64_t i = 0; i < n; i++) part += (a[i] - center) * (a[i] - center);
    squares += part;
  }
  *rstd = (float)(1.0 / sqrt(squares / (double)cols + eps));
}

static void norm_row(const uly__norm_args *args, int64_t cols, uly_dtype dtype, int64_t at,
                     const void *x, void *y) {
  float mean, rstd, a[ROW_PIECE], g[ROW_PIECE], b[ROW_PIECE] = {0};
  row_statistics(args->kind, cols, args->eps, dtype, x, at, &mean, &rstd);
  for (int64_t c = 0; c < cols; c += ROW_PIECE) {
    int64_t n = uly__min(ROW_PIECE, cols - c);
    load_row(a, x, dtype, at + c, n);
    load_row(g, args->gamma, dtype, c, n);
    if (args->beta) load_row(b, args->beta, dtype, c, n);
    for (int64_t i = 0; i < n; i++) a[i] = (a[i] - mean) * rstd * g[i] + b[i];
    store_row(y, dtype, at + c, a, n);
  }
}

static void norm_forward(uly__stream *stream, const uly__norm_args *args, int64_t rows,
                         int64_t cols, uly_dtype dtype, const void *x, void *y) {
  (void)stream;
#pragma omp parallel for schedule(static)
  for (int64_t r = 0; r < rows; r++) norm_row(args, cols, dtype, r * cols, x, y);
}

/* Normalizes each row while it is still in the nearest cache. */
static void residual_norm(uly__stream *stream, const uly__norm_args *args, int64_t rows,
                          int64_t cols, uly_dtype dtype, const void *x, const float *sum,
                          const void *bias, void *y, void *n) {
  (void)stream;
#pragma omp parallel for schedule(static)
  for (int64_t r = 0; r < rows; r++) {
    residual_row(cols, dtype, r * cols, x, sum, bias, y);
    norm_row(args, cols, dtype, r * cols, y, n);
  }
}

/* Adds the gradient of x to d_x. With u = (x - mean) rstd and e = d_y gamma:
 *   LayerNorm  d_x = rstd (e - mean(e) - u mean(e u));   RMSNorm  d_x = rstd (e - u mean(e u)) */
static void norm_backward_rows(const uly__norm_args *args, int64_t rows, int64_t cols,
                               uly_dtype dtype, const void *x, const float *d_y, void *d_x) {
  uly__norm kind = args->kind;
#pragma omp parallel for schedule(static)
  for (int64_t r = 0; r < rows; r++) {
    float mean, rstd, a[ROW_PIECE], g[ROW_PIECE], out[ROW_PIECE];
    row_statistics(kind, cols, args->eps, dtype, x, r * cols, &mean, &rstd);
    double sum_e = 0, sum_eu = 0;
    for (int64_t c = 0; c < cols; c += ROW_PIECE) {
      int64_t n = uly__min(ROW_PIECE, cols - c);
      const float *d = d_y + r * cols + c;
      float e = 0, eu = 0;
      load_row(a, x, dtype, r * cols + c, n);
      load_row(g, args->gamma, dtype, c, n);
#pragma omp simd reduction(+ : e, eu)
      for (int64_t i = 0; i < n; i++) {
        e += d[i] * g[i];
        eu += d[i] * g[i] * (a[i] - mean) * rstd;
      }
      sum_e += e;
      sum_eu += eu;
    }
    float mean_e = kind == ULY_NORM_LAYER ? (float)(sum_e / (double)cols) : 0.0f;
    float mean_eu = (float)(sum_eu / (double)cols);
    for (int64_t c = 0; c < cols; c += ROW_PIECE) {
      int64_t n = uly__min(ROW_PIECE, cols - c);
      const float *d = d_y + r * cols + c;
      load_row(a, x, dtype, r * cols + c, n);
      load_row(g, args->gamma, dtype, c, n);
      load_row(out, d_x, dtype, r * cols + c, n);
      for (int64_t i = 0; i < n; i++)
        out[i] += rstd * (d[i] * g[i] - mean_e - (a[i] - mean) * rstd * mean_eu);
      store_row(d_x, dtype, r * cols + c, out, n);
    }
  }
}

/* The number of rows whose statistics the column sums below hold at a time. */
enum { NORM_ROWS = 128 };

static void norm_backward(uly__stream *stream, const uly__norm_args *args, int64_t rows,
                          int64_t cols, uly_dtype dtype, const void *x, const float *d_y, void *d_x,
                          float *d_gamma, float *d_beta) {
  (void)stream;
  norm_backward_rows(args, rows, cols, dtype, x, d_y, d_x);
  for (int64_t first = 0; first < rows; first += NORM_ROWS) {
    int64_t count = uly__min(NORM_ROWS, rows - first);
    float mean[NORM_ROWS], rstd[NORM_ROWS];
#pragma omp parallel
    {
#pragma omp for schedule(static)
      for (int64_t r = 0; r < count; r++)
        row_statistics(args->kind, cols, args->eps, dtype, x, (first + r) * cols, &mean[r],
                       &rstd[r]);
#pragma omp for schedule(static)
      for (int64_t c = 0; c < cols; c += COLUMN_BLOCK) {
        float sum_g[COLUMN_BLOCK] = {0}, sum_b[COLUMN_BLOCK] = {0}, a[COLUMN_BLOCK];
        int64_t n = uly__min(COLUMN_BLOCK, cols - c);
        for (int64_t r = 0; r < count; r++) {
          int64_t at = (first + r) * cols + c;
          float center = mean[r], scale = rstd[r];
          load_row(a, x, dtype, at, n);
          for (int64_t i = 0; i < n; i++) {
            sum_g[i] += d_y[at + i] * (a[i] - center) * scale;
            sum_b[i] += d_y[at + i];
          }
        }
        for (int64_t i = 0; i < n; i++) d_gamma[c + i] += sum_g[i];
        if (d_beta)
          for (int64_t i = 0; i < n; i++) d_beta[c + i] += sum_b[i];
      }
    }
  }
}

/* ---------------------------------------------------------------- RMSNorm of every head */

static void norm_heads(uly__stream *stream, const uly__norm_args *args, int64_t rows, int heads,
                       int head_dim, int64_t ld, uly_dtype dtype, void *x) {
  (void)stream;
#pragma omp parallel for schedule(static)
  for (int64_t r = 0; r < rows; r++)
    for (int head = 0; head < heads; head++)
      norm_row(args, head_dim, dtype, r * ld + (int64_t)head * head_dim, x, x);
}

/* Replaces d, the gradient of one head's normalized elements, by that of its elements a, and adds
 * that of gamma to d_gamma. */
static void head_backward(int head_dim, const float *a, const float *g, float rstd, float *d,
                          float *d_gamma) {
  float eu = 0;
#pragma omp simd reduction(+ : eu)
  for (int i = 0; i < head_dim; i++) {
    d_gamma[i] += d[i] * a[i] * rstd;
    eu += d[i] * g[i] * a[i] * rstd;
  }
  float mean_eu = eu / (float)head_dim;
  for (int i = 0; i < head_dim; i++) d[i] = rstd * (d[i] * g[i] - a[i] * rstd * mean_eu);
}

/* The rows that one thread goes through at a time, and how many such parts are summed at once. The
 * order of the sums does not depend on the number of threads. */
enum { HEAD_ROWS = 32, HEAD_PARTS = 16 };

static void norm_heads_backward(uly__stream *stream, const uly__norm_args *args, int64_t rows,
                                int heads, int head_dim, uly_dtype dtype, const void *x, int64_t ld,
                                void *d, float *d_gamma) {
  (void)stream;
  int64_t at_once = (int64_t)HEAD_ROWS * HEAD_PARTS;
  for (int64_t first = 0; first < rows; first += at_once) {
    float sums[HEAD_PARTS][ULY_MAX_HEAD_DIM] = {{0}};
    int64_t count = uly__min(at_once, rows - first);
#pragma omp parallel for schedule(static)
    for (int64_t part = 0; part < (count + HEAD_ROWS - 1) / HEAD_ROWS; part++) {
      int64_t begin = first + part * HEAD_ROWS, end = uly__min(first + count, begin + HEAD_ROWS);
      for (int64_t i = begin * heads; i < end * heads; i++) {
        float mean, rstd, a[ULY_MAX_HEAD_DIM], g[ULY_MAX_HEAD_DIM], e[ULY_MAX_HEAD_DIM];
        int64_t at = i / heads * ld + i % heads * head_dim;
        row_statistics(args->kind, head_dim, args->eps, dtype, x, i * head_dim, &mean, &rstd);
        load_row(a, x, dtype, i * head_dim, head_dim);
        load_row(g, args->gamma, dtype, 0, head_dim);
        load_row(e, d, dtype, at, head_dim);
        head_backward(head_dim, a, g, rstd, e, sums[part]);
        store_row(d, dtype, at, e, head_dim);
      }
    }
    for (int part = 0; part < HEAD_PARTS; part++)
      for (int i = 0; i < head_dim; i++) d_gamma[i] += sums[part][i];
  }
}

void ULY_FOR_ISA(uly__norms)(uly__ops *table) {
  table->residual = residual;
  table->norm_forward = norm_forward;
  table->residual_norm = residual_norm;
  table->norm_backward = norm_backward;
  table->norm_heads = norm_heads;
  table->norm_heads_backward = norm_heads_backward;
}
