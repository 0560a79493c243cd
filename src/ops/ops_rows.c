/* Ops that treat rows of tokens one by one, in plain C. Compiled once for each instruction set
 * (ULY_ISA): the plain build is the reference and the fallback.
 *
 * Sources: RoPE, Su et al. 2021; SwiGLU, Shazeer 2020; GELU, Hendrycks and Gimpel 2016 (tanh form);
 * AdamW, Loshchilov and Hutter 2019. */
#include <math.h>

#include "ops/ops.h"
#include "ops/rows.h"
#include "ops/vector_math.h"

static void add_bias(uly__stream *stream, int64_t rows, int64_t cols, int64_t ld, uly_dtype dtype,
                     void *x, const void *bias) {
  (void)stream;
#pragma omp parallel for schedule(static)
  for (int64_t r = 0; r < rows; r++)
    for (int64_t c = 0; c < cols; c += ROW_PIECE) {
      float a[ROW_PIECE], b[ROW_PIECE];
      int64_t n = uly__min(ROW_PIECE, cols - c);
      load_row(a, x, dtype, r * ld + c, n);
      load_row(b, bias, dtype, c, n);
      for (int64_t i = 0; i < n; i++) a[i] += b[i];
      store_row(x, dtype, r * ld + c, a, n);
    }
}

/* Sums over tokens, by blocks of columns, each through all rows in order, so that the order of the
 * sum does not depend on the number of threads. */
static void bias_backward(uly__stream *stream, int64_t rows, int64_t cols, int64_t ld,
                          uly_dtype dtype, const void *d_y, float *d_bias) {
  (void)stream;
#pragma omp parallel for schedule(static)
  for (int64_t c = 0; c < cols; c += COLUMN_BLOCK) {
    float sum[COLUMN_BLOCK] = {0}, a[COLUMN_BLOCK];
    int64_t n = uly__min(COLUMN_BLOCK, cols - c);
    for (int64_t r = 0; r < rows; r++) {
      load_row(a, d_y, dtype, r * ld + c, n);
      for (int64_t i = 0; i < n; i++) sum[i] += a[i];
    }
    for (int64_t i = 0; i < n; i++) d_bias[c + i] += sum[i];
  }
}

static void rope(uly__stream *stream, int64_t rows, int heads, int head_dim, int64_t ld,
                 uly_dtype dtype, const float *table, float sign, void *x) {
  (void)stream;
  int half = head_dim / 2;
#pragma omp parallel for schedule(static)
  for (int64_t r = 0; r < rows; r++) {
    const float *cosine = table + r * head_dim, *sine = cosine + half;
    for (int head = 0; head < heads; head++) {
      float a[ULY_MAX_HEAD_DIM], y[ULY_MAX_HEAD_DIM];
      int64_t at = r * ld + (int64_t)head * head_dim;
      load_row(a, x, dtype, at, head_dim);
      for (int i = 0; i < half; i++) {
        y[i] = a[i] * cosine[i] - sign * a[i + half] * sine[i];
        y[i + half] = a[i + half] * cosine[i] + sign * a[i] * sine[i];
      }
      store_row(x, dtype, at, y, 2 * half);
    }
  }
}

static void swiglu_forward(uly__stream *stream, int64_t n, uly_dtype dtype, const void *gate,
                           const void *up, void *act) {
  (void)stream;
#pragma omp parallel for schedule(static)
  for (int64_t at = 0; at < n; at += ROW_PIECE) {
    float g[ROW_PIECE], u[ROW_PIECE];
    int64_t count = uly__min(ROW_PIECE, n - at);
    load_row(g, gate, dtype, at, count);
    load_row(u, up, dtype, at, count);
#pragma omp simd
    for (int64_t i = 0; i < count; i++) u[i] *= g[i] * uly__sigmoid(g[i]);
    store_row(act, dtype, at, u, count);
  }
}

static void swiglu_backward(uly__stream *stream, int64_t n, uly_dtype dtype, const void *gate,
                            const void *up, const void *d_act, void *d_gate, void *d_up) {
  (void)stream;
#pragma omp parallel for schedule(static)
  for (int64_t at = 0; at < n; at += ROW_PIECE) {
    float g[ROW_PIECE], u[ROW_PIECE], d[ROW_PIECE];
    int64_t count = uly__min(ROW_PIECE, n - at);
    load_row(g, gate, dtype, at, count);
    load_row(u, up, dtype, at, count);
    load_row(d, d_act, dtype, at, count);
#pragma omp simd
    for (int64_t i = 0; i < count; i++) {
      float s = uly__sigmoid(g[i]), silu = g[i] * s;
      g[i] = d[i] * u[i] * (s + silu * (1.0f - s));
      u[i] = d[i] * silu;
    }
    store_row(d_gate, dtype, at, g, count);
    store_row(d_up, dtype, at, u, count);
  }
}

/* gelu(x) = x/2 (1 + tanh(c (x + k x^3))), c = sqrt(2/pi) */
static const float gelu_c = 0.79788456f, gelu_k = 0.044715f;

static void gelu_forward(uly__stream *stream, int64_t rows, int64_t cols, uly_dtype dtype, void *x,
                         const void *bias, void *act) {
  (void)stream;
#pragma omp parallel for schedule(static)
  for (int64_t r = 0; r < rows; r++)
    for (int64_t c = 0; c < cols; c += ROW_PIECE) {
      float a[ROW_PIECE], b[ROW_PIECE];
      int64_t count = uly__min(ROW_PIECE, cols - c);
      load_row(a, x, dtype, r * cols + c, count);
      if (bias) {
        load_row(b, bias, dtype, c, count);
        for (int64_t i = 0; i < count; i++) a[i] += b[i];
        store_row(x, dtype, r * cols + c, a, count);
        load_row(a, x, dtype, r * cols + c, count); /* rounded, as backward reads it */
      }
#pragma omp simd
      for (int64_t i = 0; i < count; i++)
        a[i] = 0.5f * a[i] * (1.0f + uly__tanh(gelu_c * (a[i] + gelu_k * a[i] * a[i] * a[i])));
      store_row(act, dtype, r * cols + c, a, count);
    }
}

static void gelu_backward(uly__stream *stream, int64_t n, uly_dtype dtype, const void *x,
                          const void *d_act, void *d_x) {
  (void)stream;
#pragma omp parallel for schedule(static)
  for (int64_t at = 0; at < n; at += ROW_PIECE) {
    float a[ROW_PIECE], d[ROW_PIECE];
    int64_t count = uly__min(ROW_PIECE, n - at);
    load_row(a, x, dtype, at, count);
    load_row(d, d_act, dtype, at, count);
#pragma omp simd
    for (int64_t i = 0; i < count; i++) {
      float t = uly__tanh(gelu_c * (a[i] + gelu_k * a[i] * a[i] * a[i]));
      float inner = gelu_c * (1.0f + 3.0f * gelu_k * a[i] * a[i]);
      d[i] *= 0.5f * (1.0f + t) + 0.5f * a[i] * (1.0f - t * t) * inner;
    }
    store_row(d_x, dtype, at, d, count);
  }
}

/* Returns which row of a table an index means; -1: one that the table does not have. */
static inline int64_t row_held(const uly__part *held, int64_t index) {
  if (!held) return index;
  return index >= held->begin && index < held->begin + held->count ? index - held->begin : -1;
}

static void embedding_forward(uly__stream *stream, int64_t rows, int64_t cols, uly_dtype dtype,
                              const void *table, const void *position_table,
                              const uly__rows_held *held, const int32_t *tokens,
                              const int64_t *positions, void *y) {
  (void)stream;
#pragma omp parallel for schedule(static)
  for (int64_t r = 0; r < rows; r++) {
    int64_t token = row_held(held ? &held->tokens : NULL, tokens[r]);
    int64_t position = position_table ? row_held(held ? &held->positions : NULL, positions[r]) : -1;
    for (int64_t c = 0; c < cols; c += ROW_PIECE) {
      float a[ROW_PIECE] = {0}, b[ROW_PIECE] = {0};
      int64_t n = uly__min(ROW_PIECE, cols - c);
      if (token >= 0) load_row(a, table, dtype, token * cols + c, n);
      if (position >= 0) load_row(b, position_table, dtype, position * cols + c, n);
      for (int64_t i = 0; i < n; i++) a[i] += b[i];
      store_row(y, dtype, r * cols + c, a, n);
    }
  }
}

static inline void add_to(float *to, const float *x, int64_t n) {
  for (int64_t i = 0; i < n; i++) to[i] += x[i];
}

static void embedding_backward(uly__stream *stream, int64_t rows, int64_t cols, uly_dtype dtype,
                               const uly__rows_held *held, const int32_t *tokens,
                               const int64_t *positions, const void *d_y, float *d_table,
                               float *d_position_table) {
  (void)stream;
#pragma omp parallel for schedule(static)
  for (int64_t c = 0; c < cols; c += COLUMN_BLOCK) {
    float a[COLUMN_BLOCK];
    int64_t n = uly__min(COLUMN_BLOCK, cols - c);
    for (int64_t r = 0; r < rows; r++) {
      int64_t token = row_held(held ? &held->tokens : NULL, tokens[r]);
      int64_t position =
          d_position_table ? row_held(held ? &held->positions : NULL, positions[r]) : -1;
      load_row(a, d_y, dtype, r * cols + c, n);
      if (token >= 0) add_to(d_table + token * cols + c, a, n);
      if (position >= 0) add_to(d_position_table + position * cols + c, a, n);
    }
  }
}

/* Returns the largest logit of a row and the sum of exp(logit - largest). */
static inline uly__logit_summary summarize(const float *x, int64_t vocab) {
  float largest = x[0];
  double sum = 0;
#pragma omp simd reduction(max : largest)
  for (int64_t i = 0; i < vocab; i++) largest = x[i] > largest ? x[i] : largest;
  for (int64_t c = 0; c < vocab; c += ROW_PIECE) {
    float part = 0;
    int64_t n = uly__min(ROW_PIECE, vocab - c);
#pragma omp simd reduction(+ : part)
    for (int64_t i = 0; i < n; i++) part += uly__exp(x[c + i] - largest);
    sum += part;
  }
  return (uly__logit_summary){.largest = (double)largest, .sum = sum};
}

static void summarize_logits(uly__stream *stream, int64_t rows, int64_t vocab, const float *logits,
                             const int32_t *labels, int64_t begin, uly__logit_summary *out) {
  (void)stream;
#pragma omp parallel for schedule(static)
  for (int64_t r = 0; r < rows; r++) {
    int64_t label = labels[r] - begin;
    out[r] = summarize(logits + r * vocab, vocab);
    if (label >= 0 && label < vocab) out[r].label = (double)logits[r * vocab + label];
  }
}

/* Joins the summaries of row r of all parts. */
static uly__logit_summary join_parts(const uly__vocab_part *part, int64_t rows, int64_t r) {
  uly__logit_summary all = {.largest = -INFINITY};
  for (int p = 0; p < part->num; p++) {
    const uly__logit_summary *one = &part->summaries[p * rows + r];
    /* NaN stays: it is in the sum of its part. */
    if (one->largest > all.largest) all.largest = one->largest;
  }
  for (int p = 0; p < part->num; p++) {
    const uly__logit_summary *one = &part->summaries[p * rows + r];
    all.sum += one->sum * exp(one->largest - all.largest);
    all.label += one->label;
  }
  return all;
}

/* Computes loss = log(sum exp(x - max)) + max - x[label], never a softmax followed by a
 * logarithm. */
static void cross_entropy(uly__stream *stream, int64_t rows, int64_t vocab, const float *logits,
                          const int32_t *labels, const uly__vocab_part *part, float scale,
                          double *row_loss, uly_dtype dtype, void *d_logits) {
  (void)stream;
#pragma omp parallel for schedule(static)
  for (int64_t r = 0; r < rows; r++) {
    const float *x = logits + r * vocab;
    bool valid = labels[r] >= 0;
    int64_t label = labels[r] - (part ? part->begin : 0);
    bool is_here = valid && label >= 0 && label < vocab;
    uly__logit_summary all = part ? join_parts(part, rows, r) : summarize(x, vocab);
    if (!part && is_here) all.label = (double)x[label];
    row_loss[r] = valid ? log(all.sum) + all.largest - all.label : 0.0;
    if (!d_logits) continue;
    float row_scale = valid ? scale : 0.0f, largest = (float)all.largest;
    float inverse = row_scale / (float)all.sum;
    for (int64_t c = 0; c < vocab; c += ROW_PIECE) {
      float d[ROW_PIECE];
      int64_t n = uly__min(ROW_PIECE, vocab - c);
#pragma omp simd
      for (int64_t i = 0; i < n; i++) d[i] = uly__exp(x[c + i] - largest) * inverse;
      if (is_here && label >= c && label < c + n) d[label - c] -= row_scale;
      store_row(d_logits, dtype, r * vocab + c, d, n);
    }
  }
}

static void add_squares(uly__stream *stream, int64_t n, uly_dtype dtype, const void *x,
                        uly__exact_sum *sum) {
  (void)stream;
#pragma omp parallel
  {
    uly__exact_sum part = {0};
#pragma omp for schedule(static)
    for (int64_t at = 0; at < n; at += ULY_SQUARES_PIECE) {
      float a[ULY_SQUARES_PIECE] = {0};
      double squares = 0;
      load_row(a, x, dtype, at, uly__min(ULY_SQUARES_PIECE, n - at));
#pragma omp simd reduction(+ : squares)
      for (int i = 0; i < ULY_SQUARES_PIECE; i++) squares += (double)a[i] * a[i];
      uly__exact_add(&part, squares);
    }
#pragma omp critical
    uly__exact_merge(sum, &part);
  }
}

/* Updates parameters. Every piece runs through the same loop of full length, so that an element's
 * bits do not depend on where a shard or a thread begins. */
static void adamw(uly__stream *stream, int64_t n, const uly__adamw *args) {
  (void)stream;
  float beta1 = (float)args->beta1, beta2 = (float)args->beta2, eps = (float)args->eps;
  float correct1 = (float)(1.0 / (1.0 - pow(args->beta1, (double)args->step)));
  float correct2 = (float)(1.0 / (1.0 - pow(args->beta2, (double)args->step)));
  float lr = (float)args->lr, keep = (float)(1.0 - args->lr * args->weight_decay);
  float scale = (float)args->grad_scale;
#pragma omp parallel for schedule(static)
  for (int64_t at = 0; at < n; at += ROW_PIECE) {
    float p[ROW_PIECE] = {0}, m[ROW_PIECE] = {0}, v[ROW_PIECE] = {0}, g[ROW_PIECE] = {0};
    int64_t count = uly__min(ROW_PIECE, n - at);
    load_row(p, args->param, ULY_F32, at, count);
    load_row(m, args->m, ULY_F32, at, count);
    load_row(v, args->v, ULY_F32, at, count);
    load_row(g, args->grad, args->grad_dtype, at, count);
#pragma omp simd
    for (int i = 0; i < ROW_PIECE; i++) {
      g[i] *= scale;
      m[i] = beta1 * m[i] + (1.0f - beta1) * g[i];
      v[i] = beta2 * v[i] + (1.0f - beta2) * g[i] * g[i];
      p[i] = keep * p[i] - lr * (m[i] * correct1) / (sqrtf(v[i] * correct2) + eps);
    }
    store_row(args->param, ULY_F32, at, p, count);
    store_row(args->m, ULY_F32, at, m, count);
    store_row(args->v, ULY_F32, at, v, count);
    if (args->copy_bf16) store_row(args->copy_bf16, ULY_BF16, at, p, count);
  }
}

static void to_bf16(uly__stream *stream, int64_t n, const float *x, uint16_t *y) {
  (void)stream;
#pragma omp parallel for simd schedule(static)
  for (int64_t i = 0; i < n; i++) y[i] = uly__f32_to_bf16(x[i]);
}

void ULY_FOR_ISA(uly__ops_rows)(uly__ops *table) {
  table->add_bias = add_bias;
  table->bias_backward = bias_backward;
  table->rope = rope;
  table->swiglu_forward = swiglu_forward;
  table->swiglu_backward = swiglu_backward;
  table->gelu_forward = gelu_forward;
  table->gelu_backward = gelu_backward;
  table->embedding_forward = embedding_forward;
  table->embedding_backward = embedding_backward;
  table->cross_entropy = cross_entropy;
  table->summarize_logits = summarize_logits;
  table->add_squares = add_squares;
  table->adamw = adamw;
  table->to_bf16 = to_bf16;
}
