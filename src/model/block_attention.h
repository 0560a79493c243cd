/* The attention half of a block. */
#ifndef ULY_BLOCK_ATTENTION_H
#define ULY_BLOCK_ATTENTION_H

#include "model/model.h"

/* Attends: normalizes and projects the stashed input, and leaves outputs in the stash. kind is that of
 * the exchange of heads, in forward or to recompute. */
void uly__block_attend(uly__model *model, int layer, uly_traffic kind);
/* Takes the gradients of outputs back through attention and the projections, and adds that of the
 * block's input to d_x. */
void uly__block_attend_backward(uly__model *model, int layer);

/* Starts to add up sum over g of O_g Wo[:, g]^T of tile i, of which this rank has its own heads. kind is
 * that of the sum. */
void uly__block_outputs(uly__model *model, int layer, uly_traffic kind, int64_t i);
/* Computes, from the gradients of all rows of tile i behind attention, which are gathered, those of O in
 * the scheme's blocks, and that of Wo. */
void uly__block_outputs_backward(uly__model *model, int layer, int64_t i);

/* Prepares the matrix products, for tiles of so many rows. */
uly_status uly__block_prepare_attention(const uly__model *model, int64_t rows);

#endif
