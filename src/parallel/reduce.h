/* Sums of tensors over the ranks of a group: an exchange by comm, then an addition by ops.
 *
 * A reduce-scatter goes chunk by chunk: a chunk is elements [begin, begin + length) of every part.
 * The ranks exchange it, and each adds up what has arrived for its own part over the tree of
 * ops/tree_sum.h, in the order of ranks, so the bits of a sum do not depend on the size of a chunk.
 * The next chunk is started by whichever call finds that the last one has arrived, which differs
 * between ranks, so chunks travel as send_recv. */
#ifndef ULY_REDUCE_H
#define ULY_REDUCE_H

#include <stdbool.h>

#include "base/exact_sum.h"
#include "comm/group.h"
#include "ops/ops.h"

/* A reduce-scatter, which may be started again once it was waited for. */
typedef struct uly__reduce {
  uly__group *group;
  const uly__ops *ops;
  uly__request chunk_request;
  uly__stream *stream; /* of the sum under way */
  bool is_pending;     /* chunks are under way, or to come */
  int tag;
  uly_traffic kind;
  uly_dtype dtype;
  const void *data; /* [size][part] of dtype */
  int64_t part;
  float *out;                   /* [part] */
  void *workspace;              /* [size][chunk] of dtype */
  int64_t chunk, begin, length; /* most elements of a chunk; where the present one lies in a part */
  int64_t *counts, *send_offsets; /* [size] each, of the present chunk */
  int64_t *recv_offsets;
} uly__reduce;

uly_status uly__reduce_create(uly__group *group, const uly__ops *ops, uly__reduce *out);
void uly__reduce_destroy(uly__reduce *reduce);

/* Starts to sum, in f32 and on a stream, data[rank * part ...] of all ranks into out[part]. data is
 * [size][part] of dtype, which is what travels; it is left as it is, but out may be the own part of
 * f32 data. part is a multiple of 64 elements. workspace bounds the chunk: at least size * 64
 * elements of dtype, and the same size on all ranks; it is not used in a group of one rank.
 * Collective. */
uly_status uly__reduce_start(uly__reduce *reduce, uly__stream *stream, uly_traffic kind,
                             uly_dtype dtype, const void *data, int64_t part, float *out,
                             void *workspace, int64_t workspace_bytes);
/* Drives the sum; never waits. */
uly_status uly__reduce_poll(uly__reduce *reduce);
/* Returns whether the sum was not complete at the last poll, which differs by rank. */
bool uly__reduce_is_pending(const uly__reduce *reduce);
uly_status uly__reduce_wait(uly__reduce *reduce);

/* Adds up the exact sums of all ranks. Collective. */
uly_status uly__reduce_exactly(uly__group *group, uly__exact_sum *sum);

#endif
