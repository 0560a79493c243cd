/* A training run of the program, and what the files train*.c do for it. All ranks run them
 * together; rank 0 prints. */
#ifndef ULYSSES_CLI_TRAIN_RUN_H
#define ULYSSES_CLI_TRAIN_RUN_H

#include <limits.h>

#include "train/train_options.h"

/* How far the run has come, and what is on the screen. */
typedef struct progress {
  live_line line;
  double shown;       /* when the line was last written */
  double began;       /* end of the first step */
  int64_t began_step; /* its number; 0: not yet */
  /* Measured FLOP/s of all ranks together; 0: not measured. */
  double peak_flops;
} progress;

typedef struct train_run {
  train_options options;
  bool is_first; /* rank 0 */
  uly_mesh *mesh;
  uly_trainer *trainer;
  /* The checkpoint that the run was resumed from; empty: it begins at the start. */
  char checkpoint[PATH_MAX];
  char scan_file[PATH_MAX]; /* in --out */
  /* Step of the newest checkpoint that it was resumed from or has saved; 0: none. */
  int64_t saved_step;
  progress progress;
  char metrics_path[PATH_MAX];
  /* On rank 0 only; NULL once it cannot be written. */
  FILE *metrics;
  FILE *rank_log;         /* NULL: none */
  int64_t saving;         /* of the current save; 0: none */
  int64_t num_nonfinite;  /* steps in a row */
  int64_t nonfinite_step; /* highest of these steps */
  bool is_stopped;        /* by a signal */
} train_run;

/* --- Before the first step. */

/* Refuses a path that would be written if it is also read. Collective; ULY_ERR_CONFIG. */
uly_status places_check(train_run *run);

/* --dry-run: checks what a start checks, and prints the configuration and the plan. Collective. */
uly_status dry_run(train_run *run);

/* Prints on rank 0 what is run, on what data and with which options, and warns about what makes the
 * run slow on any rank. Collective. */
void header_print(train_run *run);

/* --- Checkpoints (train_saves.c). All of these functions are collective. */

/* Prepares --out before the first step, so that no run is lost because the folder cannot be written
 * to. */
uly_status saves_prepare(train_run *run);
/* Checks whether another run would make saves_prepare fail, and takes and writes nothing. */
uly_status saves_check(train_run *run);
/* Find the checkpoint to continue from; return the configuration of the start, in which a
 * checkpoint takes the place of --init; and load the checkpoint. */
uly_status saves_find(train_run *run);
uly_train_config saves_start_config(const train_run *run);
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

/* --- What a run says while it goes on (train_progress.c). */

/* Looks at the terminal, and measures the peak. Collective. */
uly_status progress_open(train_run *run);
/* Prints at most a line, and plain lines only every --log-every steps. */
void progress_step(train_run *run, const uly_step_report *report, bool is_last);
/* Prints a line about something else, on rank 0. */
void progress_say(train_run *run, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Prints such a line on standard error, as a warning or an error. */
void progress_warn(train_run *run, const char *format, ...) __attribute__((format(printf, 2, 3)));
void progress_close(train_run *run);

/* --- The metrics (train_metrics.c). */

/* Renames a file that exists and is not empty to PATH.1, PATH.2, ... before it is written anew. */
uly_status keep_earlier(const char *path);

/* Opens the file. Collective. */
uly_status metrics_open(train_run *run);
/* Drops the lines of steps that will be done again after going back. Collective. */
uly_status metrics_trim(train_run *run);
/* Writes the line of a step. eval is NULL if there was no evaluation. */
void metrics_write(train_run *run, const uly_step_report *report, const uly_eval_report *eval);
/* Closes the file. If lines are missing, the end of the run says so, in its exit code too.
 * Collective. */
uly_status metrics_close(train_run *run);

/* --- A file for each rank: --rank-logs (train_logs.c). */

/* Opens the file. Collective. */
uly_status rank_log_open(train_run *run);
void rank_log_step(train_run *run, const uly_step_report *report);
void rank_log_say(train_run *run, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Returns whether all of the log could be written. Collective. */
uly_status rank_log_finish(train_run *run);
void rank_log_close(train_run *run);

#endif
