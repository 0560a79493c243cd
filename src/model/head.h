/* Final norm, head and loss, and the bins of positions that losses are reported by. */
#ifndef ULY_HEAD_H
#define ULY_HEAD_H

#include "base/exact_sum.h"
#include "model/model.h"

/* Computes final norm, head and loss over tiles. With scale != 0 it also computes backward, into
 * model->d_x; otherwise loss is an array of bins. */
void uly__head(uly__model *model, float scale, uly__exact_sum *loss);

/* Prepares the head's matrix products, for tiles of so many rows. */
uly_status uly__head_prepare(const uly__model *model, int64_t rows);

/* Returns the bin of a position: [0, 16), [16, 32), [32, 64), ... */
int uly__position_bin(int64_t position);
void uly__bin_positions(int bin, int64_t *begin, int64_t *end);
/* Returns the bin of this rank's token t. */
int uly__model_bin(const uly__model *model, int64_t t);

#endif
