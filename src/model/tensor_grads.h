/* Gradients of what several ranks of tensor parallelism hold: the weights of norms and the biases
 * that are added after a sum, which all of these ranks hold, and key/value heads whose query heads
 * are on several ranks. Each rank computes a part of such a gradient; the parts are added up in the
 * order of ranks, so that all ranks which hold a tensor get the same bits and update it in the same
 * way. */
#ifndef ULY_TENSOR_GRADS_H
#define ULY_TENSOR_GRADS_H

#include "model/model.h"

/* Carves the buffers that uly__tensor_grads_sum uses. */
void uly__tensor_grads_carve(uly__model *model, uly__arena *scratch);

/* Adds up the parts of a unit's gradient over the ranks, for all tensors that other ranks hold too.
 * This rank's part must be complete. grads: the gradient of the whole unit, of dtype. This
 * function is for uly__zero_on_complete, with the model as context. Collective over the ranks of
 * tensor parallelism. */
uly_status uly__tensor_grads_sum(void *context, int unit, uly_dtype dtype, void *grads);

/* Returns the bytes that this rank sends to add up the gradients of a unit. */
int64_t uly__tensor_grads_sent(const uly__model *model, int unit);

#endif
