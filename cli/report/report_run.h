/* Holds what the files of a run say, as plain arrays. */
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

/* Tells the bytes that a rank holds, by arena, from those that it sends in a step, by kind of
 * traffic. */
typedef enum report_kind { REPORT_HELD, REPORT_SENT, REPORT_NUM_KINDS } report_kind;

/* Names of the library's enums have their place in `parts`; all other names are summed in the place
 * after them. */
enum { REPORT_MAX_PARTS = 16 };
_Static_assert((int)ULY_NUM_ARENAS < REPORT_MAX_PARTS && (int)ULY_NUM_TRAFFIC < REPORT_MAX_PARTS,
               "parts");
typedef struct report_bytes {
  int64_t num_steps; /* with such bytes; 0: there are none */
  double parts[REPORT_MAX_PARTS];
} report_bytes;

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

  /* REPORT_HELD: of the step that held most. REPORT_SENT: the mean over the steps. */
  report_bytes bytes[REPORT_NUM_KINDS];
  int64_t resident_bytes; /* largest of any step; 0: unknown */

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

/* Reads a run. path: a run's folder, or a file of metrics. Messages name file and line. Returns
 * ULY_ERR_IO if it cannot be read, and ULY_ERR_DATA if it does not hold metrics or is damaged
 * before the last line. The run must be zeroed, and freed even after a failure. */
uly_status report_run_read(const char *path, report_run *run);
void report_run_free(report_run *run);

/* --- The metrics (report_metrics.c). */

/* Returns the sum of all parts. */
double report_total(const report_bytes *bytes);

/* Return how many parts there are, and what one is called. */
int report_num_parts(report_kind kind);
const char *report_part_name(report_kind kind, int i);

/* Reads the metrics at run->path into a run that is otherwise zero. */
uly_status report_metrics_read(report_run *run);

/* Picks the first, middle and last evaluation by position: evals[3], NULL if there are fewer. */
void report_pick_evals(const report_run *run, const report_eval *evals[3]);

#endif
