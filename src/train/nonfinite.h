/* Handles a step that was not finite: finds where that arose, and how training goes on. */
#ifndef ULY_NONFINITE_H
#define ULY_NONFINITE_H

#include "train/trainer.h"

/* Repeats the passes of the step whose tokens are in windows, to find which tensor was the first
 * that is not finite. The answer is the same on all ranks. Collective. */
uly_status uly__find_nonfinite(uly_trainer *trainer, int64_t num_labels, char *what,
                               size_t capacity);

/* Do what uly_trainer_skip and uly_trainer_rollback do. */
uly_status uly__trainer_skip(uly_trainer *trainer, uly_step_report *report);
uly_status uly__trainer_rollback(uly_trainer *trainer, const char *dir);

#endif
