/* Checks that a run does not write what it reads, or what the next one would read as data. */
#include <string.h>
#include <sys/stat.h>

#include "common/try.h"
#include "train/train_run.h"

typedef struct named_path {
  const char *flag, *path; /* NULL: not given */
} named_path;

static bool is_same(const char *a, const char *b) {
  struct stat one, other;
  return stat(a, &one) == 0 && stat(b, &other) == 0 && one.st_dev == other.st_dev &&
         one.st_ino == other.st_ino;
}

/* Returns whether the path is, or would be, an entry of the folder. */
static bool is_in(const char *path, const char *folder) {
  char above[PATH_MAX];
  struct stat about;
  const char *slash = strrchr(path, '/');
  int length = slash ? (int)(slash - path) + 1 : 0;
  if (stat(folder, &about) != 0 || !S_ISDIR(about.st_mode)) return false;
  snprintf(above, sizeof above, "%.*s", length ? length : 1, length ? path : ".");
  return is_same(above, folder);
}

/* Refuses to overwrite a file that is read. Folders do not matter, since only files are
 * overwritten. */
static uly_status check_file(named_path written, named_path read) {
  if (!written.path || !read.path || !is_same(written.path, read.path)) return ULY_OK;
  return uly_fail(ULY_ERR_CONFIG, "%s '%s' is also %s, and would be overwritten: give another path",
                  written.flag, written.path, read.flag);
}

/* Refuses to write among the data. Data may be a folder: its files are read, but not those of
 * folders in it. */
static uly_status check_data(named_path written, bool is_folder, named_path data) {
  if (!written.path || !data.path) return ULY_OK;
  if (!(is_folder ? is_same : is_in)(written.path, data.path)) return ULY_OK;
  return uly_fail(ULY_ERR_CONFIG,
                  "what is written to %s '%s' would be %s of the next run: give another path",
                  written.flag, written.path, data.flag);
}

static uly_status check(const train_options *o) {
  const named_path read[] = {{"--data", o->run.config.data},
                             {"--eval-data", o->run.config.eval_data},
                             {"--model", o->run.config.model},
                             {"--config", o->base.config_file}};
  const named_path files[] = {{"--metrics", o->metrics}, {"--trace", o->trace}};
  const named_path folders[] = {{"--out", o->out}, {"--rank-logs", o->rank_logs}};
  for (int i = 0; i < 8; i++) TRY(check_file(files[i / 4], read[i % 4]));
  for (int i = 0; i < 4; i++) {
    TRY(check_data(folders[i / 2], true, read[i % 2]));
    TRY(check_data(files[i / 2], false, read[i % 2]));
  }
  return ULY_OK;
}

uly_status places_check(train_run *run) {
  return uly_mesh_agree(run->mesh, run->is_first ? check(&run->options) : ULY_OK);
}
