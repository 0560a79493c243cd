/* Compares ops of every kernel table that this CPU runs (base, avx2, avx512) with those of the
 * reference table, in both storage types, at odd sizes and strides; and the reference with formulas
 * written here. Products are in test_products.c, attention is in test_attention_tables.c. */
#include <math.h>

#include "kernel_tables.h"
#include "ops/vector_math.h"

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
      cmocka_unit_test(test_bf16),      cmocka_unit_test(test_norm),
      cmocka_unit_test(test_rows),      cmocka_unit_test(test_activations),
      cmocka_unit_test(test_embedding), cmocka_unit_test(test_loss),
      cmocka_unit_test(test_optimizer),
  };
  if (!find_tables()) return 1;
  return cmocka_run_group_tests(tests, NULL, NULL);
}
