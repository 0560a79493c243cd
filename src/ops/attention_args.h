/* What attention on one device works on: some heads of a whole sequence, or a run of its queries
 * and a run of its keys. */
#ifndef ULY_ATTENTION_ARGS_H
#define ULY_ATTENTION_ARGS_H

#include <float.h>
#include <math.h>
#include <stdbool.h>

#include "ops/mask.h"

/* Softmax of a row: the probability of a key is 2^((score - largest) to_log2 - log2_sum), where the
 * score is q.k in f32, or -q.k for a negative scale, and to_log2 = |scale| / ln 2. A log-sum-exp in
 * one f32 would not suffice: at 1e5 it has two decimal places, and so would the logarithm of a
 * probability. */
typedef struct uly__softmax_row {
  float largest;  /* that the query sees */
  float log2_sum; /* of 2^((score - largest) to_log2) */
} uly__softmax_row;

/* Query head i (0 <= i < num_q_heads) is head first_q_head + i of all Hq, the number by which masks
 * with a layout for each head know it; it uses key/value head (i + group_offset) / group_size. Rows
 * are tokens, a stride of elements apart; the heads of a token are adjacent. Nq queries, Nk keys, d
 * = head_dim.
 *
 * The keys of a query may come in several calls, one run of keys after the other. What the queries
 * have summed lies in `sums` between them. All calls but the first resume these sums, and all but
 * the last suspend them; a call that does neither has all keys, and needs no sums. A run may be
 * empty. */
typedef struct uly__attention_args {
  uly_token_run queries, keys; /* row 0 and the number of rows, in the stream */
  int num_q_heads, num_kv_heads, head_dim;
  int first_q_head;
  int group_size, group_offset;
  uly_dtype dtype;
  const uly__mask *mask;
  float scale;
  int64_t q_stride, kv_stride, o_stride;
  /* [Nq, heads, d] and [Nk, heads, d] */
  const void *q, *k, *v;
  /* [Nq, heads, d]: forward writes it, backward reads it. */
  void *o;
  /* [num_q_heads, Nq], rows softmax_stride apart: forward writes it, backward reads it. While
   * forward is suspended, log2_sum is the sum itself. */
  uly__softmax_row *softmax;
  int64_t softmax_stride;
  /* Backward reads d_o, which is like o, and writes the others, which are like q, k, v. */
  const void *d_o;
  void *d_q, *d_k, *d_v;
  /* [Nk, 2 num_kv_heads, d]: backward adds the gradients of keys and values to these, instead of
   * writing d_k and d_v. NULL: it writes these. */
  float *d_kv;
  /* uly__attention_carve_sums says how much; any content before a call that does not resume. */
  void *sums;
  bool resumes, suspends;
  /* Drives communication that is under way. The thread that called for attention calls it now and
   * then. NULL: nothing is under way. */
  void (*poll)(void *context);
  void *poll_context;
} uly__attention_args;

/* Returns to_log2. It is above 0 even if the scale is 0: -infinity times it then stays
 * -infinity. */
static inline float uly__attention_to_log2(float scale) {
  return fminf(fmaxf(fabsf(scale) * 1.44269504f, FLT_MIN), FLT_MAX);
}

/* Returns the natural logarithm of a row's sum of exp(scale * q.k). */
static inline float uly__softmax_lse(uly__softmax_row softmax, float scale) {
  double to_log2 = (double)uly__attention_to_log2(scale);
  return (float)(M_LN2 * (to_log2 * (double)softmax.largest + (double)softmax.log2_sum));
}

#endif
