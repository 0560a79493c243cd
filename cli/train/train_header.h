/* Prints what a run says before its first step. */
#ifndef ULYSSES_CLI_TRAIN_HEADER_H
#define ULYSSES_CLI_TRAIN_HEADER_H

#include "train/train_run.h"

/* Prints on rank 0 what is run, on what and with which options. */
void header_print(const train_run *run);

#endif
