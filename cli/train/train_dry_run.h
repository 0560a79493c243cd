/* ulysses train --dry-run. */
#ifndef ULYSSES_CLI_TRAIN_DRY_RUN_H
#define ULYSSES_CLI_TRAIN_DRY_RUN_H

#include "train/train_run.h"

/* Checks what a start checks, and prints the configuration and the plan. Collective. */
uly_status dry_run(train_run *run);

#endif
