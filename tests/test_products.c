/* Compares matrix products of every kernel table that this CPU runs with those of the reference
 * table, in both storage types, at odd sizes and strides; and the reference with products worked
 * out by hand. Where all sums are exact, the bits are those of the reference; and those of a table
 * do not depend on the number of threads. */
#include "kernel_tables.h"

/* On so many threads, with a workspace of as many. */
static void multiply(const uly__ops *ops, int threads, uly__matmul x) {
  x.workspace = malloc((size_t)ops->matmul_bytes(x.dtype, threads));
  x.workspace_threads = threads;
  assert_ok(ops->matmul(uly__stream_get(), &x));
  free(x.workspace);
}

/* Returns a product without its operands; bits of `flags` are whether a and b are transposed, whether
 * it is added to c, and whether c is f32. Rows have `pad` elements between them. */
static uly__matmul product_of(int64_t m, int64_t n, int64_t k, int flags, uly_dtype dtype,
                              int64_t pad) {
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
  return x;
}

static void check_matmul(const uly__ops *ops, const char *name, uly_dtype dtype) {
  int64_t sizes[][3] = {{1, 1, 1},      {3, 5, 7},     {70, 33, 65},
                        {257, 520, 19}, {300, 10, 40}, {0, 4, 4}};
  for (int s = 0; s < 6; s++)
    for (int flags = 0; flags < 16; flags++) {
      int64_t m = sizes[s][0], n = sizes[s][1], k = sizes[s][2];
      uly__matmul x = product_of(m, n, k, flags, dtype, 3);
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
  uly__matmul x = product_of(m, n, k, flags, ULY_BF16, flags == 0 ? 0 : 3);
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
      fail_msg("%s, [%d, %d, %d], flags %d: other bits than exact sums rounded once",
               table_names[i], (int)m, (int)n, (int)k, flags);
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
    check_matmul(&widened, table_names[i], ULY_BF16);
    check_matmul(&by_bf16, table_names[i], ULY_BF16);
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

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_matmul),
      cmocka_unit_test(test_exact_products),
      cmocka_unit_test(test_products_of_bf16),
      cmocka_unit_test(test_products_on_threads),
  };
  if (!find_tables()) return 1;
  return cmocka_run_group_tests(tests, NULL, NULL);
}
