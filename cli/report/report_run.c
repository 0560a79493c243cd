/* Reads a run from its files: its metrics, and what else is in its folder. */
#include "report/report_run.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/try.h"
#include "report/report_text.h"

static bool is_checkpoint(const char *name, int64_t *step) {
  const char *digits = name + 5;
  if (strncmp(name, "step-", 5) != 0 || strlen(digits) != 10) return false;
  if (strspn(digits, "0123456789") != 10) return false;
  *step = strtoll(digits, NULL, 10);
  return true;
}

static void count_checkpoints(const char *folder, report_run *run) {
  DIR *entries = opendir(folder);
  if (!entries) return;
  for (struct dirent *entry; (entry = readdir(entries));) {
    int64_t step;
    if (!is_checkpoint(entry->d_name, &step)) continue;
    run->num_checkpoints++;
    if (step > run->newest_checkpoint) run->newest_checkpoint = step;
  }
  closedir(entries);
}

/* Returns the last part of a path, however it is written (even "." and "run/"). */
static char *last_part(const char *path) {
  char real[PATH_MAX];
  if (!realpath(path, real)) snprintf(real, sizeof real, "%s", path);
  const char *slash = strrchr(real, '/');
  return strdup(slash && slash[1] ? slash + 1 : real);
}

/* Finds the folder of a run. If path names the metrics in it, the other files there belong to the
 * run; beside a file of any other name there may be anything. */
static uly_status find_folder(const char *path, char folder[PATH_MAX], char metrics[PATH_MAX]) {
  static const char name[] = "metrics.jsonl";
  struct stat info;
  int length = snprintf(metrics, PATH_MAX, "%s", path);
  if (stat(path, &info) != 0 || length >= PATH_MAX)
    return report_fail(ULY_ERR_IO, "'%s' cannot be read: %s", path,
                       strerror(length >= PATH_MAX ? ENAMETOOLONG : errno));
  snprintf(folder, PATH_MAX, "%s", path);
  if (S_ISDIR(info.st_mode)) {
    length = snprintf(metrics, PATH_MAX, "%s/%s", path, name);
    if (length < PATH_MAX && stat(metrics, &info) == 0) return ULY_OK;
    return report_fail(ULY_ERR_IO,
                       "'%s' has no %s: give the file itself if the metrics are elsewhere", path,
                       name);
  }
  char *slash = strrchr(folder, '/');
  if (strcmp(slash ? slash + 1 : folder, name) != 0)
    folder[0] = '\0';
  else if (slash)
    slash[slash == folder] = '\0';
  else
    snprintf(folder, PATH_MAX, ".");
  return ULY_OK;
}

uly_status report_run_read(const char *path, report_run *run) {
  char folder[PATH_MAX] = "", metrics[PATH_MAX] = "", config[PATH_MAX + 16];
  TRY(find_folder(path, folder, metrics));
  run->path = strdup(metrics);
  run->name = last_part(folder[0] ? folder : metrics);
  if (!run->path || !run->name) return report_fail(ULY_ERR_MEMORY, "no memory to read '%s'", path);
  TRY(report_metrics_read(run));
  if (!folder[0]) return ULY_OK;
  snprintf(config, sizeof config, "%s/config.yaml", folder);
  report_config_read(config, &run->config);
  count_checkpoints(folder, run);
  return ULY_OK;
}

void report_run_free(report_run *run) {
  free(run->path);
  free(run->name);
  report_config_free(&run->config);
}
