/* Vectors that several ranks compute together: each rank has some of the elements, or each has a
 * term of all of them. */
#ifndef ULY_SHARED_VECTOR_H
#define ULY_SHARED_VECTOR_H

#include "base/split.h"
#include "comm/group.h"
#include "ops/ops.h"

typedef struct uly__shared_vector {
  uly__group *group;
  uly_traffic kind; /* of traffic: what its elements count as */
  uly__part *parts; /* [ranks of the group]: the elements of each */
  int64_t largest;  /* of their counts */
} uly__shared_vector;

/* Cuts `count` elements over the ranks of a group; parts: [ranks of the group], filled here. Each
 * part begins at a multiple of the length of a SIMD vector, so that operations on single elements
 * give the same bits wherever the parts begin. */
uly__shared_vector uly__shared_cut(uly__group *group, uly_traffic kind, uly__part *parts,
                                   int64_t count);
/* Returns the vector whose parts the caller has filled in. */
uly__shared_vector uly__shared_of(uly__group *group, uly_traffic kind, uly__part *parts);

/* Returns this rank's part. */
uly__part uly__shared_mine(const uly__shared_vector *vector);

/* Gathers the parts into `out` on all ranks of the group. of_all: [ranks][largest] elements of
 * workspace. Collective over the group. */
uly_status uly__shared_gather(const uly__shared_vector *vector, uly__stream *stream,
                              uly_dtype dtype, const void *mine, void *of_all, void *out);

/* Adds up the terms x[count] of all ranks of a group, in the order of ranks, and leaves the sum in
 * x on all of them; they count as rows of tensor parallelism. of_all: [ranks][count] elements of
 * workspace. Collective over the group. */
uly_status uly__shared_sum(uly__group *group, const uly__ops *ops, uly__stream *stream,
                           uly_dtype dtype, int64_t count, void *x, void *of_all);

#endif
