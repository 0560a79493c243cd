/* Compares the kernels of decoding, from every table that this CPU runs, with formulas written
 * here; and tests that an element's bits do not depend on what is computed with it, or on the
 * number of threads. */
#include <math.h>
#include <omp.h>

#include "ops/mask.h"
#include "ops/ops.h"
#include "random_mask.h"
#include "testing.h"

static uly__ops tables[5];
static const char *names[5];
static int num_tables;
static uint32_t seed = 1;

static int pick(int a, int b) {
  seed = seed * 1664525u + 1013904223u;
  return a + (int)((seed >> 8) % (uint32_t)(b - a + 1));
}

static void *values(int64_t count, uly_dtype dtype) {
  void *x = malloc((size_t)(count * uly__dtype_bytes(dtype)) + 1);
  for (int64_t i = 0; i < count; i++) uly__store(x, dtype, i, (float)pick(-9999, 9999) / 10000);
  return x;
}

static void check_matvec(const uly__ops *ops, const char *name, uly_dtype dtype, int64_t rows,
                         int64_t cols, int64_t ld) {
  void *w = values(rows * ld, dtype);
  float *x = values(cols, ULY_F32), *y = values(rows, ULY_F32), *part = values(rows, ULY_F32);
  ops->matvec(uly__stream_get(), rows, cols, ld, dtype, w, x, y);
  for (int64_t r = 0; r < rows; r++) {
    double sum = 0, size = 1e-3;
    for (int64_t i = 0; i < cols; i++) {
      double term = (double)uly__load(w, dtype, r * ld + i) * (double)x[i];
      sum += term;
      size += fabs(term);
    }
    if (!(fabs((double)y[r] - sum) <= 1e-6 * size))
      fail_msg("%s: row %lld of [%lld, %lld] is %g, not %g", name, (long long)r, (long long)rows,
               (long long)cols, (double)y[r], sum);
  }
  for (int turn = 0; turn < 4; turn++) { /* dealt otherwise */
    omp_set_num_threads(1 + turn % 3);
    for (int64_t r = 0, count; r < rows; r += count) {
      count = pick(1, (int)(rows - r));
      ops->matvec(uly__stream_get(), count, cols, ld, dtype, uly__at(w, dtype, r * ld), x,
                  part + r);
    }
    if (memcmp(part, y, (size_t)rows * sizeof *y) != 0)
      fail_msg("%s, [%lld, %lld]: other bits when rows are dealt otherwise", name, (long long)rows,
               (long long)cols);
  }
  free(w), free(x), free(y), free(part);
}

static void test_matvec(void **state) {
  (void)state;
  int64_t sizes[][2] = {{1, 1},  {3, 7},   {5, 16},    {6, 31},
                        {9, 32}, {70, 88}, {257, 331}, {64, 1024}};
  for (int i = 0; i < num_tables; i++)
    for (int dtype = 0; dtype < 2; dtype++)
      for (int s = 0; s < 8; s++)
        check_matvec(&tables[i], names[i], (uly_dtype)dtype, sizes[s][0], sizes[s][1],
                     sizes[s][1] + s % 2 * 3);
}

/* Softmax over the keys that the mask lets a query see, in f64. */
static void naive(const uly__attend_one *a, const uly_mask *mask, int head, double *out) {
  double largest = -1e300, sum = 0;
  int d = a->head_dim;
  int64_t kv = (head + a->group_offset) / a->group_size;
  double *scores = calloc((size_t)a->query + 1, sizeof *scores);
  for (int pass = 0; pass < 2; pass++)
    for (int64_t key = 0; key <= a->query; key++) {
      if (!mask_lets_see(mask, a->first_q_head + head, a->query, key)) continue;
      int64_t at = (kv * a->capacity + key) * d;
      if (pass == 0) {
        for (int i = 0; i < d; i++)
          scores[key] += (double)a->scale * (double)uly__load(a->q, a->dtype, head * d + i) *
                         (double)uly__load(a->k, a->dtype, at + i);
        if (scores[key] > largest) largest = scores[key];
        continue;
      }
      double p = exp(scores[key] - largest);
      sum += p;
      for (int i = 0; i < d; i++) out[i] += p * (double)uly__load(a->v, a->dtype, at + i);
    }
  for (int i = 0; i < d; i++) out[i] /= sum;
  free(scores);
}

/* Overwrites the keys and values that no head sees, and a row of the cache beyond the query: no bit
 * of o may change. */
static void check_poisoned(const uly__ops *ops, const char *name, const uly__attend_one *clean,
                           const uly_mask *mask, float poison) {
  uly__attend_one a = *clean;
  int d = a.head_dim;
  int64_t size = uly__dtype_bytes(a.dtype);
  size_t cache = (size_t)(a.num_kv_heads * a.capacity * d * size);
  size_t bytes = (size_t)(a.num_q_heads * d * size);
  void *k = memcpy(malloc(cache), a.k, cache), *v = memcpy(malloc(cache), a.v, cache);
  void *o = calloc(1, bytes);
  for (int kv = 0; kv < a.num_kv_heads; kv++)
    for (int64_t key = 0; key < a.capacity; key++) {
      bool is_seen = false;
      for (int head = 0; head < a.num_q_heads && key <= a.query; head++)
        if ((head + a.group_offset) / a.group_size == kv)
          is_seen |= mask_lets_see(mask, a.first_q_head + head, a.query, key);
      for (int i = 0; i < d && !is_seen; i++) {
        uly__store(k, a.dtype, (kv * a.capacity + key) * d + i, poison);
        uly__store(v, a.dtype, (kv * a.capacity + key) * d + i, poison);
      }
    }
  a.k = k;
  a.v = v;
  a.o = o;
  ops->attend_one(uly__stream_get(), &a);
  if (memcmp(o, clean->o, bytes) != 0)
    fail_msg("%s: d %d, query %lld: %g in hidden keys changes the output", name, d,
             (long long)a.query, (double)poison);
  free(k), free(v), free(o);
}

static void check_attend(const uly__ops *ops, const char *name, uly_dtype dtype, int d,
                         int64_t capacity, int parts) {
  enum {
    Q = 7,
    KV = 4,
    GROUP = 2,
    FIRST = 3
  }; /* heads 3 .. 9 of 12 use key/value heads 1 .. 4 of 6 */
  uly_mask mask = random_mask(parts, capacity, 12, pick);
  mask.kind = ULY_MASK_CAUSAL;
  uly__mask *index;
  assert_ok(uly__mask_create(&mask, capacity, 12, &index));
  void *q = values(Q * d, dtype), *o = values(Q * d, dtype), *apart = values(Q * d, dtype);
  void *k = values(KV * capacity * d, dtype), *v = values(KV * capacity * d, dtype);
  int64_t chunks = uly__attend_num_chunks(capacity), width = uly__attend_width(d);
  float *workspace = calloc((size_t)(Q * chunks * width), sizeof *workspace);
  uly__attend_one a = {.num_q_heads = Q,
                       .num_kv_heads = KV,
                       .head_dim = d,
                       .first_q_head = FIRST,
                       .group_size = GROUP,
                       .group_offset = 1,
                       .dtype = dtype,
                       .mask = index,
                       .capacity = capacity,
                       .q = q,
                       .k = k,
                       .v = v,
                       .o = o,
                       .workspace = workspace};
  static const float scales[] = {3.0f, -2.0f, 0.0f, 1e-30f, 3.0f};
  static const float poisons[] = {NAN, INFINITY, 1e30f, -INFINITY, NAN};
  for (int turn = 0; turn < 5; turn++) {
    a.scale = scales[turn];
    a.query = turn == 0 ? capacity - 1 : pick(0, (int)capacity - 1);
    omp_set_num_threads(1 + turn % 3);
    ops->attend_one(uly__stream_get(), &a);
    for (int head = 0; head < Q; head++) {
      double out[ULY_MAX_HEAD_DIM] = {0};
      naive(&a, &mask, head, out);
      for (int i = 0; i < d; i++) {
        double found = (double)uly__load(o, dtype, head * d + i);
        if (!(fabs(found - out[i]) <= (dtype == ULY_BF16 ? 0x1p-8 : 1e-5)))
          fail_msg("%s: d %d, query %lld, head %d: %g, not %g", name, d, (long long)a.query, head,
                   found, out[i]);
      }
    }
    check_poisoned(ops, name, &a, &mask, poisons[turn]);
    /* A head alone, as on another rank. */
    for (int head = 0; head < Q; head++) {
      uly__attend_one one = a;
      int kv = (head + 1) / GROUP;
      one.num_q_heads = one.num_kv_heads = 1;
      one.first_q_head = FIRST + head;
      one.group_offset = (head + 1) % GROUP;
      one.q = uly__at(q, dtype, (int64_t)head * d);
      one.o = uly__at(apart, dtype, (int64_t)head * d);
      one.k = uly__at(k, dtype, kv * capacity * d);
      one.v = uly__at(v, dtype, kv * capacity * d);
      ops->attend_one(uly__stream_get(), &one);
    }
    assert_memory_equal(apart, o, (size_t)(Q * d * uly__dtype_bytes(dtype)));
  }
  free(q), free(k), free(v), free(o), free(apart), free(workspace);
  uly__mask_destroy(index);
  free_random_mask(&mask);
}

static void test_attend(void **state) {
  (void)state;
  static const int dims[] = {1, 6, 16, 34, 64, 128, 256};
  static const int parts[] = {0,           WITH_WINDOW,      WITH_DOCUMENTS,
                              WITH_BLOCKS, WITH_HEAD_BLOCKS, WITH_WINDOW | WITH_HEAD_BLOCKS};
  for (int i = 0; i < num_tables; i++)
    for (int dtype = 0; dtype < 2; dtype++)
      for (int turn = 0; turn < 7; turn++)
        check_attend(&tables[i], names[i], (uly_dtype)dtype, dims[turn],
                     turn % 2 ? pick(1, 300) : pick(600, 1400), parts[(turn + i + dtype) % 6]);
}

/* Scores of a thousand and of 1e9, and values that are no numbers. */
static void test_extremes(void **state) {
  (void)state;
  enum { D = 16, KEYS = 600 };
  uly_mask mask = {.kind = ULY_MASK_CAUSAL};
  uly__mask *index;
  assert_ok(uly__mask_create(&mask, KEYS, 1, &index));
  float *q = values(D, ULY_F32), *k = values(KEYS * D, ULY_F32), *v = values(KEYS * D, ULY_F32);
  float o[D], workspace[2 * 32];
  for (int i = 0; i < num_tables; i++) {
    uly__attend_one a = {KEYS - 1, 1,    1,    D, 0, 1, 0, ULY_F32,
                         index,    1e4f, KEYS, q, k, v, o, workspace};
    tables[i].attend_one(uly__stream_get(), &a);
    for (int j = 0; j < D; j++) assert_true(isfinite(o[j]));
    /* The one with the largest score takes it all. */
    int64_t first = 0;
    double largest = -1;
    for (int64_t key = 0; key < KEYS; key++) {
      double score = 0;
      for (int j = 0; j < D; j++) score += (double)q[j] * (double)k[key * D + j];
      if (-score > largest) largest = -score, first = key;
    }
    a.scale = -1e9f;
    tables[i].attend_one(uly__stream_get(), &a);
    for (int j = 0; j < D; j++) assert_float_equal(o[j], v[first * D + j], 1e-6f);
    float before = k[5 * D];
    k[5 * D] = NAN;
    tables[i].attend_one(uly__stream_get(), &a);
    for (int j = 0; j < D; j++) assert_true(isnan(o[j]));
    k[5 * D] = before;
  }
  free(q), free(k), free(v);
  uly__mask_destroy(index);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_matvec),
      cmocka_unit_test(test_attend),
      cmocka_unit_test(test_extremes),
  };
  static const char *const all[] = {"reference", "base", "avx2", "avx512", "avx512bf16"};
  for (int i = 0; i < 5; i++)
    if (uly__ops_named(all[i], &tables[num_tables])) names[num_tables++] = all[i];
  return cmocka_run_group_tests(tests, NULL, NULL);
}
