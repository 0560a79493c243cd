/* The ceiling of memory: the triad of STREAM, and plain reading. Arrays are first touched by the
 * threads that use them, so that they are close to these. */
#include <stdlib.h>

#include "measure/ceiling.h"

uly_status memory_arrays_create(int64_t bytes_of_one, memory_arrays *arrays) {
  enum { LINE = 64, LEAST = 1024 };
  int64_t count = bytes_of_one / (int64_t)sizeof(double);
  if (count < LEAST) count = LEAST;
  size_t bytes = ((size_t)count * sizeof(double) / LINE + 1) * LINE;
  double *a = aligned_alloc(LINE, bytes), *b = aligned_alloc(LINE, bytes);
  double *c = aligned_alloc(LINE, bytes);
  *arrays = (memory_arrays){.count = count, .a = a, .b = b, .c = c};
  if (!a || !b || !c)
    return uly_fail(ULY_ERR_MEMORY,
                    "no memory for three arrays of %lld bytes: use a smaller --array-bytes",
                    (long long)bytes_of_one);
#pragma omp parallel for schedule(static)
  for (int64_t i = 0; i < count; i++) {
    a[i] = 0;
    b[i] = 1;
    c[i] = 2;
  }
  return ULY_OK;
}

void memory_arrays_destroy(memory_arrays *arrays) {
  free(arrays->a);
  free(arrays->b);
  free(arrays->c);
}

static uly_status run_triad(void *context) {
  const memory_arrays *arrays = context;
  double *restrict a = arrays->a;
  const double *restrict b = arrays->b, *restrict c = arrays->c;
  int64_t count = arrays->count;
#pragma omp parallel for simd schedule(static)
  for (int64_t i = 0; i < count; i++) a[i] = b[i] + 3.0 * c[i];
  return ULY_OK;
}

static volatile double sink; /* keeps the reading */

static uly_status run_read(void *context) {
  const memory_arrays *arrays = context;
  const double *a = arrays->a;
  int64_t count = arrays->count;
  double sum = 0;
#pragma omp parallel for simd schedule(static) reduction(+ : sum)
  for (int64_t i = 0; i < count; i++) sum += a[i];
  sink = sum;
  return ULY_OK;
}

static measure_work work(uly_status (*run)(void *), memory_arrays *arrays, int num_arrays) {
  double bytes = (double)arrays->count * sizeof(double);
  return (measure_work){
      .run = run, .context = arrays, .amount = num_arrays * bytes, .adds_up = true};
}

measure_work memory_triad(memory_arrays *arrays) { return work(run_triad, arrays, 3); }

measure_work memory_read(memory_arrays *arrays) { return work(run_read, arrays, 1); }
