/* Makes the passes of a step over its sequences. */
#ifndef ULY_STEP_PASSES_H
#define ULY_STEP_PASSES_H

#include "train/trainer.h"

/* Reads this rank's tokens of the step's sequences. */
uly_status uly__read_sequences(const uly_trainer *trainer);
/* Returns how many labels this rank has in them. */
int64_t uly__count_labels(const uly_trainer *trainer);

/* Does one item of the step's schedule, with the tokens in windows; backward adds this rank's
 * losses to loss. Failures are noted in the model. */
void uly__train_item(uly_trainer *trainer, uly__schedule_item item, int64_t num_labels,
                     uly__exact_sum *loss);

#endif
