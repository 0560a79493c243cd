/* The options of ulysses train. */
#ifndef ULYSSES_CLI_TRAIN_OPTIONS_H
#define ULYSSES_CLI_TRAIN_OPTIONS_H

#include "options/options.h"

/* Says what happens after a step whose loss or gradient is not finite. */
typedef enum nonfinite_policy {
  NONFINITE_STOP = 0,
  NONFINITE_SKIP,
  NONFINITE_ROLLBACK
} nonfinite_policy;

typedef struct train_options {
  options base;
  run_options run;
  int64_t eval_every, save_every, keep_last, keep_every, log_every;
  const char *out, *resume, *metrics, *trace, *rank_logs;
  nonfinite_policy nonfinite;
  int64_t nonfinite_limit;
  progress_kind progress;
  int measure_peak;
  bool dry_run;
} train_options;

/* Checks options that depend on each other, unless the configuration is only printed. */
uly_status train_options_check(train_options *o);

#endif
