/* Sums in f32 over one fixed binary tree, so that their bits do not depend on who adds what.
 *
 * The tree of n parts joins the tree of the first 2^k parts, 2^k being the largest power of two below n,
 * with the tree of the others. So any aligned run of 2^j parts is a subtree: whether one rank adds such a
 * run, or several ranks add their halves and then the sums, the result has the same bits. */
#ifndef ULY_TREE_SUM_H
#define ULY_TREE_SUM_H

#include "base/dtype.h"
#include "device/device.h"

/* Sets out[count] to the sum of num_parts arrays of dtype, `stride` elements apart. out may be one
 * of f32 parts. */
void uly__tree_sum(uly__stream *stream, uly_dtype dtype, const void *parts, int64_t num_parts,
                   int64_t stride, int64_t count, float *out);

/* Sums over the same tree parts that come one after another, like a binary counter: levels[k] holds
 * the sum of 2^k parts if bit k of the number of parts pushed so far is set. */

/* Adds part number `index` (the first is 0). */
void uly__tree_push(uly__stream *stream, float *const *levels, int64_t index, const float *x,
                    int64_t count);
/* Turns x, the last part, number `index`, into the sum of all index + 1 parts. */
void uly__tree_finish(uly__stream *stream, float *const *levels, int64_t index, float *x,
                      int64_t count);

/* Returns the number of levels that num_parts parts need: none for one part. */
static inline int uly__tree_levels(int64_t num_parts) {
  int levels = 0;
  for (int64_t pushed = num_parts - 1; pushed > 0; pushed >>= 1) levels++;
  return levels;
}

#endif
