/* One training step. */
#ifndef ULY_STEP_H
#define ULY_STEP_H

#include "train/trainer.h"

/* Does what uly_trainer_step does. arguments: what was found wrong with those of this rank, agreed on
 * where the step agrees first anyway. */
uly_status uly__trainer_step(uly_trainer *trainer, uly_status arguments, uly_step_report *report);

#endif
