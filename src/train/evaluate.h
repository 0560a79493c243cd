/* Evaluates on held-out data. */
#ifndef ULY_EVALUATE_H
#define ULY_EVALUATE_H

#include "train/trainer.h"

/* Does what uly_trainer_evaluate does; arguments as in uly__trainer_step. */
uly_status uly__trainer_evaluate(uly_trainer *trainer, int (*stops)(void *user), void *user,
                                 uly_status arguments, uly_eval_report *report);

#endif
