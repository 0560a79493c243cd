/* Completes the gradients of a step, after its last pass. */
#ifndef ULY_GRADS_H
#define ULY_GRADS_H

#include "model/model.h"

/* Ends the reductions that are under way. In a pipeline of a model with tied embeddings, the first
 * and the last stage each have the gradient of their own use of the weights: adds them up, so
 * that both have the sum and update their copies alike. Failures are noted in the model. Collective
 * over all ranks. */
void uly__reduce_grads(uly__model *model);

/* Carves room for a part of another stage's gradient. */
void uly__tied_grads_carve(uly__model *model, uly__arena *scratch);
/* Returns the bytes that this rank sends to the other end of a pipeline. */
int64_t uly__tied_grads_sent(const uly__model *model);

#endif
