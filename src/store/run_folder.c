/* The folder that a run saves to: whole checkpoints step-<10 digits>, and hidden ones .step-<10
 * digits>.tmp, which are being written or removed, or were left by a process that ended meanwhile.
 * What has any other name is not the library's, and is left alone. */
#include "store/run_folder.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/folder.h"
#include "base/sized.h"

const char uly__model_file[] = "model.safetensors", uly__optimizer_file[] = "optimizer.safetensors",
           uly__config_file[] = "config.json", uly__trainer_file[] = "trainer.json",
           uly__index_file[] = "model.safetensors.index.json";

void uly__checkpoint_name(int64_t step, char name[ULY_CHECKPOINT_NAME]) {
  snprintf(name, ULY_CHECKPOINT_NAME, "step-%010" PRId64, step);
}

void uly__checkpoint_hidden_name(int64_t step, char name[ULY_CHECKPOINT_NAME]) {
  snprintf(name, ULY_CHECKPOINT_NAME, ".step-%010" PRId64 ".tmp", step);
}

/* Examines what is there; mode is 0 if there is nothing. It is a failure if what is there cannot be
 * examined. */
static uly_status look_at(int folder, const char *out_dir, const char *name, mode_t *mode) {
  struct stat info;
  *mode = 0;
  if (fstatat(folder, name, &info, AT_SYMLINK_NOFOLLOW) == 0) {
    *mode = info.st_mode;
  } else if (errno != ENOENT && errno != ENOTDIR) {
    ULY_FAIL(ULY_ERR_IO, "'%s/%s' cannot be examined: %s", out_dir, name, strerror(errno));
  }
  return ULY_OK;
}

uly_status uly__checkpoint_look(int folder, const char *out_dir, const char *name,
                                uly__checkpoint_kind *kind) {
  const char *const files[] = {uly__trainer_file, uly__model_file, uly__optimizer_file,
                               uly__config_file};
  mode_t mode;
  *kind = ULY_CHECKPOINT_NONE;
  ULY_TRY(look_at(folder, out_dir, name, &mode));
  for (int i = 0; i < 4 && S_ISDIR(mode) && *kind == ULY_CHECKPOINT_NONE; i++) {
    char path[PATH_MAX];
    mode_t of_file;
    snprintf(path, sizeof path, "%s/%s", name, files[i]);
    ULY_TRY(look_at(folder, out_dir, path, &of_file));
    if (S_ISREG(of_file)) *kind = i == 0 ? ULY_CHECKPOINT_WHOLE : ULY_CHECKPOINT_DAMAGED;
  }
  return ULY_OK;
}

/* Returns the number that ten digits make, or -1 if there are other characters. */
static int64_t read_step(const char *digits) {
  int64_t step = 0;
  for (int i = 0; i < 10; i++) {
    if (digits[i] < '0' || digits[i] > '9') return -1;
    step = step * 10 + (digits[i] - '0');
  }
  return step;
}

int64_t uly__checkpoint_step(const char *name) {
  return strlen(name) == 15 && strncmp(name, "step-", 5) == 0 ? read_step(name + 5) : -1;
}

static bool is_hidden(const char *name) {
  return strlen(name) == 20 && strncmp(name, ".step-", 6) == 0 && strcmp(name + 16, ".tmp") == 0 &&
         read_step(name + 6) >= 0;
}

uly_status uly_checkpoint_prepare(const char *out_dir) {
  char path[PATH_MAX];
  ULY_NOT_NULL(out_dir);
  ULY_TRY(uly__folder_make(out_dir));
  ULY_TRY(uly__path_join(path, sizeof path, out_dir, ".probe"));
  ULY_TRY(uly__file_create(path, "", 0, 0));
  /* Another process that tries the same folder may have been first. */
  if (unlink(path) != 0 && errno != ENOENT) return uly__file_failed("remove", path);
  return ULY_OK;
}

uly_status uly_checkpoint_remove_remains(const char *out_dir) {
  ULY_NOT_NULL(out_dir);
  DIR *folder = opendir(out_dir);
  if (!folder) return errno == ENOENT ? ULY_OK : uly__file_failed("open the folder", out_dir);
  uly_status status = ULY_OK;
  errno = 0;
  for (struct dirent *entry; status == ULY_OK && (entry = readdir(folder)); errno = 0) {
    char path[PATH_MAX];
    if (!is_hidden(entry->d_name)) continue;
    status = uly__path_join(path, sizeof path, out_dir, entry->d_name);
    if (status == ULY_OK) status = uly__folder_remove(path);
  }
  if (status == ULY_OK && errno != 0) status = uly__file_failed("list the folder", out_dir);
  closedir(folder);
  return status;
}

/* Finds the highest step that a checkpoint in the folder is named after, damaged or not, or -1 if
 * there is none. A checkpoint that cannot be examined is a failure if it might be the highest. */
static uly_status find_latest(const char *out_dir, DIR *folder, int64_t *latest) {
  int64_t unknown = -1;
  uly_status status = ULY_OK;
  *latest = -1;
  errno = 0;
  for (struct dirent *entry; (entry = readdir(folder)); errno = 0) {
    uly__checkpoint_kind kind;
    int64_t step = uly__checkpoint_step(entry->d_name);
    if (step <= *latest || step <= unknown) continue;
    uly_status looked = uly__checkpoint_look(dirfd(folder), out_dir, entry->d_name, &kind);
    if (looked == ULY_OK && kind != ULY_CHECKPOINT_NONE) *latest = step;
    if (looked != ULY_OK) {
      unknown = step;
      status = looked;
    }
  }
  if (errno != 0) return uly__file_failed("list the folder", out_dir);
  return unknown > *latest ? status : ULY_OK;
}

uly_status uly_checkpoint_latest(const char *out_dir, char *path, size_t capacity) {
  int64_t latest;
  ULY_NOT_NULL(out_dir);
  ULY_NOT_NULL(path);
  if (capacity == 0) ULY_FAIL(ULY_ERR_CONFIG, "there is no room for the path of a checkpoint");
  path[0] = '\0';
  DIR *folder = opendir(out_dir);
  if (!folder && errno == ENOTDIR)
    ULY_FAIL(ULY_ERR_DATA, "'%s' is a file, but checkpoints are folders in the folder of a run",
             out_dir);
  if (!folder) return errno == ENOENT ? ULY_OK : uly__file_failed("open the folder", out_dir);
  uly_status status = find_latest(out_dir, folder, &latest);
  closedir(folder);
  if (status != ULY_OK || latest < 0) return status;
  char name[ULY_CHECKPOINT_NAME];
  uly__checkpoint_name(latest, name);
  return uly__path_join(path, capacity, out_dir, name);
}
