/* Makes the passes of a step over its sequences. */
#ifndef ULY_STEP_PASSES_H
#define ULY_STEP_PASSES_H

#include "train/trainer.h"

/* Reads this rank's tokens of the step's sequences. */
uly_status uly__read_sequences(const uly_trainer *trainer);
/* Returns how many labels this rank has in them, or 0 if another rank counts them. */
int64_t uly__count_labels(const uly_trainer *trainer);

typedef struct uly__step_work {
  double pairs; /* visible, of this rank's sequences, over all query heads */
  /* How long the passes took, and how much of it this rank waited for other stages. */
  double seconds, wait_seconds;
} uly__step_work;

/* Makes all passes of the step, with the tokens in windows, and adds this rank's losses to loss.
 * num_labels: of all ranks. Failures are noted in the model. */
uly__step_work uly__make_passes(uly_trainer *trainer, int64_t num_labels, uly__exact_sum *loss);

#endif
