/* ulysses train: the order of a training run from the command line. The files train_*.c print, save
 * and log. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "commands/commands.h"
#include "common/say.h"
#include "job/signals.h"
#include "job/starter.h"
#include "options/messages.h"
#include "train/train_dry_run.h"
#include "train/train_header.h"
#include "train/train_logs.h"
#include "train/train_metrics.h"
#include "train/train_places.h"
#include "train/train_progress.h"
#include "train/train_saves.h"
#include "train/train_slow.h"

/* Compares settings of the program itself, which must be the same on all ranks too: when to
 * evaluate and to save. */
static uly_status compare_options(options *o, uly_mesh *world) {
  char *text = NULL;
  size_t length = 0;
  FILE *stream = open_memstream(&text, &length);
  uly_status status = ULY_OK;
  if (stream && options_write_yaml(o, TRAIN, stream) != ULY_OK) {
    status = uly_fail(ULY_ERR_INTERNAL, "%s", o->error);
  }
  if (stream) fprintf(stream, "print_config: %d, dry_run: %d\n", o->print_config, o->dry_run);
  if (!stream || fclose(stream) != 0) {
    status = uly_fail(ULY_ERR_MEMORY, "no memory to compare the options of all ranks");
  }
  status = uly_mesh_agree(world, status);
  if (status == ULY_OK) status = uly_mesh_same(world, text, length, "configuration");
  free(text);
  return status;
}

/* Reads the options. Flags are the same on all ranks, but a configuration file may be missing on
 * one machine: then the others must not continue. */
static uly_status read_options(train_run *run, int argc, char *const *argv) {
  options *o = &run->options;
  uly_mesh *world = NULL;
  uly_status status = uly_mesh_create(NULL, &world);
  if (status != ULY_OK) return status;
  status = options_init(o);
  if (status == ULY_OK) status = options_parse(o, TRAIN, argc, argv);
  if (status == ULY_OK && o->print_config && run->is_first) {
    status = options_write_yaml(o, TRAIN, stdout);
  }
  if (status != ULY_OK) uly_fail(status, "%s", o->error);
  status = uly_mesh_agree(world, status);
  if (status == ULY_OK) status = compare_options(o, world);
  uly_mesh_destroy(world);
  return status;
}

/* Starts the trace, which is written at the end of the run, and checks before the first step that
 * it can be written. */
static uly_status start_trace(train_run *run) {
  const char *path = run->options.trace;
  if (!path) return ULY_OK;
  uly_status status = ULY_OK;
  if (run->is_first) {
    status = keep_earlier(path);
    FILE *file = status == ULY_OK ? fopen(path, "w") : NULL;
    if (status == ULY_OK && (!file || fclose(file) != 0)) {
      status = uly_fail(ULY_ERR_IO, "--trace '%s': cannot be written: %s", path, strerror(errno));
    }
  }
  status = uly_mesh_agree(run->mesh, status);
  return status == ULY_OK ? uly_trainer_trace(run->trainer) : status;
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
  run->stopped = true;
  progress_say(run, "stopped on request after step %lld",
               (long long)uly_trainer_steps_done(run->trainer));
  rank_log_say(run, "stopped by %s", signal);
}

/* Returns whether something is due that is done each `every` steps and at the end; 0: only at the
 * end. */
static bool is_due(int64_t step, int64_t every, bool is_last) {
  return is_last || (every > 0 && step % every == 0);
}

/* Stops, skips the step or goes back, as the run is told to. *goes_back: there is nothing to report
 * about this step. */
static uly_status after_nonfinite(train_run *run, uly_step_report *report, bool *goes_back) {
  const options *o = &run->options;
  char why[2048];
  snprintf(why, sizeof why, "%s", last_failure());
  saves_finish(run, o->nonfinite != NONFINITE_STOP);
  if (report->step > run->nonfinite_step) run->nonfinite_step = report->step;
  run->num_nonfinite++;
  if (o->nonfinite == NONFINITE_STOP) return uly_fail(ULY_ERR_NONFINITE, "%s", why);
  if (run->num_nonfinite > o->nonfinite_limit) {
    return uly_fail(ULY_ERR_NONFINITE,
                    "%s. %lld steps in a row were not finite (--nonfinite-limit)", why,
                    (long long)run->num_nonfinite);
  }
  if (o->nonfinite == NONFINITE_ROLLBACK) {
    *goes_back = true;
    uly_fail(ULY_ERR_NONFINITE, "%s", why);
    uly_status status = saves_rollback(run);
    return status == ULY_OK ? metrics_trim(run) : status;
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

static int is_told_to_stop(void *unused) {
  (void)unused;
  return signals_received();
}

/* Evaluates. A signal ends it early, and its result is then not comparable with other
 * evaluations. */
static uly_status evaluate(train_run *run, int64_t step, uly_eval_report *report) {
  uly_status status = uly_trainer_evaluate(run->trainer, is_told_to_stop, NULL, report);
  if (status != ULY_OK) return status;
  if (report->is_stopped) {
    progress_say(run, "step %lld  evaluation stopped", (long long)step);
  } else {
    progress_say(run, "step %lld  eval_loss %.4f", (long long)step, report->loss);
  }
  return ULY_OK;
}

/* Saves what a run has done if the data, or the disk that they are on, end it. */
static uly_status end_step(train_run *run, uly_status status) {
  if (status == ULY_ERR_DATA || status == ULY_ERR_IO) saves_rescue(run);
  return status;
}

/* Makes one step, and what follows it. */
static uly_status do_step(train_run *run) {
  const options *o = &run->options;
  uly_step_report report = {.size = sizeof report};
  uly_eval_report eval = {.size = sizeof eval};
  bool goes_back;
  uly_status status = compute_step(run, &report, &goes_back);
  if (status != ULY_OK || goes_back) return end_step(run, status);
  bool is_last = report.step == o->config.steps;
  progress_step(run, &report, is_last);
  rank_log_step(run, &report);
  bool evaluates = o->config.eval_data && is_due(report.step, o->eval_every, is_last);
  if (evaluates) status = evaluate(run, report.step, &eval);
  if (status != ULY_OK) return end_step(run, status);
  metrics_write(run, &report, evaluates && !eval.is_stopped ? &eval : NULL);
  const char *signal = NULL;
  bool stops = !is_last && find_signal(run, &signal);
  if (o->out && is_due(report.step, o->save_every, is_last || stops)) {
    status = saves_start(run, report.step, is_last || stops);
  }
  if (status == ULY_OK && stops) report_stop(run, signal);
  return status;
}

static uly_status do_steps(train_run *run) {
  int64_t num_steps = run->options.config.steps;
  if (uly_trainer_steps_done(run->trainer) >= num_steps) {
    progress_say(run, "nothing to do: --steps %lld are done", (long long)num_steps);
    return ULY_OK;
  }
  /* If a signal came while the run was being prepared, there is nothing new to save. */
  const char *signal;
  if (find_signal(run, &signal)) report_stop(run, signal);
  while (!run->stopped && uly_trainer_steps_done(run->trainer) < num_steps) {
    uly_status status = do_step(run);
    if (status != ULY_OK) return status;
  }
  return ULY_OK;
}

/* Names the file in which starts of the run keep the scan of the data, and find it. */
static uly_status name_scan_file(train_run *run) {
  options *o = &run->options;
  if (!o->out) return ULY_OK;
  int length = snprintf(run->scan_file, sizeof run->scan_file, "%s/scan.json", o->out);
  if (length < 0 || length >= PATH_MAX) {
    return uly_fail(ULY_ERR_CONFIG, "--out: too long for a path");
  }
  o->config.scan_file = run->scan_file;
  return ULY_OK;
}

static uly_status train(train_run *run) {
  const options *o = &run->options;
  uly_status status = uly_mesh_create(&o->mesh, &run->mesh);
  if (status == ULY_OK) status = places_check(run);
  if (status == ULY_OK) status = name_scan_file(run);
  if (status == ULY_OK && o->dry_run) return dry_run(run);
  if (status == ULY_OK) status = rank_log_open(run);
  if (status == ULY_OK) status = progress_open(run);
  if (status == ULY_OK) status = uly_trainer_create(run->mesh, &o->config, &run->trainer);
  if (status == ULY_OK) status = saves_prepare(run);
  if (status == ULY_OK) saves_remember(run);
  if (status == ULY_OK) status = start_trace(run);
  if (status == ULY_OK) status = saves_resume(run);
  if (status == ULY_OK) status = metrics_open(run);
  if (status == ULY_OK) status = saves_config(run);
  if (status == ULY_OK) header_print(run);
  if (status == ULY_OK) slow_warn(run);
  if (status == ULY_OK) status = do_steps(run);
  if (status == ULY_OK) status = metrics_close(run);
  if (status == ULY_OK) status = write_trace(run);
  if (status == ULY_OK) status = rank_log_finish(run);
  progress_close(run);
  if (status != ULY_OK) rank_log_say(run, "error: %s", last_failure());
  return status;
}

int command_train(int argc, char *const *argv) {
  signals_catch(); /* starting takes a while, too */
  uly_status status = starter_init();
  if (status != ULY_OK) {
    print_failure(last_failure());
    return uly_status_exit_code(status);
  }
  train_run run = {.is_first = uly_world_rank() == 0};
  status = read_options(&run, argc, argv);
  if (status == ULY_OK && !run.options.print_config) status = train(&run);
  if (status != ULY_OK && run.is_first) print_failure(last_failure());
  if (run.metrics) fclose(run.metrics);
  rank_log_close(&run);
  uly_trainer_destroy(run.trainer);
  uly_mesh_destroy(run.mesh);
  options_free(&run.options);
  uly_finalize();
  return status == ULY_OK && run.stopped ? EXIT_STOPPED : uly_status_exit_code(status);
}
