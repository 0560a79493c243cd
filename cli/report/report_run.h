/* A run: what its files say, as plain arrays. */
#ifndef ULYSSES_CLI_REPORT_RUN_H
#define ULYSSES_CLI_REPORT_RUN_H

#include <stdbool.h>
#include <stdint.h>

#include "report/report_config.h"
#include "report/report_table.h"
#include "ulysses.h"

enum {
  REPORT_MAX_RUNS = 24,  /* in a report */
  REPORT_MAX_EVALS = 32, /* evaluations kept of a run */
  REPORT_MAX_BINS = 64   /* of one evaluation */
};

typedef struct report_bin {
  int64_t begin, end, tokens; /* positions [begin, end) */
  double loss;
} report_bin;

typedef struct report_eval {
  int64_t step;
  int num_bins;
  report_bin bins[REPORT_MAX_BINS];
} report_eval;

/* Names of the library's enums have their place in arrays; all other names are summed in the last
 * place. */
enum { REPORT_NUM_ARENAS = ULY_NUM_ARENAS + 1, REPORT_NUM_TRAFFIC = ULY_NUM_TRAFFIC + 1 };

typedef struct report_run {
  char *path; /* of the metrics */
  char *name; /* unique within a report */
  report_table table;

  int64_t first_step, last_step, num_steps;
  /* Lines that a later line of the same or an earlier step replaces. */
  int64_t num_repeated;
  int64_t num_skipped; /* steps that were skipped */
  /* Steps whose loss is null, or a number that training cannot have. */
  int64_t num_not_finite;
  bool is_cut; /* the last line is not whole */

  int64_t num_ranks;                  /* of the last step with it */
  bool has_other_ranks;               /* some step had another number */
  double tokens, seconds;             /* of all steps */
  double timed_tokens, timed_seconds; /* of steps that have both */
  int64_t final_step, best_eval_step; /* 0: there is none */
  double final_loss, best_eval_loss;

  /* Arenas of the step that held most. */
  bool has_arenas;
  int64_t arena_bytes[REPORT_NUM_ARENAS];
  int64_t resident_bytes; /* largest of any step; 0: unknown */

  int64_t num_sent;                      /* steps with sent bytes */
  double sent_bytes[REPORT_NUM_TRAFFIC]; /* mean over these */

  /* evals[num_evals], from the last to the first: each eval_stride-th of them, and the first
   * one. */
  int num_evals;
  int64_t eval_stride, num_evals_seen;
  report_eval evals[REPORT_MAX_EVALS];
  report_eval first_eval;

  report_config config;
  int num_checkpoints; /* folders step-* beside the metrics */
  int64_t newest_checkpoint;
} report_run;

/* Reads a run. path: a run's folder, or a file of metrics. Messages name file and line. ULY_ERR_IO:
 * it cannot be read; ULY_ERR_DATA: it is not metrics, or is damaged before the last line. The run
 * must be zeroed, and freed also after a failure. */
uly_status report_run_read(const char *path, report_run *run);
void report_run_free(report_run *run);

#endif
