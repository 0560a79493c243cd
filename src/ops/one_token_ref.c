/* Reference of what decoding does with one token: a product of a matrix and a vector, and attention
 * of one query. Plain loops, f64 sums. */
#include <math.h>

#include "ops/mask.h"
#include "ops/ops.h"

void uly__matvec_ref(uly__stream *stream, int64_t rows, int64_t cols, int64_t ld, uly_dtype dtype,
                     const void *w, const float *x, float *y) {
  (void)stream;
#pragma omp parallel for schedule(static)
  for (int64_t r = 0; r < rows; r++) {
    double sum = 0;
    for (int64_t i = 0; i < cols; i++)
      sum += (double)uly__load(w, dtype, r * ld + i) * (double)x[i];
    y[r] = (float)sum;
  }
}

/* Returns the offset of element 0 of a key or a value. */
static int64_t at(const uly__attend_one *a, int q_head, int64_t token) {
  int64_t kv = (q_head + a->group_offset) / a->group_size;
  return (kv * a->capacity + token) * a->head_dim;
}

static double score(const uly__attend_one *a, int head, int64_t key) {
  double sum = 0;
  for (int i = 0; i < a->head_dim; i++)
    sum += (double)uly__load(a->q, a->dtype, (int64_t)head * a->head_dim + i) *
           (double)uly__load(a->k, a->dtype, at(a, head, key) + i);
  return sum * (double)a->scale;
}

void uly__attend_one_ref(uly__stream *stream, const uly__attend_one *a) {
  (void)stream;
#pragma omp parallel for schedule(dynamic)
  for (int head = 0; head < a->num_q_heads; head++) {
    double largest = -INFINITY, sum = 0, out[ULY_MAX_HEAD_DIM] = {0};
    for (int64_t key = 0; key <= a->query; key++) {
      if (!uly__mask_sees(a->mask, a->first_q_head + head, a->query, key)) continue;
      double s = score(a, head, key), larger = s > largest ? s : largest;
      if (s == -INFINITY) continue; /* its probability is 0 */
      double shrink = exp(largest - larger), p = exp(s - larger);
      for (int i = 0; i < a->head_dim; i++)
        out[i] = out[i] * shrink + p * (double)uly__load(a->v, a->dtype, at(a, head, key) + i);
      sum = sum * shrink + p;
      largest = larger;
    }
    for (int i = 0; i < a->head_dim; i++)
      uly__store(a->o, a->dtype, (int64_t)head * a->head_dim + i, (float)(out[i] / sum));
  }
}
