/* Sums and gathers of model states over the ranks of a group, chunk by chunk.
 *
 * A chunk is elements [begin, begin + length) of every part, and at most two chunks are under way.
 * So an exchange that a layer waits for is sent after a few chunks at most, instead of after the
 * gradients or weights of a whole layer. The next chunk is started by whichever call finds that an
 * earlier one has arrived, which differs between ranks, so chunks travel as send_recv.
 *
 * In a sum, each rank adds up what has arrived for its own part over the tree of ops/tree_sum.h, in
 * the order of ranks, so its bits do not depend on the size of a chunk. */
#ifndef ULY_BULK_H
#define ULY_BULK_H

#include <stdbool.h>

#include "comm/group.h"
#include "ops/ops.h"

enum { ULY_BULK_IN_FLIGHT = 2 };

/* A reduce-scatter or an all-gather, which may be started again once it was waited for. */
typedef struct uly__bulk {
  uly__group *group;
  const uly__ops *ops;
  uly__request requests[ULY_BULK_IN_FLIGHT]; /* of chunks in turn */
  uly__stream *stream;
  uly_traffic kind;
  int tag;
  bool sums; /* or else gathers */
  uly_dtype dtype;
  char *data; /* [size][part] */
  float *out; /* [part] */
  char *workspace;
  /* In units of 64 elements of a sum, or of 64 bytes of a gather: a part, and a chunk of it; how
   * much of the part has been started, and how much has ended. */
  int64_t unit_bytes, part, chunk, begun, ended;
  int64_t *counts, *send_offsets, *recv_offsets; /* [size] each, of a chunk */
} uly__bulk;

uly_status uly__bulk_create(uly__group *group, const uly__ops *ops, uly__bulk *out);
void uly__bulk_destroy(uly__bulk *bulk);

/* Starts to sum, in f32 and on a stream, data[rank * part ...] of all ranks into out[part]. data is
 * [size][part] of dtype, which is what travels; it is left as it is, but out may be the own part of
 * f32 data. part is a multiple of 64 elements. workspace holds the chunks that are under way: at
 * least 2 * size * 64 elements of dtype, and the same size on all ranks; it is not used in a group
 * of one rank. Collective. */
uly_status uly__bulk_sum_start(uly__bulk *bulk, uly__stream *stream, uly_traffic kind,
                               uly_dtype dtype, void *data, int64_t part, float *out,
                               void *workspace, int64_t workspace_bytes);
/* Starts to gather data, [size][part_bytes], in which every rank has put its own part in its place.
 * part_bytes is a multiple of 64. in_flight_bytes is the most that is under way to a rank, and is
 * raised to two chunks of 64 bytes from each. Collective. */
uly_status uly__bulk_gather_start(uly__bulk *bulk, uly__stream *stream, uly_traffic kind,
                                  void *data, int64_t part_bytes, int64_t in_flight_bytes);
/* Ends the chunks that have arrived, and starts others, unless an exchange for attention is under
 * way to or from this rank; never waits. */
uly_status uly__bulk_poll(uly__bulk *bulk);
/* Returns whether a call was not complete at the last poll, which differs by rank. */
bool uly__bulk_is_pending(const uly__bulk *bulk);
uly_status uly__bulk_wait(uly__bulk *bulk);

#endif
