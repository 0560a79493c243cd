/* Sums in f32 over one fixed binary tree, so that their bits do not depend on who adds what.
 *
 * The tree of n parts joins the tree of the first 2^k parts, 2^k being the largest power of two below n,
 * with the tree of the others. So any aligned run of 2^j parts is a subtree: whether one rank adds such a
 * run, or several ranks add their halves and then the sums, the result has the same bits. */
#ifndef ULY_TREE_SUM_H
#define ULY_TREE_SUM_H

#include "base/dtype.h"

/* out[count] = sum of num_parts arrays of dtype, `stride` elements apart. out may be one of f32 parts. */
void uly__tree_sum(uly_dtype dtype, const void *parts, int64_t num_parts, int64_t stride,
                   int64_t count, float *out);

/* The same tree for parts that come one after another, as a binary counter counts: levels[k] holds the
 * sum of 2^k parts where bit k of the number of parts pushed so far is set. */

/* Adds part number `index` (0 first). */
void uly__tree_push(float *const *levels, int64_t index, const float *x, int64_t count);
/* x, the last part, number `index`, becomes the sum of all index + 1 parts. */
void uly__tree_finish(float *const *levels, int64_t index, float *x, int64_t count);

/* Levels that num_parts parts need: none for one part. */
static inline int uly__tree_levels(int64_t num_parts) {
  int levels = 0;
  for (int64_t pushed = num_parts - 1; pushed > 0; pushed >>= 1) levels++;
  return levels;
}

#endif
