/* Tests the counting layer itself: each function with amounts that differ by rank, against what the
 * rank knows that it sent. A layer that counts nothing, or its own block, fails here. */
#include <mpi.h>

#include "pmpi_count.h"
#include "testing.h"

enum { MOST_RANKS = 16, MOST = 64 };

static int rank, size;
static double send[MOST_RANKS * MOST], recv[MOST_RANKS * MOST];

/* Elements from rank `from` to rank `to`: differ in both directions. */
static int amount(int from, int to) { return 1 + from + 3 * to; }

static int64_t sent_to_others(void) {
  int64_t sum = 0;
  for (int p = 0; p < size; p++)
    if (p != rank) sum += amount(rank, p);
  return sum;
}

static void assert_counted(pmpi_kind kind, int64_t bytes) {
  assert_int_equal(pmpi_bytes(), bytes);
  assert_int_equal(pmpi_bytes_of(kind), bytes);
  assert_int_equal(pmpi_unaccounted(), 0);
  pmpi_reset();
}

static int start(void **state) {
  (void)state;
  pmpi_reset();
  return 0;
}

static void test_all_to_all(void **state) {
  (void)state;
  int send_counts[MOST_RANKS], recv_counts[MOST_RANKS], offsets[MOST_RANKS], bytes[MOST_RANKS];
  MPI_Datatype doubles[MOST_RANKS];
  for (int p = 0; p < size; p++) {
    send_counts[p] = amount(rank, p);
    recv_counts[p] = amount(p, rank);
    offsets[p] = p * MOST;
    bytes[p] = p * MOST * (int)sizeof(double);
    doubles[p] = MPI_DOUBLE;
  }
  MPI_Request request;
  MPI_Alltoallv(send, send_counts, offsets, MPI_DOUBLE, recv, recv_counts, offsets, MPI_DOUBLE,
                MPI_COMM_WORLD);
  assert_counted(PMPI_ALL_TO_ALL, sent_to_others() * 8);
  MPI_Ialltoallv(send, send_counts, offsets, MPI_FLOAT, recv, recv_counts, offsets, MPI_FLOAT,
                 MPI_COMM_WORLD, &request);
  MPI_Wait(&request, MPI_STATUS_IGNORE);
  assert_counted(PMPI_ALL_TO_ALL, sent_to_others() * 4);
  MPI_Alltoallw(send, send_counts, bytes, doubles, recv, recv_counts, bytes, doubles,
                MPI_COMM_WORLD);
  assert_counted(PMPI_ALL_TO_ALL, sent_to_others() * 8);
  MPI_Alltoall(send, 5, MPI_INT, recv, 5, MPI_INT, MPI_COMM_WORLD);
  assert_counted(PMPI_ALL_TO_ALL, (int64_t)5 * 4 * (size - 1));

  /* A type of 24 bytes, as an exchange uses one for a row. */
  MPI_Datatype row;
  MPI_Type_contiguous(3, MPI_DOUBLE, &row);
  MPI_Type_commit(&row);
  MPI_Alltoall(send, 2, row, recv, 2, row, MPI_COMM_WORLD);
  assert_counted(PMPI_ALL_TO_ALL, (int64_t)2 * 24 * (size - 1));
  MPI_Type_free(&row);

  for (int p = 0; p < size; p++) recv_counts[p] = 1 + rank + p; /* in place: symmetric */
  MPI_Alltoallv(MPI_IN_PLACE, NULL, NULL, MPI_DATATYPE_NULL, recv, recv_counts, offsets, MPI_DOUBLE,
                MPI_COMM_WORLD);
  int64_t expected = 0;
  for (int p = 0; p < size; p++)
    if (p != rank) expected += 1 + rank + p;
  assert_counted(PMPI_ALL_TO_ALL, expected * 8);
}

static void test_all_gather(void **state) {
  (void)state;
  int counts[MOST_RANKS], offsets[MOST_RANKS];
  for (int p = 0; p < size; p++) {
    counts[p] = 2 + p;
    offsets[p] = p * MOST;
  }
  MPI_Request request;
  int64_t own = (int64_t)(2 + rank) * 8 * (size - 1);
  MPI_Allgatherv(send, 2 + rank, MPI_DOUBLE, recv, counts, offsets, MPI_DOUBLE, MPI_COMM_WORLD);
  assert_counted(PMPI_ALL_GATHER, own);
  MPI_Allgatherv(MPI_IN_PLACE, 0, MPI_DATATYPE_NULL, recv, counts, offsets, MPI_DOUBLE,
                 MPI_COMM_WORLD);
  assert_counted(PMPI_ALL_GATHER, own);
  MPI_Iallgatherv(send, 2 + rank, MPI_DOUBLE, recv, counts, offsets, MPI_DOUBLE, MPI_COMM_WORLD,
                  &request);
  MPI_Wait(&request, MPI_STATUS_IGNORE);
  assert_counted(PMPI_ALL_GATHER, own);
  MPI_Allgather(send, 7, MPI_FLOAT, recv, 7, MPI_FLOAT, MPI_COMM_WORLD);
  assert_counted(PMPI_ALL_GATHER, (int64_t)7 * 4 * (size - 1));
  MPI_Iallgather(send, 7, MPI_FLOAT, recv, 7, MPI_FLOAT, MPI_COMM_WORLD, &request);
  MPI_Wait(&request, MPI_STATUS_IGNORE);
  assert_counted(PMPI_ALL_GATHER, (int64_t)7 * 4 * (size - 1));
  MPI_Iallgather(MPI_IN_PLACE, 0, MPI_DATATYPE_NULL, recv, 7, MPI_FLOAT, MPI_COMM_WORLD, &request);
  MPI_Wait(&request, MPI_STATUS_IGNORE);
  assert_counted(PMPI_ALL_GATHER, (int64_t)7 * 4 * (size - 1));
  MPI_Iallgatherv(MPI_IN_PLACE, 0, MPI_DATATYPE_NULL, recv, counts, offsets, MPI_DOUBLE,
                  MPI_COMM_WORLD, &request);
  MPI_Wait(&request, MPI_STATUS_IGNORE);
  assert_counted(PMPI_ALL_GATHER, own);
}

static void test_point_to_point(void **state) {
  (void)state;
  int next = (rank + 1) % size, previous = (rank + size - 1) % size;
  int64_t expected = size > 1 ? (int64_t)(3 + rank) * 8 : 0;
  MPI_Sendrecv(send, 3 + rank, MPI_DOUBLE, next, 0, recv, MOST, MPI_DOUBLE, previous, 0,
               MPI_COMM_WORLD, MPI_STATUS_IGNORE);
  assert_counted(PMPI_POINT_TO_POINT, expected);
  MPI_Request requests[2];
  MPI_Status statuses[2]; /* MPI_STATUSES_IGNORE of MPICH makes GCC warn */
  MPI_Irecv(recv, MOST, MPI_DOUBLE, previous, 0, MPI_COMM_WORLD, &requests[0]);
  MPI_Isend(send, 3 + rank, MPI_DOUBLE, next, 0, MPI_COMM_WORLD, &requests[1]);
  MPI_Waitall(2, requests, statuses);
  assert_counted(PMPI_POINT_TO_POINT, expected);
  MPI_Irecv(recv, MOST, MPI_DOUBLE, previous, 0, MPI_COMM_WORLD, &requests[0]);
  MPI_Send(send, 3 + rank, MPI_DOUBLE, next, 0, MPI_COMM_WORLD);
  MPI_Wait(&requests[0], MPI_STATUS_IGNORE);
  assert_counted(PMPI_POINT_TO_POINT, expected);
  MPI_Sendrecv(send, 3, MPI_DOUBLE, MPI_PROC_NULL, 0, recv, MOST, MPI_DOUBLE, MPI_PROC_NULL, 0,
               MPI_COMM_WORLD, MPI_STATUS_IGNORE);
  assert_counted(PMPI_POINT_TO_POINT, 0);
}

static void test_one_root(void **state) {
  (void)state;
  int root = size - 1;
  MPI_Bcast(recv, 9, MPI_DOUBLE, root, MPI_COMM_WORLD);
  assert_counted(PMPI_ROOTED, rank == root ? (int64_t)9 * 8 * (size - 1) : 0);
  MPI_Gather(send, 4, MPI_DOUBLE, recv, 4, MPI_DOUBLE, root, MPI_COMM_WORLD);
  assert_counted(PMPI_ROOTED, rank == root ? 0 : 4 * 8);
  MPI_Scatter(send, 6, MPI_DOUBLE, recv, 6, MPI_DOUBLE, root, MPI_COMM_WORLD);
  assert_counted(PMPI_ROOTED, rank == root ? (int64_t)6 * 8 * (size - 1) : 0);
}

static void test_unaccounted(void **state) {
  (void)state;
  MPI_Allreduce(send, recv, 3, MPI_DOUBLE, MPI_SUM, MPI_COMM_WORLD);
  assert_int_equal(pmpi_bytes(), 0);
  assert_int_equal(pmpi_unaccounted(), size > 1);
  MPI_Reduce(send, recv, 3, MPI_DOUBLE, MPI_SUM, 0, MPI_COMM_WORLD);
  assert_int_equal(pmpi_unaccounted(), 2 * (size > 1));
  MPI_Allreduce(send, recv, 3, MPI_DOUBLE, MPI_SUM, MPI_COMM_SELF);
  MPI_Barrier(MPI_COMM_WORLD);
  assert_int_equal(pmpi_unaccounted(), 2 * (size > 1));
  pmpi_reset();
  assert_int_equal(pmpi_unaccounted(), 0);
}

/* Of a part of the ranks: the others are those of the communicator, by its own numbers. */
static void test_smaller_group(void **state) {
  (void)state;
  MPI_Comm half;
  MPI_Comm_split(MPI_COMM_WORLD, rank % 2, -rank, &half);
  int half_size;
  MPI_Comm_size(half, &half_size);
  pmpi_reset(); /* what MPI_Comm_split did is not this test's */
  MPI_Allgather(send, 7, MPI_FLOAT, recv, 7, MPI_FLOAT, half);
  assert_counted(PMPI_ALL_GATHER, (int64_t)7 * 4 * (half_size - 1));
  MPI_Comm_free(&half);
}

int main(int argc, char **argv) {
  MPI_Init(&argc, &argv);
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  MPI_Comm_size(MPI_COMM_WORLD, &size);
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup(test_all_to_all, start),
      cmocka_unit_test_setup(test_all_gather, start),
      cmocka_unit_test_setup(test_point_to_point, start),
      cmocka_unit_test_setup(test_one_root, start),
      cmocka_unit_test_setup(test_unaccounted, start),
      cmocka_unit_test_setup(test_smaller_group, start),
  };
  int failed = cmocka_run_group_tests(tests, NULL, NULL);
  MPI_Finalize();
  return failed != 0;
}
