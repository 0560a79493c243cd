/* Communication of a group of ranks. All functions but the queries are collective over the group:
 * every rank calls them in the same order. What each rank sends to others is counted by kind. */
#ifndef ULY_COMM_H
#define ULY_COMM_H

#include "base/status.h"
#include "comm/traffic.h"

typedef struct uly__comm uly__comm;

/* Duplicates *mpi_comm (an MPI_Comm; NULL: MPI_COMM_WORLD). Counts into traffic, which must
 * outlive the group. */
uly_status uly__comm_create(const void *mpi_comm, uly__traffic *traffic, uly__comm **out);
/* The ranks that pass the same color, ordered by their rank here. */
uly_status uly__comm_split(uly__comm *comm, int color, uly__comm **out);
void uly__comm_destroy(uly__comm *comm);

int uly__comm_rank(const uly__comm *comm);
int uly__comm_size(const uly__comm *comm);
/* Ranks of this group on this machine. */
int uly__comm_node_size(const uly__comm *comm);

/* Block p of send goes to rank p; block s of recv comes from rank s. Counts and offsets are in units
 * of unit_bytes, so that they fit MPI's int for any memory that exists. */
uly_status uly__all_to_all(uly__comm *comm, uly_traffic kind, int64_t unit_bytes, const void *send,
                           const int64_t *send_counts, const int64_t *send_offsets, void *recv,
                           const int64_t *recv_counts, const int64_t *recv_offsets);

/* recv[s * bytes ...] = what rank s sent. For small messages. */
uly_status uly__all_gather(uly__comm *comm, uly_traffic kind, const void *send, int64_t bytes,
                           void *recv);

/* data[count] = sum over ranks, in f32, added in the order of ranks: the same bits on every rank and
 * in every run. Each rank sums its share of a chunk, then the shares are gathered.
 * workspace: f32 [workspace_count], at least the number of ranks; it bounds the chunk. */
uly_status uly__sum_f32(uly__comm *comm, uly_traffic kind, float *data, int64_t count,
                        float *workspace, int64_t workspace_count);

/* values[count] = sum over ranks, added in the order of ranks. count at most ULY_MAX_SUM_F64. */
#define ULY_MAX_SUM_F64 8
uly_status uly__sum_f64(uly__comm *comm, uly_traffic kind, double *values, int count);

/* ULY_OK everywhere if all ranks passed ULY_OK; else everywhere the status and the message of the
 * lowest failing rank. */
uly_status uly__agree(uly__comm *comm, uly_status status);

/* ULY_OK everywhere if all ranks passed the same value; else everywhere ULY_ERR_CONFIG, naming `what` and
 * the first rank that differs from rank 0. */
uly_status uly__same(uly__comm *comm, uint64_t value, const char *what);

#endif
