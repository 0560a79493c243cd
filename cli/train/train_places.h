/* The paths of a run. */
#ifndef ULYSSES_CLI_TRAIN_PLACES_H
#define ULYSSES_CLI_TRAIN_PLACES_H

#include "train/train_run.h"

/* Refuses a path that is written if it is one that is read. Collective; ULY_ERR_CONFIG. */
uly_status places_check(train_run *run);

#endif
