/* Runs a schedule: the passes of a stage over micro-batches, with what other stages send and need.
 *
 * Before each pass, the receive of the next pass of each kind is started; and what a pass has made
 * leaves while the next one computes. Without other stages nothing travels, and the passes follow
 * each other. */
#ifndef ULY_PIPELINE_H
#define ULY_PIPELINE_H

#include "model/model.h"

/* Says what the passes over a micro-batch read, and where its losses go. */
typedef struct uly__micro_batch {
  /* [T], in the host's memory, where they must stay as they are until another micro-batch is
   * prepared. */
  const int32_t *tokens, *labels;
  /* uly__pass_backward or uly__pass_losses adds to it. NULL: forward ends with the last block. */
  uly__exact_sum *losses;
} uly__micro_batch;

typedef struct uly__pipeline_run {
  const uly__schedule *schedule;
  /* Prepares the model for a micro-batch: sets its documents. Called whenever a pass follows one
   * over another micro-batch. Failures are noted in the model. */
  uly__micro_batch (*prepare)(void *context, int64_t micro_batch);
  void *context;
  float scale; /* of backward, or 0 in a schedule without it */
  /* Results: the visible pairs of all micro-batches, how long the passes took, and how much of this
   * time the rank waited for other stages. */
  double pairs, seconds, wait_seconds;
} uly__pipeline_run;

/* Runs all passes. Failures are noted in the model, and the schedule is finished. Collective over
 * all ranks of the mesh. */
void uly__pipeline_run_schedule(uly__model *model, uly__pipeline_run *run);

#endif
