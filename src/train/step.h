/* One training step. */
#ifndef ULY_STEP_H
#define ULY_STEP_H

#include "train/trainer.h"

/* Does what uly_trainer_step does. `arguments` is what this rank found wrong with its own; the
 * ranks agree on it where the step agrees first anyway. */
uly_status uly__trainer_step(uly_trainer *trainer, uly_status arguments, uly_step_report *report);

#endif
