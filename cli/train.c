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

typedef struct train_run {
  options options;
  bool is_first; /* rank 0 */
  uly_mesh *mesh;
  uly_trainer *trainer;
  char checkpoint[PATH_MAX]; /* resumed from; empty: from the start */
  FILE *metrics;             /* rank 0 only */
} train_run;

/* True on all ranks if it is on any. */
static bool any_rank(uly_mesh *mesh, bool here) {
  return uly_mesh_agree(mesh, here ? ULY_ERR_CONFIG : ULY_OK) != ULY_OK;
}

/* Flags are the same on all ranks, but a configuration file may be missing on one machine: then the
 * others must not go on. */
/* Settings of the program itself must be the same on all ranks too: when to evaluate and to save. */
static uly_status compare_options(options *o, uly_mesh *world) {
  char *text = NULL;
  size_t length = 0;
  FILE *stream = open_memstream(&text, &length);
  uly_status status = stream ? options_write_yaml(o, TRAIN, stream) : ULY_ERR_MEMORY;
  if (stream && fclose(stream) != 0) status = ULY_ERR_MEMORY;
  if (status != ULY_OK) uly_fail(status, "no memory to compare the options of all ranks");
  status = uly_mesh_agree(world, status);
  if (status == ULY_OK) status = uly_mesh_same(world, text, length, "configuration");
  free(text);
  return status;
}

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
  return uly_mesh_agree(run->mesh, run->is_first ? uly_checkpoint_prepare(out) : ULY_OK);
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

static uly_status write_metrics(train_run *run, const uly_step_report *report,
                                const double *eval_loss) {
  if (!run->options.metrics) return ULY_OK;
  uly_status status = run->is_first ? uly_report_write(run->metrics, report, eval_loss) : ULY_OK;
  return uly_mesh_agree(run->mesh, status);
}

static uly_status close_metrics(train_run *run) {
  if (!run->options.metrics) return ULY_OK;
  uly_status status = ULY_OK;
  if (run->is_first) {
    if (fclose(run->metrics) != 0) {
      status = uly_fail(ULY_ERR_IO, "--metrics '%s': cannot be written: %s", run->options.metrics,
                        strerror(errno));
    }
    run->metrics = NULL;
  }
  return uly_mesh_agree(run->mesh, status);
}

static void print_header(const train_run *run) {
  const uly_train_config *config = &run->options.config;
  int dp = uly_mesh_dp(run->mesh);
  printf("ulysses     " ULY_VERSION_STRING "\n");
  printf("model       %s, %lld parameters\n", config->model,
         (long long)uly_trainer_num_params(run->trainer));
  printf("ranks       %d: dp %d x sp %d\n", uly_mesh_size(run->mesh), dp, uly_mesh_sp(run->mesh));
  printf("data        %s, %lld sequences\n", config->data,
         (long long)uly_trainer_num_windows(run->trainer));
  printf("step        %lld tokens: %d x %lld sequences of %lld\n",
         (long long)(dp * config->accumulate * config->seq_len), dp, (long long)config->accumulate,
         (long long)config->seq_len);
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

/* One step, and what follows it. */
static uly_status do_step(train_run *run, bool is_first_step, bool is_last) {
  const options *o = &run->options;
  uly_step_report report;
  uly_status status = uly_trainer_step(run->trainer, &report);
  if (status != ULY_OK) return status;
  if (run->is_first && is_first_step) {
    printf("memory      in bytes, of the rank that holds most\n");
    print_arena_bytes(report.arena_bytes);
  }
  if (run->is_first && (is_first_step || is_due(report.step, o->log_every, is_last))) {
    print_step(&report, o->config.steps);
  }
  double eval_loss = 0;
  bool evaluates = o->config.eval_data && is_due(report.step, o->eval_every, is_last);
  if (evaluates) {
    status = uly_trainer_evaluate(run->trainer, &eval_loss);
    if (status != ULY_OK) return status;
    if (run->is_first) printf("step %lld  eval_loss %.4f\n", (long long)report.step, eval_loss);
  }
  status = write_metrics(run, &report, evaluates ? &eval_loss : NULL);
  if (status != ULY_OK) return status;
  if (o->out && is_due(report.step, o->save_every, is_last)) {
    status = uly_trainer_save(run->trainer, o->out);
    if (status == ULY_OK && run->is_first) {
      printf("step %lld  saved in %s\n", (long long)report.step, o->out);
    }
  }
  return status;
}

static uly_status do_steps(train_run *run) {
  int64_t done = uly_trainer_steps_done(run->trainer), num_steps = run->options.config.steps;
  if (done >= num_steps && run->is_first) {
    printf("nothing to do: --steps %lld are done\n", (long long)num_steps);
  }
  for (int64_t step = done + 1; step <= num_steps; step++) {
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
  if (status == ULY_OK) status = resume(run);
  if (status == ULY_OK) status = open_metrics(run);
  if (status == ULY_OK && run->is_first) print_header(run);
  if (status == ULY_OK) status = do_steps(run);
  if (status == ULY_OK) status = close_metrics(run);
  return status;
}

uly_status command_train(int argc, char *const *argv) {
  uly_status status = uly_init(NULL, NULL);
  if (status != ULY_OK) {
    print_error(uly_last_error());
    return status;
  }
  train_run run = {.is_first = uly_world_rank() == 0};
  status = read_options(&run, argc, argv);
  if (status == ULY_OK && !run.options.print_config) status = train(&run);
  if (status != ULY_OK && run.is_first) print_error(uly_last_error());
  if (run.metrics) fclose(run.metrics);
  uly_trainer_destroy(run.trainer);
  uly_mesh_destroy(run.mesh);
  options_free(&run.options);
  uly_finalize();
  return status;
}
