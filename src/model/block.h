/* One transformer block. */
#ifndef ULY_BLOCK_H
#define ULY_BLOCK_H

#include "model/model.h"

/* Computes block `layer`, from its stashed input x to y [T, h]. */
void uly__block_forward(uly__model *model, int layer, void *y);
/* Turns model->d_x from the gradient of the block's output into that of its input. */
void uly__block_backward(uly__model *model, int layer);

/* Prepares the matrix products of a block, for tiles of so many rows. */
uly_status uly__block_prepare(const uly__model *model, int64_t rows);

#endif
