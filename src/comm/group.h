/* A group of ranks. It moves bytes and adds integers, and knows no tensors.
 *
 * All functions but the queries, uly__send_recv_start, and polling and waiting for a send_recv are
 * collective over the group: every rank calls them in the same order. What each rank sends to
 * others is counted by kind.
 *
 * ULYSSES_CHECK=collectives in the environment (that of rank 0 counts, when uly__group_create is
 * called) makes the ranks compare what they are about to call before each collective. If the calls
 * differ, all ranks of the group get ULY_ERR_INTERNAL with a message that names both calls, in this
 * call and all later ones, instead of hanging. A rank that ends the group while others go on is
 * found too. It costs one small exchange for each call, which is not counted. */
#ifndef ULY_GROUP_H
#define ULY_GROUP_H

#include <stdbool.h>

#include "base/exact_sum.h"
#include "base/status.h"
#include "comm/traffic.h"
#include "device/device.h"

typedef struct uly__group uly__group;

/* Makes a group of all processes, or of those of a communicator, which is duplicated; comm is the
 * integer by which Fortran knows it. Counts into traffic, which must outlive the group. Messages
 * speak of "the <name> group". */
uly_status uly__group_create(uly__traffic *traffic, const char *name, uly__group **out);
uly_status uly__group_create_fortran(int comm, uly__traffic *traffic, const char *name,
                                     uly__group **out);
/* Makes a group of the ranks that pass the same color, ordered by their rank in this one. */
uly_status uly__group_split(uly__group *group, int color, const char *name, uly__group **out);
/* Makes a group that is only for planning: it knows its size and rank, but nothing can be sent in
 * it. */
uly_status uly__group_create_offline(int size, int rank, const char *name, uly__group **out);
/* Destroys the group after waiting for the calls that are under way, whose memory must still be
 * there. Its requests are void afterwards. NULL is ignored. */
void uly__group_destroy(uly__group *group);

int uly__group_rank(const uly__group *group);
int uly__group_size(const uly__group *group);
/* Returns how many of the group's ranks run on this machine, or 1 in an offline group. */
int uly__group_node_size(const uly__group *group);

/* What lies where in a buffer, [ranks] each, in units of an exchange. */
typedef struct uly__blocks {
  const int64_t *counts, *offsets;
} uly__blocks;

/* Calls that move data name a stream. Work that was given to the stream before the call has written
 * what is sent; work that is given to it after the call, or after the wait for its request, may
 * read what arrives. */

/* --- Calls that wait. */

/* Sends block p of send to rank p, and receives block s of recv from rank s; a rank's own block is
 * copied by all threads. The two buffers are not the same. Counts and offsets are in units of
 * unit_bytes, so that they fit MPI's int for any memory that exists. */
uly_status uly__all_to_all(uly__group *group, uly__stream *stream, uly_traffic kind,
                           int64_t unit_bytes, const void *send, uly__blocks send_blocks,
                           void *recv, uly__blocks recv_blocks);

/* Writes what rank s sent to recv[s * bytes ...]. It is meant for small messages. stream is NULL if
 * both buffers are in the host's memory, which no stream reads or writes. */
uly_status uly__all_gather(uly__group *group, uly__stream *stream, uly_traffic kind,
                           const void *send, int64_t bytes, void *recv);

/* Sums values[count] over the ranks (integers: exact, modulo 2^64). count is at most ULY_MAX_SUM.
 * It is meant for small messages. */
#define ULY_MAX_SUM 128
uly_status uly__sum_i64(uly__group *group, uly_traffic kind, int64_t *values, int count);
/* Adds up the exact sums of all ranks. */
uly_status uly__sum_exactly(uly__group *group, uly__exact_sum *sum);

/* --- Calls that are started, and run while the caller computes. Each has a request, which is
 * polled now and then so that the call makes progress, and then waited for. At most ULY_MAX_STARTED
 * may be under way in a group, unless more have been reserved. Buffers belong to the call until its
 * request was waited for. */

enum { ULY_MAX_STARTED = 12 };

/* A started call, or none if it is all zero. It may be started again once it has been waited
 * for. */
typedef struct uly__request {
  struct uly__started *started;
} uly__request;

/* Makes room for `num` calls under way in a group. Not collective. */
uly_status uly__group_reserve(uly__group *group, int num);

/* Does what uly__all_to_all does. */
uly_status uly__all_to_all_start(uly__group *group, uly__stream *stream, uly_traffic kind,
                                 int64_t unit_bytes, const void *send, uly__blocks send_blocks,
                                 void *recv, uly__blocks recv_blocks, uly__request *request);

/* Gathers data, [size][part_bytes], in which every rank has put its own part in its place.
 * part_bytes is a multiple of 64. */
uly_status uly__all_gather_start(uly__group *group, uly__stream *stream, uly_traffic kind,
                                 void *data, int64_t part_bytes, uly__request *request);

/* Moves what uly__all_to_all moves, but is matched with the calls of other ranks by its tag and not
 * by its turn. So it may be started from a poll, which happens at different times on different
 * ranks. Send and recv may be one buffer, if the blocks in it do not overlap. Blocks without units
 * need no partner. Several calls with one tag are matched in their own order. */
uly_status uly__send_recv_start(uly__group *group, uly__stream *stream, uly_traffic kind,
                                int64_t unit_bytes, const void *send, uly__blocks send_blocks,
                                void *recv, uly__blocks recv_blocks, int tag,
                                uly__request *request);
/* Takes the next tag, which is the same on all ranks. The format describes what the tag is for,
 * with everything that the ranks must pass alike. Collective. */
uly_status uly__group_take_tag(uly__group *group, int *tag, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Returns whether a started call of a kind had not yet ended at the last poll, in any group that
 * counts into the same traffic. */
bool uly__group_is_moving(const uly__group *group, uly_traffic kind);

/* Drives a call; never waits. */
uly_status uly__request_poll(uly__request *request);
/* Returns whether a call had not yet ended at the last poll, which may differ between ranks. */
bool uly__request_is_pending(const uly__request *request);
/* Waits for a call, if there is one. Collective, except for a send_recv. */
uly_status uly__request_wait(uly__request *request);

/* --- Agreement. */

/* Returns ULY_OK on all ranks if all passed ULY_OK; otherwise it returns, on all of them, the
 * status and the message of the lowest failing rank. */
uly_status uly__agree(uly__group *group, uly_status status);

/* Returns ULY_OK on all ranks if all passed the same value; otherwise it returns ULY_ERR_CONFIG on
 * all of them, naming `what` and the first rank that differs from rank 0. */
uly_status uly__same(uly__group *group, uint64_t value, const char *what);

/* A value that all ranks must pass alike, and its name. */
typedef struct uly__named {
  const char *name;
  uint64_t value;
} uly__named;

/* Compares at most ULY_MAX_SUM values as uly__same does: the message names the first that
 * differs. */
uly_status uly__same_values(uly__group *group, const uly__named *values, int num);

#endif
