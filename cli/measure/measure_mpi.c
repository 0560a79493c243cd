/* Makes the calls of MPI that measuring needs. A failure of MPI ends the job through its own error
 * handler. */
#include "measure/measure_mpi.h"

#include <limits.h>
#include <mpi.h>

void measure_barrier(void) { MPI_Barrier(MPI_COMM_WORLD); }

static double reduce(double value, MPI_Op op) {
  double result = value;
  MPI_Allreduce(&value, &result, 1, MPI_DOUBLE, op, MPI_COMM_WORLD);
  return result;
}

double measure_largest(double value) { return reduce(value, MPI_MAX); }

double measure_sum(double value) { return reduce(value, MPI_SUM); }

int measure_ranks_of_node(void) {
  MPI_Comm node;
  int size = 1;
  MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, uly_world_rank(), MPI_INFO_NULL, &node);
  MPI_Comm_size(node, &size);
  MPI_Comm_free(&node);
  return size;
}

uly_status measure_run_alltoall(void *context) {
  const measure_alltoall_args *a = context;
  if (a->block > INT_MAX)
    return uly_fail(ULY_ERR_CONFIG,
                    "a bare MPI_Alltoall cannot send %lld bytes to a rank: use a shorter --seq-len",
                    (long long)a->block);
  int count = (int)a->block;
  MPI_Alltoall(a->send, count, MPI_BYTE, a->receive, count, MPI_BYTE, MPI_COMM_WORLD);
  return ULY_OK;
}
