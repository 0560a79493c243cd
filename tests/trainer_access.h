/* Whole tensors of a trainer whose states are spread over many ranks. */
#ifndef TRAINER_ACCESS_H
#define TRAINER_ACCESS_H

#include "data/safetensors.h"
#include "model/grads.h"
#include "model/passes.h"
#include "model/pipeline.h"
#include "model/weights.h"
#include "train/batch.h"
#include "train/trainer.h"

/* Mean loss over the held-out data. Collective. */
double eval_loss(uly_trainer *trainer);

/* Makes the passes over one sequence, of which this rank has tokens[T] and labels[T]: forward and
 * backward, or with scale 0 forward alone, with losses by position. Collective. */
void run_passes(uly__model *model, const int32_t *tokens, const int32_t *labels, float scale,
                uly__exact_sum *losses);

/* Sets the part of a tensor's master weights that this rank owns; values: the whole tensor. Call
 * uly__weights_from_master when all are set. */
void set_weight(uly_trainer *trainer, int param, const float *values);

/* Sets all weights from a file that has the model's tensors. Collective. */
void set_weights(uly_trainer *trainer, const uly__safetensors *weights);

/* The whole gradient of the last step, before clipping; out: [count]. Collective. */
void get_gradient(uly_trainer *trainer, int param, float *out);

/* The whole of a state. Collective. */
void get_state(uly_trainer *trainer, uly__state which, int param, float *out);

#endif
