/* Says what a run computes with, and warns of what makes it slow. */
#ifndef ULYSSES_CLI_TRAIN_SLOW_H
#define ULYSSES_CLI_TRAIN_SLOW_H

#include "train/train_run.h"

/* Prints a line of the header. */
void slow_print(const train_run *run);
/* Warns about what makes the run slow, on any rank. Collective. */
void slow_warn(train_run *run);

#endif
