/* The learning rate, and the AdamW update. */
#ifndef ULY_OPTIM_H
#define ULY_OPTIM_H

#include "train/trainer.h"

/* Returns the learning rate of a step; the first is 1. */
double uly__learning_rate(const uly_train_config *config, int64_t step);
/* Makes one AdamW update with gradients times grad_scale: each rank updates its ranges; then the
 * weights are sent where the ZeRO stage wants them. Collective. */
uly_status uly__optimizer_step(uly_trainer *trainer, double lr, double grad_scale);

#endif
