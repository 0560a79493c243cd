/* The kernel table: single-device mathematics. Knows no ranks.
 *
 * Every slot is filled with a plain reference first, then overridden by what this CPU can run
 * faster (ops.c), so every op always works. Contracts common to all slots:
 *
 *   - matrices are row-major; ld is the distance of rows in elements
 *   - storage is f32 or bf16 (`dtype`); all sums are f32 or wider; weight gradients are f32
 *   - an op runs on a stream, after the work that the stream was given before; what it returns to
 *     the caller is there when the call returns. The CPU has done all work by then, so it ignores
 *     the stream
 *   - work is spread over OpenMP threads so that results do not depend on their number
 *   - pointers may have any alignment that their type allows
 *   - no op allocates memory, but for a product of a shape that was not prepared (matmul_prepare)
 *
 * Legend: rows are tokens; h features; V vocabulary; d head dimension. */
#ifndef ULY_OPS_H
#define ULY_OPS_H

#include <stdbool.h>

#include "base/dtype.h"
#include "base/exact_sum.h"
#include "base/split.h"
#include "base/status.h"
#include "device/device.h"
#include "ops/attention_workspace.h"

/* c[m, n] = (accumulate ? c : 0) + op(a) op(b); a: [m, k], or [k, m] when trans_a; b: [k, n], or
 * [n, k] when trans_b. a and b share a type. */
typedef struct uly__matmul {
  int64_t m, n, k;
  const void *a, *b;
  void *c;
  int64_t lda, ldb, ldc;
  bool trans_a, trans_b, accumulate;
  uly_dtype dtype;   /* of a and b */
  uly_dtype c_dtype; /* f32, or the dtype of a and b */
  /* At least matmul_bytes for the number of threads, on a boundary of 4 bytes; only so many threads
   * take part. NULL if it is 0. */
  void *workspace;
  int workspace_threads;
} uly__matmul;

typedef enum uly__norm { ULY_NORM_RMS, ULY_NORM_LAYER } uly__norm;

/* RMSNorm y = x / rms(x) * gamma; LayerNorm y = (x - mean) / std * gamma + beta. */
typedef struct uly__norm_args {
  uly__norm kind;
  float eps;
  const void *gamma, *beta; /* [cols]; beta or NULL */
} uly__norm_args;

/* Largest head dimension of the attention kernels. */
#define ULY_MAX_HEAD_DIM 256

/* How RoPE turns the pairs of elements of a head: pair i by position * frequency[i]. */
typedef struct uly__rope {
  double frequency[ULY_MAX_HEAD_DIM / 2]; /* [d / 2] */
  double scale;                           /* of cosines and sines */
} uly__rope;

/* One AdamW update (Loshchilov and Hutter 2019) of n parameters. */
typedef struct uly__adamw {
  double lr, beta1, beta2, eps, weight_decay;
  double grad_scale;    /* multiplies gradients first: clipping */
  int64_t step;         /* 1 for the first: bias correction */
  float *param, *m, *v; /* [n] */
  const void *grad;     /* [n] of grad_dtype */
  uly_dtype grad_dtype;
  uint16_t *copy_bf16; /* [n]: receives rounded parameters; or NULL */
} uly__adamw;

/* Attention of one query, the latest token of a stream, over the cached keys and values. Heads are
 * as in uly__attention_args. The mask is causal, for as many tokens as the cache has room for. */
typedef struct uly__attend_one {
  int64_t query; /* its position */
  int num_q_heads, num_kv_heads, head_dim;
  int first_q_head, group_size, group_offset;
  uly_dtype dtype;
  const uly__mask *mask;
  float scale;
  int64_t capacity; /* tokens in the cache */
  const void *q;    /* [num_q_heads, d] */
  /* [num_kv_heads][capacity][d], filled up to the query's own token. */
  const void *k, *v;
  void *o;          /* [num_q_heads, d] */
  float *workspace; /* [num_q_heads][chunks of the capacity][width] */
} uly__attend_one;

/* Keys that are summed as one. */
enum { ULY_ATTEND_CHUNK = 512 };

static inline int64_t uly__attend_num_chunks(int64_t capacity) {
  return (capacity + ULY_ATTEND_CHUNK - 1) / ULY_ATTEND_CHUNK;
}

/* Returns the floats of a chunk's sums: whole cache lines. */
static inline int64_t uly__attend_width(int head_dim) { return (head_dim + 2 + 15) / 16 * 16; }

/* The sizes with which the kernels of a table run well. Results depend on tile_rows and
 * head_rows. */
typedef struct uly__ops_sizes {
  /* Tokens of a tile: enough that a matrix product runs at its peak, and few enough that the MLP's
   * tile stays in cache; and those of the head, where a vocabulary is wide. */
  int64_t tile_rows, head_rows, wide_vocab;
  /* The fewest outputs with which a product runs at its peak. */
  int64_t product_width;
} uly__ops_sizes;

/* The rows that tables of embeddings and of positions have, where a rank holds a part of them. */
typedef struct uly__rows_held {
  uly__part tokens, positions;
} uly__rows_held;

/* Summarizes one row of logits for cross-entropy. */
typedef struct uly__logit_summary {
  double largest, sum; /* sum: of exp(logit - largest) */
  double label;        /* the logit of the label; 0 if it is elsewhere, or there is none */
} uly__logit_summary;

/* A part of the vocabulary. */
typedef struct uly__vocab_part {
  int64_t begin;
  int num;                             /* of parts */
  const uly__logit_summary *summaries; /* [num][rows], of all parts */
} uly__vocab_part;

typedef struct uly__ops {
  const char *name; /* of the instruction set */
  uly__ops_sizes sizes;
  /* A product of a new shape needs preparation, such as generated code, before it is multiplied.
   * matmul_prepare does it ahead of time; it reads only the shape, not the pointers. */
  uly_status (*matmul)(uly__stream *stream, const uly__matmul *args);
  uly_status (*matmul_prepare)(uly__stream *stream, const uly__matmul *args);
  /* Returns the bytes of workspace that any product of this type takes on so many threads. */
  int64_t (*matmul_bytes)(uly_dtype dtype, int threads);

  /* x[rows, cols] += bias[cols]; x has rows ld apart. */
  void (*add_bias)(uly__stream *stream, int64_t rows, int64_t cols, int64_t ld, uly_dtype dtype,
                   void *x, const void *bias);
  /* d_bias[cols] += sum over rows of d_y. */
  void (*bias_backward)(uly__stream *stream, int64_t rows, int64_t cols, int64_t ld,
                        uly_dtype dtype, const void *d_y, float *d_bias);
  /* y = x + sum + bias; sum: f32 [rows, cols]; bias: [cols] or NULL; y may be x. */
  void (*residual)(uly__stream *stream, int64_t rows, int64_t cols, uly_dtype dtype, const void *x,
                   const float *sum, const void *bias, void *y);

  void (*norm_forward)(uly__stream *stream, const uly__norm_args *args, int64_t rows, int64_t cols,
                       uly_dtype dtype, const void *x, void *y);
  /* residual to y, then norm_forward of y to n. */
  void (*residual_norm)(uly__stream *stream, const uly__norm_args *args, int64_t rows, int64_t cols,
                        uly_dtype dtype, const void *x, const float *sum, const void *bias, void *y,
                        void *n);
  /* d_x += the gradient through the norm of d_y (f32 [rows, cols]); d_gamma, d_beta (or NULL) +=
   * theirs. Statistics are recomputed from x. */
  void (*norm_backward)(uly__stream *stream, const uly__norm_args *args, int64_t rows, int64_t cols,
                        uly_dtype dtype, const void *x, const float *d_y, void *d_x, float *d_gamma,
                        float *d_beta);

  /* Normalizes every head of x[rows, heads, d], in place; rows are ld apart. gamma: [d], the same
   * for all heads. args->kind is ULY_NORM_RMS. */
  void (*norm_heads)(uly__stream *stream, const uly__norm_args *args, int64_t rows, int heads,
                     int head_dim, int64_t ld, uly_dtype dtype, void *x);
  /* Replaces d, the gradients of the normalized heads, whose rows are ld apart, by those of the
   * heads x[rows, heads, d], whose rows follow one another; d_gamma[d] += its gradient. */
  void (*norm_heads_backward)(uly__stream *stream, const uly__norm_args *args, int64_t rows,
                              int heads, int head_dim, uly_dtype dtype, const void *x, int64_t ld,
                              void *d, float *d_gamma);

  /* Computes the angles of RoPE for rows at these positions: cosines, then sines, f32 [rows, d]. */
  void (*rope_table)(uly__stream *stream, int64_t rows, const int64_t *positions, int head_dim,
                     const uly__rope *rope, float *table);
  /* Rotates pairs (i, i + d/2) of every head ("rotate half") by the angles of the row's position:
   * table [rows, d]: cosines then sines. sign -1 is the inverse, that is, the backward. */
  void (*rope)(uly__stream *stream, int64_t rows, int heads, int head_dim, int64_t ld,
               uly_dtype dtype, const float *table, float sign, void *x);

  /* act = silu(gate) * up, n elements; and its gradients (d_gate may be d_act). */
  void (*swiglu_forward)(uly__stream *stream, int64_t n, uly_dtype dtype, const void *gate,
                         const void *up, void *act);
  void (*swiglu_backward)(uly__stream *stream, int64_t n, uly_dtype dtype, const void *gate,
                          const void *up, const void *d_act, void *d_gate, void *d_up);
  /* x[rows, cols] += bias[cols] unless NULL; act = gelu(x), tanh form. In backward, of n elements,
   * d_x may be d_act. */
  void (*gelu_forward)(uly__stream *stream, int64_t rows, int64_t cols, uly_dtype dtype, void *x,
                       const void *bias, void *act);
  void (*gelu_backward)(uly__stream *stream, int64_t n, uly_dtype dtype, const void *x,
                        const void *d_act, void *d_x);

  /* y[r] = table[tokens[r]] (+ position_table[positions[r]]); table: [V, cols]; position_table:
   * [all positions, cols], or NULL. With `held`, the tables have only these rows, and the others
   * count as 0; NULL: they have all. */
  void (*embedding_forward)(uly__stream *stream, int64_t rows, int64_t cols, uly_dtype dtype,
                            const void *table, const void *position_table,
                            const uly__rows_held *held, const int32_t *tokens,
                            const int64_t *positions, void *y);
  /* d_table[tokens[r]] += d_y[r]; d_position_table[positions[r]] += d_y[r] unless NULL; for rows
   * that the tables have. */
  void (*embedding_backward)(uly__stream *stream, int64_t rows, int64_t cols, uly_dtype dtype,
                             const uly__rows_held *held, const int32_t *tokens,
                             const int64_t *positions, const void *d_y, float *d_table,
                             float *d_position_table);

  /* Softmax and cross-entropy of logits [rows, V] against labels (negative: ignored). row_loss[r]
   * is the loss of a row, 0 where ignored. d_logits = scale * gradient, of dtype, unless NULL;
   * in f32 it may be logits. With `part`, the logits are those of a part of the vocabulary; NULL:
   * of all of it. */
  void (*cross_entropy)(uly__stream *stream, int64_t rows, int64_t vocab, const float *logits,
                        const int32_t *labels, const uly__vocab_part *part, float scale,
                        double *row_loss, uly_dtype dtype, void *d_logits);
  /* Summarizes each row of the logits of a part of the vocabulary, which begins at token
   * `begin`. */
  void (*summarize_logits)(uly__stream *stream, int64_t rows, int64_t vocab, const float *logits,
                           const int32_t *labels, int64_t begin, uly__logit_summary *out);

  /* sum += x[i]^2: f64 within pieces of ULY_SQUARES_PIECE elements, whose sums are added
   * exactly. */
  void (*add_squares)(uly__stream *stream, int64_t n, uly_dtype dtype, const void *x,
                      uly__exact_sum *sum);
  void (*adamw)(uly__stream *stream, int64_t n, const uly__adamw *args);
  void (*to_bf16)(uly__stream *stream, int64_t n, const float *x, uint16_t *y);

  /* Sets x[n] to a value, or to std times normal values begin, begin + 1, ... of a stream of random
   * numbers (base/rng.h). */
  void (*fill)(uly__stream *stream, int64_t n, float value, float *x);
  void (*fill_normal)(uly__stream *stream, uint64_t seed, uint64_t numbers, int64_t begin,
                      int64_t n, float std, float *x);
  /* y = x, widened. */
  void (*to_f32)(uly__stream *stream, int64_t n, const uint16_t *x, float *y);
  /* Rounds x[n] to bf16, which takes the first half of its place. */
  void (*round_in_place)(uly__stream *stream, int64_t n, float *x);
  /* sum = x, or sum += x, rounded to dtype. */
  void (*keep_sum)(uly__stream *stream, int64_t n, uly_dtype dtype, const float *x, bool is_first,
                   void *sum);
  /* x[0] = x[0] + ... + x[num - 1], [rows, cols] with rows ld[i] apart: in f32, rounded once. */
  void (*sum_rows)(uly__stream *stream, int64_t rows, int64_t cols, uly_dtype dtype, int num,
                   void *const *x, const int64_t *ld);
  /* Sums in f32 over one fixed binary tree (ops/tree_sum.h). out[n] = the sum of num arrays of
   * dtype, `stride` elements apart; out may be one of the parts, if these are f32. */
  void (*tree_sum)(uly__stream *stream, uly_dtype dtype, const void *parts, int64_t num,
                   int64_t stride, int64_t n, float *out);
  /* Sum in the same way parts x[n] that come one after another: push adds part number `index` (the
   * first is 0) to the levels; finish turns x, the last part, into the sum of all index + 1
   * parts. */
  void (*tree_push)(uly__stream *stream, float *const *levels, int64_t index, int64_t n,
                    const float *x);
  void (*tree_finish)(uly__stream *stream, float *const *levels, int64_t index, int64_t n,
                      float *x);
  /* Convert between the types of files and f32. widen: y[rows, cols] = x, where x has its element
   * (r, c) at r * row_step + c * col_step. narrow: y = x, rounded to nearest even, where y has its
   * elements at such places; returns whether a finite value became infinite. Widening is exact, and
   * narrowing undoes it: even the payload of a NaN is kept. */
  void (*widen)(uly__stream *stream, int64_t rows, int64_t cols, uly_dtype dtype, const void *x,
                int64_t row_step, int64_t col_step, float *y);
  bool (*narrow)(uly__stream *stream, int64_t rows, int64_t cols, const float *x, uly_dtype dtype,
                 void *y, int64_t row_step, int64_t col_step);
  /* Returns the number, counted row by row, of the first of [rows, cols] elements that is not
   * finite, and its value; -1 if there is none. */
  int64_t (*find_nonfinite)(uly__stream *stream, int64_t rows, int64_t cols, int64_t ld,
                            uly_dtype dtype, const void *x, float *value);
  /* lse[i] = the natural logarithm of a row's sum of exp(scale * q.k). */
  void (*softmax_lse)(uly__stream *stream, int64_t n, const uly__softmax_row *rows, float scale,
                      float *lse);

  /* Attention on whole sequences; see uly__attention_args. For workspace, see
   * uly__attention_carve. */
  void (*attention_forward)(uly__stream *stream, const uly__attention_args *args);
  void (*attention_backward)(uly__stream *stream, const uly__attention_args *args, void *workspace);

  /* One token at a time. y[rows] = w x; w: [rows, cols] of dtype, rows ld apart; x, y: f32. The
   * bits of an element of y, and those of a head's attention, do not depend on which others are
   * computed with it. */
  void (*matvec)(uly__stream *stream, int64_t rows, int64_t cols, int64_t ld, uly_dtype dtype,
                 const void *w, const float *x, float *y);
  void (*attend_one)(uly__stream *stream, const uly__attend_one *args);
} uly__ops;

enum { ULY_SQUARES_PIECE = 256 };

/* Returns the fastest table for this CPU. ULYSSES_ISA=reference|base|avx2|avx512|avx512bf16 in the
 * environment chooses a slower one. */
const uly__ops *uly__ops_get(void);

/* Returns the name of the fastest one, whatever ULYSSES_ISA says. */
const char *uly__ops_best_name(void);

/* Returns ULY_ERR_CONFIG if ULYSSES_ISA does not name a table that this CPU runs. */
uly_status uly__ops_check_wish(void);

/* Finds the table of that name, and returns false if there is none or this CPU cannot run it. */
bool uly__ops_named(const char *name, uly__ops *table);

/* The functions that fill the slots. */
uly_status uly__matmul_ref(uly__stream *stream, const uly__matmul *args);
uly_status uly__matmul_ref_prepare(uly__stream *stream, const uly__matmul *args);
int64_t uly__matmul_ref_bytes(uly_dtype dtype, int threads);
/* This one also works without a workspace. */
uly_status uly__matmul_onednn(uly__stream *stream, const uly__matmul *args);
uly_status uly__matmul_onednn_prepare(uly__stream *stream, const uly__matmul *args);
/* Returns whether oneDNN multiplies bf16 with instructions of the CPU; otherwise oneDNN is slow, or
 * cannot multiply bf16 at all. */
bool uly__products_multiply_bf16(void);
/* Return the instruction set that oneDNN uses, by its name; and the best one that the CPU has and
 * oneDNN does not use, by its common name, or "". */
const char *uly__products_isa(void);
const char *uly__products_unused(void);
void uly__matmul_widened_base(uly__ops *table); /* bf16 alone, by products of f32 */
void uly__matmul_widened_avx2(uly__ops *table);
void uly__matmul_widened_avx512(uly__ops *table);
void uly__attention_ref_forward(uly__stream *stream, const uly__attention_args *args);
void uly__attention_ref_backward(uly__stream *stream, const uly__attention_args *args,
                                 void *workspace);
void uly__matvec_ref(uly__stream *stream, int64_t rows, int64_t cols, int64_t ld, uly_dtype dtype,
                     const void *w, const float *x, float *y);
void uly__attend_one_ref(uly__stream *stream, const uly__attend_one *args);
void uly__ops_elements(uly__ops *table);
void uly__ops_tree(uly__ops *table);
void uly__norms_base(uly__ops *table);
void uly__norms_avx2(uly__ops *table);
void uly__norms_avx512(uly__ops *table);
void uly__ops_conversions(uly__ops *table);
void uly__ops_rows_base(uly__ops *table);
void uly__ops_rows_avx2(uly__ops *table);
void uly__ops_rows_avx512(uly__ops *table);
void uly__one_token_base(uly__ops *table);
void uly__one_token_avx2(uly__ops *table);
void uly__one_token_avx512(uly__ops *table);
void uly__attention_tiled_base(uly__ops *table);
void uly__attention_tiled_avx2(uly__ops *table);
void uly__attention_tiled_avx512(uly__ops *table);
void uly__attention_tiled_avx512bf16(uly__ops *table); /* bf16 alone; f32 stays */

#endif
