/* Attention in f64 from its formula, pair by pair, for tests to compare with. */
#ifndef ULY_NAIVE_ATTENTION_H
#define ULY_NAIVE_ATTENTION_H

#include "ulysses.h"

typedef struct naive_attention {
  int64_t num_tokens;
  int num_q_heads, num_kv_heads, head_dim;
  double scale;
  const uly_mask *mask;
  const double *q, *k, *v, *d_o; /* [N, heads, d] */
  double *o, *d_q, *d_k, *d_v;   /* the same; 0 before */
  double *lse;                   /* [num_q_heads, N], or NULL */
} naive_attention;

/* Fills in what is not constant. */
void solve_naively(const naive_attention *x);

#endif
