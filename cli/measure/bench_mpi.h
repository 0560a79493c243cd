/* Declares the calls of MPI that the benchmarks need. All of them are collective over all
 * processes. */
#ifndef ULYSSES_CLI_BENCH_MPI_H
#define ULYSSES_CLI_BENCH_MPI_H

#include <stdint.h>

#include "ulysses.h"

void bench_barrier(void);
double bench_largest(double value);
double bench_sum(double value);

/* Returns the number of processes on the machine of this one. */
int bench_ranks_of_node(void);

/* A bare MPI_Alltoall, with `block` bytes to each rank. */
typedef struct bench_alltoall {
  const void *send; /* [ranks][block] */
  void *receive;    /* the same */
  int64_t block;
} bench_alltoall;

/* The run function of a bench_work whose context is a bench_alltoall. */
uly_status bench_run_alltoall(void *context);

#endif
