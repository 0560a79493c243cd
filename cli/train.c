/* ulysses train: a training run from the command line. All ranks walk through this file together;
 * rank 0 prints. */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "commands.h"
#include "format.h"
#include "options.h"
#include "signals.h"

typedef struct train_run {
  options options;
  bool is_first; /* rank 0 */
  uly_mesh *mesh;
  uly_trainer *trainer;
  char checkpoint[PATH_MAX]; /* resumed from; empty: from the start */
  FILE *metrics;             /* rank 0 only; NULL once it cannot be written */
  int64_t saving;            /* step whose save is under way; 0: none */
  bool stopped;              /* by a signal */
} train_run;

/* True on all ranks if it is on any. */
static bool any_rank(uly_mesh *mesh, bool here) {
  return uly_mesh_agree(mesh, here ? ULY_ERR_CONFIG : ULY_OK) != ULY_OK;
}

/* Settings of the program itself must be the same on all ranks too: when to evaluate and to save. */
static uly_status compare_options(options *o, uly_mesh *world) {
  char *text = NULL;
  size_t length = 0;
  FILE *stream = open_memstream(&text, &length);
  uly_status status = stream ? options_write_yaml(o, TRAIN, stream) : ULY_ERR_MEMORY;
  if (stream) fprintf(stream, "print_config: %d\n", o->print_config);
  if (stream && fclose(stream) != 0) status = ULY_ERR_MEMORY;
  if (status != ULY_OK) uly_fail(status, "no memory to compare the options of all ranks");
  status = uly_mesh_agree(world, status);
  if (status == ULY_OK) status = uly_mesh_same(world, text, length, "configuration");
  free(text);
  return status;
}

/* Flags are the same on all ranks, but a configuration file may be missing on one machine: then the
 * others must not go on. */
static uly_status read_options(train_run *run, int argc, char *const *argv) {
  options *o = &run->options;
  uly_mesh *world = NULL;
  uly_status status = uly_mesh_create(NULL, (uly_mesh_desc){0}, &world);
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

/* Finds the checkpoint to continue from, and loads it. */
static uly_status resume(train_run *run) {
  const options *o = &run->options;
  if (!o->resume) return ULY_OK;
  if (strcmp(o->resume, "auto") != 0) {
    int length = snprintf(run->checkpoint, sizeof run->checkpoint, "%s", o->resume);
    if (length < 0 || (size_t)length >= sizeof run->checkpoint) {
      return uly_fail(ULY_ERR_CONFIG, "--resume '%.200s...': too long for a path", o->resume);
    }
    return uly_trainer_load(run->trainer, run->checkpoint);
  }
  /* Each rank looks for itself, and a folder that is not shared looks different from each. */
  uly_status status = uly_mesh_agree(
      run->mesh, uly_checkpoint_latest(o->out, run->checkpoint, sizeof run->checkpoint));
  if (status != ULY_OK) return status;
  bool is_found = run->checkpoint[0] != '\0';
  if (!any_rank(run->mesh, is_found)) return ULY_OK;
  if (any_rank(run->mesh, !is_found)) {
    return uly_fail(
        ULY_ERR_CONFIG,
        "--resume auto: some ranks find a checkpoint in '%.200s' and some do not: use a "
        "folder that all machines share",
        o->out);
  }
  return uly_trainer_load(run->trainer, run->checkpoint);
}

/* Before the first step, not after the last: a folder that cannot be written to loses the run. */
static uly_status prepare_out(train_run *run) {
  const char *out = run->options.out;
  if (!out) return ULY_OK;
  uly_status status = run->is_first ? uly_checkpoint_prepare(out) : ULY_OK;
  char newest[PATH_MAX] = "";
  if (status == ULY_OK && run->is_first && !run->options.resume) {
    status = uly_checkpoint_latest(out, newest, sizeof newest);
  }
  if (newest[0]) {
    fprintf(stderr,
            "ulysses: warning: there is '%s' of another run: this one begins anew, and adds to "
            "them (--resume auto goes on from the highest step)\n",
            newest);
  }
  return uly_mesh_agree(run->mesh, status);
}

/* A trace is written at the end of the run: that it can be is seen before the first step, too. */
static uly_status start_trace(train_run *run) {
  const char *path = run->options.trace;
  if (!path) return ULY_OK;
  uly_status status = ULY_OK;
  if (run->is_first) {
    FILE *file = fopen(path, "w");
    if (!file || fclose(file) != 0) {
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

/* Drops the lines of steps that the resumed run will do again. */
static uly_status trim_metrics(FILE *file, const char *path, int64_t steps_done) {
  static const char key[] = "{\"step\":"; /* how uly_report_write begins a line */
  char *line = NULL;
  size_t capacity = 0;
  long keep = 0;
  rewind(file);
  while (getline(&line, &capacity, file) > 0) {
    bool is_step = strncmp(line, key, strlen(key)) == 0;
    if (is_step && strtoll(line + strlen(key), NULL, 10) > steps_done) break;
    keep = ftell(file);
  }
  free(line);
  if (keep < 0 || ftruncate(fileno(file), keep) != 0 || fseek(file, 0, SEEK_END) != 0) {
    return uly_fail(ULY_ERR_IO, "--metrics '%s': cannot be continued: %s", path, strerror(errno));
  }
  return ULY_OK;
}

static uly_status open_metrics(train_run *run) {
  const char *path = run->options.metrics;
  if (!path) return ULY_OK;
  uly_status status = ULY_OK;
  if (run->is_first) {
    run->metrics = fopen(path, run->checkpoint[0] ? "a+" : "w");
    if (run->metrics) {
      setvbuf(run->metrics, NULL, _IOLBF, BUFSIZ);
      int64_t done = uly_trainer_steps_done(run->trainer);
      /* A device or a pipe cannot be trimmed, and has nothing to trim. */
      if (run->checkpoint[0] && ftell(run->metrics) >= 0) {
        status = trim_metrics(run->metrics, path, done);
      }
    } else {
      status = uly_fail(ULY_ERR_IO, "--metrics '%s': cannot be opened: %s", path, strerror(errno));
    }
  }
  return uly_mesh_agree(run->mesh, status);
}

/* A full disk under the metrics does not end the run. */
static void write_metrics(train_run *run, const uly_step_report *report,
                          const uly_eval_report *eval) {
  if (!run->metrics || uly_report_write(run->metrics, report, eval) == ULY_OK) return;
  fprintf(stderr, "ulysses: warning: --metrics '%s': %s; training goes on without\n",
          run->options.metrics, uly_last_error());
  fclose(run->metrics);
  run->metrics = NULL;
}

/* The end of the run tells that lines are missing, in its exit code too. */
static uly_status close_metrics(train_run *run) {
  const char *path = run->options.metrics;
  if (!path) return ULY_OK;
  uly_status status = ULY_OK;
  if (run->is_first && (!run->metrics || fclose(run->metrics) != 0)) {
    status = uly_fail(ULY_ERR_IO, "--metrics '%s' could not be written to the end", path);
  }
  run->metrics = NULL;
  return uly_mesh_agree(run->mesh, status);
}

static void print_header(const train_run *run) {
  const uly_train_config *config = &run->options.config;
  int dp = uly_mesh_dp(run->mesh);
  printf("ulysses     " ULY_VERSION_STRING "\n");
  printf("model       %s, %lld parameters\n", config->model,
         (long long)uly_trainer_num_params(run->trainer));
  print_ranks(config, dp, uly_mesh_sp(run->mesh));
  printf("data        %s, %lld sequences\n", config->data,
         (long long)uly_trainer_num_windows(run->trainer));
  print_step_size(config, dp);
  print_mask(config);
  if (run->checkpoint[0]) {
    printf("resumed     %s, %lld steps done\n", run->checkpoint,
           (long long)uly_trainer_steps_done(run->trainer));
  }
}

static void print_step(const uly_step_report *report, int64_t num_steps) {
  char sent[FORMAT_BYTES], peak[FORMAT_BYTES];
  printf(
      "step %lld/%lld  loss %.4f  grad_norm %.4f  lr %.3e  %.0f tokens/s  %.3f s  sent %s  "
      "peak %s\n",
      (long long)report->step, (long long)num_steps, report->loss, report->grad_norm, report->lr,
      report->seconds > 0 ? (double)report->tokens / report->seconds : 0.0, report->seconds,
      format_bytes(sum_bytes(report->sent_bytes, ULY_NUM_TRAFFIC), sent),
      format_bytes(report->peak_bytes, peak));
}

/* Whether something that is done each `every` steps and at the end is due; 0: only at the end. */
static bool is_due(int64_t step, int64_t every, bool is_last) {
  return is_last || (every > 0 && step % every == 0);
}

/* ------------------------------------------------------------------------- saves */

static void report_saved(const train_run *run, int64_t step) {
  if (run->is_first) printf("step %lld  saved in %s\n", (long long)step, run->options.out);
}

/* A checkpoint that cannot be written (a full disk) does not end the run: the next may succeed. */
static void report_not_saved(const train_run *run, int64_t step, bool goes_on) {
  char message[2500];
  snprintf(message, sizeof message, "step %lld: checkpoint not saved: %s%s", (long long)step,
           uly_last_error(), goes_on ? "; training goes on" : "");
  if (run->is_first) print_error(message);
}

/* Ends the save that is under way, if any, and tells how it went. */
static void finish_save(train_run *run, bool goes_on) {
  int64_t step = run->saving;
  if (!step) return;
  run->saving = 0;
  if (uly_trainer_save_finish(run->trainer) == ULY_OK) {
    report_saved(run, step);
  } else {
    report_not_saved(run, step, goes_on);
  }
}

/* The files are written while the next step computes; but at the end there is none, and nothing
 * that a failure could leave to a later save. */
static uly_status save(train_run *run, int64_t step, bool is_end) {
  const char *out = run->options.out;
  if (is_end) {
    uly_status status = uly_trainer_save(run->trainer, out);
    if (status == ULY_OK) report_saved(run, step);
    return status;
  }
  if (uly_trainer_save_start(run->trainer, out) == ULY_OK) {
    run->saving = step;
  } else {
    report_not_saved(run, step, true);
  }
  return ULY_OK;
}

/* ------------------------------------------------------------------------- steps */

/* Whether a signal came to any rank, and the name of one; the same on all ranks. */
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
  if (!run->is_first) return;
  printf("stopped by %s after step %lld\n", signal,
         (long long)uly_trainer_steps_done(run->trainer));
}

/* The step itself; it ends the save that was under way. */
static uly_status compute_step(train_run *run, uly_step_report *report) {
  uly_status status = uly_trainer_step(run->trainer, report);
  if (status == ULY_OK) {
    finish_save(run, true);
    return ULY_OK;
  }
  /* What was being saved is the state to go on from. */
  char message[2048];
  snprintf(message, sizeof message, "%s", uly_last_error());
  if (status != ULY_ERR_COMM) finish_save(run, false);
  return uly_fail(status, "%s", message);
}

static int is_told_to_stop(void *unused) {
  (void)unused;
  return signals_received();
}

/* A signal ends it early: what it has found is then not the loss that other evaluations report. */
static uly_status evaluate(train_run *run, int64_t step, uly_eval_report *report) {
  uly_status status = uly_trainer_evaluate(run->trainer, is_told_to_stop, NULL, report);
  if (status != ULY_OK || !run->is_first) return status;
  if (report->is_stopped) {
    printf("step %lld  evaluation stopped\n", (long long)step);
  } else {
    printf("step %lld  eval_loss %.4f\n", (long long)step, report->loss);
  }
  return ULY_OK;
}

/* One step, and what follows it. */
static uly_status do_step(train_run *run, bool is_first_step, bool is_last) {
  const options *o = &run->options;
  uly_step_report report;
  uly_status status = compute_step(run, &report);
  if (status != ULY_OK) return status;
  if (run->is_first && is_first_step) {
    printf("memory      in bytes, of the rank that holds most\n");
    print_arena_bytes(report.arena_bytes);
  }
  if (run->is_first && (is_first_step || is_due(report.step, o->log_every, is_last))) {
    print_step(&report, o->config.steps);
  }
  uly_eval_report eval;
  bool evaluates = o->config.eval_data && is_due(report.step, o->eval_every, is_last);
  if (evaluates) status = evaluate(run, report.step, &eval);
  if (status != ULY_OK) return status;
  write_metrics(run, &report, evaluates && !eval.is_stopped ? &eval : NULL);
  const char *signal = NULL;
  bool stops = !is_last && find_signal(run, &signal);
  if (o->out && is_due(report.step, o->save_every, is_last || stops)) {
    status = save(run, report.step, is_last || stops);
  }
  if (status == ULY_OK && stops) report_stop(run, signal);
  return status;
}

static uly_status do_steps(train_run *run) {
  int64_t done = uly_trainer_steps_done(run->trainer), num_steps = run->options.config.steps;
  if (done >= num_steps) {
    if (run->is_first) printf("nothing to do: --steps %lld are done\n", (long long)num_steps);
    return ULY_OK;
  }
  /* One that came while the run was made ready: there is nothing new to save. */
  const char *signal;
  if (find_signal(run, &signal)) report_stop(run, signal);
  for (int64_t step = done + 1; step <= num_steps && !run->stopped; step++) {
    uly_status status = do_step(run, step == done + 1, step == num_steps);
    if (status != ULY_OK) return status;
  }
  return ULY_OK;
}

static uly_status train(train_run *run) {
  const options *o = &run->options;
  uly_status status = uly_mesh_create(NULL, (uly_mesh_desc){.dp = o->dp, .sp = o->sp}, &run->mesh);
  if (status == ULY_OK) status = uly_trainer_create(run->mesh, &o->config, &run->trainer);
  if (status == ULY_OK) status = prepare_out(run);
  if (status == ULY_OK) status = start_trace(run);
  if (status == ULY_OK) status = resume(run);
  if (status == ULY_OK) status = open_metrics(run);
  if (status == ULY_OK && run->is_first) print_header(run);
  if (status == ULY_OK) status = do_steps(run);
  if (status == ULY_OK) status = close_metrics(run);
  if (status == ULY_OK) status = write_trace(run);
  return status;
}

int command_train(int argc, char *const *argv) {
  uly_status status = uly_init(NULL, NULL);
  if (status != ULY_OK) {
    print_error(uly_last_error());
    return uly_status_exit_code(status);
  }
  signals_catch();
  train_run run = {.is_first = uly_world_rank() == 0};
  status = read_options(&run, argc, argv);
  if (status == ULY_OK && !run.options.print_config) status = train(&run);
  if (status != ULY_OK && run.is_first) print_error(uly_last_error());
  if (run.metrics) fclose(run.metrics);
  uly_trainer_destroy(run.trainer);
  uly_mesh_destroy(run.mesh);
  options_free(&run.options);
  uly_finalize();
  return status == ULY_OK && run.stopped ? EXIT_STOPPED : uly_status_exit_code(status);
}
