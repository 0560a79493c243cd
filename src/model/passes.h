/* The order of a forward and a backward pass. Failures are noted in the model. Collective over the ranks
 * that share the sequence or the weights. */
#ifndef ULY_PASSES_H
#define ULY_PASSES_H

#include "model/head.h"

/* Computes from the embedding, or from what stash.layers[0].x holds in a later stage of a pipeline, to
 * the output of the last block. tokens, labels: [T], of the host, which
 * stay as they are until the pass has ended; labels NULL: it has none. `keeps` says whether a backward
 * pass follows. */
void uly__pass_forward(uly__model *model, const int32_t *tokens, const int32_t *labels, bool keeps);
/* Continues with head and loss, or with the gradient that d_x holds in an earlier stage, and goes back
 * to the embedding, or leaves in d_x the gradient of the stage's input. Adds to the gradients that of scale *
 * (sum of losses over all ranks), and this rank's losses to loss. Negative labels are ignored. */
void uly__pass_backward(uly__model *model, float scale, uly__exact_sum *loss);

/* Makes a forward and a backward pass. */
void uly__model_train(uly__model *model, const int32_t *tokens, const int32_t *labels, float scale,
                      uly__exact_sum *loss);
/* Computes the losses alone, by position: losses[ULY_MAX_EVAL_BINS]. */
void uly__model_eval(uly__model *model, const int32_t *tokens, const int32_t *labels,
                     uly__exact_sum *losses);

#endif
