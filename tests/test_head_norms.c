/* Compares the norms of heads of every kernel table with formulas in f64, in both storage types,
 * for numbers of rows and heads, head dimensions and strides of all kinds; and their bits on
 * several threads with those on one. */
#include <math.h>
#include <omp.h>

#include "ops/ops.h"
#include "testing.h"

enum { MOST = 40000 };

static uint32_t seed = 7;

static int pick(int least, int most) {
  seed = seed * 1664525u + 1013904223u;
  return least + (int)((seed >> 8) % (uint32_t)(most - least + 1));
}

static double draw(void) { return pick(-1000000, 1000000) / 1e6; }

/* A case: heads whose rows are ld apart, their norm, gradients. */
typedef struct shape {
  int64_t rows, ld;
  int heads, head_dim;
  uly_dtype dtype;
} shape;

typedef struct buffers {
  /* x, dense; y and d, with rows ld apart, of dtype; gamma. */
  char x[4 * MOST], y[4 * MOST], d[4 * MOST], gamma[4 * ULY_MAX_HEAD_DIM];
  float d_gamma[ULY_MAX_HEAD_DIM];
} buffers;

static buffers now, before;

static int64_t place(const shape *s, int64_t row, int head, int i) {
  return row * s->ld + (int64_t)head * s->head_dim + i;
}

static int64_t dense(const shape *s, int64_t row, int head, int i) {
  return (row * s->heads + head) * s->head_dim + i;
}

static void fill(const shape *s) {
  memset(&now, 0, sizeof now);
  for (int64_t i = 0; i < s->rows * s->ld; i++) {
    uly__store(now.y, s->dtype, i, (float)draw());
    uly__store(now.d, s->dtype, i, (float)draw());
  }
  for (int64_t r = 0; r < s->rows; r++)
    for (int h = 0; h < s->heads; h++)
      for (int i = 0; i < s->head_dim; i++)
        uly__store(now.x, s->dtype, dense(s, r, h, i),
                   uly__load(now.y, s->dtype, place(s, r, h, i)));
  for (int i = 0; i < s->head_dim; i++) {
    uly__store(now.gamma, s->dtype, i, (float)draw());
    now.d_gamma[i] = (float)draw();
  }
  before = now;
}

static void check(const char *what, const shape *s, double found, double expected, double size) {
  double tolerance = (s->dtype == ULY_BF16 ? 0.01 : 3e-6) * size;
  if (!(fabs(found - expected) <= tolerance))
    fail_msg("%s: %g, expected %g (%lld rows, %d heads of %d, ld %lld)", what, found, expected,
             (long long)s->rows, s->heads, s->head_dim, (long long)s->ld);
}

/* Checks one head against the formulas, and adds its gradient of gamma to d_gamma. */
static void check_head(const shape *s, double eps, int64_t r, int h, double *d_gamma) {
  double squares = 0, sum = 0, size = 1;
  for (int i = 0; i < s->head_dim; i++) {
    double x = (double)uly__load(before.x, s->dtype, dense(s, r, h, i));
    squares += x * x;
  }
  double rstd = 1 / sqrt(squares / s->head_dim + eps);
  for (int i = 0; i < s->head_dim; i++) {
    double x = (double)uly__load(before.x, s->dtype, dense(s, r, h, i));
    double g = (double)uly__load(before.gamma, s->dtype, i);
    double d = (double)uly__load(before.d, s->dtype, place(s, r, h, i));
    sum += d * g * x * rstd / s->head_dim;
    d_gamma[i] += d * x * rstd;
  }
  size = fmax(1, rstd) * (1 + fabs(sum));
  for (int i = 0; i < s->head_dim; i++) {
    double x = (double)uly__load(before.x, s->dtype, dense(s, r, h, i));
    double g = (double)uly__load(before.gamma, s->dtype, i);
    double d = (double)uly__load(before.d, s->dtype, place(s, r, h, i));
    check("a normalized element", s, (double)uly__load(now.y, s->dtype, place(s, r, h, i)),
          x * rstd * g, fmax(1, fabs(x * rstd * g)));
    check("a gradient", s, (double)uly__load(now.d, s->dtype, place(s, r, h, i)),
          rstd * (d * g - x * rstd * sum), size * 4);
  }
}

/* Elements between the rows stay as they are. */
static void check_gaps(const shape *s) {
  for (int64_t r = 0; r < s->rows; r++)
    for (int64_t i = (int64_t)s->heads * s->head_dim; i < s->ld; i++) {
      int64_t at = r * s->ld + i;
      assert_true(uly__load(now.y, s->dtype, at) == uly__load(before.y, s->dtype, at));
      assert_true(uly__load(now.d, s->dtype, at) == uly__load(before.d, s->dtype, at));
    }
}

static void run(const uly__ops *ops, const shape *s, const uly__norm_args *args) {
  uly__stream *stream = uly__stream_get();
  ops->norm_heads(stream, args, s->rows, s->heads, s->head_dim, s->ld, s->dtype, now.y);
  ops->norm_heads_backward(stream, args, s->rows, s->heads, s->head_dim, s->dtype, now.x, s->ld,
                           now.d, now.d_gamma);
}

static void check_case(const uly__ops *ops) {
  shape s = {.heads = pick(1, 9), .dtype = pick(0, 1) ? ULY_BF16 : ULY_F32};
  s.head_dim = pick(0, 3) ? pick(1, ULY_MAX_HEAD_DIM) : 2 * pick(1, 6);
  s.ld = s.heads * s.head_dim + pick(0, 5);
  int most = (int)(MOST / s.ld);
  s.rows = pick(0, most < 1100 ? most : 1100);
  double eps = pick(0, 1) ? 1e-6 : 1e-2, d_gamma[ULY_MAX_HEAD_DIM] = {0};
  fill(&s);
  uly__norm_args args = {ULY_NORM_RMS, (float)eps, now.gamma, NULL};
  omp_set_num_threads(1);
  run(ops, &s, &args);
  for (int64_t r = 0; r < s.rows; r++)
    for (int h = 0; h < s.heads; h++) check_head(&s, (double)args.eps, r, h, d_gamma);
  for (int i = 0; i < s.head_dim; i++)
    check("a gradient of gamma", &s, (double)now.d_gamma[i], (double)before.d_gamma[i] + d_gamma[i],
          1 + (double)s.rows);
  check_gaps(&s);
  buffers *alone = malloc(sizeof *alone);
  *alone = now;
  now = before;
  omp_set_num_threads(3);
  run(ops, &s, &args);
  assert_memory_equal(&now, alone, sizeof now);
  free(alone);
}

static void test_heads(void **state) {
  (void)state;
  static const char *const names[] = {"reference", "avx2", "avx512"};
  for (size_t t = 0; t < sizeof names / sizeof names[0]; t++) {
    uly__ops ops;
    if (!uly__ops_named(names[t], &ops)) continue;
    for (int i = 0; i < 150; i++) check_case(&ops);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_heads)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
