/* Compares attention's kernels, from every table that this CPU runs and at every head dimension,
 * with f64, also with poison (NaN, infinity, 1e30) in what a mask hides, which must not change a
 * bit; in one call, and in several, each for a run of queries and a run of keys. TURNS=10 in the
 * environment draws ten times as many cases. */
#include <math.h>
#include <omp.h>

#include "naive_attention.h"
#include "ops/mask.h"
#include "ops/ops.h"
#include "random_mask.h"
#include "testing.h"

#ifdef ULY_TEST_BF16_DOT
/* The kernels for AVX512-BF16, compiled with its two instructions in software (bf16_dot.h). */
void uly__attention_tiled_avx512soft(uly__ops *table);
#endif

enum { Q_HEADS = 2, MAX_TABLES = 6 };

static uly__ops tables[MAX_TABLES];
static const char *names[MAX_TABLES];
static char in_pieces[MAX_TABLES][40]; /* names */
static int num_tables, num_turns = 1;
static int stride; /* between head_dims */

static uint64_t random_state = 0x9e3779b97f4a7c15u;

/* xorshift64* */
static int pick(int lowest, int largest) {
  random_state ^= random_state >> 12;
  random_state ^= random_state << 25;
  random_state ^= random_state >> 27;
  return lowest + (int)((random_state * 2685821657736338717u) >> 33) % (largest - lowest + 1);
}

/* ------------------------------------------------------------------------------ a case */

/* The rows of a token: Q_HEADS query heads, a key and a value; and Q_HEADS of o and dO. */
typedef struct problem {
  uly__attention_args args;
  uly_mask mask;
  uly__mask *index;
  int64_t N, row, o_row; /* row, o_row: elements */
  int d;
  uly_dtype dtype;
  double largest_key; /* element of q or k */
  void *qkv, *d_o;
} problem;

typedef struct results {
  void *o, *d_qkv;
  uly__softmax_row *softmax;
} results;

/* Multiples of 1/8: scores are exact in f32, so that a large scale magnifies no rounding. */
static void *eighths(int64_t count, uly_dtype dtype) {
  void *x = malloc((size_t)(count * uly__dtype_bytes(dtype)));
  for (int64_t i = 0; i < count; i++) uly__store(x, dtype, i, (float)pick(-8, 8) / 8);
  return x;
}

static problem make_problem(int d, uly_dtype dtype, int64_t N, uly_mask mask, float scale) {
  problem x = {.mask = mask, .N = N, .d = d, .dtype = dtype, .largest_key = 1};
  x.row = (Q_HEADS + 2) * d;
  x.o_row = Q_HEADS * d;
  x.qkv = eighths(N * x.row, dtype);
  x.d_o = eighths(N * x.o_row, dtype);
  assert_ok(uly__mask_create(&mask, N, Q_HEADS, &x.index));
  x.args = (uly__attention_args){.queries = {0, N},
                                 .keys = {0, N},
                                 .num_q_heads = Q_HEADS,
                                 .num_kv_heads = 1,
                                 .head_dim = d,
                                 .group_size = Q_HEADS,
                                 .dtype = dtype,
                                 .mask = x.index,
                                 .scale = scale,
                                 .q_stride = x.row,
                                 .kv_stride = x.row,
                                 .o_stride = x.o_row,
                                 .softmax_stride = N};
  return x;
}

static void free_problem(problem *x) {
  uly__mask_destroy(x->index);
  free(x->qkv);
  free(x->d_o);
}

static results run(const uly__ops *ops, const problem *x, const void *qkv, const void *d_o) {
  uly__attention_args a = x->args;
  uly__attention_workspace unused;
  int64_t bytes = uly__dtype_bytes(x->dtype), N = x->N;
  results r = {calloc((size_t)(N * x->o_row), (size_t)bytes),
               calloc((size_t)(N * x->row), (size_t)bytes),
               calloc((size_t)N * Q_HEADS, sizeof *r.softmax)};
  void *workspace = malloc((size_t)uly__attention_carve(&a, NULL, &unused));
  a.q = qkv;
  a.k = (const char *)qkv + Q_HEADS * x->d * bytes;
  a.v = (const char *)qkv + (Q_HEADS + 1) * x->d * bytes;
  a.o = r.o;
  a.softmax = r.softmax;
  ops->attention_forward(uly__stream_get(), &a);
  a.d_o = d_o;
  a.d_q = r.d_qkv;
  a.d_k = (char *)r.d_qkv + Q_HEADS * x->d * bytes;
  a.d_v = (char *)r.d_qkv + (Q_HEADS + 1) * x->d * bytes;
  ops->attention_backward(uly__stream_get(), &a, workspace);
  free(workspace);
  return r;
}

/* A sequence cut into runs, of which some may be empty, in the order in which they are visited. */
enum { MAX_RUNS = 4 };
typedef struct pieces {
  uly_token_run list[MAX_RUNS];
  int num;
} pieces;

static pieces cut(int64_t N) {
  pieces p = {.num = pick(1, MAX_RUNS)};
  int64_t at = 0;
  int first = pick(0, p.num - 1);
  for (int i = 0; i < p.num; i++) {
    int64_t end = i + 1 == p.num ? N : pick((int)at, (int)N);
    p.list[(first + i) % p.num] = (uly_token_run){at, end - at};
    at = end;
  }
  return p;
}

/* Keys and values of a run, as they travel: [Nk, 2, d], with one element between rows if d is
 * odd. */
typedef struct key_run {
  uly_token_run run;
  char *kv;
  float *d_kv;
  int64_t stride;
} key_run;

static key_run take_keys(const problem *x, const void *qkv, uly_token_run run) {
  int64_t width = 2 * x->d, bytes = uly__dtype_bytes(x->dtype);
  key_run k = {.run = run, .stride = width + x->d % 2};
  k.kv = calloc((size_t)(run.count * k.stride) + 1, (size_t)bytes);
  k.d_kv = calloc((size_t)(run.count * width) + 1, sizeof *k.d_kv);
  for (int64_t t = 0; t < run.count; t++)
    memcpy(k.kv + t * k.stride * bytes,
           uly__at(qkv, x->dtype, (run.begin + t) * x->row + Q_HEADS * x->d),
           (size_t)(width * bytes));
  return k;
}

static void put_gradients(const problem *x, key_run *k, void *d_qkv) {
  for (int64_t t = 0; t < k->run.count; t++)
    for (int i = 0; i < 2 * x->d; i++)
      uly__store(d_qkv, x->dtype, (k->run.begin + t) * x->row + Q_HEADS * x->d + i,
                 k->d_kv[t * 2 * x->d + i]);
  free(k->kv);
  free(k->d_kv);
}

/* Attends with one run of queries, to all runs of keys. */
static void run_queries(const uly__ops *ops, const problem *x, uly_token_run queries, key_run *keys,
                        int num_keys, const void *qkv, const void *d_o, results *r) {
  uly__attention_args a = x->args;
  uly__attention_sums unused;
  a.queries = queries;
  a.q = uly__at(qkv, x->dtype, queries.begin * x->row);
  a.o = uly__at(r->o, x->dtype, queries.begin * x->o_row);
  a.d_o = uly__at(d_o, x->dtype, queries.begin * x->o_row);
  a.d_q = uly__at(r->d_qkv, x->dtype, queries.begin * x->row);
  a.softmax = r->softmax + queries.begin;
  int64_t bytes = uly__attention_carve_sums(&a, NULL, &unused);
  a.sums = malloc((size_t)bytes);
  memset(a.sums, 0xff, (size_t)bytes);
  for (int backward = 0; backward < 2; backward++)
    for (int i = 0; i < num_keys; i++) {
      uly__attention_workspace work;
      a.keys = keys[i].run;
      a.kv_stride = keys[i].stride;
      a.k = keys[i].kv;
      a.v = keys[i].kv + x->d * uly__dtype_bytes(x->dtype);
      a.d_kv = keys[i].d_kv;
      a.resumes = i > 0;
      a.suspends = i + 1 < num_keys;
      void *workspace = malloc((size_t)uly__attention_carve(&a, NULL, &work));
      if (backward)
        ops->attention_backward(uly__stream_get(), &a, workspace);
      else
        ops->attention_forward(uly__stream_get(), &a);
      free(workspace);
    }
  free(a.sums);
}

static results run_in_pieces(const uly__ops *ops, const problem *x, pieces queries, pieces keys,
                             const void *qkv, const void *d_o) {
  int64_t bytes = uly__dtype_bytes(x->dtype), N = x->N;
  results r = {calloc((size_t)(N * x->o_row), (size_t)bytes),
               calloc((size_t)(N * x->row), (size_t)bytes),
               calloc((size_t)N * Q_HEADS, sizeof *r.softmax)};
  key_run runs[MAX_RUNS];
  for (int i = 0; i < keys.num; i++) runs[i] = take_keys(x, qkv, keys.list[i]);
  for (int i = 0; i < queries.num; i++)
    run_queries(ops, x, queries.list[i], runs, keys.num, qkv, d_o, &r);
  for (int i = 0; i < keys.num; i++) put_gradients(x, &runs[i], r.d_qkv);
  return r;
}

static void free_results(results *r) {
  free(r->o);
  free(r->d_qkv);
  free(r->softmax);
}

/* --------------------------------------------------------------------- against f64 */

/* Columns [first, first + width) of rows of x, in f64. */
static double *columns(const void *x, uly_dtype dtype, int64_t rows, int64_t row, int64_t first,
                       int64_t width) {
  double *out = malloc((size_t)(rows * width) * sizeof *out);
  for (int64_t r = 0; r < rows; r++)
    for (int64_t i = 0; i < width; i++)
      out[r * width + i] = (double)uly__load(x, dtype, r * row + first + i);
  return out;
}

/* q, k, v, d_o, o, d_q, d_k, d_v as solve_naively wants and gives them. */
typedef struct solution {
  double *tensors[8], *lse;
} solution;

static const char *const tensor_names[] = {"q", "k", "v", "d_o", "o", "d_q", "d_k", "d_v"};

/* Heads of a token in tensor i. */
static int heads_of(int i) { return i == 1 || i == 2 || i >= 6 ? 1 : Q_HEADS; }

static solution solve(const problem *x) {
  int d = x->d;
  int64_t N = x->N;
  solution s = {.lse = malloc((size_t)N * Q_HEADS * sizeof(double))};
  s.tensors[0] = columns(x->qkv, x->dtype, N, x->row, 0, Q_HEADS * d);
  s.tensors[1] = columns(x->qkv, x->dtype, N, x->row, Q_HEADS * d, d);
  s.tensors[2] = columns(x->qkv, x->dtype, N, x->row, (Q_HEADS + 1) * d, d);
  s.tensors[3] = columns(x->d_o, x->dtype, N, x->o_row, 0, Q_HEADS * d);
  for (int i = 4; i < 8; i++) s.tensors[i] = calloc((size_t)(N * heads_of(i) * d), sizeof(double));
  double **t = s.tensors;
  solve_naively(&(naive_attention){.num_tokens = N,
                                   .num_q_heads = Q_HEADS,
                                   .num_kv_heads = 1,
                                   .head_dim = d,
                                   .scale = (double)x->args.scale,
                                   .mask = &x->mask,
                                   .q = t[0],
                                   .k = t[1],
                                   .v = t[2],
                                   .d_o = t[3],
                                   .o = t[4],
                                   .d_q = t[5],
                                   .d_k = t[6],
                                   .d_v = t[7],
                                   .lse = s.lse});
  return s;
}

static void free_solution(solution *s) {
  for (int i = 0; i < 8; i++) free(s->tensors[i]);
  free(s->lse);
}

static void explain(const problem *x, const char *table, const char *what, double error) {
  fail_msg(
      "%s: %s differs by %g: N %lld, d %d, dtype %d, scale %g, mask %d, window %lld, %lld "
      "documents, blocks of %lld",
      table, what, error, (long long)x->N, x->d, (int)x->dtype, (double)x->args.scale,
      (int)x->mask.kind, (long long)x->mask.window, (long long)x->mask.num_docs,
      x->mask.blocks ? (long long)x->mask.blocks->block : 0);
}

/* Relative to the largest, or to `floor` where all are smaller: gradients may cancel. */
static void compare(const problem *x, const char *table, int tensor, const double *expected,
                    const void *found, int64_t row, int64_t first, double floor) {
  double largest = floor, error = 0;
  int64_t width = (int64_t)heads_of(tensor) * x->d;
  for (int64_t i = 0; i < x->N * width; i++)
    if (fabs(expected[i]) > largest) largest = fabs(expected[i]);
  for (int64_t i = 0; i < x->N * width; i++) {
    double value = (double)uly__load(found, x->dtype, i / width * row + first + i % width);
    if (!(fabs(value - expected[i]) <= error)) error = fabs(value - expected[i]);
  }
  /* bf16: the probabilities' factor O and the result are rounded to 8 bits. */
  if (!(error <= (x->dtype == ULY_BF16 ? 2e-2 : 1e-5) * largest))
    explain(x, table, tensor_names[tensor], error / largest);
}

static void check_values(const problem *x, const char *table, const results *r, const solution *s) {
  int d = x->d;
  double floor = 0.5 * fabs((double)x->args.scale) * x->largest_key;
  compare(x, table, 4, s->tensors[4], r->o, x->o_row, 0, 0.5);
  compare(x, table, 5, s->tensors[5], r->d_qkv, x->row, 0, floor);
  compare(x, table, 6, s->tensors[6], r->d_qkv, x->row, Q_HEADS * d, floor);
  compare(x, table, 7, s->tensors[7], r->d_qkv, x->row, (Q_HEADS + 1) * d, 0.5);
  uly__attention_args a = x->args;
  a.softmax = r->softmax;
  for (int64_t i = 0; i < x->N * Q_HEADS; i++) {
    double error = fabs((double)uly__softmax_lse(a.softmax[i], a.scale) - s->lse[i]);
    if (!(error <= 1e-5 + 2e-7 * fabs(s->lse[i]))) explain(x, table, "lse", error);
  }
}

/* ----------------------------------------------------------------------------- poison */

/* What is poisoned, and what that may reach: [N], for query heads [N][Q_HEADS]. */
typedef struct poisoned {
  void *qkv, *d_o;
  bool *o, *d_q, *d_kv;
} poisoned;

/* One element of a row, or all. */
static void spoil(void *x, uly_dtype dtype, int64_t at, int d, float value) {
  int first = pick(0, d - 1), num = 1;
  if (pick(0, 1)) first = 0, num = d;
  for (int i = 0; i < num; i++) uly__store(x, dtype, at + first + i, value);
}

static void *copy(const void *x, int64_t count, uly_dtype dtype) {
  size_t bytes = (size_t)(count * uly__dtype_bytes(dtype));
  return memcpy(malloc(bytes), x, bytes);
}

/* Marks what follows from d_kv, o and d_q as they are: the queries that see such a key, the keys
 * that such queries see. */
static void spread(const problem *x, poisoned *p) {
  for (int64_t i = 0; i < x->N * Q_HEADS; i++)
    for (int64_t key = 0; key < x->N; key++)
      if (p->d_kv[key] && mask_lets_see(&x->mask, (int)(i % Q_HEADS), i / Q_HEADS, key))
        p->o[i] = true;
  for (int64_t i = 0; i < x->N * Q_HEADS; i++) {
    p->d_q[i] |= p->o[i];
    for (int64_t key = 0; key < x->N && p->d_q[i]; key++)
      if (mask_lets_see(&x->mask, (int)(i % Q_HEADS), i / Q_HEADS, key)) p->d_kv[key] = true;
  }
}

static poisoned make_poisoned(const problem *x, float value) {
  int d = x->d;
  int64_t N = x->N;
  poisoned p = {copy(x->qkv, N * x->row, x->dtype), copy(x->d_o, N * x->o_row, x->dtype),
                calloc((size_t)N * Q_HEADS, 1), calloc((size_t)N * Q_HEADS, 1),
                calloc((size_t)N, 1)};
  for (int i = pick(1, 2); i > 0; i--) {
    int64_t token = pick(0, (int)N - 1);
    int parts = pick(1, 3);
    if (parts & 1) spoil(p.qkv, x->dtype, token * x->row + Q_HEADS * d, d, value);
    if (parts & 2) spoil(p.qkv, x->dtype, token * x->row + (Q_HEADS + 1) * d, d, value);
    p.d_kv[token] = true;
  }
  for (int i = pick(0, 1); i > 0; i--) {
    int64_t token = pick(0, (int)N - 1);
    int head = pick(0, Q_HEADS - 1);
    if (pick(0, 1)) {
      spoil(p.qkv, x->dtype, token * x->row + head * d, d, value);
      p.o[token * Q_HEADS + head] = true;
    } else {
      spoil(p.d_o, x->dtype, token * x->o_row + head * d, d, value);
      p.d_q[token * Q_HEADS + head] = true;
    }
  }
  spread(x, &p);
  return p;
}

static void free_poisoned(poisoned *p) {
  void *all[] = {p->qkv, p->d_o, p->o, p->d_q, p->d_kv};
  for (int i = 0; i < 5; i++) free(all[i]);
}

/* d elements: the same bits where nothing may have reached them; NaN where NaN has. */
static void check_row(const problem *x, const char *table, const char *what, const void *clean,
                      const void *found, int64_t at, bool is_reached, bool must_be_nan) {
  float sum = 0;
  size_t bytes = (size_t)(x->d * uly__dtype_bytes(x->dtype));
  if (!is_reached) {
    if (memcmp(uly__at(clean, x->dtype, at), uly__at(found, x->dtype, at), bytes) != 0)
      explain(x, table, what, NAN);
    return;
  }
  for (int i = 0; i < x->d; i++) sum += uly__load(found, x->dtype, at + i);
  if (must_be_nan && !isnan(sum)) explain(x, table, what, INFINITY);
}

static int64_t num_unreached;

static void check_poisoned(const problem *x, const char *table, const results *clean,
                           const results *found, const poisoned *p, bool is_nan) {
  int d = x->d;
  for (int64_t t = 0; t < x->N; t++) {
    for (int h = 0; h < Q_HEADS; h++) {
      int64_t i = t * Q_HEADS + h;
      check_row(x, table, "o beside poison", clean->o, found->o, t * x->o_row + h * d, p->o[i],
                is_nan);
      check_row(x, table, "d_q beside poison", clean->d_qkv, found->d_qkv, t * x->row + h * d,
                p->d_q[i], is_nan);
      num_unreached += !p->o[i];
    }
    for (int i = 0; i < 2; i++)
      check_row(x, table, i ? "d_v beside poison" : "d_k beside poison", clean->d_qkv, found->d_qkv,
                t * x->row + (Q_HEADS + i) * d, p->d_kv[t], is_nan && i == 0);
  }
}

/* ------------------------------------------------------------------------------ tests */

static const float poisons[] = {NAN, INFINITY, 1e30f, -INFINITY};

static void check_case(int d, int turn) {
  static const float scales[] = {0.125f, -0.25f, 1e6f, 0.0f, 1e-30f, -3e5f, 0.02f};
  static const int parts[] = {0, WITH_WINDOW, WITH_DOCUMENTS, WITH_BLOCKS, WITH_HEAD_BLOCKS};
  int64_t N = pick(0, 3) ? pick(66, 130) : pick(1, 65);
  int part = pick(0, 1) ? parts[pick(0, 4)] : pick(0, 15);
  uly_mask mask = random_mask(part, N, Q_HEADS, pick);
  problem x = make_problem(d, turn % 2 ? ULY_BF16 : ULY_F32, N, mask, scales[(d + turn) % 7]);
  solution s = solve(&x);
  float poison = poisons[(d + turn / 2) % 4];
  poisoned p = make_poisoned(&x, poison);
  pieces queries = cut(N), keys = cut(N);
  int first = d % 8 == 0 ? 0 : 1; /* the reference is slow */
  for (int i = first; i < num_tables; i++) {
    results r = run(&tables[i], &x, x.qkv, x.d_o), beside = run(&tables[i], &x, p.qkv, p.d_o);
    check_values(&x, names[i], &r, &s);
    check_poisoned(&x, names[i], &r, &beside, &p, isnan(poison));
    free_results(&r);
    free_results(&beside);
    r = run_in_pieces(&tables[i], &x, queries, keys, x.qkv, x.d_o);
    beside = run_in_pieces(&tables[i], &x, queries, keys, p.qkv, p.d_o);
    check_values(&x, in_pieces[i], &r, &s);
    check_poisoned(&x, in_pieces[i], &r, &beside, &p, isnan(poison));
    free_results(&r);
    free_results(&beside);
  }
  free_poisoned(&p);
  free_solution(&s);
  free_problem(&x);
  free_random_mask(&mask);
}

static void test_all_head_dims(void **state) {
  (void)state;
  for (int turn = 0; turn < 2 * num_turns; turn++)
    for (int d = 1 + turn % stride; d <= ULY_MAX_HEAD_DIM; d += stride) check_case(d, turn);
  assert_true(num_unreached > 10000 / stride);
}

/* Two documents, values of 1000 in the first and of 1 in the second: tiles of queries meet keys
 * that are hidden from some of them first. Means of equal values are these values. */
static void test_documents_apart(void **state) {
  (void)state;
  enum { N = 132, SECOND = 70 };
  int64_t starts[] = {0, SECOND};
  uly_mask mask = {.doc_start = starts, .num_docs = 2};
  for (int d = 1; d <= ULY_MAX_HEAD_DIM; d += stride) {
    problem x = make_problem(d, ULY_F32, N, mask, 1 / sqrtf((float)d));
    float *qkv = x.qkv;
    for (int t = 0; t < N; t++)
      for (int i = 0; i < d; i++)
        qkv[t * x.row + (Q_HEADS + 1) * d + i] = t < SECOND ? 1000.0f : 1.0f;
    for (int table = 1; table < num_tables; table++) {
      results r = run(&tables[table], &x, x.qkv, x.d_o);
      for (int64_t i = 0; i < N * x.o_row; i++) {
        float expected = i < SECOND * x.o_row ? 1000.0f : 1.0f, found = ((float *)r.o)[i];
        if (expected == 1.0f ? found != 1.0f : !(fabsf(found / expected - 1) <= 1e-6f))
          fail_msg("%s, d %d: %.9g, not %g", names[table], d, (double)found, (double)expected);
      }
      free_results(&r);
    }
    free_problem(&x);
  }
}

/* Scores of 1e5 to 1e27 that differ by little, and exactly: all elements are integers, and sums
 * below 2^24. */
static void test_large_scores(void **state) {
  (void)state;
  enum { N = 150, D = 24 };
  static const float cases[][2] = {{0.05f, 2e6f}, {0.01f, 8e6f}, {100, 1e7f}, {1e20f, 1e7f}};
  uly_mask mask = {.kind = ULY_MASK_CAUSAL, .window = 100};
  for (int turn = 0; turn < 8; turn++) {
    float scale = cases[turn / 2][0], size = cases[turn / 2][1];
    problem x = make_problem(D, ULY_F32, N, mask, turn % 2 ? -scale : scale);
    float *qkv = x.qkv;
    x.largest_key = (double)size;
    for (int t = 0; t < N; t++) {
      for (int i = 0; i < Q_HEADS * D; i++) qkv[t * x.row + i] = (float)pick(-1, 1);
      for (int i = 0; i < D; i++) qkv[t * x.row + Q_HEADS * D + i] *= 8;
      /* q.k is this element of the key, and the rest. */
      for (int i = 0; i < Q_HEADS; i++) qkv[t * x.row + i * D] = 1;
      qkv[t * x.row + Q_HEADS * D] = pick(0, 1) ? size : -size;
    }
    solution s = solve(&x);
    for (int i = 0; i < num_tables; i++) {
      results r = run(&tables[i], &x, x.qkv, x.d_o);
      check_values(&x, names[i], &r, &s);
      free_results(&r);
    }
    free_solution(&s);
    free_problem(&x);
  }
}

/* A query whose scores are all -infinity or NaN gets NaN; others do not. */
static void test_no_scores(void **state) {
  (void)state;
  enum { N = 70, D = 9 };
  for (int turn = 0; turn < 12; turn++) {
    uly_mask mask = {.kind = turn % 2 ? ULY_MASK_CAUSAL : ULY_MASK_FULL};
    problem x = make_problem(D, ULY_F32, N, mask, turn / 2 % 2 ? -0.5f : 0.5f);
    float *qkv = x.qkv, sign = x.args.scale < 0 ? 1.0f : -1.0f;
    for (int t = 0; t < N; t++)
      for (int i = 0; i < D; i++) qkv[t * x.row + Q_HEADS * D + i] = 1; /* keys */
    for (int i = 0; i < D; i++)
      qkv[5 * x.row + i] = turn / 4 == 0 ? NAN : turn / 4 == 1 ? sign * INFINITY : sign * 3e38f;
    for (int table = 0; table < num_tables; table++) {
      if (table == 0 && turn / 4 == 2) continue; /* f64 does not overflow there */
      results r = run(&tables[table], &x, x.qkv, x.d_o);
      for (int64_t i = 0; i < N * x.o_row; i++)
        if (isnan(((float *)r.o)[i]) != (i / D == 5 * Q_HEADS))
          fail_msg("%s, turn %d: o of row %lld is %g", names[table], turn, (long long)(i / D),
                   (double)((float *)r.o)[i]);
      for (int64_t t = 0; t < N; t++)
        for (int h = 0; h < Q_HEADS; h++)
          if (isnan(((float *)r.d_qkv)[t * x.row + h * D]) != (t == 5 && h == 0))
            fail_msg("%s, turn %d: d_q of token %lld, head %d", names[table], turn, (long long)t,
                     h);
      free_results(&r);
    }
    free_problem(&x);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_all_head_dims),
      cmocka_unit_test(test_documents_apart),
      cmocka_unit_test(test_large_scores),
      cmocka_unit_test(test_no_scores),
  };
  static const char *const all[] = {"reference", "base", "avx2", "avx512", "avx512bf16"};
  const char *turns = getenv("TURNS");
  if (turns) num_turns = (int)strtol(turns, NULL, 10);
  stride = case_stride();
  for (int i = 0; i < 5; i++)
    if (uly__ops_named(all[i], &tables[num_tables])) names[num_tables++] = all[i];
#ifdef ULY_TEST_BF16_DOT
  if (uly__ops_named("avx512", &tables[num_tables])) {
    uly__attention_tiled_avx512soft(&tables[num_tables]);
    names[num_tables++] = "avx512bf16 in software";
  }
#endif
  for (int i = 0; i < num_tables; i++)
    snprintf(in_pieces[i], sizeof in_pieces[i], "%s in pieces", names[i]);
  return cmocka_run_group_tests(tests, NULL, NULL);
}
