/* Shared by the tests that compare kernel tables with the reference table. */
#include "kernel_tables.h"

#include <math.h>
#include <omp.h>

uly__ops reference;
uly__ops tables[4];
const char *table_names[4];
void (*widen[4])(uly__ops *table);
int num_tables;

bool find_tables(void) {
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
  if (!uly__ops_named("reference", &reference)) return false;
  for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
    if (!uly__ops_named(all[i].name, &tables[num_tables])) continue;
    table_names[num_tables] = all[i].name;
    widen[num_tables++] = all[i].widen;
  }
  return true;
}

void *values(int64_t count, uly_dtype dtype, uint32_t seed) {
  void *x = malloc((size_t)(count * uly__dtype_bytes(dtype)) + 1);
  for (int64_t i = 0; i < count; i++) {
    seed = seed * 1664525u + 1013904223u;
    uly__store(x, dtype, i, (float)(seed >> 8) / (1 << 23) - 1.0f);
  }
  return x;
}

void *copy(const void *x, int64_t count, uly_dtype dtype) {
  size_t bytes = (size_t)(count * uly__dtype_bytes(dtype));
  return memcpy(malloc(bytes + 1), x, bytes);
}

/* In bf16 a rounding may fall the other way: one unit of 8 bits. */
void same(const char *what, const char *table, const void *a, const void *b, int64_t count,
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

void for_tables(void (*check)(const uly__ops *, const char *, uly_dtype)) {
  for (int i = 0; i < num_tables; i++)
    for (int dtype = 0; dtype < 2; dtype++) check(&tables[i], table_names[i], (uly_dtype)dtype);
}
