/* The order of a forward and a backward pass. Failures are noted in the model. Collective over the
 * ranks that share the sequence or the weights. */
#ifndef ULY_PASSES_H
#define ULY_PASSES_H

#include "model/head.h"

/* Computes one chunk of the stage, for the micro-batch that uly__stash_use has chosen and whose
 * tokens uly__input_set_tokens has set: from the embedding, or in a later chunk of the model from
 * the chunk's input in the stash, to the output of the chunk's last block. `keeps` says whether a
 * backward pass follows. */
void uly__pass_forward(uly__model *model, int chunk, bool keeps);
/* Continues the model's last chunk with head and loss alone. losses: as uly__head says. */
void uly__pass_losses(uly__model *model, uly__exact_sum *losses);
/* Goes back through a chunk: from head and loss, or in an earlier chunk of the model from the
 * gradient that d_x holds, to the embedding; a later chunk leaves the gradient of its input in d_x.
 * Adds the gradient of scale * (sum of losses over all ranks) to the gradients, and this rank's
 * losses to loss. Negative labels are ignored. */
void uly__pass_backward(uly__model *model, int chunk, float scale, uly__exact_sum *loss);

/* Returns the unit that is used after a block of a chunk in forward: that of the next block, or the
 * last unit; -1: another rank has it. */
int uly__pass_unit_after(const uly__model *model, uly__chunk chunk, int layer);

/* Counts the gathers of weights that a pass of a schedule makes. */
void uly__pass_count_gathers(const uly__model *model, uly__schedule_item item,
                             uly__zero_gathers *count);

/* Prepares the matrix products of the passes for which the model is made, so that no pass allocates
 * memory. Not collective. */
uly_status uly__pass_prepare(const uly__model *model);

#endif
