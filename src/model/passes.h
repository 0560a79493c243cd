/* The order of a forward and a backward pass. Failures are noted in the model. Collective over the
 * ranks that share the sequence or the weights. */
#ifndef ULY_PASSES_H
#define ULY_PASSES_H

#include "model/head.h"

/* Computes from the embedding, or in a later stage of a pipeline from what stash.layers[0].x holds,
 * to the output of the last block. tokens, labels: [T], in the host's memory, where they must stay
 * as they are until the last pass over this sequence has ended; labels may be NULL if no loss is
 * computed. `keeps` says whether a backward pass follows. */
void uly__pass_forward(uly__model *model, const int32_t *tokens, const int32_t *labels, bool keeps);
/* Continues with head and loss, or in an earlier stage with the gradient that d_x holds, and goes
 * back to the embedding; a later stage leaves the gradient of its input in d_x. Adds the gradient
 * of scale * (sum of losses over all ranks) to the gradients, and this rank's losses to loss.
 * Negative labels are ignored. */
void uly__pass_backward(uly__model *model, float scale, uly__exact_sum *loss);

/* Prepares the matrix products of the passes for which the model is made, so that no pass allocates
 * memory. Not collective. */
uly_status uly__pass_prepare(const uly__model *model);

/* Computes the losses alone, by position: losses[ULY_MAX_EVAL_BINS]. */
void uly__model_eval(uly__model *model, const int32_t *tokens, const int32_t *labels,
                     uly__exact_sum *losses);

#endif
