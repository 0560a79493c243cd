/* Communication of a group of ranks. All functions but the queries and uly__comm_poll are collective over the
 * group: every rank calls them in the same order, also among groups of the same ranks. What each rank
 * sends to others is counted by kind.
 *
 * ULYSSES_CHECK=collectives in the environment (that of rank 0 counts, when uly__comm_create is called)
 * makes the ranks compare what they are about to call before each collective. Where calls differ, all
 * ranks of the group get ULY_ERR_INTERNAL with a message that names both calls, then and ever after,
 * instead of a hang. A rank that ends the group while others go on is found too. It costs one small
 * exchange for each call, which is not counted. */
#ifndef ULY_COMM_H
#define ULY_COMM_H

#include <stdbool.h>

#include "base/status.h"
#include "comm/traffic.h"

typedef struct uly__comm uly__comm;

/* Makes a group of all processes, or of those of a communicator, which is duplicated; comm is the integer by
 * which Fortran knows it. Counts into traffic, which must outlive the group. name: for messages, "the
 * <name> group". */
uly_status uly__comm_create(uly__traffic *traffic, const char *name, uly__comm **out);
uly_status uly__comm_create_fortran(int comm, uly__traffic *traffic, const char *name,
                                    uly__comm **out);
/* The ranks that pass the same color, ordered by their rank here. */
uly_status uly__comm_split(uly__comm *comm, int color, const char *name, uly__comm **out);
/* Another group of the same ranks: what it has under way does not mix with this one's. */
uly_status uly__comm_dup(uly__comm *comm, const char *name, uly__comm **out);
/* Waits for what is under way: its memory must still be there. */
void uly__comm_destroy(uly__comm *comm);

int uly__comm_rank(const uly__comm *comm);
int uly__comm_size(const uly__comm *comm);
/* Ranks of this group on this machine. */
int uly__comm_node_size(const uly__comm *comm);

/* What lies where in a buffer, [ranks] each, in units of an exchange. */
typedef struct uly__blocks {
  const int64_t *counts, *offsets;
} uly__blocks;

/* Block p of send goes to rank p; block s of recv comes from rank s; the own block is copied by all threads. Counts
 * and offsets are in units of unit_bytes, so that they fit MPI's int for any memory that exists. */
uly_status uly__all_to_all(uly__comm *comm, uly_traffic kind, int64_t unit_bytes, const void *send,
                           uly__blocks send_blocks, void *recv, uly__blocks recv_blocks);

/* recv[s * bytes ...] = what rank s sent. For small messages. */
uly_status uly__all_gather(uly__comm *comm, uly_traffic kind, const void *send, int64_t bytes,
                           void *recv);

/* values[count] = sum over ranks (integers: exact, modulo 2^64). count at most ULY_MAX_SUM. For small
 * messages. */
#define ULY_MAX_SUM 128
uly_status uly__sum_i64(uly__comm *comm, uly_traffic kind, int64_t *values, int count);

/* --- Collectives that run while the caller computes. A group has at most one under way: start, then poll
 * now and then so that it makes progress, then wait. From start to wait, even where nothing is left to
 * do, no other collective may be called on the group (ULY_ERR_INTERNAL); other groups may be used. */

/* As uly__all_to_all. */
uly_status uly__all_to_all_start(uly__comm *comm, uly_traffic kind, int64_t unit_bytes,
                                 const void *send, uly__blocks send_blocks, void *recv,
                                 uly__blocks recv_blocks);

/* data: [size][part_bytes]. Every rank's own part is in its place; afterwards all parts are.
 * part_bytes: a multiple of 64. */
uly_status uly__all_gather_start(uly__comm *comm, uly_traffic kind, void *data, int64_t part_bytes);

/* out[part] = sum over ranks, in f32 over the tree of base/tree.h in the order of ranks, of their
 * data[rank * part ...]. data: [size][part] of dtype, which is what travels; left as it is, but that
 * out may be the own part of f32 data. part: a multiple of 64 elements. workspace bounds the chunk that
 * travels at a time: at least size * 64 elements of dtype, and the same size on all ranks; not used in
 * a group of one rank. */
uly_status uly__reduce_scatter_start(uly__comm *comm, uly_traffic kind, uly_dtype dtype,
                                     const void *data, int64_t part, float *out, void *workspace,
                                     int64_t workspace_bytes);

/* Drives what is under way; never waits. Nothing happens where nothing is. Not collective. */
uly_status uly__comm_poll(uly__comm *comm);
/* Whether what was started has not yet arrived, as far as the last poll saw: differs by rank. Not
 * collective. */
bool uly__comm_pending(const uly__comm *comm);
/* Waits until nothing is under way. */
uly_status uly__comm_wait(uly__comm *comm);

/* --- Agreement. */

/* ULY_OK everywhere if all ranks passed ULY_OK; else everywhere the status and the message of the
 * lowest failing rank. */
uly_status uly__agree(uly__comm *comm, uly_status status);

/* ULY_OK everywhere if all ranks passed the same value; else everywhere ULY_ERR_CONFIG, naming `what` and
 * the first rank that differs from rank 0. */
uly_status uly__same(uly__comm *comm, uint64_t value, const char *what);

/* A value that all ranks must pass alike, and its name. */
typedef struct uly__named {
  const char *name;
  uint64_t value;
} uly__named;

/* As uly__same for each of at most ULY_MAX_SUM values: the message names the first that differs. */
uly_status uly__same_values(uly__comm *comm, const uly__named *values, int num);

#endif
