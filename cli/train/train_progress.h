/* Prints what a run says while it goes on. */
#ifndef ULYSSES_CLI_TRAIN_PROGRESS_H
#define ULYSSES_CLI_TRAIN_PROGRESS_H

#include "train/train_run.h"

/* Looks at the terminal, and measures the peak. Collective. */
uly_status progress_open(train_run *run);
/* Prints at most a line; where lines are plain, only each --log-every steps. */
void progress_step(train_run *run, const uly_step_report *report, bool is_last);
/* Prints a line about something else, on rank 0. */
void progress_say(train_run *run, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Prints one on standard error, as a warning or an error. */
void progress_warn(train_run *run, const char *format, ...) __attribute__((format(printf, 2, 3)));
void progress_close(train_run *run);

#endif
