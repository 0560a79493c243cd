/* A file for each rank: --rank-logs. */
#ifndef ULYSSES_CLI_TRAIN_LOGS_H
#define ULYSSES_CLI_TRAIN_LOGS_H

#include "train/train_run.h"

/* Opens the file. Collective. */
uly_status rank_log_open(train_run *run);
void rank_log_step(train_run *run, const uly_step_report *report);
void rank_log_say(train_run *run, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Returns whether all of the log could be written. Collective. */
uly_status rank_log_finish(train_run *run);
void rank_log_close(train_run *run);

#endif
