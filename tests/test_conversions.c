/* Tests the ops between the types of files and f32: every value of bf16 and f16 is widened as its
 * type defines it and narrowed to itself; f32 is rounded to the nearest value of a type, of two to
 * the even one; and strides and transpositions reach the elements that they should. */
#include <float.h>
#include <math.h>

#include "ops/ops.h"
#include "testing.h"

enum { ALL = 1 << 16 };

static uint32_t bits_of(float x) {
  uint32_t bits;
  memcpy(&bits, &x, sizeof bits);
  return bits;
}

static float float_of(uint32_t bits) {
  float x;
  memcpy(&x, &bits, sizeof x);
  return x;
}

/* Returns the value of a finite bf16 or f16, by the widths of its exponent and mantissa. */
static double value_of(uly_dtype dtype, uint32_t bits) {
  int width = dtype == ULY_F16 ? 10 : 7, bias = dtype == ULY_F16 ? 15 : 127;
  int exponent = (int)(bits >> width) & (dtype == ULY_F16 ? 31 : 255);
  double mantissa = (double)(bits & ((1u << width) - 1));
  double value = exponent == 0 ? ldexp(mantissa, 1 - bias - width)
                               : ldexp(mantissa + (1 << width), exponent - bias - width);
  return bits & 0x8000u ? -value : value;
}

static uint16_t largest_of(uly_dtype dtype) { return dtype == ULY_F16 ? 0x7bff : 0x7f7f; }

static void every_value(void **state) {
  (void)state;
  const uly__ops *ops = uly__ops_get();
  uly__stream *s = uly__stream_get();
  uint16_t *x = malloc(ALL * sizeof *x), *back = malloc(ALL * sizeof *back);
  float *y = malloc(ALL * sizeof *y);
  for (int i = 0; i < ALL; i++) x[i] = (uint16_t)i;
  for (int type = ULY_BF16; type <= ULY_F16; type++) {
    uly_dtype dtype = (uly_dtype)type;
    int width = dtype == ULY_F16 ? 10 : 7;
    ops->widen(s, 1, ALL, dtype, x, ALL, 1, y);
    assert_false(ops->narrow(s, 1, ALL, y, dtype, back, ALL, 1));
    for (int i = 0; i < ALL; i++) {
      uint32_t rest = (uint32_t)i & 0x7fffu, infinite = largest_of(dtype) + 1u;
      uint32_t special = ((uint32_t)i & 0x8000u) << 16 | 0x7f800000u |
                         (rest & ((1u << width) - 1)) << (23 - width);
      if (rest >= infinite)
        assert_int_equal(bits_of(y[i]), special); /* the payload of a NaN stays */
      else
        assert_int_equal(bits_of(y[i]), bits_of((float)value_of(dtype, (uint32_t)i)));
      assert_int_equal(back[i], i);
    }
  }
  free(x);
  free(back);
  free(y);
}

/* Returns the value of the type that is nearest, found by search; of two, the one with even
 * bits. */
static uint16_t nearest(uly_dtype dtype, float x) {
  uint16_t sign = signbit(x) ? 0x8000 : 0, largest = largest_of(dtype);
  double positive = fabs((double)x);
  /* Infinity stands for the value after the largest. */
  uint32_t low = 0, high = largest + 1u;
  while (high - low > 1) {
    uint32_t middle = (low + high) / 2;
    if (value_of(dtype, middle) <= positive)
      low = middle;
    else
      high = middle;
  }
  double below = positive - value_of(dtype, low), above = value_of(dtype, high) - positive;
  if (high == largest + 1u)
    above = 2 * value_of(dtype, largest) - value_of(dtype, largest - 1u) - positive;
  bool up = above < below || (above == below && low % 2 == 1);
  return (uint16_t)(sign | (up ? high : low));
}

static void rounded(void **state) {
  (void)state;
  enum { NUM = 200000 };
  const uly__ops *ops = uly__ops_get();
  float *x = malloc(NUM * sizeof *x);
  uint16_t *y = malloc(NUM * sizeof *y);
  uint32_t seed = 7;
  for (int i = 0; i < NUM; i++) {
    seed = seed * 1664525u + 1013904223u;
    uint32_t bits = seed;
    if (i % 3 == 1) bits = (bits & 0x8fffffffu) | 0x30000000u; /* where f16 has values */
    if (i % 5 == 2) bits &= 0xfffff000u;                       /* ties of f16 */
    if (i % 5 == 3) bits &= 0xffff8000u;                       /* ties of bf16 */
    if ((bits & 0x7f800000u) == 0x7f800000u) bits ^= 0x40000000u;
    x[i] = float_of(bits);
  }
  const float edges[] = {65504,           65519.996f, 65520,        -65520,
                         65536,           0x1p-24f,   0x1p-25f,     0x1.8p-24f,
                         0x1.000002p-25f, -0x1p-14f,  0x1.ffcp-15f, 0x1.ffep-15f,
                         3.4e38f,         0,          -0.0f};
  memcpy(x, edges, sizeof edges);
  for (int type = ULY_BF16; type <= ULY_F16; type++) {
    ops->narrow(uly__stream_get(), 1, NUM, x, (uly_dtype)type, y, NUM, 1);
    for (int i = 0; i < NUM; i++)
      if (y[i] != nearest((uly_dtype)type, x[i]))
        fail_msg("type %d: %a is %04x, not %04x", type, (double)x[i], y[i],
                 nearest((uly_dtype)type, x[i]));
    /* A NaN stays one, whatever of its payload is lost. */
    const float nan = float_of(0x7f800001u);
    uint16_t to;
    ops->narrow(uly__stream_get(), 1, 1, &nan, (uly_dtype)type, &to, 1, 1);
    assert_true(to > largest_of((uly_dtype)type) + 1 && to < 0x8000);
  }
  free(x);
  free(y);
}

/* Narrowing tells whether a finite value became infinite, wherever it is and however long its rows
 * are; values that were infinite, or no numbers, do not count. */
static void lost_values(void **state) {
  (void)state;
  enum { NUM = 99991 }; /* several threads share them */
  const uly__ops *ops = uly__ops_get();
  uly__stream *s = uly__stream_get();
  float *x = malloc(NUM * sizeof *x);
  uint16_t *y = malloc(NUM * sizeof *y);
  uint32_t *same = malloc(NUM * sizeof *same);
  for (int64_t i = 0; i < NUM; i++) x[i] = i % 3 ? (i % 3 == 1 ? INFINITY : -NAN) : 65504;
  const struct {
    float value;
    bool in_f16, in_bf16;
  } cases[] = {{65504, 1, 1},           {65519.996f, 1, 1},   {65520, 0, 1},
               {-65520, 0, 1},          {65536, 0, 1},        {0x1.fep127f, 0, 1},
               {0x1.fefffep127f, 0, 1}, {-0x1.ffp127f, 0, 0}, {FLT_MAX, 0, 0},
               {0x1p-149f, 1, 1},       {-0.0f, 1, 1}};
  static const int64_t places[] = {0, 31, 32767, 32768, 77777, NUM - 1};
  for (size_t c = 0; c < sizeof cases / sizeof cases[0]; c++)
    for (size_t p = 0; p < sizeof places / sizeof places[0]; p++) {
      float before = x[places[p]];
      x[places[p]] = cases[c].value;
      /* 99991 is prime: one row, then one column, whose elements lie apart */
      assert_int_equal(ops->narrow(s, 1, NUM, x, ULY_F16, y, NUM, 1), !cases[c].in_f16);
      assert_int_equal(ops->narrow(s, NUM, 1, x, ULY_F16, y, 1, 7), !cases[c].in_f16);
      assert_int_equal(ops->narrow(s, 1, NUM, x, ULY_BF16, y, NUM, 1), !cases[c].in_bf16);
      assert_false(ops->narrow(s, 1, NUM, x, ULY_F32, same, NUM, 1));
      x[places[p]] = before;
    }
  free(x);
  free(y);
  free(same);
}

/* Returns element i of an array of any type as bits of f32. */
static uint32_t load(uly_dtype dtype, const void *x, int64_t i) {
  uint16_t half;
  uint32_t whole;
  if (dtype == ULY_F32) {
    memcpy(&whole, (const char *)x + 4 * i, 4);
    return whole;
  }
  memcpy(&half, (const char *)x + 2 * i, 2);
  return dtype == ULY_BF16 ? (uint32_t)half << 16 : bits_of((float)value_of(ULY_F16, half));
}

static void places(void **state) {
  (void)state;
  static const int64_t shapes[][2] = {{1, 1}, {1, 77}, {77, 1}, {33, 65}, {300, 517}, {31, 4099}};
  const uly__ops *ops = uly__ops_get();
  uly__stream *s = uly__stream_get();
  for (int c = 0; c < 6 * 3 * 3; c++) {
    int64_t rows = shapes[c % 6][0], cols = shapes[c % 6][1];
    uly_dtype dtype = (uly_dtype)(c / 6 % 3);
    /* As it is, with longer rows, or transposed. */
    int how = c / 18;
    int64_t row_step = how == 2 ? 1 : cols + 5 * how, col_step = how == 2 ? rows + 3 : 1;
    int64_t count = (rows - 1) * row_step + (cols - 1) * col_step + 1;
    size_t bytes = (size_t)(count * uly__dtype_bytes(dtype));
    char *x = malloc(bytes), *back = malloc(bytes);
    float *y = malloc((size_t)(rows * cols) * sizeof *y);
    /* Values that every type has: integers up to 255. */
    float *source = malloc((size_t)count * sizeof *source);
    for (int64_t i = 0; i < count; i++) source[i] = (float)(i * 37 % 251);
    ops->narrow(s, 1, count, source, dtype, x, count, 1);
    memcpy(back, x, bytes);
    ops->widen(s, rows, cols, dtype, x, row_step, col_step, y);
    for (int64_t r = 0; r < rows; r++)
      for (int64_t i = 0; i < cols; i++) {
        int64_t at = r * row_step + i * col_step;
        assert_int_equal(bits_of(y[r * cols + i]), load(dtype, x, at));
        y[r * cols + i] += 1;
        source[at] += 1; /* and nothing else changes */
      }
    ops->narrow(s, rows, cols, y, dtype, back, row_step, col_step);
    ops->narrow(s, 1, count, source, dtype, x, count, 1);
    assert_memory_equal(back, x, bytes);
    free(x);
    free(back);
    free(y);
    free(source);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(every_value), cmocka_unit_test(rounded),
                                     cmocka_unit_test(lost_values), cmocka_unit_test(places)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
