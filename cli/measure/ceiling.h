/* Measures what the machine can do at best: matrix products by oneDNN, and its memory. */
#ifndef ULYSSES_CLI_CEILING_H
#define ULYSSES_CLI_CEILING_H

#include <stdbool.h>

#include "measure/measure.h"

/* A product of two square matrices, with the threads that OpenMP uses when it is created. */
enum { GEMM_SIZE = 2048 };
typedef struct gemm gemm;

/* Creates a product. If the CPU of any rank has no products of this type, *out is NULL on all
 * ranks, which is not a failure. Collective. */
uly_status gemm_create(uly_mesh *world, uly_dtype dtype, gemm **out);
/* Creates the product that bounds a run which stores this type: that of f32 if the CPU does not
 * multiply bf16, since the kernels then compute in f32. Collective. */
uly_status gemm_create_for_run(uly_mesh *world, uly_dtype dtype, gemm **out);
void gemm_destroy(gemm *product);

/* Returns the work of one product on each rank. */
measure_work gemm_work(gemm *product);

/* Three arrays of this rank. */
typedef struct memory_arrays {
  int64_t count;     /* of elements in each */
  double *a, *b, *c; /* [count] */
} memory_arrays;

uly_status memory_arrays_create(int64_t bytes_of_one, memory_arrays *arrays);
void memory_arrays_destroy(memory_arrays *arrays);

/* Computes a = b + s c, as STREAM does and, like STREAM, counts three arrays. */
measure_work memory_triad(memory_arrays *arrays);
/* Reads a. */
measure_work memory_read(memory_arrays *arrays);

#endif
