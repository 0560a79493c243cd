/* An MPI profiling layer for tests: counts the bytes that this process hands to MPI for *other*
 * ranks, whoever calls MPI. Link pmpi_count.c into a test (uly_test(... SOURCES pmpi_count.c)) and
 * MPI's sending functions pass through it. What is counted for a call on P ranks, in bytes:
 *
 *   send, isend, sendrecv ...     the message, unless it is for this rank or for MPI_PROC_NULL
 *   alltoall, alltoallv, -w       the blocks for the other ranks
 *   allgather, allgatherv         own block * (P - 1)
 *   gather, gatherv               own block, but at the root
 *   scatter, scatterv, bcast      at the root: the blocks for the others; block * (P - 1)
 *   reduce, allreduce, scan, one-sided, persistent and neighbourhood calls
 *                                 nothing: what they send depends on MPI's algorithm or is known later.
 *                                 pmpi_unaccounted() counts such calls (on more than one rank)
 *
 * An algorithm inside MPI may move more (a broadcast tree forwards): these are the bytes that the
 * program asked it to move. Open MPI and MPICH; intracommunicators; one thread. */
#ifndef PMPI_COUNT_H
#define PMPI_COUNT_H

#include <stdint.h>

typedef enum pmpi_kind {
  PMPI_POINT_TO_POINT = 0,
  PMPI_ALL_TO_ALL,
  PMPI_ALL_GATHER,
  PMPI_ROOTED, /* gather, scatter, bcast */
  PMPI_NUM_KINDS
} pmpi_kind;

/* All counts become 0. */
void pmpi_reset(void);

/* Bytes since the last reset: of all kinds, and of one. */
int64_t pmpi_bytes(void);
int64_t pmpi_bytes_of(pmpi_kind kind);

/* Calls since the last reset that may have sent bytes that are not counted. */
int64_t pmpi_unaccounted(void);

#endif
