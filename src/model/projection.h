/* The products around attention, for each block of heads: Q, K and V into it, and Wo out of it.
 * They differ between layers only in the unit of their weights, so they are planned once, with the
 * model. */
#ifndef ULY_PROJECTION_H
#define ULY_PROJECTION_H

#include "model/params.h"
#include "parallel/seq_attention.h"

/* A product with weights [out, in]. */
typedef struct uly__linear {
  int64_t in, out; /* features */
  int unit;        /* of the weights */
  /* Offset of the first weight in the unit, and distance of rows. */
  int64_t weight, ldw;
} uly__linear;

/* The projection of a block's queries, keys or values. */
typedef struct uly__projection {
  uly__linear linear;
  int64_t bias; /* offset in the unit, or -1 */
  int64_t at;   /* offset of row 0 */
  int heads;    /* 0: the block before has them */
  int64_t norm; /* offset of the norm of each head, or -1 */
  bool rotated; /* by RoPE, in layers that have it */
} uly__projection;

typedef struct uly__block_projections {
  uly__projection qkv[3];
  uly__linear o; /* Wo's columns for the block */
} uly__block_projections;

/* Plans the products of all blocks of heads, out[num_blocks]. Their unit is 0: uly__linear_in sets
 * that of a layer. */
void uly__projections_plan(const uly__model_config *config, const uly__tensor_share *share,
                           const uly__block_layout *layout, const uly_attention *attention,
                           uly__block_projections *out);

#endif
