/* The metrics of a run. */
#ifndef ULYSSES_CLI_TRAIN_METRICS_H
#define ULYSSES_CLI_TRAIN_METRICS_H

#include "train/train_run.h"

/* Renames a file that exists and is not empty to PATH.1, PATH.2, ... before it is written anew. */
uly_status keep_earlier(const char *path);

/* Opens the file. Collective. */
uly_status metrics_open(train_run *run);
/* Drops the lines of steps that will be done again after going back. Collective. */
uly_status metrics_trim(train_run *run);
/* Writes the line of a step. eval NULL: none. */
void metrics_write(train_run *run, const uly_step_report *report, const uly_eval_report *eval);
/* Closes the file. If lines are missing, the end of the run says so, in its exit code too.
 * Collective. */
uly_status metrics_close(train_run *run);

#endif
