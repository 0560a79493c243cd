/* Tests whether ranks can exchange data, and how fast. It makes the exchanges of distributed
 * attention with values that encode token and feature, compares each value with the one that
 * belongs there, and compares a small attention with its formula.
 *
 * N tokens, P ranks, 2 query heads and 1 key/value head for each rank, of d elements: a token has F
 * = 4 P d features, those of Q, K and V one after the other. */
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/format.h"
#include "common/try.h"
#include "doctor/doctor.h"
#include "measure/measure_mpi.h"
#include "options/messages.h"

enum {
  SMALL_REPEATS = 20,
  LARGE_REPEATS = 5,
  LARGE_BYTES = 16 << 20, /* of Q, K and V of a rank */
  SMALL_TOKENS = 16,
  SMALL_DIM = 16,
  LARGE_DIM = 64
};

typedef struct trial {
  doctor *d;
  uly_attention *plan;
  uly_attention_bytes bytes;
  int64_t begin, count, num_tokens; /* slice of this rank, and N */
  int num_q_heads, num_kv_heads, head_dim;
  uint32_t *qkv_tokens, *qkv_heads, *o_tokens, *o_heads;
} trial;

static uint32_t *allocate(int64_t bytes) { return calloc(1, bytes > 0 ? (size_t)bytes : 1); }

static void close_trial(trial *t) {
  uly_attention_destroy(t->plan);
  free(t->qkv_tokens);
  free(t->qkv_heads);
  free(t->o_tokens);
  free(t->o_heads);
}

static uly_status open_trial(trial *t, doctor *d, int64_t num_tokens, int head_dim) {
  *t = (trial){.d = d,
               .num_tokens = num_tokens,
               .num_q_heads = 2 * d->num_ranks,
               .num_kv_heads = d->num_ranks,
               .head_dim = head_dim};
  uly_mask mask = {.size = sizeof mask, .kind = ULY_MASK_CAUSAL};
  uly_attention_desc desc = {.size = sizeof desc,
                             .num_tokens = num_tokens,
                             .num_q_heads = t->num_q_heads,
                             .num_kv_heads = t->num_kv_heads,
                             .head_dim = head_dim,
                             .dtype = ULY_F32,
                             .masks = &mask};
  TRY(uly_attention_create(d->world, &desc, &t->plan));
  t->bytes = (uly_attention_bytes){.size = sizeof t->bytes};
  TRY(uly_attention_get_bytes(t->plan, &t->bytes));
  const uly_token_run *run = uly_attention_tokens(t->plan, NULL);
  t->begin = run->begin;
  t->count = run->count;
  t->qkv_tokens = allocate(t->bytes.qkv_tokens);
  t->qkv_heads = allocate(t->bytes.qkv_heads);
  t->o_tokens = allocate(t->bytes.o_tokens);
  t->o_heads = allocate(t->bytes.o_heads);
  uly_status status = ULY_OK;
  if (!t->qkv_tokens || !t->qkv_heads || !t->o_tokens || !t->o_heads)
    status = uly_fail(ULY_ERR_MEMORY, "no memory for an exchange of %lld bytes",
                      (long long)t->bytes.qkv_tokens);
  return uly_mesh_agree(d->world, status);
}

/* --------------------------------------------------------------- index-encoded values */

/* Returns one of 2^32 words, a different one for each feature of each token. */
static uint32_t encode(const trial *t, int64_t token, int64_t feature) {
  int64_t num_features = (int64_t)(t->num_q_heads + 2 * t->num_kv_heads) * t->head_dim;
  return (uint32_t)(token * num_features + feature) * 2654435761u + 1u;
}

/* Returns the feature of column i of a row of a group's Q, K and V. */
static int64_t feature_of(const trial *t, const uly_attention_block *block, int64_t i) {
  int64_t d = t->head_dim, q = block->q_count * d, kv = block->kv_count * d;
  if (i < q) return block->q_begin * d + i;
  if (i < q + kv) return (t->num_q_heads + block->kv_begin) * d + i - q;
  return (t->num_q_heads + t->num_kv_heads + block->kv_begin) * d + i - q - kv;
}

static uly_status wrong_value(const char *what, int64_t token, int64_t feature, uint32_t found,
                              uint32_t expected) {
  return uly_fail(ULY_ERR_COMM,
                  "%s: feature %lld of token %lld arrived as %08x instead of %08x: the network or "
                  "the MPI library corrupts data",
                  what, (long long)feature, (long long)token, (unsigned)found, (unsigned)expected);
}

/* Writes or compares the rows [num][stride] of tokens from `begin` on. */
static uly_status walk(const trial *t, const uly_attention_block *block, bool is_output,
                       uint32_t *rows, int64_t begin, int64_t num, bool writes) {
  int64_t width = is_output ? block->q_count * (int64_t)t->head_dim
                            : (block->q_count + 2 * block->kv_count) * (int64_t)t->head_dim;
  int64_t stride = is_output ? block->o_stride : block->qkv_stride;
  for (int64_t i = 0; i < num; i++) {
    for (int64_t j = 0; j < width; j++) {
      int64_t feature = feature_of(t, block, j);
      uint32_t value = encode(t, begin + i, feature);
      uint32_t *place = &rows[i * stride + j];
      if (writes) {
        *place = value;
      } else if (*place != value) {
        return wrong_value(is_output ? "outputs" : "Q, K and V", begin + i, feature, *place, value);
      }
    }
  }
  return ULY_OK;
}

/* Writes or compares the token side: the parts of all groups. */
static uly_status walk_tokens(const trial *t, bool is_output, bool writes) {
  uint32_t *rows = is_output ? t->o_tokens : t->qkv_tokens;
  for (int p = 0; p < t->d->num_ranks; p++) {
    uly_attention_block block = {.size = sizeof block};
    TRY(uly_attention_get_block(t->plan, p, &block));
    TRY(walk(t, &block, is_output, rows + (is_output ? block.o_offset : block.qkv_offset), t->begin,
             t->count, writes));
  }
  return ULY_OK;
}

/* Writes or compares the head side: all tokens, for the group of this rank. */
static uly_status walk_heads(const trial *t, bool is_output, bool writes) {
  uly_attention_block block = {.size = sizeof block};
  TRY(uly_attention_get_block(t->plan, uly_mesh_rank(t->d->world), &block));
  uint32_t *rows =
      is_output ? t->o_heads + block.o_heads_offset : t->qkv_heads + block.qkv_heads_offset;
  return walk(t, &block, is_output, rows, 0, t->num_tokens, writes);
}

/* Exchanges in both directions: Q, K and V go to the owners of heads, outputs to the owners of
 * tokens. */
static uly_status exchange_values(trial *t) {
  (void)walk_tokens(t, false, true);
  (void)walk_heads(t, true, true);
  TRY(uly_attention_qkv_to_heads(t->plan, ULY_TRAFFIC_CONTROL, t->qkv_tokens, t->qkv_heads));
  TRY(uly_mesh_agree(t->d->world, walk_heads(t, false, false)));
  TRY(uly_attention_o_to_tokens(t->plan, ULY_TRAFFIC_CONTROL, t->o_heads, t->o_tokens));
  return uly_mesh_agree(t->d->world, walk_tokens(t, true, false));
}

/* ----------------------------------------------------------------------------- speed */

static int by_size(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

/* Takes the median time of an exchange of Q, K and V, on the slowest rank. */
static uly_status take_time(const trial *t, int repeats, double *seconds) {
  double times[SMALL_REPEATS > LARGE_REPEATS ? SMALL_REPEATS : LARGE_REPEATS];
  for (int i = 0; i < repeats; i++) {
    measure_barrier();
    double start = clock_seconds();
    uly_status status =
        uly_attention_qkv_to_heads(t->plan, ULY_TRAFFIC_CONTROL, t->qkv_tokens, t->qkv_heads);
    times[i] = measure_largest(clock_seconds() - start);
    if (status != ULY_OK) return status;
  }
  qsort(times, (size_t)repeats, sizeof times[0], by_size);
  *seconds = times[repeats / 2];
  return ULY_OK;
}

static uly_status exchange_in(trial *t, int repeats, double *seconds) {
  TRY(exchange_values(t));
  return take_time(t, repeats, seconds);
}

static uly_status exchange(doctor *d, int64_t num_tokens, int head_dim, int repeats,
                           double *seconds, int64_t *bytes) {
  trial t;
  uly_status status = open_trial(&t, d, num_tokens, head_dim);
  if (status == ULY_OK) status = exchange_in(&t, repeats, seconds);
  *bytes = t.bytes.qkv_tokens / d->num_ranks * (d->num_ranks - 1); /* to other ranks */
  close_trial(&t);
  return status;
}

static void format_time(double seconds, char text[FORMAT_BYTES]) {
  if (seconds < 1e-3)
    snprintf(text, FORMAT_BYTES, "%.1f us", 1e6 * seconds);
  else
    snprintf(text, FORMAT_BYTES, "%.1f ms", 1e3 * seconds);
}

/* Reports "12 B to 3 other ranks in 4 us", or that there are no other ranks. */
static void find_exchange(doctor *d, const char *what, int64_t bytes, double seconds) {
  char size[FORMAT_BYTES], rate[FORMAT_BYTES], time[FORMAT_BYTES];
  if (d->num_ranks == 1) {
    doctor_find(d, VERDICT_OK, what, "correct, but within a single rank: start more with mpirun");
    return;
  }
  format_time(seconds, time);
  doctor_find(d, VERDICT_OK, what, "correct; %s to %d other rank%s in %s: %s/s",
              format_bytes(bytes, size), d->num_ranks - 1, plural(d->num_ranks - 1), time,
              format_bytes((int64_t)((double)bytes / seconds), rate));
}

/* Makes and reports an exchange, and returns whether it was correct. */
static bool check_exchange(doctor *d, const char *what, int64_t num_tokens, int head_dim,
                           int repeats) {
  double seconds = 0;
  int64_t bytes = 0;
  bool is_right = exchange(d, num_tokens, head_dim, repeats, &seconds, &bytes) == ULY_OK;
  if (is_right)
    find_exchange(d, what, bytes, seconds);
  else
    doctor_find(d, VERDICT_FAIL, what, "%s", last_failure());
  return is_right;
}

/* Returns the number of tokens of the large exchange: one fewer than the ranks could share
 * equally. */
static int64_t large_tokens(const doctor *d) {
  int64_t row = 4 * (int64_t)d->num_ranks * LARGE_DIM * 4, tokens = LARGE_BYTES / row;
  return (tokens > 0 ? tokens : 1) * d->num_ranks - (d->num_ranks > 1 && tokens > 1);
}

/* --------------------------------------------------------------------------- attention */

enum { WHICH_Q, WHICH_K, WHICH_V };

/* Returns a number from -1 to 1: a function of its place in the whole tensor. */
static float value_of(int which, int64_t token, int64_t head, int64_t element) {
  uint64_t place = ((uint64_t)token * 65537 + (uint64_t)head) * 1021 + (uint64_t)element;
  return (float)((place * 2654435761u + (uint64_t)which * 40503) % 2001) / 1000.0f - 1.0f;
}

static void fill(float *rows, int which, const trial *t, int64_t num_heads) {
  for (int64_t i = 0; i < t->count; i++)
    for (int64_t h = 0; h < num_heads; h++)
      for (int64_t e = 0; e < t->head_dim; e++) *rows++ = value_of(which, t->begin + i, h, e);
}

/* Computes the output of one query head at one token by the formula, in f64. */
static void attend(const trial *t, int64_t token, int64_t head, double *out) {
  int64_t kv_head = head / 2, d = t->head_dim;
  double sum = 0, largest = -DBL_MAX;
  for (int pass = 0; pass < 2; pass++) { /* the first finds the largest score */
    for (int64_t e = 0; e < d; e++) out[e] = 0;
    for (int64_t key = 0; key <= token; key++) {
      double score = 0;
      for (int64_t e = 0; e < d; e++)
        score +=
            (double)value_of(WHICH_Q, token, head, e) * (double)value_of(WHICH_K, key, kv_head, e);
      score /= sqrt((double)d);
      if (pass == 0) {
        if (score > largest) largest = score;
        continue;
      }
      double weight = exp(score - largest);
      sum += weight;
      for (int64_t e = 0; e < d; e++) out[e] += weight * (double)value_of(WHICH_V, key, kv_head, e);
    }
  }
  for (int64_t e = 0; e < d; e++) out[e] /= sum;
}

/* Returns the largest difference of this rank's outputs from the formula. */
static double find_error(const trial *t, const float *o) {
  double error = 0, expected[SMALL_DIM];
  for (int64_t i = 0; i < t->count; i++) {
    for (int64_t h = 0; h < t->num_q_heads; h++) {
      attend(t, t->begin + i, h, expected);
      for (int64_t e = 0; e < t->head_dim; e++) {
        double difference = fabs((double)*o++ - expected[e]);
        if (!(difference <= error)) error = difference; /* keeps NaN */
      }
    }
  }
  return error;
}

static uly_status attend_small(trial *t, double *error) {
  int64_t tokens = t->count > 0 ? t->count : 1, row = tokens * t->head_dim * (int64_t)sizeof(float);
  float *q = (float *)allocate(t->num_q_heads * row), *o = (float *)allocate(t->num_q_heads * row);
  float *k = (float *)allocate(t->num_kv_heads * row),
        *v = (float *)allocate(t->num_kv_heads * row);
  bool has_memory = q && k && v && o;
  uly_status status = has_memory ? ULY_OK : uly_fail(ULY_ERR_MEMORY, "no memory for an attention");
  status = uly_mesh_agree(t->d->world, status);
  if (status == ULY_OK && has_memory) {
    fill(q, WHICH_Q, t, t->num_q_heads);
    fill(k, WHICH_K, t, t->num_kv_heads);
    fill(v, WHICH_V, t, t->num_kv_heads);
    status = uly_attention_forward(t->plan, q, k, v, o);
    if (status == ULY_OK) *error = find_error(t, o);
  }
  free(q);
  free(k);
  free(v);
  free(o);
  return status;
}

static uly_status compare_attention(trial *t, double *error) {
  uly_status status = ULY_OK;
  TRY(attend_small(t, error));
  if (!(*error < 1e-4))
    status = uly_fail(ULY_ERR_INTERNAL,
                      "outputs differ by %.2g from the formula, with the kernels %s: try another "
                      "ULYSSES_ISA, and report this",
                      *error, uly_kernels_name());
  return uly_mesh_agree(t->d->world, status);
}

static void check_attention(doctor *d) {
  trial t;
  double error = 0;
  int64_t num_tokens = d->num_ranks > SMALL_TOKENS ? d->num_ranks : SMALL_TOKENS;
  uly_status status = open_trial(&t, d, num_tokens, SMALL_DIM);
  if (status == ULY_OK) status = compare_attention(&t, &error);
  if (status != ULY_OK)
    doctor_find(d, VERDICT_FAIL, "attention", "%s", last_failure());
  else
    doctor_find(d, VERDICT_OK, "attention", "%lld tokens, %d heads: within %.1g of the formula",
                (long long)num_tokens, t.num_q_heads, measure_largest(error));
  close_trial(&t);
}

/* Checks a small and a large exchange, and then attention. It stops at the first failure, since
 * what has failed once would fail again. */
void doctor_check_exchange(doctor *d) {
  if (check_exchange(d, "small exchange", d->num_ranks, SMALL_DIM, SMALL_REPEATS) &&
      check_exchange(d, "large exchange", large_tokens(d), LARGE_DIM, LARGE_REPEATS))
    check_attention(d);
}
