/* A training run of the program, for the files train*.c. All ranks walk through them together; rank 0 prints. */
#ifndef ULYSSES_CLI_TRAIN_RUN_H
#define ULYSSES_CLI_TRAIN_RUN_H

#include <limits.h>
#include <stdbool.h>
#include <stdio.h>

#include "options.h"
#include "ulysses.h"

/* Where the run stands in time, and what is on the screen (train_progress.c). */
typedef struct progress {
  bool is_live;       /* one line of a terminal is written over and over */
  int length;         /* of it, where it is there */
  int width;          /* of the terminal */
  double shown;       /* when it was last written */
  double began;       /* when the first step of this process had ended */
  int64_t began_step; /* its number; 0: not yet */
  double peak_flops;  /* measured, of all ranks together, FLOP/s; 0: not measured */
} progress;

typedef struct train_run {
  options options;
  bool is_first; /* rank 0 */
  uly_mesh *mesh;
  uly_trainer *trainer;
  char checkpoint[PATH_MAX]; /* resumed from; empty: from the start */
  char scan_file[PATH_MAX];  /* in --out */
  int64_t saved_step; /* of the newest checkpoint that it was resumed from or has saved; 0: none */
  progress progress;
  char metrics_path[PATH_MAX];
  FILE *metrics;          /* rank 0 only; NULL once it cannot be written */
  FILE *rank_log;         /* NULL: none */
  int64_t saving;         /* step whose save is under way; 0: none */
  int64_t num_nonfinite;  /* steps in a row, without a good one between */
  int64_t nonfinite_step; /* the highest of them */
  bool stopped;           /* by a signal */
} train_run;

/* True on all ranks if it is on any. Collective. */
bool any_rank(uly_mesh *mesh, bool here);

/* --- Saves (train_saves.c). Collective, all of them. */

/* Makes --out ready before the first step, not after the last: a folder that cannot be written to loses the run. */
uly_status saves_prepare(train_run *run);
/* Whether that would be refused for another run's sake; takes and writes nothing. */
uly_status saves_check(train_run *run);
/* Finds the checkpoint to continue from; and loads it. */
uly_status saves_find(train_run *run);
uly_status saves_resume(train_run *run);
/* Writes what the run was started with beside what it makes, as config.yaml. */
uly_status saves_config(train_run *run);
/* The files are written while the next step computes; but at the end there is none. */
uly_status saves_start(train_run *run, int64_t step, bool is_end);
/* Ends the save that is under way, if any, and tells how it went. */
void saves_finish(train_run *run, bool goes_on);
/* Saves what was done before a run ends for reasons of its data; the reason stays the latest error.
 * */
void saves_rescue(train_run *run);
/* Leaves in --out what the look at the data has found, for the next start. */
void saves_remember(train_run *run);
/* Goes back from a step that was not finite to the newest checkpoint. */
uly_status saves_rollback(train_run *run);

/* --dry-run (train_dry_run.c): checks what a start checks, and prints the configuration and the plan. Collective. */
uly_status dry_run(train_run *run);

/* A file that is there already, with something in it, gets another name before it is written anew: PATH.1, PATH.2, ...
 * (train_metrics.c) */
uly_status keep_earlier(const char *path);

/* --- Metrics (train_metrics.c). open and close are collective. */

uly_status metrics_open(train_run *run);
/* After going back: drops the lines of steps that will be done again. Collective. */
uly_status metrics_trim(train_run *run);
/* eval NULL: none. */
void metrics_write(train_run *run, const uly_step_report *report, const uly_eval_report *eval);
/* The end of the run tells that lines are missing, in its exit code too. */
uly_status metrics_close(train_run *run);

/* --- What is printed (train_progress.c). */

/* Before the memory of the run is taken. Collective. */
uly_status progress_open(train_run *run);
void progress_header(const train_run *run);
/* At most a line: where lines are plain only each --log-every steps. */
void progress_step(train_run *run, const uly_step_report *report, bool is_last);
/* A line about something else, by rank 0. */
void progress_say(train_run *run, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The same on standard error, as a warning or an error. */
void progress_warn(train_run *run, const char *format, ...) __attribute__((format(printf, 2, 3)));
void progress_close(train_run *run);

/* --- What computes (train_slow.c). */

/* A line of the header. */
void slow_print(const train_run *run);
/* Warns of what makes the run slow, on any rank. Collective. */
void slow_warn(train_run *run);

/* --- Paths (train_places.c). Collective; ULY_ERR_CONFIG where one that is written is one that is read. */

uly_status places_check(train_run *run);

/* --- A file for each rank (train_logs.c): --rank-logs. open is collective. */

uly_status rank_log_open(train_run *run);
void rank_log_step(train_run *run, const uly_step_report *report);
void rank_log_say(train_run *run, const char *format, ...) __attribute__((format(printf, 2, 3)));
uly_status rank_log_finish(train_run *run); /* whether all could be written; collective */
void rank_log_close(train_run *run);

/* FLOP/s of matrix products on all ranks together; 0 where the CPU has no products of this type. Collective.
 * (train_peak.c) */
uly_status measure_peak(const options *o, uly_mesh *mesh, double *flops);

#endif
