#include "naive_attention.h"

#include <math.h>
#include <stdlib.h>

#include "random_mask.h"

static double dot(const double *a, const double *b, int d) {
  double sum = 0;
  for (int i = 0; i < d; i++) sum += a[i] * b[i];
  return sum;
}

/* y += factor x */
static void add(double *y, double factor, const double *x, int d) {
  for (int i = 0; i < d; i++) y[i] += factor * x[i];
}

/* One query of a head. p, seen: [N] */
static void solve_query(const naive_attention *x, int head, int64_t query, double *p,
                        int64_t *seen) {
  int d = x->head_dim, kv = head / (x->num_q_heads / x->num_kv_heads);
  int64_t num = 0, at_q = (query * x->num_q_heads + head) * d;
  double sum = 0, largest = -INFINITY;
  for (int64_t key = 0; key < x->num_tokens; key++)
    if (mask_lets_see(x->mask, head, query, key)) seen[num++] = (key * x->num_kv_heads + kv) * d;
  for (int64_t j = 0; j < num; j++) {
    p[j] = x->scale * dot(x->q + at_q, x->k + seen[j], d);
    if (p[j] > largest) largest = p[j];
  }
  for (int64_t j = 0; j < num; j++) sum += p[j] = exp(p[j] - largest);
  for (int64_t j = 0; j < num; j++) add(x->o + at_q, p[j] /= sum, x->v + seen[j], d);
  if (x->lse) x->lse[head * x->num_tokens + query] = largest + log(sum);
  double mean = dot(x->o + at_q, x->d_o + at_q, d);
  for (int64_t j = 0; j < num; j++) {
    double d_s = x->scale * p[j] * (dot(x->d_o + at_q, x->v + seen[j], d) - mean);
    add(x->d_q + at_q, d_s, x->k + seen[j], d);
    add(x->d_k + seen[j], d_s, x->q + at_q, d);
    add(x->d_v + seen[j], p[j], x->d_o + at_q, d);
  }
}

void solve_naively(const naive_attention *x) {
  double *p = malloc((size_t)x->num_tokens * sizeof *p);
  int64_t *seen = malloc((size_t)x->num_tokens * sizeof *seen);
  for (int head = 0; head < x->num_q_heads; head++)
    for (int64_t query = 0; query < x->num_tokens; query++) solve_query(x, head, query, p, seen);
  free(p);
  free(seen);
}
