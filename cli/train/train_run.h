/* A training run of the program, for the files train*.c. All ranks run them together; rank 0
 * prints. */
#ifndef ULYSSES_CLI_TRAIN_RUN_H
#define ULYSSES_CLI_TRAIN_RUN_H

#include <limits.h>
#include <stdbool.h>
#include <stdio.h>

#include "options/options.h"
#include "ulysses.h"

/* How far the run is, and what is on the screen (train_progress.c). */
typedef struct progress {
  /* One line of a terminal is written over and over. */
  bool is_live;
  int length;         /* of the line on screen */
  int width;          /* of the terminal */
  double shown;       /* when it was last written */
  double began;       /* end of the first step */
  int64_t began_step; /* its number; 0: not yet */
  /* Measured FLOP/s of all ranks together; 0: not measured. */
  double peak_flops;
} progress;

typedef struct train_run {
  options options;
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
  bool stopped;           /* by a signal */
} train_run;

/* Returns true on all ranks if it is true on any. Collective. */
bool any_rank(uly_mesh *mesh, bool here);

#endif
