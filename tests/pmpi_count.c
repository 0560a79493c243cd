/* Each function here has the name of an MPI function, counts its bytes, and calls MPI by its second
 * name, PMPI_* (MPI 3.1, chapter 14). The executable's definition takes precedence over the one in
 * MPI's library. */
#include "pmpi_count.h"

#include <mpi.h>
#include <stddef.h>

static int64_t bytes_sent[PMPI_NUM_KINDS];
static int64_t num_unaccounted;

void pmpi_reset(void) {
  for (int kind = 0; kind < PMPI_NUM_KINDS; kind++) bytes_sent[kind] = 0;
  num_unaccounted = 0;
}

int64_t pmpi_bytes_of(pmpi_kind kind) { return bytes_sent[kind]; }

int64_t pmpi_bytes(void) {
  int64_t sum = 0;
  for (int kind = 0; kind < PMPI_NUM_KINDS; kind++) sum += bytes_sent[kind];
  return sum;
}

int64_t pmpi_unaccounted(void) { return num_unaccounted; }

static int comm_rank(MPI_Comm comm) {
  int rank = 0;
  PMPI_Comm_rank(comm, &rank);
  return rank;
}

static int comm_size(MPI_Comm comm) {
  int size = 1;
  PMPI_Comm_size(comm, &size);
  return size;
}

/* Bytes of count elements. The type may be no type where the count is 0. */
static int64_t bytes_in(int count, MPI_Datatype type) {
  int size = 0;
  if (count > 0) PMPI_Type_size(type, &size);
  return (int64_t)count * size;
}

static void count_message(int count, MPI_Datatype type, int dest, MPI_Comm comm) {
  if (dest != MPI_PROC_NULL && dest != comm_rank(comm))
    bytes_sent[PMPI_POINT_TO_POINT] += bytes_in(count, type);
}

/* A block per rank: of counts[p], or count where counts is NULL, elements of types[p], or type. */
static void count_blocks(pmpi_kind kind, const int *counts, int count, const MPI_Datatype *types,
                         MPI_Datatype type, MPI_Comm comm) {
  int rank = comm_rank(comm), size = comm_size(comm);
  for (int p = 0; p < size; p++)
    if (p != rank)
      bytes_sent[kind] += bytes_in(counts ? counts[p] : count, types ? types[p] : type);
}

static void count_unaccounted(MPI_Comm comm) { num_unaccounted += comm_size(comm) > 1; }

/* The nonblocking form of a function has the same parameters and a request after them. */
#define STARTED_PARAMETER , MPI_Request *request
#define STARTED , request

/* ---------------------------------------------------------------- point to point */

#define SEND(NAME, PARAMETER, ARGUMENT)                                      \
  int NAME(const void *buf, int count, MPI_Datatype type, int dest, int tag, \
           MPI_Comm comm PARAMETER) {                                        \
    count_message(count, type, dest, comm);                                  \
    return P##NAME(buf, count, type, dest, tag, comm ARGUMENT);              \
  }
SEND(MPI_Send, , )
SEND(MPI_Ssend, , )
SEND(MPI_Bsend, , )
SEND(MPI_Rsend, , )
SEND(MPI_Isend, STARTED_PARAMETER, STARTED)
SEND(MPI_Issend, STARTED_PARAMETER, STARTED)
SEND(MPI_Ibsend, STARTED_PARAMETER, STARTED)
SEND(MPI_Irsend, STARTED_PARAMETER, STARTED)

int MPI_Sendrecv(const void *sendbuf, int sendcount, MPI_Datatype sendtype, int dest, int sendtag,
                 void *recvbuf, int recvcount, MPI_Datatype recvtype, int source, int recvtag,
                 MPI_Comm comm, MPI_Status *status) {
  count_message(sendcount, sendtype, dest, comm);
  return PMPI_Sendrecv(sendbuf, sendcount, sendtype, dest, sendtag, recvbuf, recvcount, recvtype,
                       source, recvtag, comm, status);
}

int MPI_Sendrecv_replace(void *buf, int count, MPI_Datatype type, int dest, int sendtag, int source,
                         int recvtag, MPI_Comm comm, MPI_Status *status) {
  count_message(count, type, dest, comm);
  return PMPI_Sendrecv_replace(buf, count, type, dest, sendtag, source, recvtag, comm, status);
}

#define SEND_INIT(NAME)                                                                     \
  int NAME(const void *buf, int count, MPI_Datatype type, int dest, int tag, MPI_Comm comm, \
           MPI_Request *request) {                                                          \
    count_unaccounted(comm);                                                                \
    return P##NAME(buf, count, type, dest, tag, comm, request);                             \
  }
SEND_INIT(MPI_Send_init)
SEND_INIT(MPI_Ssend_init)
SEND_INIT(MPI_Bsend_init)
SEND_INIT(MPI_Rsend_init)

/* ---------------------------------------------------------------- all to all, all gather
 *
 * MPI_IN_PLACE: what is sent is what recvbuf holds, laid out as it will receive. */

#define ALLTOALL(NAME, PARAMETER, ARGUMENT)                                                    \
  int NAME(const void *sendbuf, int sendcount, MPI_Datatype sendtype, void *recvbuf,           \
           int recvcount, MPI_Datatype recvtype, MPI_Comm comm PARAMETER) {                    \
    if (sendbuf == MPI_IN_PLACE)                                                               \
      count_blocks(PMPI_ALL_TO_ALL, NULL, recvcount, NULL, recvtype, comm);                    \
    else                                                                                       \
      count_blocks(PMPI_ALL_TO_ALL, NULL, sendcount, NULL, sendtype, comm);                    \
    return P##NAME(sendbuf, sendcount, sendtype, recvbuf, recvcount, recvtype, comm ARGUMENT); \
  }
ALLTOALL(MPI_Alltoall, , )
ALLTOALL(MPI_Ialltoall, STARTED_PARAMETER, STARTED)

#define ALLTOALLV(NAME, PARAMETER, ARGUMENT)                                                       \
  int NAME(const void *sendbuf, const int sendcounts[], const int sdispls[],                       \
           MPI_Datatype sendtype, void *recvbuf, const int recvcounts[], const int rdispls[],      \
           MPI_Datatype recvtype, MPI_Comm comm PARAMETER) {                                       \
    if (sendbuf == MPI_IN_PLACE)                                                                   \
      count_blocks(PMPI_ALL_TO_ALL, recvcounts, 0, NULL, recvtype, comm);                          \
    else                                                                                           \
      count_blocks(PMPI_ALL_TO_ALL, sendcounts, 0, NULL, sendtype, comm);                          \
    return P##NAME(sendbuf, sendcounts, sdispls, sendtype, recvbuf, recvcounts, rdispls, recvtype, \
                   comm ARGUMENT);                                                                 \
  }
ALLTOALLV(MPI_Alltoallv, , )
ALLTOALLV(MPI_Ialltoallv, STARTED_PARAMETER, STARTED)

#define ALLTOALLW(NAME, PARAMETER, ARGUMENT)                                               \
  int NAME(const void *sendbuf, const int sendcounts[], const int sdispls[],               \
           const MPI_Datatype sendtypes[], void *recvbuf, const int recvcounts[],          \
           const int rdispls[], const MPI_Datatype recvtypes[], MPI_Comm comm PARAMETER) { \
    if (sendbuf == MPI_IN_PLACE)                                                           \
      count_blocks(PMPI_ALL_TO_ALL, recvcounts, 0, recvtypes, MPI_DATATYPE_NULL, comm);    \
    else                                                                                   \
      count_blocks(PMPI_ALL_TO_ALL, sendcounts, 0, sendtypes, MPI_DATATYPE_NULL, comm);    \
    return P##NAME(sendbuf, sendcounts, sdispls, sendtypes, recvbuf, recvcounts, rdispls,  \
                   recvtypes, comm ARGUMENT);                                              \
  }
ALLTOALLW(MPI_Alltoallw, , )
ALLTOALLW(MPI_Ialltoallw, STARTED_PARAMETER, STARTED)

#define ALLGATHER(NAME, PARAMETER, ARGUMENT)                                                   \
  int NAME(const void *sendbuf, int sendcount, MPI_Datatype sendtype, void *recvbuf,           \
           int recvcount, MPI_Datatype recvtype, MPI_Comm comm PARAMETER) {                    \
    if (sendbuf == MPI_IN_PLACE)                                                               \
      count_blocks(PMPI_ALL_GATHER, NULL, recvcount, NULL, recvtype, comm);                    \
    else                                                                                       \
      count_blocks(PMPI_ALL_GATHER, NULL, sendcount, NULL, sendtype, comm);                    \
    return P##NAME(sendbuf, sendcount, sendtype, recvbuf, recvcount, recvtype, comm ARGUMENT); \
  }
ALLGATHER(MPI_Allgather, , )
ALLGATHER(MPI_Iallgather, STARTED_PARAMETER, STARTED)

#define ALLGATHERV(NAME, PARAMETER, ARGUMENT)                                                 \
  int NAME(const void *sendbuf, int sendcount, MPI_Datatype sendtype, void *recvbuf,          \
           const int recvcounts[], const int displs[], MPI_Datatype recvtype,                 \
           MPI_Comm comm PARAMETER) {                                                         \
    if (sendbuf == MPI_IN_PLACE)                                                              \
      count_blocks(PMPI_ALL_GATHER, NULL, recvcounts[comm_rank(comm)], NULL, recvtype, comm); \
    else                                                                                      \
      count_blocks(PMPI_ALL_GATHER, NULL, sendcount, NULL, sendtype, comm);                   \
    return P##NAME(sendbuf, sendcount, sendtype, recvbuf, recvcounts, displs, recvtype,       \
                   comm ARGUMENT);                                                            \
  }
ALLGATHERV(MPI_Allgatherv, , )
ALLGATHERV(MPI_Iallgatherv, STARTED_PARAMETER, STARTED)

/* ---------------------------------------------------------------- one root */

#define BCAST(NAME, PARAMETER, ARGUMENT)                                                   \
  int NAME(void *buf, int count, MPI_Datatype type, int root, MPI_Comm comm PARAMETER) {   \
    if (comm_rank(comm) == root) count_blocks(PMPI_ROOTED, NULL, count, NULL, type, comm); \
    return P##NAME(buf, count, type, root, comm ARGUMENT);                                 \
  }
BCAST(MPI_Bcast, , )
BCAST(MPI_Ibcast, STARTED_PARAMETER, STARTED)

#define GATHER(NAME, PARAMETER, ARGUMENT)                                                  \
  int NAME(const void *sendbuf, int sendcount, MPI_Datatype sendtype, void *recvbuf,       \
           int recvcount, MPI_Datatype recvtype, int root, MPI_Comm comm PARAMETER) {      \
    if (comm_rank(comm) != root) bytes_sent[PMPI_ROOTED] += bytes_in(sendcount, sendtype); \
    return P##NAME(sendbuf, sendcount, sendtype, recvbuf, recvcount, recvtype, root,       \
                   comm ARGUMENT);                                                         \
  }
GATHER(MPI_Gather, , )
GATHER(MPI_Igather, STARTED_PARAMETER, STARTED)

#define GATHERV(NAME, PARAMETER, ARGUMENT)                                                    \
  int NAME(const void *sendbuf, int sendcount, MPI_Datatype sendtype, void *recvbuf,          \
           const int recvcounts[], const int displs[], MPI_Datatype recvtype, int root,       \
           MPI_Comm comm PARAMETER) {                                                         \
    if (comm_rank(comm) != root) bytes_sent[PMPI_ROOTED] += bytes_in(sendcount, sendtype);    \
    return P##NAME(sendbuf, sendcount, sendtype, recvbuf, recvcounts, displs, recvtype, root, \
                   comm ARGUMENT);                                                            \
  }
GATHERV(MPI_Gatherv, , )
GATHERV(MPI_Igatherv, STARTED_PARAMETER, STARTED)

#define SCATTER(NAME, PARAMETER, ARGUMENT)                                                         \
  int NAME(const void *sendbuf, int sendcount, MPI_Datatype sendtype, void *recvbuf,               \
           int recvcount, MPI_Datatype recvtype, int root, MPI_Comm comm PARAMETER) {              \
    if (comm_rank(comm) == root) count_blocks(PMPI_ROOTED, NULL, sendcount, NULL, sendtype, comm); \
    return P##NAME(sendbuf, sendcount, sendtype, recvbuf, recvcount, recvtype, root,               \
                   comm ARGUMENT);                                                                 \
  }
SCATTER(MPI_Scatter, , )
SCATTER(MPI_Iscatter, STARTED_PARAMETER, STARTED)

#define SCATTERV(NAME, PARAMETER, ARGUMENT)                                                        \
  int NAME(const void *sendbuf, const int sendcounts[], const int displs[], MPI_Datatype sendtype, \
           void *recvbuf, int recvcount, MPI_Datatype recvtype, int root,                          \
           MPI_Comm comm PARAMETER) {                                                              \
    if (comm_rank(comm) == root) count_blocks(PMPI_ROOTED, sendcounts, 0, NULL, sendtype, comm);   \
    return P##NAME(sendbuf, sendcounts, displs, sendtype, recvbuf, recvcount, recvtype, root,      \
                   comm ARGUMENT);                                                                 \
  }
SCATTERV(MPI_Scatterv, , )
SCATTERV(MPI_Iscatterv, STARTED_PARAMETER, STARTED)

/* ---------------------------------------------------------------- not counted, but noticed */

#define REDUCE(NAME, PARAMETER, ARGUMENT)                                                         \
  int NAME(const void *sendbuf, void *recvbuf, int count, MPI_Datatype type, MPI_Op op, int root, \
           MPI_Comm comm PARAMETER) {                                                             \
    count_unaccounted(comm);                                                                      \
    return P##NAME(sendbuf, recvbuf, count, type, op, root, comm ARGUMENT);                       \
  }
REDUCE(MPI_Reduce, , )
REDUCE(MPI_Ireduce, STARTED_PARAMETER, STARTED)

#define REDUCE_TO_ALL(NAME, PARAMETER, ARGUMENT)                                        \
  int NAME(const void *sendbuf, void *recvbuf, int count, MPI_Datatype type, MPI_Op op, \
           MPI_Comm comm PARAMETER) {                                                   \
    count_unaccounted(comm);                                                            \
    return P##NAME(sendbuf, recvbuf, count, type, op, comm ARGUMENT);                   \
  }
REDUCE_TO_ALL(MPI_Allreduce, , )
REDUCE_TO_ALL(MPI_Iallreduce, STARTED_PARAMETER, STARTED)
REDUCE_TO_ALL(MPI_Reduce_scatter_block, , )
REDUCE_TO_ALL(MPI_Ireduce_scatter_block, STARTED_PARAMETER, STARTED)
REDUCE_TO_ALL(MPI_Scan, , )
REDUCE_TO_ALL(MPI_Iscan, STARTED_PARAMETER, STARTED)
REDUCE_TO_ALL(MPI_Exscan, , )
REDUCE_TO_ALL(MPI_Iexscan, STARTED_PARAMETER, STARTED)

#define REDUCE_SCATTER(NAME, PARAMETER, ARGUMENT)                                         \
  int NAME(const void *sendbuf, void *recvbuf, const int recvcounts[], MPI_Datatype type, \
           MPI_Op op, MPI_Comm comm PARAMETER) {                                          \
    count_unaccounted(comm);                                                              \
    return P##NAME(sendbuf, recvbuf, recvcounts, type, op, comm ARGUMENT);                \
  }
REDUCE_SCATTER(MPI_Reduce_scatter, , )
REDUCE_SCATTER(MPI_Ireduce_scatter, STARTED_PARAMETER, STARTED)

/* One-sided and neighbourhood communication need a window or a topology first: these are noticed
 * instead of each of their many functions. */
int MPI_Win_create(void *base, MPI_Aint size, int unit, MPI_Info info, MPI_Comm comm,
                   MPI_Win *window) {
  count_unaccounted(comm);
  return PMPI_Win_create(base, size, unit, info, comm, window);
}

int MPI_Win_allocate(MPI_Aint size, int unit, MPI_Info info, MPI_Comm comm, void *base,
                     MPI_Win *window) {
  count_unaccounted(comm);
  return PMPI_Win_allocate(size, unit, info, comm, base, window);
}

int MPI_Win_allocate_shared(MPI_Aint size, int unit, MPI_Info info, MPI_Comm comm, void *base,
                            MPI_Win *window) {
  count_unaccounted(comm);
  return PMPI_Win_allocate_shared(size, unit, info, comm, base, window);
}

int MPI_Dist_graph_create_adjacent(MPI_Comm comm, int indegree, const int sources[],
                                   const int source_weights[], int outdegree,
                                   const int destinations[], const int destination_weights[],
                                   MPI_Info info, int reorder, MPI_Comm *graph) {
  count_unaccounted(comm);
  return PMPI_Dist_graph_create_adjacent(comm, indegree, sources, source_weights, outdegree,
                                         destinations, destination_weights, info, reorder, graph);
}
