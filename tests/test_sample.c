/* Tests drawing tokens: which may be drawn and how often, against the definitions of temperature,
 * top-k and top-p written here with loops; and the same draw for the same seed and place. */
#include <math.h>

#include "testing.h"

enum { V = 40, DRAWS = 20000 };

static float logits[V];

/* Probabilities by the definitions: a token's rank is the number of tokens before it. */
static void naive(const uly_sampling *s, double *p) {
  double sum = 0, before[V] = {0};
  int rank[V] = {0};
  for (int i = 0; i < V; i++) {
    p[i] = exp((double)logits[i] / s->temperature);
    for (int j = 0; j < V; j++)
      rank[i] += logits[j] > logits[i] || (logits[j] == logits[i] && j < i);
  }
  for (int i = 0; i < V; i++)
    if (s->top_k > 0 && rank[i] >= s->top_k) p[i] = 0;
  for (int i = 0; i < V; i++) sum += p[i];
  for (int i = 0; i < V; i++)
    for (int j = 0; j < V; j++) before[i] += rank[j] < rank[i] ? p[j] / sum : 0;
  /* In the nucleus is who still lacks probability before it. */
  for (int i = 0; i < V; i++)
    if (before[i] >= s->top_p) p[i] = 0;
  sum = 0;
  for (int i = 0; i < V; i++) sum += p[i];
  for (int i = 0; i < V; i++) p[i] /= sum;
}

/* Chi-square of the frequencies; the limits are about those of a chance of 1 in 10,000. */
static void check_frequencies(uly_sampling s) {
  double p[V], chi_square = 0;
  int64_t counts[V] = {0};
  int freedom = -1;
  naive(&s, p);
  for (int64_t i = 0; i < DRAWS; i++) {
    int32_t token;
    assert_ok(uly_sample(logits, V, &s, i, &token, NULL));
    assert_true(token >= 0 && token < V);
    counts[token]++;
  }
  double rare = 0, rare_count = 0; /* together, so that each class is expected often enough */
  for (int i = 0; i < V; i++) {
    if (p[i] == 0 && counts[i] > 0) fail_msg("token %d must not be drawn", i);
    if (p[i] * DRAWS < 10) {
      rare += p[i] * DRAWS;
      rare_count += (double)counts[i];
      continue;
    }
    double difference = (double)counts[i] - p[i] * DRAWS;
    chi_square += difference * difference / (p[i] * DRAWS);
    freedom++;
  }
  if (rare >= 10) {
    chi_square += (rare_count - rare) * (rare_count - rare) / rare;
    freedom++;
  }
  double limit = freedom + 4 * sqrt(2.0 * freedom) + 8;
  if (!(chi_square <= limit))
    fail_msg("temperature %g, top_k %d, top_p %g: chi-square %g for %d degrees of freedom",
             s.temperature, (int)s.top_k, s.top_p, chi_square, freedom);
}

static void test_frequencies(void **state) {
  (void)state;
  check_frequencies(
      (uly_sampling){.size = sizeof(uly_sampling), .temperature = 1, .top_p = 1, .seed = 1});
  check_frequencies(
      (uly_sampling){.size = sizeof(uly_sampling), .temperature = 0.5, .top_p = 1, .seed = 2});
  check_frequencies(
      (uly_sampling){.size = sizeof(uly_sampling), .temperature = 3, .top_p = 1, .seed = 3});
  check_frequencies((uly_sampling){
      .size = sizeof(uly_sampling), .temperature = 1, .top_k = 5, .top_p = 1, .seed = 4});
  check_frequencies((uly_sampling){
      .size = sizeof(uly_sampling), .temperature = 1, .top_k = 100, .top_p = 0.7, .seed = 5});
  check_frequencies((uly_sampling){
      .size = sizeof(uly_sampling), .temperature = 1.5, .top_k = 8, .top_p = 0.6, .seed = 6});
  check_frequencies(
      (uly_sampling){.size = sizeof(uly_sampling), .temperature = 1, .top_p = 1e-9, .seed = 7});
  check_frequencies((uly_sampling){
      .size = sizeof(uly_sampling), .temperature = 1, .top_k = 1, .top_p = 1, .seed = 8});
}

static void test_greedy(void **state) {
  (void)state;
  uly_sampling s = {.size = sizeof s, .temperature = 0, .top_p = 1};
  int32_t token;
  double log_probability, sum = 0;
  assert_ok(uly_sample(logits, V, &s, 0, &token, &log_probability));
  for (int i = 0; i < V; i++) {
    assert_true(logits[i] <= logits[token]);
    assert_true(i >= token || logits[i] < logits[token]); /* of equals the first */
    sum += exp((double)logits[i]);
  }
  assert_true(fabs(log_probability - ((double)logits[token] - log(sum))) < 1e-12);
  /* Of logits that an exponential would overflow on, too. */
  float large[3] = {-1e30f, 1e30f, 0};
  s.temperature = 1;
  assert_ok(uly_sample(large, 3, &s, 0, &token, &log_probability));
  assert_int_equal(token, 1);
  assert_true(log_probability == 0);
}

static void test_repeats(void **state) {
  (void)state;
  uly_sampling s = {.size = sizeof s, .temperature = 1, .top_p = 1, .seed = 9}, other = s;
  other.seed++;
  int same = 0, differ = 0;
  for (int64_t i = 0; i < 200; i++) {
    int32_t a, b, c;
    assert_ok(uly_sample(logits, V, &s, i, &a, NULL));
    assert_ok(uly_sample(logits, V, &s, i, &b, NULL));
    assert_ok(uly_sample(logits, V, &other, i, &c, NULL));
    same += a == b;
    differ += a != c;
  }
  assert_int_equal(same, 200);
  assert_true(differ > 100);
}

static void test_refusals(void **state) {
  (void)state;
  int32_t token;
  uly_sampling good = {.size = sizeof good, .temperature = 1, .top_p = 1}, s = good;
  s.temperature = -1;
  assert_fails(uly_sample(logits, V, &s, 0, &token, NULL), ULY_ERR_CONFIG,
               "sampling.temperature is -1");
  s.temperature = NAN;
  assert_fails(uly_sample(logits, V, &s, 0, &token, NULL), ULY_ERR_CONFIG, "temperature");
  s = good;
  s.top_p = 0;
  assert_fails(uly_sample(logits, V, &s, 0, &token, NULL), ULY_ERR_CONFIG, "sampling.top_p 0");
  s = good;
  s.top_k = -1;
  assert_fails(uly_sample(logits, V, &s, 0, &token, NULL), ULY_ERR_CONFIG, "sampling.top_k -1");
  float bad[2] = {0, INFINITY};
  assert_fails(uly_sample(bad, 2, &good, 0, &token, NULL), ULY_ERR_NONFINITE, "token 1");
  bad[1] = NAN;
  assert_fails(uly_sample(bad, 2, &good, 0, &token, NULL), ULY_ERR_NONFINITE, "token 1");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_frequencies),
      cmocka_unit_test(test_greedy),
      cmocka_unit_test(test_repeats),
      cmocka_unit_test(test_refusals),
  };
  for (int i = 0; i < V; i++) logits[i] = (float)((i * 7) % 13) / 3; /* some are equal */
  return cmocka_run_group_tests(tests, NULL, NULL);
}
