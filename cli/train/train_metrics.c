/* Writes the metrics of a run: a file with a line of JSON for each step, on rank 0. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/try.h"
#include "options/messages.h"
#include "train/train_run.h"

/* Names the file: --metrics, or one beside the checkpoints. The name is empty if there is none. */
static uly_status name_file(train_run *run) {
  const train_options *o = &run->options;
  char *path = run->metrics_path;
  int length = 0;
  if (o->metrics)
    length = snprintf(path, PATH_MAX, "%s", o->metrics);
  else if (o->out)
    length = snprintf(path, PATH_MAX, "%s/metrics.jsonl", o->out);
  return length < PATH_MAX ? ULY_OK : uly_fail(ULY_ERR_CONFIG, "the path in --metrics is too long");
}

/* Drops the lines of steps that the resumed run will do again, and a line that was cut off. */
static uly_status trim(FILE *file, const char *path, int64_t steps_done) {
  static const char key[] = "{\"step\":"; /* uly_report_write begins so */
  char *line = NULL;
  size_t capacity = 0;
  long keep = 0;
  rewind(file);
  while (getline(&line, &capacity, file) > 0) {
    if (!strchr(line, '\n')) break; /* cut off with the run */
    bool is_step = strncmp(line, key, strlen(key)) == 0;
    if (is_step && strtoll(line + strlen(key), NULL, 10) > steps_done) break;
    keep = ftell(file);
  }
  free(line);
  if (keep < 0 || ftruncate(fileno(file), keep) != 0 || fseek(file, 0, SEEK_END) != 0)
    return uly_fail(ULY_ERR_IO, "--metrics '%s' cannot be continued: %s", path, strerror(errno));
  return ULY_OK;
}

uly_status metrics_trim(train_run *run) {
  uly_status status = ULY_OK;
  if (run->metrics && ftell(run->metrics) >= 0)
    status = trim(run->metrics, run->metrics_path, uly_trainer_steps_done(run->trainer));
  return uly_mesh_agree(run->mesh, status);
}

uly_status keep_earlier(const char *path) {
  char kept[PATH_MAX + 16];
  int i = 1;
  struct stat info;
  if (stat(path, &info) != 0 || !S_ISREG(info.st_mode) || info.st_size == 0) return ULY_OK;
  do snprintf(kept, sizeof kept, "%s.%d", path, i++);
  while (access(kept, F_OK) == 0);
  if (rename(path, kept) == 0) return ULY_OK;
  return uly_fail(ULY_ERR_IO, "'%s' of an earlier run cannot be renamed: %s", path,
                  strerror(errno));
}

static uly_status open_file(train_run *run) {
  const char *path = run->metrics_path;
  bool goes_on = run->checkpoint[0];
  if (!path[0]) return ULY_OK;
  if (!goes_on) TRY(keep_earlier(path));
  run->metrics = fopen(path, goes_on ? "a+" : "w+");
  if (!run->metrics)
    return uly_fail(ULY_ERR_IO, "--metrics '%s' cannot be opened: %s", path, strerror(errno));
  setvbuf(run->metrics, NULL, _IOLBF, BUFSIZ);
  /* A device or a pipe cannot be trimmed, and holds nothing to trim. */
  if (!goes_on || ftell(run->metrics) < 0) return ULY_OK;
  return trim(run->metrics, path, uly_trainer_steps_done(run->trainer));
}

uly_status metrics_open(train_run *run) {
  uly_status status = name_file(run);
  if (status == ULY_OK && run->is_first) status = open_file(run);
  return uly_mesh_agree(run->mesh, status);
}

/* Writes a line. A full disk under the metrics does not end the run. */
void metrics_write(train_run *run, const uly_step_report *report, const uly_eval_report *eval) {
  if (!run->metrics) return;
  if (uly_report_write(run->metrics, report, eval, run->progress.peak_flops) == ULY_OK) return;
  progress_warn(run, "warning: --metrics '%s': %s; training goes on without it", run->metrics_path,
                last_failure());
  fclose(run->metrics);
  run->metrics = NULL;
}

uly_status metrics_close(train_run *run) {
  const char *path = run->metrics_path;
  uly_status status = ULY_OK;
  if (!path[0]) return ULY_OK;
  if (run->is_first && (!run->metrics || fclose(run->metrics) != 0))
    status = uly_fail(ULY_ERR_IO, "--metrics '%s' could not be written to the end", path);
  run->metrics = NULL;
  return uly_mesh_agree(run->mesh, status);
}
