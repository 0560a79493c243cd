/* The checkpoints of a run. All of these functions are collective. */
#ifndef ULYSSES_CLI_TRAIN_SAVES_H
#define ULYSSES_CLI_TRAIN_SAVES_H

#include "train/train_run.h"

/* Prepares --out before the first step, so that a folder that cannot be written to does not lose
 * the run. */
uly_status saves_prepare(train_run *run);
/* Returns whether another run makes saves_prepare fail; takes and writes nothing. */
uly_status saves_check(train_run *run);
/* Find the checkpoint to continue from, and load it. */
uly_status saves_find(train_run *run);
uly_status saves_resume(train_run *run);
/* Writes the configuration that the run was started with to config.yaml in --out. */
uly_status saves_config(train_run *run);
/* Starts a save, whose files are written while the next step computes. At the end there is no next
 * step. */
uly_status saves_start(train_run *run, int64_t step, bool is_end);
/* Ends the save that is under way, if any, and reports how it went. */
void saves_finish(train_run *run, bool goes_on);
/* Saves what was done before a run ends because of its data; the reason stays the latest error. */
void saves_rescue(train_run *run);
/* Keeps the scan of the data in --out, for the next start. */
void saves_remember(train_run *run);
/* Goes back from a step that was not finite to the newest checkpoint. */
uly_status saves_rollback(train_run *run);

#endif
