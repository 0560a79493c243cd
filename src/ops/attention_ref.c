/* Reference attention: plain loops, one pair of tokens at a time, nothing of size N x N. Sums are
 * f64 within a call, and f32 from one call to the next. Shapes as in uly__attention_args.
 * Source: Vaswani et al. 2017; the backward as in FlashAttention-2 (2307.08691), with
 * delta = rowsum(dO o O). */
#include <math.h>

#include "ops/mask.h"
#include "ops/ops.h"

static int kv_head(const uly__attention_args *a, int q_head) {
  return (q_head + a->group_offset) / a->group_size;
}

/* Returns whether query row `query` sees key row `key`. */
static bool sees(const uly__attention_args *a, int head, int64_t query, int64_t key) {
  return uly__mask_sees(a->mask, a->first_q_head + head, a->queries.begin + query,
                        a->keys.begin + key);
}

/* Returns the offset of a token's head in a tensor whose rows are `stride` apart. */
static int64_t at(const uly__attention_args *a, int64_t token, int64_t stride, int head) {
  return token * stride + (int64_t)head * a->head_dim;
}

static double dot(const uly__attention_args *a, const void *x, int64_t at_x, const void *y,
                  int64_t at_y) {
  double sum = 0;
  for (int i = 0; i < a->head_dim; i++)
    sum += (double)uly__load(x, a->dtype, at_x + i) * (double)uly__load(y, a->dtype, at_y + i);
  return sum;
}

/* Returns a score as uly__softmax_row defines it. */
static float score(const uly__attention_args *a, int head, int64_t query, int64_t key) {
  double q_k = dot(a, a->q, at(a, query, a->q_stride, head), a->k,
                   at(a, key, a->kv_stride, kv_head(a, head)));
  return (float)(a->scale < 0 ? -q_k : q_k);
}

/* Returns 2^((score - largest) to_log2). */
static double power(const uly__attention_args *a, float score, float largest) {
  return exp2(((double)score - (double)largest) * (double)uly__attention_to_log2(a->scale));
}

static double probability(const uly__attention_args *a, int head, int64_t query, int64_t key) {
  uly__softmax_row softmax = a->softmax[head * a->softmax_stride + query];
  return power(a, score(a, head, query, key), softmax.largest) * exp2(-(double)softmax.log2_sum);
}

void uly__attention_ref_forward(uly__stream *stream, const uly__attention_args *a) {
  (void)stream;
  uly__attention_sums sums = {0};
  if (a->sums) uly__attention_carve_sums(a, a->sums, &sums);
#pragma omp parallel for collapse(2) schedule(dynamic)
  for (int head = 0; head < a->num_q_heads; head++)
    for (int64_t query = 0; query < a->queries.count; query++) {
      uly__softmax_row *softmax = &a->softmax[head * a->softmax_stride + query];
      float *kept = a->sums ? sums.o + (head * a->queries.count + query) * a->head_dim : NULL;
      bool resumes = kept && a->resumes, suspends = kept && a->suspends;
      double sum = resumes ? (double)softmax->log2_sum : 0, out[ULY_MAX_HEAD_DIM] = {0};
      float largest = resumes ? softmax->largest : -INFINITY;
      for (int i = 0; i < a->head_dim && resumes; i++) out[i] = (double)kept[i];
      for (int64_t key = 0; key < a->keys.count; key++) {
        if (!sees(a, head, query, key)) continue;
        float s = score(a, head, query, key), larger = s > largest ? s : largest;
        if (s == -INFINITY) continue; /* its probability is 0 */
        double shrink = power(a, largest, larger), p = power(a, s, larger);
        int64_t at_v = at(a, key, a->kv_stride, kv_head(a, head));
        for (int i = 0; i < a->head_dim; i++)
          out[i] = out[i] * shrink + p * (double)uly__load(a->v, a->dtype, at_v + i);
        sum = sum * shrink + p;
        largest = larger;
      }
      *softmax = (uly__softmax_row){largest, (float)(suspends ? sum : log2(sum))};
      for (int i = 0; i < a->head_dim; i++)
        if (suspends)
          kept[i] = (float)out[i];
        else
          uly__store(a->o, a->dtype, at(a, query, a->o_stride, head) + i, (float)(out[i] / sum));
    }
}

/* Sets delta[head, query] to the sum of dO o O over the head's elements. */
static void compute_delta(const uly__attention_args *a, float *delta) {
  for (int head = 0; head < a->num_q_heads; head++)
    for (int64_t query = 0; query < a->queries.count; query++) {
      int64_t at_o = at(a, query, a->o_stride, head);
      delta[head * a->queries.count + query] = (float)dot(a, a->o, at_o, a->d_o, at_o);
    }
}

/* Returns the gradient of the score of a pair, before the factor `scale`. */
static double d_score(const uly__attention_args *a, int head, int64_t query, int64_t key,
                      const float *delta, double p) {
  double d_p = dot(a, a->d_o, at(a, query, a->o_stride, head), a->v,
                   at(a, key, a->kv_stride, kv_head(a, head)));
  return p * (d_p - (double)delta[head * a->queries.count + query]);
}

void uly__attention_ref_backward(uly__stream *stream, const uly__attention_args *a,
                                 void *workspace) {
  (void)stream;
  uly__attention_workspace work;
  uly__attention_carve(a, workspace, &work);
  const float *delta = work.delta;
  if (!a->resumes) compute_delta(a, work.delta);
#pragma omp parallel for collapse(2) schedule(dynamic)
  for (int head = 0; head < a->num_q_heads; head++)
    for (int64_t query = 0; query < a->queries.count; query++) {
      float *kept = a->sums ? work.d_q + (head * a->queries.count + query) * a->head_dim : NULL;
      bool resumes = kept && a->resumes, suspends = kept && a->suspends;
      double d_q[ULY_MAX_HEAD_DIM] = {0};
      for (int i = 0; i < a->head_dim && resumes; i++) d_q[i] = (double)kept[i];
      for (int64_t key = 0; key < a->keys.count; key++) {
        if (!sees(a, head, query, key)) continue;
        double d_s = d_score(a, head, query, key, delta, probability(a, head, query, key));
        int64_t at_k = at(a, key, a->kv_stride, kv_head(a, head));
        for (int i = 0; i < a->head_dim; i++)
          d_q[i] += a->scale * d_s * (double)uly__load(a->k, a->dtype, at_k + i);
      }
      for (int i = 0; i < a->head_dim; i++)
        if (suspends)
          kept[i] = (float)d_q[i];
        else
          uly__store(a->d_q, a->dtype, at(a, query, a->q_stride, head) + i, (float)d_q[i]);
    }
#pragma omp parallel for collapse(2) schedule(dynamic)
  for (int kv = 0; kv < a->num_kv_heads; kv++)
    for (int64_t key = 0; key < a->keys.count; key++) {
      double d_k[ULY_MAX_HEAD_DIM] = {0}, d_v[ULY_MAX_HEAD_DIM] = {0};
      for (int head = 0; head < a->num_q_heads; head++) {
        if (kv_head(a, head) != kv) continue;
        for (int64_t query = 0; query < a->queries.count; query++) {
          if (!sees(a, head, query, key)) continue;
          double p = probability(a, head, query, key);
          double d_s = d_score(a, head, query, key, delta, p);
          for (int i = 0; i < a->head_dim; i++) {
            int64_t at_q = at(a, query, a->q_stride, head) + i;
            int64_t at_o = at(a, query, a->o_stride, head) + i;
            d_k[i] += a->scale * d_s * (double)uly__load(a->q, a->dtype, at_q);
            d_v[i] += p * (double)uly__load(a->d_o, a->dtype, at_o);
          }
        }
      }
      for (int i = 0; i < a->head_dim; i++) {
        if (a->d_kv) {
          float *sum = a->d_kv + (key * 2 * a->num_kv_heads + kv) * a->head_dim + i;
          sum[0] += (float)d_k[i];
          sum[a->num_kv_heads * a->head_dim] += (float)d_v[i];
          continue;
        }
        int64_t at_kv = at(a, key, a->kv_stride, kv) + i;
        uly__store(a->d_k, a->dtype, at_kv, (float)d_k[i]);
        uly__store(a->d_v, a->dtype, at_kv, (float)d_v[i]);
      }
    }
}
