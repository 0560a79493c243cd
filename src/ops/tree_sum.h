/* Sums in f32 over one fixed binary tree, so that their bits do not depend on which rank or thread
 * adds what.
 *
 * The tree of n parts joins the tree of the first 2^k parts, 2^k being the largest power of two
 * below n, with the tree of the others. So any aligned run of 2^j parts is a subtree: whether one
 * rank adds such a run, or several ranks add their halves and then the sums, the result has the
 * same bits.
 *
 * Parts that come one after another are summed in the way that a binary counter counts: levels[k]
 * holds the sum of 2^k parts if bit k of the number of parts so far is set. */
#ifndef ULY_TREE_SUM_H
#define ULY_TREE_SUM_H

#include <stdint.h>

/* Returns the number of levels that num_parts parts need: none for one part. */
static inline int uly__tree_levels(int64_t num_parts) {
  int levels = 0;
  for (int64_t pushed = num_parts - 1; pushed > 0; pushed >>= 1) levels++;
  return levels;
}

#endif
