/* Checks the options of a training run against each other. */
#include "train/train_options.h"

#include <string.h>

#include "common/try.h"

/* Refuses a number of steps, given with this flag, if the option that it needs is missing. */
static uly_status check_steps(const char *flag, int64_t steps, bool has_needed,
                              const char *needed) {
  if (steps == 0 || has_needed) return ULY_OK;
  return uly_fail(ULY_ERR_CONFIG, "%s %lld needs %s", flag, (long long)steps, needed);
}

uly_status train_options_check(train_options *o) {
  /* A configuration that is printed may be incomplete, to be completed later. */
  if (o->base.print_config) return ULY_OK;
  if (!o->run.config.data)
    return uly_fail(ULY_ERR_CONFIG, "--data is missing: give the files to train on");
  TRY(check_steps("--eval-every", o->eval_every, o->run.config.eval_data, "--eval-data"));
  TRY(check_steps("--save-every", o->save_every, o->out, "--out"));
  if (o->nonfinite == NONFINITE_ROLLBACK && (!o->out || o->save_every == 0))
    return uly_fail(ULY_ERR_CONFIG,
                    "--nonfinite rollback needs --out, the folder with checkpoints to go back to, "
                    "and --save-every");
  TRY(check_steps("--keep-last", o->keep_last, o->out, "--out"));
  TRY(check_steps("--keep-every", o->keep_every, o->keep_last > 0, "--keep-last"));
  if (o->resume && strcmp(o->resume, "auto") == 0 && !o->out)
    return uly_fail(ULY_ERR_CONFIG,
                    "--resume auto needs --out, the folder to look for checkpoints in");
  return options_check_needs(&o->base);
}
