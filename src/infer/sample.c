/* Draws a token from logits: temperature; then the k most likely tokens (top-k, Fan et al. 2018,
 * 1805.04833); then the nucleus, the fewest of the most likely that have probability p together
 * (Holtzman et al. 2020, 1904.09751). In f64. */
#include "infer/sample.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>

#include "base/rng.h"

typedef struct candidate {
  /* Its weight in a softmax with temperature that is not normalized: 1 for the most likely
   * token. */
  double weight;
  int32_t token;
} candidate;

/* Orders tokens by probability, the most likely first, and equal ones by number. */
static int by_weight(const void *a, const void *b) {
  const candidate *x = a, *y = b;
  if (x->weight != y->weight) return x->weight < y->weight ? 1 : -1;
  return (x->token > y->token) - (x->token < y->token);
}

static uly_status check(const float *logits, int64_t vocab, const uly_sampling *s) {
  if (!(s->temperature >= 0) || !isfinite(s->temperature) || s->top_k < 0 ||
      !(s->top_p > 0 && s->top_p <= 1))
    ULY_FAIL(ULY_ERR_CONFIG,
             "sampling.temperature is %g, sampling.top_k %lld and sampling.top_p %g, but the first "
             "two must not be negative, and the last must be above 0 and at most 1",
             s->temperature, (long long)s->top_k, s->top_p);
  if (vocab < 1 || vocab > INT32_MAX)
    ULY_FAIL(ULY_ERR_CONFIG, "the vocabulary has %lld tokens, but it must have from 1 to 2^31 - 1",
             (long long)vocab);
  for (int64_t i = 0; i < vocab; i++)
    if (!isfinite(logits[i]))
      ULY_FAIL(ULY_ERR_NONFINITE, "the logit of token %lld is %g, so no token can be drawn",
               (long long)i, (double)logits[i]);
  return ULY_OK;
}

static int32_t likeliest(const float *logits, int64_t vocab) {
  int64_t best = 0;
  for (int64_t i = 1; i < vocab; i++)
    if (logits[i] > logits[best]) best = i;
  return (int32_t)best;
}

static double add_up(const candidate *list, int64_t count) {
  double sum = 0;
  for (int64_t i = 0; i < count; i++) sum += list[i].weight;
  return sum;
}

/* Returns how many of the candidates, in their order, may be drawn. */
static int64_t restrict_to(const uly_sampling *s, candidate *list, int64_t count) {
  bool takes_all = (s->top_k == 0 || s->top_k >= count) && s->top_p == 1;
  if (takes_all) return count;
  qsort(list, (size_t)count, sizeof *list, by_weight);
  if (s->top_k > 0 && s->top_k < count) count = s->top_k;
  if (s->top_p == 1) return count;
  double enough = s->top_p * add_up(list, count), sum = 0;
  for (int64_t i = 0; i < count; i++) {
    sum += list[i].weight;
    if (sum >= enough) return i + 1;
  }
  return count;
}

static int32_t draw(const candidate *list, int64_t count, double uniform) {
  double at = uniform * add_up(list, count), sum = 0;
  for (int64_t i = 0; i < count; i++) {
    sum += list[i].weight;
    if (at < sum) return list[i].token;
  }
  return list[count - 1].token; /* reached by rounding only */
}

uly_status uly__sample(const float *logits, int64_t vocab, const uly_sampling *sampling,
                       int64_t index, int32_t *token, double *log_probability) {
  ULY_TRY(check(logits, vocab, sampling));
  int32_t best = likeliest(logits, vocab);
  double largest = (double)logits[best], temperature = sampling->temperature;
  *token = best;
  if (temperature > 0) {
    candidate *list = malloc((size_t)vocab * sizeof *list);
    if (!list) ULY_FAIL(ULY_ERR_MEMORY, "no memory for %lld candidates", (long long)vocab);
    for (int64_t i = 0; i < vocab; i++)
      list[i] = (candidate){exp(((double)logits[i] - largest) / temperature), (int32_t)i};
    int64_t count = restrict_to(sampling, list, vocab);
    *token =
        draw(list, count, uly__rng_uniform(sampling->seed, uly__rng_stream("sampling"), index));
    free(list);
  }
  double sum = 0;
  for (int64_t i = 0; log_probability && i < vocab; i++) sum += exp((double)logits[i] - largest);
  if (log_probability) *log_probability = (double)logits[*token] - largest - log(sum);
  return ULY_OK;
}
