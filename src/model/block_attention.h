/* The attention half of a block. */
#ifndef ULY_BLOCK_ATTENTION_H
#define ULY_BLOCK_ATTENTION_H

#include "model/model.h"

/* Attends: normalizes and projects the stashed input, and leaves the outputs in the stash. `kind`
 * is that of the exchange of heads: of the forward pass, or to recompute.
 *
 * Where rows travel for tensor parallelism, attention may take one tile at a time, so that the rows
 * of other tiles travel meanwhile. uly__block_attend then only projects, and
 * uly__block_attend_tile attends. */
void uly__block_attend(uly__model *model, int layer, uly_traffic kind);
/* Attends for the queries of tile i, unless uly__block_attend has done so. */
void uly__block_attend_tile(uly__model *model, int layer, uly_traffic kind, int64_t i);

/* Takes the gradients of the outputs of tile i back through attention, if attention takes one tile
 * at a time. */
void uly__block_attend_tile_backward(uly__model *model, int layer, int64_t i);
/* Takes the gradients of all outputs back through attention, unless uly__block_attend_tile_backward
 * has done so. Then takes the gradients of Q, K and V back through the projections, and adds the
 * gradient of the block's input to d_x. */
void uly__block_attend_backward(uly__model *model, int layer);

/* Computes this rank's part of the output projection of tile i, the sum over its blocks g of heads
 * of O_g Wo[:, g]^T, and starts to add it up over the ranks. `kind` is that of the latter sum. */
void uly__block_outputs(uly__model *model, int layer, uly_traffic kind, int64_t i);
/* Computes the gradients of O, in the scheme's blocks, and of Wo from the gathered gradients of the
 * stream after attention, for all rows of tile i. */
void uly__block_outputs_backward(uly__model *model, int layer, int64_t i);

/* Prepares the matrix products, for tiles of `rows` rows. */
uly_status uly__block_prepare_attention(const uly__model *model, int64_t rows);

#endif
