/* Traces a run. */
#ifndef ULY_TRACE_H
#define ULY_TRACE_H

#include "train/trainer.h"

/* Do what uly_trainer_trace and uly_trainer_trace_write do. */
uly_status uly__trainer_trace(uly_trainer *trainer);
uly_status uly__trainer_trace_write(uly_trainer *trainer, const char *path);

#endif
