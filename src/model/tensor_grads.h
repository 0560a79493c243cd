/* Gradients of what several ranks of tensor parallelism hold: norms and the biases behind a sum, which
 * all of them hold, and key/value heads with fewer of them than ranks. Each rank has computed a part
 * of such a gradient; the parts are added up in the order of ranks, so that all ranks which hold a
 * tensor get the same bits and update it in the same way. */
#ifndef ULY_TENSOR_GRADS_H
#define ULY_TENSOR_GRADS_H

#include "model/model.h"

/* Carves the places for it. */
void uly__tensor_grads_carve(uly__model *model, uly__arena *scratch);

/* Adds up the parts of a unit's gradient, which is complete on this rank, for all tensors that other
 * ranks hold too. grads: all of the unit, of dtype. For uly__zero_on_complete, with the model as
 * context. Collective over the ranks of tensor parallelism. */
uly_status uly__tensor_grads_sum(void *context, int unit, uly_dtype dtype, void *grads);

/* Returns the bytes that this rank sends for a unit. */
int64_t uly__tensor_grads_sent(const uly__model *model, int unit);

#endif
