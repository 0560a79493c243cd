/* Compares every kernel table that this CPU runs (base, avx2, avx512) with the reference table, in
 * both storage types, at odd sizes and strides; and the reference with formulas written here. */
#include <math.h>
#include <omp.h>

#include "ops/mask.h"
#include "ops/ops.h"
#include "ops/vector_math.h"
#include "random_mask.h"
#include "testing.h"

static uly__ops reference;
static uly__ops tables[4];
static const char *names[4];
static void (*widen[4])(uly__ops *table); /* products of bf16 by those of f32 */
static int num_tables;

/* Deterministic values in (-1, 1), rounded to the dtype; freed by the caller. */
static void *values(int64_t count, uly_dtype dtype, uint32_t seed) {
  void *x = malloc((size_t)(count * uly__dtype_bytes(dtype)) + 1);
  for (int64_t i = 0; i < count; i++) {
    seed = seed * 1664525u + 1013904223u;
    uly__store(x, dtype, i, (float)(seed >> 8) / (1 << 23) - 1.0f);
  }
  return x;
}

static void *copy(const void *x, int64_t count, uly_dtype dtype) {
  size_t bytes = (size_t)(count * uly__dtype_bytes(dtype));
  return memcpy(malloc(bytes + 1), x, bytes);
}

/* In bf16 a rounding may fall the other way: one unit of 8 bits. */
static void same(const char *what, const char *table, const void *a, const void *b, int64_t count,
                 uly_dtype dtype) {
  double tolerance = dtype == ULY_BF16 ? 0x1p-7 : 1e-5, largest = 1e-3, error = 0;
  for (int64_t i = 0; i < count; i++) {
    double x = (double)uly__load(a, dtype, i), y = (double)uly__load(b, dtype, i);
    if (fabs(y) > largest) largest = fabs(y);
    if (!(fabs(x - y) <= error)) error = fabs(x - y);
  }
  if (!(error <= tolerance * largest))
    fail_msg("%s, %s, dtype %d: differs by %g of %g", what, table, (int)dtype, error, largest);
}

/* Calls check(table, dtype) for all tables and dtypes. */
static void for_tables(void (*check)(const uly__ops *, const char *, uly_dtype)) {
  for (int i = 0; i < num_tables; i++)
    for (int dtype = 0; dtype < 2; dtype++) check(&tables[i], names[i], (uly_dtype)dtype);
}

/* On so many threads, with a workspace of as many. */
static void multiply(const uly__ops *ops, int threads, uly__matmul x) {
  x.workspace = malloc((size_t)ops->matmul_bytes(x.dtype, threads));
  x.workspace_threads = threads;
  assert_ok(ops->matmul(uly__stream_get(), &x));
  free(x.workspace);
}

static void check_matmul(const uly__ops *ops, const char *name, uly_dtype dtype) {
  int64_t sizes[][3] = {{1, 1, 1},      {3, 5, 7},     {70, 33, 65},
                        {257, 520, 19}, {300, 10, 40}, {0, 4, 4}};
  for (int s = 0; s < 6; s++)
    for (int flags = 0; flags < 16; flags++) {
      int64_t m = sizes[s][0], n = sizes[s][1], k = sizes[s][2], pad = 3;
      uly__matmul x = {.m = m,
                       .n = n,
                       .k = k,
                       .trans_a = flags & 1,
                       .trans_b = flags & 2,
                       .accumulate = flags & 4,
                       .dtype = dtype,
                       .c_dtype = flags & 8 ? ULY_F32 : dtype};
      x.lda = (x.trans_a ? m : k) + pad;
      x.ldb = (x.trans_b ? k : n) + pad;
      x.ldc = n + pad;
      void *a = values(x.lda * (x.trans_a ? k : m), dtype, 1);
      void *b = values(x.ldb * (x.trans_b ? n : k), dtype, 2);
      void *c = values(x.ldc * m, x.c_dtype, 3), *expected = copy(c, x.ldc * m, x.c_dtype);
      x.a = a, x.b = b, x.c = c;
      multiply(ops, 2, x);
      x.c = expected;
      multiply(&reference, 1, x);
      same("matmul", name, c, expected, x.ldc * m, x.c_dtype); /* the padding too: untouched */
      free(a), free(b), free(c), free(expected);
    }
}

static void test_matmul(void **state) {
  (void)state;
  /* The reference itself: [[1, 2], [3, 4]] [[5, 6], [7, 8]] */
  float a[] = {1, 2, 3, 4}, b[] = {5, 6, 7, 8}, c[4];
  uly__matmul x = {.m = 2, .n = 2, .k = 2, .a = a, .b = b, .c = c, .lda = 2, .ldb = 2, .ldc = 2};
  multiply(&reference, 1, x);
  float expected[] = {19, 22, 43, 50};
  assert_memory_equal(c, expected, sizeof c);
  x.trans_a = true;
  multiply(&reference, 1, x);
  float transposed[] = {26, 30, 38, 44};
  assert_memory_equal(c, transposed, sizeof c);
  for_tables(check_matmul);
}

/* Small integers, whose sums are exact in f32 and not in bf16. */
static void *integers(int64_t count, uly_dtype dtype, uint32_t seed) {
  void *x = malloc((size_t)(count * uly__dtype_bytes(dtype)) + 1);
  for (int64_t i = 0; i < count; i++) {
    seed = seed * 1664525u + 1013904223u;
    uly__store(x, dtype, i, (float)(seed >> 28) - 7.0f);
  }
  return x;
}

/* Where all sums are exact, only a second rounding, or an element that is missing, can make other
 * bits. */
static void check_exact(int64_t m, int64_t n, int64_t k, int flags) {
  int64_t pad = flags == 0 ? 0 : 3;
  uly__matmul x = {.m = m,
                   .n = n,
                   .k = k,
                   .trans_a = flags & 1,
                   .trans_b = flags & 2,
                   .accumulate = flags & 4,
                   .dtype = ULY_BF16,
                   .c_dtype = flags & 8 ? ULY_F32 : ULY_BF16};
  x.lda = (x.trans_a ? m : k) + pad;
  x.ldb = (x.trans_b ? k : n) + pad;
  x.ldc = n + pad;
  void *a = integers(x.lda * (x.trans_a ? k : m), ULY_BF16, 1);
  void *b = integers(x.ldb * (x.trans_b ? n : k), ULY_BF16, 2);
  void *before = integers(x.ldc * m, x.c_dtype, 3);
  void *expected = copy(before, x.ldc * m, x.c_dtype);
  size_t bytes = (size_t)(x.ldc * m * uly__dtype_bytes(x.c_dtype));
  x.a = a, x.b = b, x.c = expected;
  multiply(&reference, 1, x);
  for (int i = 0; i < num_tables; i++) {
    uly__ops widened = tables[i];
    widen[i](&widened);
    x.c = copy(before, x.ldc * m, x.c_dtype);
    multiply(&widened, 2, x);
    if (memcmp(x.c, expected, bytes) != 0)
      fail_msg("%s, [%d, %d, %d], flags %d: other bits than exact sums rounded once", names[i],
               (int)m, (int)n, (int)k, flags);
    free(x.c);
  }
  free(a), free(b), free(before), free(expected);
}

static void test_exact_products(void **state) {
  (void)state;
  for (int flags = 0; flags < 16; flags++) {
    check_exact(3, 5, 700, flags);
    check_exact(270, 530, 40, flags);
    check_exact(260, 20, 256, flags);
  }
  check_exact(257, 513, 513, 0);
}

/* Whatever this CPU multiplies bf16 by, the other way is tried too: products of bf16, and of
 * widened tiles. */
static void test_products_of_bf16(void **state) {
  (void)state;
#if defined(__aarch64__)
  /* oneDNN numbers the instruction sets of aarch64 as it does those of x86-64. */
  const char *isa = uly__products_isa();
  if (strcmp(isa, "asimd") != 0 && strncmp(isa, "sve_", 4) != 0) fail_msg("aarch64 has no %s", isa);
  assert_false(uly__products_multiply_bf16());
#endif
  for (int i = 0; i < num_tables; i++) {
    uly__ops by_bf16 = tables[i], widened = tables[i];
    by_bf16.matmul = uly__matmul_onednn;
    by_bf16.matmul_bytes = uly__matmul_ref_bytes;
    widen[i](&widened);
    assert_true(widened.matmul_bytes(ULY_BF16, 1) > 0);
    assert_int_equal(widened.matmul_bytes(ULY_BF16, 3), 3 * widened.matmul_bytes(ULY_BF16, 1));
    assert_int_equal(widened.matmul_bytes(ULY_F32, 3), 0);
    check_matmul(&widened, names[i], ULY_BF16);
    check_matmul(&by_bf16, names[i], ULY_BF16);
  }
}

/* Bits do not depend on the number of threads, nor on a workspace for fewer than may run. */
static void test_products_on_threads(void **state) {
  (void)state;
  enum { M = 515, N = 1030, K = 600 };
  void *a = values(M * K, ULY_BF16, 1), *b = values(K * N, ULY_BF16, 2);
  for (int i = 0; i < num_tables; i++) {
    uly__ops widened = tables[i];
    widen[i](&widened);
    uint16_t *first = NULL;
    for (int threads = 1; threads < 6; threads++) {
      uint16_t *c = calloc(M * N, sizeof *c);
      multiply(&widened, threads,
               (uly__matmul){.m = M,
                             .n = N,
                             .k = K,
                             .a = a,
                             .b = b,
                             .c = c,
                             .lda = K,
                             .ldb = N,
                             .ldc = N,
                             .dtype = ULY_BF16,
                             .c_dtype = ULY_BF16});
      if (first) assert_memory_equal(c, first, M * N * sizeof *c);
      if (first)
        free(c);
      else
        first = c;
    }
    free(first);
  }
  free(a), free(b);
}

static void check_norm(const uly__ops *ops, const char *name, uly_dtype dtype) {
  int64_t rows = 150, cols = 301, n = rows * cols;
  void *x = values(n, dtype, 1), *gamma = values(cols, dtype, 2), *beta = values(cols, dtype, 3);
  float *d_y = values(n, ULY_F32, 4);
  for (int kind = 0; kind < 2; kind++) {
    uly__norm_args args = {(uly__norm)kind, 1e-5f, gamma, kind == ULY_NORM_LAYER ? beta : NULL};
    void *y1 = copy(x, n, dtype), *y2 = copy(x, n, dtype);
    ops->norm_forward(uly__stream_get(), &args, rows, cols, dtype, x, y1);
    reference.norm_forward(uly__stream_get(), &args, rows, cols, dtype, x, y2);
    same("norm_forward", name, y1, y2, n, dtype);
    float *d1 = values(2 * cols, ULY_F32, 5), *d2 = values(2 * cols, ULY_F32, 5);
    float *bias1 = args.beta ? d1 + cols : NULL, *bias2 = args.beta ? d2 + cols : NULL;
    ops->norm_backward(uly__stream_get(), &args, rows, cols, dtype, x, d_y, y1, d1, bias1);
    memcpy(y2, x, (size_t)(n * uly__dtype_bytes(dtype)));
    ops->norm_forward(uly__stream_get(), &args, rows, cols, dtype, x, y2);
    reference.norm_backward(uly__stream_get(), &args, rows, cols, dtype, x, d_y, y2, d2, bias2);
    same("norm_backward", name, y1, y2, n, dtype);
    same("norm_backward weights", name, d1, d2, 2 * cols, ULY_F32);
    /* One after the other, as the fused pass does both at once. */
    void *sums = copy(x, n, dtype), *expected = copy(x, n, dtype);
    reference.residual(uly__stream_get(), rows, cols, dtype, x, d_y, beta, expected);
    reference.norm_forward(uly__stream_get(), &args, rows, cols, dtype, expected, y2);
    ops->residual_norm(uly__stream_get(), &args, rows, cols, dtype, x, d_y, beta, sums, y1);
    same("residual_norm: sum", name, sums, expected, n, dtype);
    same("residual_norm: norm", name, y1, y2, n, dtype);
    free(y1), free(y2), free(d1), free(d2), free(sums), free(expected);
  }
  free(x), free(gamma), free(beta), free(d_y);
}

static void test_norm(void **state) {
  (void)state;
  float x[] = {1, 2, 3, 6}, gamma[] = {1, 1, 2, 1}, y[4];
  uly__norm_args rms = {ULY_NORM_RMS, 0.0f, gamma, NULL}, layer = {ULY_NORM_LAYER, 0.0f, gamma, x};
  reference.norm_forward(uly__stream_get(), &rms, 1, 4, ULY_F32, x, y);
  for (int i = 0; i < 4; i++) assert_float_equal(y[i], x[i] / sqrtf(12.5f) * gamma[i], 1e-6f);
  reference.norm_forward(uly__stream_get(), &layer, 1, 4, ULY_F32, x, y);
  for (int i = 0; i < 4; i++)
    assert_float_equal(y[i], (x[i] - 3) / sqrtf(3.5f) * gamma[i] + x[i], 1e-6f);
  for_tables(check_norm);
}

static void check_rows(const uly__ops *ops, const char *name, uly_dtype dtype) {
  int64_t rows = 45, cols = 270, ld = cols + 7, n = rows * ld;
  void *x1 = values(n, dtype, 1), *x2 = values(n, dtype, 1), *bias = values(cols, dtype, 2);
  float *sum = values(rows * cols, ULY_F32, 3);
  ops->add_bias(uly__stream_get(), rows, cols, ld, dtype, x1, bias);
  reference.add_bias(uly__stream_get(), rows, cols, ld, dtype, x2, bias);
  same("add_bias", name, x1, x2, n, dtype);
  float *d1 = values(cols, ULY_F32, 4), *d2 = values(cols, ULY_F32, 4);
  ops->bias_backward(uly__stream_get(), rows, cols, ld, dtype, x1, d1);
  reference.bias_backward(uly__stream_get(), rows, cols, ld, dtype, x2, d2);
  same("bias_backward", name, d1, d2, cols, ULY_F32);
  ops->residual(uly__stream_get(), rows, cols, dtype, x1, sum, bias, x1);
  reference.residual(uly__stream_get(), rows, cols, dtype, x2, sum, bias, x2);
  same("residual", name, x1, x2, rows * cols, dtype);
  float *table = malloc(45 * 30 * sizeof *table);
  int64_t positions[45];
  for (int64_t r = 0; r < rows; r++) positions[r] = 1000000 + r;
  uly__rope angles = {.scale = 1.25};
  for (int i = 0; i < 15; i++) angles.frequency[i] = pow(10000.0, -i / 15.0);
  reference.rope_table(uly__stream_get(), rows, positions, 30, &angles, table);
  ops->rope(uly__stream_get(), rows, 9, 30, ld, dtype, table, 1.0f, x1);
  reference.rope(uly__stream_get(), rows, 9, 30, ld, dtype, table, 1.0f, x2);
  same("rope", name, x1, x2, n, dtype);
  ops->rope(uly__stream_get(), rows, 9, 30, ld, dtype, table, -1.0f, x1);
  reference.rope(uly__stream_get(), rows, 9, 30, ld, dtype, table, -1.0f, x2);
  same("rope back", name, x1, x2, n, dtype);
  free(x1), free(x2), free(bias), free(sum), free(d1), free(d2), free(table);
}

static void test_rows(void **state) {
  (void)state;
  /* Position 1 turns the pair (x0, x1) of a head of 2 by one radian. */
  float x[] = {1, 0}, table[2];
  int64_t position = 1;
  uly__rope rope = {.frequency = {1}, .scale = 1};
  reference.rope_table(uly__stream_get(), 1, &position, 2, &rope, table);
  reference.rope(uly__stream_get(), 1, 1, 2, 2, ULY_F32, table, 1.0f, x);
  assert_float_equal(x[0], cos(1.0), 1e-6f);
  assert_float_equal(x[1], sin(1.0), 1e-6f);
  position = 123456789;
  reference.rope_table(uly__stream_get(), 1, &position, 2, &rope, table);
  /* f32 angles would be off by radians. */
  assert_float_equal(table[0], cos(123456789.0), 1e-6f);
  for_tables(check_rows);
}

static void check_activations(const uly__ops *ops, const char *name, uly_dtype dtype) {
  enum { N = 1031 };
  void *gate = values(N, dtype, 1), *up = values(N, dtype, 2), *d = values(N, dtype, 3);
  for (int64_t i = 0; i < N; i++) uly__store(gate, dtype, i, 9 * uly__load(gate, dtype, i));
  void *a[3], *b[3];
  for (int i = 0; i < 3; i++) a[i] = copy(d, N, dtype), b[i] = copy(d, N, dtype);
  ops->swiglu_forward(uly__stream_get(), N, dtype, gate, up, a[0]);
  reference.swiglu_forward(uly__stream_get(), N, dtype, gate, up, b[0]);
  ops->swiglu_backward(uly__stream_get(), N, dtype, gate, up, a[1], a[1],
                       a[2]); /* d_gate in the place of d_act */
  reference.swiglu_backward(uly__stream_get(), N, dtype, gate, up, b[1], b[1], b[2]);
  for (int i = 0; i < 3; i++) same("swiglu", name, a[i], b[i], N, dtype);
  ops->gelu_forward(uly__stream_get(), 1, N, dtype, gate, NULL, a[0]);
  reference.gelu_forward(uly__stream_get(), 1, N, dtype, gate, NULL, b[0]);
  same("gelu", name, a[0], b[0], N, dtype);
  enum { ROWS = 3, COLS = N / ROWS };
  void *x1 = copy(gate, N, dtype), *x2 = copy(gate, N, dtype);
  ops->gelu_forward(uly__stream_get(), ROWS, COLS, dtype, x1, up, a[0]);
  reference.add_bias(uly__stream_get(), ROWS, COLS, COLS, dtype, x2, up);
  reference.gelu_forward(uly__stream_get(), ROWS, COLS, dtype, x2, NULL, b[0]);
  same("gelu: x + bias", name, x1, x2, N, dtype);
  same("gelu of x + bias", name, a[0], b[0], (int64_t)ROWS * COLS, dtype);
  free(x1), free(x2);
  ops->gelu_backward(uly__stream_get(), N, dtype, gate, d, a[0]);
  reference.gelu_backward(uly__stream_get(), N, dtype, gate, d, b[0]);
  same("gelu_backward", name, a[0], b[0], N, dtype);
  for (int i = 0; i < 3; i++) free(a[i]), free(b[i]);
  free(gate), free(up), free(d);
}

static void test_activations(void **state) {
  (void)state;
  for (double x = -90; x < 88; x += 0.37)
    if (x > -87) assert_true(fabs((double)uly__exp((float)x) / exp((double)(float)x) - 1) < 3e-7);
  assert_true(uly__exp(-1e30f) == 0.0f && uly__exp(-INFINITY) == 0.0f && uly__exp(0.0f) == 1.0f);
  assert_true(isnan(uly__exp(NAN)) && isfinite(uly__exp(INFINITY)));
  for (double x = -12; x < 12; x += 0.31) {
    float in = (float)x, one = 1, out, d_x, d_up;
    double s = 1 / (1 + exp(-(double)in)), t = tanh(0.7978845608 * (in + 0.044715 * pow(in, 3)));
    reference.swiglu_forward(uly__stream_get(), 1, ULY_F32, &in, &one, &out);
    assert_float_equal(out, in * s, 1e-5f);
    reference.swiglu_backward(uly__stream_get(), 1, ULY_F32, &in, &one, &one, &d_x, &d_up);
    assert_float_equal(d_x, s + in * s * (1 - s), 1e-5f);
    assert_float_equal(d_up, in * s, 1e-5f);
    reference.gelu_forward(uly__stream_get(), 1, 1, ULY_F32, &in, NULL, &out);
    assert_float_equal(out, 0.5 * in * (1 + t), 1e-5f);
    reference.gelu_backward(uly__stream_get(), 1, ULY_F32, &in, &one, &d_x);
    double inner = 0.7978845608 * (1 + 3 * 0.044715 * in * in);
    assert_float_equal(d_x, 0.5 * (1 + t) + 0.5 * in * (1 - t * t) * inner, 1e-5f);
  }
  for_tables(check_activations);
}

/* An embedding, and what tables with a part of the rows make of it. */
typedef struct embedding_case {
  int rows, cols, num_tokens, num_positions;
  const int32_t *tokens;
  const int64_t *at;
  const void *table, *positions, *y;
  const float *d_table, *d_positions;
} embedding_case;

/* Compares the whole with the sum, and the gradients, of `num` parts of the tables. */
static void check_embedding_parts(const uly__ops *ops, const char *name, uly_dtype dtype,
                                  const embedding_case *c, int num) {
  int64_t count = (int64_t)c->rows * c->cols;
  void *part = calloc((size_t)count, 4);
  float *sum = calloc((size_t)count, 4), *whole = calloc((size_t)count, 4);
  float *d1 = calloc((size_t)(c->num_tokens * c->cols), 4);
  float *p1 = calloc((size_t)(c->num_positions * c->cols), 4);
  for (int i = 0; i < num; i++) {
    uly__rows_held held = {uly__split(c->num_tokens, 1, num, i),
                           uly__split(c->num_positions, 1, num, num - 1 - i)};
    int64_t table = held.tokens.begin * c->cols, positions = held.positions.begin * c->cols;
    ops->embedding_forward(uly__stream_get(), c->rows, c->cols, dtype,
                           uly__at(c->table, dtype, table), uly__at(c->positions, dtype, positions),
                           &held, c->tokens, c->at, part);
    for (int64_t j = 0; j < count; j++) sum[j] += uly__load(part, dtype, j);
    ops->embedding_backward(uly__stream_get(), c->rows, c->cols, dtype, &held, c->tokens, c->at,
                            c->y, d1 + table, p1 + positions);
  }
  for (int64_t j = 0; j < count; j++) whole[j] = uly__load(c->y, dtype, j);
  for (int64_t j = 0; j < count; j++)
    assert_true(fabsf(sum[j] - whole[j]) <= (dtype == ULY_BF16 ? 0.02f : 0.0f));
  same("embedding_backward of parts", name, d1, c->d_table, c->num_tokens * c->cols, ULY_F32);
  same("embedding_backward of parts of positions", name, p1, c->d_positions,
       c->num_positions * c->cols, ULY_F32);
  free(part), free(sum), free(whole), free(d1), free(p1);
}

static void check_embedding(const uly__ops *ops, const char *name, uly_dtype dtype) {
  enum { ROWS = 37, COLS = 100, V = 11, POSITIONS = 17 };
  int32_t tokens[ROWS];
  int64_t at[ROWS];
  for (int r = 0; r < ROWS; r++)
    tokens[r] = r * r % V, at[r] = r * 3 % POSITIONS; /* repeats: gradients add up */
  void *table = values(V * COLS, dtype, 1), *positions = values(POSITIONS * COLS, dtype, 2);
  void *y1 = values(ROWS * COLS, dtype, 3), *y2 = values(ROWS * COLS, dtype, 3);
  ops->embedding_forward(uly__stream_get(), ROWS, COLS, dtype, table, positions, NULL, tokens, at,
                         y1);
  reference.embedding_forward(uly__stream_get(), ROWS, COLS, dtype, table, positions, NULL, tokens,
                              at, y2);
  same("embedding", name, y1, y2, ROWS * COLS, dtype);
  for (int i = 0; i < COLS; i++)
    assert_float_equal(
        uly__load(y2, dtype, 5 * COLS + i),
        uly__load(table, dtype, 25 % V * COLS + i) + uly__load(positions, dtype, 15 * COLS + i),
        0.02f);
  float *d1 = calloc(V * COLS, 4), *d2 = calloc(V * COLS, 4);
  float *p1 = calloc(POSITIONS * COLS, 4), *p2 = calloc(POSITIONS * COLS, 4);
  ops->embedding_backward(uly__stream_get(), ROWS, COLS, dtype, NULL, tokens, at, y1, d1, p1);
  for (int r = 0; r < ROWS; r++)
    for (int i = 0; i < COLS; i++) {
      d2[tokens[r] * COLS + i] += uly__load(y1, dtype, r * COLS + i);
      p2[at[r] * COLS + i] += uly__load(y1, dtype, r * COLS + i);
    }
  same("embedding_backward", name, d1, d2, V * COLS, ULY_F32);
  same("embedding_backward of positions", name, p1, p2, POSITIONS * COLS, ULY_F32);
  embedding_case all = {ROWS, COLS, V, POSITIONS, tokens, at, table, positions, y1, d2, p2};
  for (int num = 1; num <= 5; num++) check_embedding_parts(ops, name, dtype, &all, num);
  free(table), free(positions), free(y1), free(y2), free(d1), free(d2), free(p1), free(p2);
}

static void test_embedding(void **state) {
  (void)state;
  for_tables(check_embedding);
}

/* Computes losses and gradients from the logits of `num` parts of the vocabulary, and compares them
 * with those of the whole. */
static void check_loss_parts(const uly__ops *ops, const char *name, uly_dtype dtype, int rows,
                             int vocab, const float *logits, const int32_t *labels,
                             const double *losses, const void *d_whole, int num) {
  uly__logit_summary *summaries = calloc((size_t)(num * rows), sizeof *summaries);
  void *d_all = calloc((size_t)(rows * vocab), 4), *d = calloc((size_t)(rows * vocab), 4);
  float *mine = calloc((size_t)(rows * vocab), 4);
  double *loss = calloc((size_t)rows, sizeof *loss);
  for (int turn = 0; turn < 2; turn++) /* the summaries of all parts, then the losses */
    for (int i = 0; i < num; i++) {
      uly__part part = uly__split(vocab, 1, num, i);
      for (int r = 0; r < rows; r++)
        memcpy(mine + r * part.count, logits + r * vocab + part.begin, (size_t)part.count * 4);
      if (turn == 0) {
        ops->summarize_logits(uly__stream_get(), rows, part.count, mine, labels, part.begin,
                              summaries + (ptrdiff_t)i * rows);
        continue;
      }
      uly__vocab_part held = {part.begin, num, summaries};
      ops->cross_entropy(uly__stream_get(), rows, part.count, mine, labels, &held, 0.5f, loss,
                         dtype, d);
      for (int r = 0; r < rows; r++) {
        assert_true(fabs(loss[r] - losses[r]) <= 1e-6 * fmax(1.0, losses[r]));
        for (int64_t j = 0; j < part.count; j++)
          uly__store(d_all, dtype, r * vocab + part.begin + j,
                     uly__load(d, dtype, r * part.count + j));
      }
    }
  same("cross_entropy of parts", name, d_all, d_whole, rows * vocab, dtype);
  free(summaries), free(d_all), free(d), free(mine), free(loss);
}

static void check_loss(const uly__ops *ops, const char *name, uly_dtype dtype) {
  enum { ROWS = 7, V = 600 };
  float *logits = values(ROWS * V, ULY_F32, 1);
  int32_t labels[ROWS] = {3, 599, -1, 0, 255, 256, -100};
  for (int i = 0; i < V; i++) logits[i] = i == 3 ? 500.0f : -500.0f; /* softmax then log: -inf */
  double l1[ROWS], l2[ROWS];
  void *d1 = values(ROWS * V, dtype, 2), *d2 = values(ROWS * V, dtype, 2);
  ops->cross_entropy(uly__stream_get(), ROWS, V, logits, labels, NULL, 0.5f, l1, dtype, d1);
  for (int r = 0; r < ROWS; r++) { /* in f64, here */
    double largest = -INFINITY, sum = 0;
    for (int i = 0; i < V; i++) {
      double logit = (double)logits[r * V + i];
      if (logit > largest) largest = logit; /* GCC 12 crashes at fmax here, for aarch64 */
    }
    for (int i = 0; i < V; i++) sum += exp((double)logits[r * V + i] - largest);
    l2[r] = labels[r] < 0 ? 0 : log(sum) + largest - (double)logits[r * V + labels[r]];
    for (int i = 0; i < V; i++) {
      double p = exp((double)logits[r * V + i] - largest) / sum - (i == labels[r]);
      uly__store(d2, dtype, r * V + i, (float)(labels[r] < 0 ? 0 : 0.5 * p));
    }
    assert_true(fabs(l1[r] - l2[r]) <= 1e-6 * fmax(1.0, l2[r]));
  }
  same("cross_entropy", name, d1, d2, ROWS * V, dtype);
  for (int num = 1; num <= 7; num++)
    check_loss_parts(ops, name, dtype, ROWS, V, logits, labels, l2, d2, num);
  if (dtype == ULY_F32) { /* in place */
    ops->cross_entropy(uly__stream_get(), ROWS, V, logits, labels, NULL, 0.5f, l1, dtype, logits);
    assert_memory_equal(logits, d1, ROWS * V * 4);
  }
  free(logits), free(d1), free(d2);
}

static void test_loss(void **state) {
  (void)state;
  for_tables(check_loss);
}

static void test_optimizer(void **state) {
  (void)state;
  enum { N = 1000 };
  for (int i = 0; i < num_tables; i++) {
    float *p = values(N, ULY_F32, 1), *m = values(N, ULY_F32, 2), *v = calloc(N, 4);
    float *g = values(N, ULY_F32, 3), *p0 = values(N, ULY_F32, 1), *m0 = values(N, ULY_F32, 2);
    uint16_t rounded[N];
    uly__adamw args = {.lr = 0.01,
                       .beta1 = 0.9,
                       .beta2 = 0.95,
                       .eps = 1e-8,
                       .weight_decay = 0.1,
                       .grad_scale = 0.5,
                       .step = 3,
                       .param = p,
                       .m = m,
                       .v = v,
                       .grad = g,
                       .copy_bf16 = rounded};
    tables[i].adamw(uly__stream_get(), N, &args);
    double squares = 0;
    for (int j = 0; j < N; j++) {
      double grad = 0.5 * (double)g[j], mj = 0.9 * (double)m0[j] + 0.1 * grad;
      double vj = 0.05 * grad * grad;
      double step = mj / (1 - 0.9 * 0.9 * 0.9) / (sqrt(vj / (1 - 0.95 * 0.95 * 0.95)) + 1e-8);
      double expected = (double)p0[j] * (1 - 0.01 * 0.1) - 0.01 * step;
      assert_true(fabs((double)p[j] - expected) <= 2e-6 * fmax(1.0, fabs(step)));
      assert_int_equal(rounded[j], uly__f32_to_bf16(p[j]));
      squares += (double)g[j] * (double)g[j];
    }
    uly__exact_sum sum = {0};
    tables[i].add_squares(uly__stream_get(), N, ULY_F32, g, &sum);
    assert_true(fabs(uly__exact_value(&sum) / squares - 1) < 1e-12);
    free(p), free(m), free(v), free(g), free(p0), free(m0);
  }
}

static uint32_t random_state = 1;

static int pick(int lowest, int largest) {
  random_state = random_state * 1664525u + 1013904223u;
  return lowest + (int)(random_state >> 8) % (largest - lowest + 1);
}

/* parts: those of random_mask. Rows have 3 + pad more elements than their heads need: pairs of bf16
 * want it even. Freed by free_case. */
static uly__attention_args attention_case(uly_dtype dtype, int64_t N, int d, uly_mask_kind kind,
                                          int parts, int pad) {
  /* Ragged: my 5 query heads, of 9 in all, begin in the middle of a group of 3. */
  uly__attention_args a = {.queries = {0, N},
                           .keys = {0, N},
                           .num_q_heads = 5,
                           .num_kv_heads = 2,
                           .head_dim = d,
                           .first_q_head = 4,
                           .group_size = 3,
                           .group_offset = 1,
                           .dtype = dtype,
                           .scale = 0.3f,
                           .q_stride = 9 * d + 3 + pad,
                           .kv_stride = 9 * d + 3 + pad,
                           .o_stride = 5 * d + 1 + pad,
                           .softmax_stride = N};
  char *qkv = values(N * a.q_stride, dtype, 1);
  a.q = qkv;
  a.k = qkv + 5 * d * uly__dtype_bytes(dtype);
  a.v = qkv + 7 * d * uly__dtype_bytes(dtype);
  a.d_o = values(N * a.o_stride, dtype, 2);
  uly_mask desc = random_mask(parts, N, 9, pick);
  desc.kind = kind;
  uly__mask *mask;
  assert_ok(uly__mask_create(&desc, N, 9, &mask));
  a.mask = mask;
  free_random_mask(&desc);
  return a;
}

static void free_case(uly__attention_args *a) {
  free((void *)(uintptr_t)a->q), free((void *)(uintptr_t)a->d_o);
  uly__mask_destroy((uly__mask *)(uintptr_t)a->mask);
}

static void run_attention(const uly__ops *ops, uly__attention_args a, void *o, char *d_qkv,
                          uly__softmax_row *softmax) {
  int64_t bytes = uly__dtype_bytes(a.dtype);
  uly__attention_workspace unused;
  void *workspace = malloc((size_t)uly__attention_carve(&a, NULL, &unused));
  a.o = o;
  a.softmax = softmax;
  ops->attention_forward(uly__stream_get(), &a);
  a.d_q = d_qkv;
  a.d_k = d_qkv + 5 * a.head_dim * bytes;
  a.d_v = d_qkv + 7 * a.head_dim * bytes;
  ops->attention_backward(uly__stream_get(), &a, workspace);
  free(workspace);
}

/* What forward and backward write; the padding of rows has values too, which must stay. */
typedef struct attention_outputs {
  void *o;
  char *d_qkv;
  uly__softmax_row *softmax;
} attention_outputs;

static attention_outputs attend(const uly__ops *ops, uly__attention_args a) {
  attention_outputs out = {.o = values(a.queries.count * a.o_stride, a.dtype, 3),
                           .d_qkv = values(a.queries.count * a.q_stride, a.dtype, 4),
                           .softmax = calloc((size_t)a.queries.count * 5, sizeof *out.softmax)};
  run_attention(ops, a, out.o, out.d_qkv, out.softmax);
  return out;
}

static void free_outputs(attention_outputs *out) {
  free(out->o), free(out->d_qkv), free(out->softmax);
}

/* Compares every table with the reference, which is slow: it runs once. */
static void compare_attention(uly__attention_args a) {
  int64_t N = a.queries.count;
  attention_outputs expected = attend(&reference, a);
  for (int i = 0; i < num_tables; i++) {
    attention_outputs found = attend(&tables[i], a);
    same("attention o", names[i], found.o, expected.o, N * a.o_stride, a.dtype);
    same("attention softmax", names[i], found.softmax, expected.softmax, N * 10, ULY_F32);
    same("attention d_qkv", names[i], found.d_qkv, expected.d_qkv, N * a.q_stride, a.dtype);
    free_outputs(&found);
  }
  free_outputs(&expected);
  free_case(&a);
}

static const int mask_parts[] = {0, WITH_WINDOW, WITH_DOCUMENTS | WITH_HEAD_BLOCKS, WITH_BLOCKS};

static void test_attention(void **state) {
  (void)state;
  int64_t lengths[] = {1, 63, 64, 65, 200};
  int dims[] = {1, 8, 34, 64, 256};
  int stride = case_stride();
  for (int dtype = 0; dtype < 2; dtype++)
    for (int i = 0; i < 5; i++)
      for (int turn = 0; turn < 16; turn += stride) { /* full and causal, alone and with more */
        uly__attention_args a =
            attention_case((uly_dtype)dtype, lengths[i], dims[(i + turn) % 5],
                           (uly_mask_kind)(turn % 2), mask_parts[turn / 2 % 4], turn / 8);
        if (turn % 3 == 0) a.scale = -a.scale;
        compare_attention(a);
      }
}

/* Long enough for a thread to take four blocks of keys or queries at a time, or two; the last group
 * is short. */
static void test_attention_in_groups(void **state) {
  (void)state;
  static const struct {
    int threads, d, parts;
    int64_t N;
  } cases[] = {{1, 8, 2, 2060}, {1, 34, 1, 1030}, {2, 8, 0, 2060}};
  for (int i = 0; i<6; i += case_stride()> 1 ? 3 : 1) {
    omp_set_num_threads(cases[i / 2].threads);
    compare_attention(attention_case((uly_dtype)(i % 2), cases[i / 2].N, cases[i / 2].d,
                                     ULY_MASK_CAUSAL, mask_parts[cases[i / 2].parts], 1));
  }
  omp_set_num_threads(3);
}

static void count_poll(void *count) { (*(int *)count)++; }

/* Exchanges that run beside attention are driven by its polls: also where a window leaves few tiles
 * in a row. */
static void test_attention_polls(void **state) {
  (void)state;
  enum { N = 2048, D = 8 };
  for (int i = 0; i < num_tables; i++)
    for (int64_t window = 0; window <= 64; window += 64) {
      uly__attention_args a = attention_case(ULY_BF16, N, D, ULY_MASK_CAUSAL, 0, 1);
      uly_mask mask = {.kind = ULY_MASK_CAUSAL, .window = window};
      uly__mask *index;
      int count = 0;
      assert_ok(uly__mask_create(&mask, N, 9, &index));
      uly__mask_destroy((uly__mask *)(uintptr_t)a.mask);
      a.mask = index;
      a.poll = count_poll;
      a.poll_context = &count;
      omp_set_num_threads(1);
      void *o = values(N * a.o_stride, ULY_BF16, 3);
      char *d_qkv = values(N * a.q_stride, ULY_BF16, 4);
      uly__softmax_row *softmax = calloc((size_t)N * 5, sizeof *softmax);
      a.o = o;
      a.softmax = softmax;
      tables[i].attention_forward(uly__stream_get(), &a);
      int forward = count, blocks = N / 64;
      int tiles = 5 * (window ? 2 * blocks - 1 : blocks * (blocks + 1) / 2);
      run_attention(&tables[i], a, o, d_qkv, softmax);
      int backward = count - 2 * forward;
      if (forward < tiles / 32 || backward < tiles / 32 || count > 3 * tiles)
        fail_msg("%s, window %d: %d polls of forward, %d of backward, for %d tiles", names[i],
                 (int)window, forward, backward, tiles);
      omp_set_num_threads(3);
      free(o), free(d_qkv), free(softmax);
      free_case(&a);
    }
}

/* Scores of a thousand overflow an exponential that is not shifted by the maximum. */
static void test_large_scores(void **state) {
  (void)state;
  for (int i = 0; i < num_tables; i++) {
    uly__attention_args a = attention_case(ULY_F32, 100, 16, ULY_MASK_CAUSAL, 0, 0);
    a.scale = 1e4f;
    float o[100 * 81];
    uly__softmax_row softmax[500];
    char *d_qkv = calloc(100 * (size_t)a.q_stride, 4);
    memset(o, 0, sizeof o);
    run_attention(&tables[i], a, o, d_qkv, softmax);
    for (int j = 0; j < 100 * 81; j++) assert_true(isfinite(o[j]));
    for (int64_t j = 0; j < 100 * a.q_stride; j++) assert_true(isfinite(((float *)d_qkv)[j]));
    free(d_qkv);
    free_case(&a);
  }
}

static void test_bf16(void **state) {
  (void)state;
  assert_int_equal(uly__f32_to_bf16(1.0f), 0x3f80);
  assert_int_equal(uly__f32_to_bf16(1.0f + 0x1p-8f), 0x3f80);           /* a tie: to even */
  assert_int_equal(uly__f32_to_bf16(1.0f + 0x1p-7f + 0x1p-8f), 0x3f82); /* a tie: to even */
  assert_int_equal(uly__f32_to_bf16(1.0f + 0x1.02p-8f), 0x3f81);
  assert_int_equal(uly__f32_to_bf16(3.4e38f), 0x7f80);
  assert_true(isnan(uly__bf16_to_f32(uly__f32_to_bf16(NAN))));
  assert_true(isinf(uly__bf16_to_f32(uly__f32_to_bf16(-INFINITY))));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_bf16),
      cmocka_unit_test(test_matmul),
      cmocka_unit_test(test_exact_products),
      cmocka_unit_test(test_products_of_bf16),
      cmocka_unit_test(test_products_on_threads),
      cmocka_unit_test(test_norm),
      cmocka_unit_test(test_rows),
      cmocka_unit_test(test_activations),
      cmocka_unit_test(test_embedding),
      cmocka_unit_test(test_loss),
      cmocka_unit_test(test_optimizer),
      cmocka_unit_test(test_attention),
      cmocka_unit_test(test_attention_in_groups),
      cmocka_unit_test(test_attention_polls),
      cmocka_unit_test(test_large_scores),
  };
  static const struct {
    const char *name;
    void (*widen)(uly__ops *table);
  } all[] = {
    {"base", uly__matmul_widened_base},
#if defined(__x86_64__)
    {"avx2", uly__matmul_widened_avx2},
    {"avx512", uly__matmul_widened_avx512},
    {"avx512bf16", uly__matmul_widened_avx512}
#endif
  };
  omp_set_num_threads(3);
  if (!uly__ops_named("reference", &reference)) return 1;
  for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
    if (!uly__ops_named(all[i].name, &tables[num_tables])) continue;
    names[num_tables] = all[i].name;
    widen[num_tables++] = all[i].widen;
  }
  return cmocka_run_group_tests(tests, NULL, NULL);
}
