/* ulysses train: the order of a training run from the command line. The files train_*.c print, save
 * and log. */
#include <errno.h>
#include <string.h>

#include "common/any_rank.h"
#include "common/try.h"
#include "job/signals.h"
#include "options/messages.h"
#include "options/run_command.h"
#include "train/train_run.h"

/* Reads the options of this rank. */
static uly_status read_options(train_run *run, int argc, char *const *argv) {
  train_options *o = &run->options;
  TRY(options_init(&o->base, TRAIN));
  TRY(options_parse(&o->base, argc, argv));
  TRY(train_options_check(o));
  return o->base.print_config && run->is_first ? options_write_yaml(&o->base, stdout) : ULY_OK;
}

/* Makes all ranks agree on their options. Flags are the same on all ranks, but a configuration file
 * may be missing on one machine: then the others must not continue. */
static uly_status agree_on_options(train_run *run, int argc, char *const *argv) {
  uly_mesh *world = NULL;
  TRY(uly_mesh_create(NULL, &world));
  uly_status status = uly_mesh_agree(world, read_options(run, argc, argv));
  if (status == ULY_OK) status = options_compare(&run->options.base, world, "");
  uly_mesh_destroy(world);
  return status;
}

/* Makes room for the trace on rank 0, which writes it at the end of the run, and finds out whether
 * it can be written. */
static uly_status make_trace_file(const char *path) {
  TRY(keep_earlier(path));
  FILE *file = fopen(path, "w");
  if (file && fclose(file) == 0) return ULY_OK;
  return uly_fail(ULY_ERR_IO, "--trace '%s' cannot be written: %s", path, strerror(errno));
}

static uly_status start_trace(train_run *run) {
  const char *path = run->options.trace;
  if (!path) return ULY_OK;
  TRY(uly_mesh_agree(run->mesh, run->is_first ? make_trace_file(path) : ULY_OK));
  return uly_trainer_trace(run->trainer);
}

static uly_status write_trace(train_run *run) {
  const char *path = run->options.trace;
  return path ? uly_trainer_trace_write(run->trainer, path) : ULY_OK;
}

/* ------------------------------------------------------------------------- steps */

/* Returns whether a signal came to any rank, and the name of one; the same on all ranks. */
static bool find_signal(train_run *run, const char **name) {
  int received = signals_received();
  if (!any_rank(run->mesh, received != 0)) return false;
  const int *number = signals_caught;
  while (*number && !any_rank(run->mesh, received == *number)) number++;
  *name = signals_name(*number);
  return true;
}

static void report_stop(train_run *run, const char *signal) {
  run->is_stopped = true;
  progress_say(run, "stopped on request after step %lld",
               (long long)uly_trainer_steps_done(run->trainer));
  rank_log_say(run, "stopped by %s", signal);
}

/* Returns whether something is due that is done after every `every` steps and at the end, or only
 * at the end if `every` is 0. */
static bool is_due(int64_t step, int64_t every, bool is_last) {
  return is_last || (every > 0 && step % every == 0);
}

/* Stops, skips the step or goes back, as the run is told to. Sets *goes_back if there is nothing to
 * report about this step. */
static uly_status after_nonfinite(train_run *run, uly_step_report *report, bool *goes_back) {
  const train_options *o = &run->options;
  char why[2048];
  snprintf(why, sizeof why, "%s", last_failure());
  saves_finish(run, o->nonfinite != NONFINITE_STOP);
  if (report->step > run->nonfinite_step) run->nonfinite_step = report->step;
  run->num_nonfinite++;
  if (o->nonfinite == NONFINITE_STOP) return uly_fail(ULY_ERR_NONFINITE, "%s", why);
  if (run->num_nonfinite > o->nonfinite_limit)
    return uly_fail(ULY_ERR_NONFINITE,
                    "%s. %lld steps in a row were not finite (--nonfinite-limit)", why,
                    (long long)run->num_nonfinite);
  if (o->nonfinite == NONFINITE_ROLLBACK) {
    *goes_back = true;
    uly_fail(ULY_ERR_NONFINITE, "%s", why);
    TRY(saves_rollback(run));
    return metrics_trim(run);
  }
  progress_warn(run, "warning: %s. The step is skipped", why);
  rank_log_say(run, "%s; skipped", why);
  return uly_trainer_skip(run->trainer, report);
}

/* Makes the step itself, which ends the save that was under way. */
static uly_status compute_step(train_run *run, uly_step_report *report, bool *goes_back) {
  uly_status status = uly_trainer_step(run->trainer, report);
  *goes_back = false;
  if (status == ULY_OK) {
    saves_finish(run, true);
    if (report->step >= run->nonfinite_step) run->num_nonfinite = 0;
    return ULY_OK;
  }
  if (status == ULY_ERR_NONFINITE) return after_nonfinite(run, report, goes_back);
  /* The state that was being saved is the one to continue from. */
  char message[2048];
  snprintf(message, sizeof message, "%s", last_failure());
  if (status != ULY_ERR_COMM) saves_finish(run, false);
  return uly_fail(status, "%s", message);
}

/* Evaluates. A signal ends it early, and its result is then not comparable with other
 * evaluations. */
static uly_status evaluate(train_run *run, int64_t step, uly_eval_report *report) {
  TRY(uly_trainer_evaluate(run->trainer, signals_ask, NULL, report));
  if (report->is_stopped)
    progress_say(run, "step %lld  evaluation stopped", (long long)step);
  else
    progress_say(run, "step %lld  eval_loss %.4f", (long long)step, report->loss);
  return ULY_OK;
}

/* Computes a step, and evaluates if that is due. Sets *goes_back if there is nothing to report. */
static uly_status compute(train_run *run, uly_step_report *report, uly_eval_report *eval,
                          bool *evaluates, bool *goes_back) {
  const train_options *o = &run->options;
  TRY(compute_step(run, report, goes_back));
  if (*goes_back) return ULY_OK;
  bool is_last = report->step == o->run.config.steps;
  progress_step(run, report, is_last);
  rank_log_step(run, report);
  *evaluates = o->run.config.eval_data && is_due(report->step, o->eval_every, is_last);
  return *evaluates ? evaluate(run, report->step, eval) : ULY_OK;
}

/* Makes one step and does what follows it. If the data, or the disk that they are on, end the run,
 * what it has done is saved. */
static uly_status do_step(train_run *run) {
  const train_options *o = &run->options;
  uly_step_report report = {.size = sizeof report};
  uly_eval_report eval = {.size = sizeof eval};
  bool evaluates = false, goes_back = false;
  uly_status status = compute(run, &report, &eval, &evaluates, &goes_back);
  if (status == ULY_ERR_DATA || status == ULY_ERR_IO) saves_rescue(run);
  if (status != ULY_OK || goes_back) return status;
  metrics_write(run, &report, evaluates && !eval.is_stopped ? &eval : NULL);
  const char *signal = NULL;
  bool is_last = report.step == o->run.config.steps, stops = !is_last && find_signal(run, &signal);
  if (o->out && is_due(report.step, o->save_every, is_last || stops))
    TRY(saves_start(run, report.step, is_last || stops));
  if (stops) report_stop(run, signal);
  return ULY_OK;
}

static uly_status do_steps(train_run *run) {
  int64_t num_steps = run->options.run.config.steps;
  if (uly_trainer_steps_done(run->trainer) >= num_steps) {
    progress_say(run, "there is nothing to do: all --steps %lld are done", (long long)num_steps);
    return ULY_OK;
  }
  /* If a signal came while the run was being prepared, there is nothing new to save. */
  const char *signal;
  if (find_signal(run, &signal)) report_stop(run, signal);
  while (!run->is_stopped && uly_trainer_steps_done(run->trainer) < num_steps) TRY(do_step(run));
  return ULY_OK;
}

/* ------------------------------------------------------------------------- the run */

/* Names the file in which a start of the run keeps the scan of the data, for later starts to
 * find. */
static uly_status name_scan_file(train_run *run) {
  const char *out = run->options.out;
  if (!out) return ULY_OK;
  if (snprintf(run->scan_file, sizeof run->scan_file, "%s/scan.json", out) >= PATH_MAX)
    return uly_fail(ULY_ERR_CONFIG, "the path in --out is too long");
  run->options.run.config.scan_file = run->scan_file;
  return ULY_OK;
}

/* Makes a trainer that is where the run begins. */
static uly_status prepare(train_run *run) {
  TRY(rank_log_open(run));
  TRY(progress_open(run));
  TRY(saves_find(run));
  uly_train_config config = saves_start_config(run);
  TRY(uly_trainer_create(run->mesh, &config, &run->trainer));
  TRY(saves_prepare(run));
  saves_remember(run);
  TRY(start_trace(run));
  TRY(saves_resume(run));
  TRY(metrics_open(run));
  return saves_config(run);
}

static uly_status go_through(train_run *run) {
  TRY(prepare(run));
  header_print(run);
  TRY(do_steps(run));
  TRY(metrics_close(run));
  TRY(write_trace(run));
  return rank_log_finish(run);
}

static uly_status train(void *state, int argc, char *const *argv) {
  train_run *run = state;
  run->is_first = uly_world_rank() == 0;
  TRY(agree_on_options(run, argc, argv));
  if (run->options.base.print_config) return ULY_OK;
  TRY(uly_mesh_create(&run->options.run.mesh, &run->mesh));
  TRY(places_check(run));
  TRY(name_scan_file(run));
  if (run->options.dry_run) return dry_run(run);
  uly_status status = go_through(run);
  progress_close(run);
  if (status != ULY_OK) rank_log_say(run, "error: %s", last_failure());
  return status;
}

static void clean_up(void *state) {
  train_run *run = state;
  if (run->metrics) fclose(run->metrics);
  rank_log_close(run);
  uly_trainer_destroy(run->trainer);
  uly_mesh_destroy(run->mesh);
  options_free(&run->options.base);
}

int command_train(int argc, char *const *argv) {
  train_run run = {.is_stopped = false};
  ranks_work work = {.run = train, .clean_up = clean_up, .is_stopped = &run.is_stopped};
  signals_catch(); /* since starting takes a while, too */
  return run_on_ranks(&work, &run, argc, argv);
}
