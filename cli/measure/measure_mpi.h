/* Declares the calls of MPI that measuring needs. All of them are collective over all
 * processes. */
#ifndef ULYSSES_CLI_MEASURE_MPI_H
#define ULYSSES_CLI_MEASURE_MPI_H

#include <stdint.h>

#include "ulysses.h"

void measure_barrier(void);
double measure_largest(double value);
double measure_sum(double value);

/* Returns the number of processes on the machine of this process. */
int measure_ranks_of_node(void);

/* A bare MPI_Alltoall, with `block` bytes to each rank. */
typedef struct measure_alltoall_args {
  const void *send; /* [ranks][block] */
  void *receive;    /* the same */
  int64_t block;
} measure_alltoall_args;

/* The run function of a measure_work whose context is a measure_alltoall_args. */
uly_status measure_run_alltoall(void *context);

#endif
