/* The folder that a run saves to: whole checkpoints step-<10 digits>, and hidden ones .step-<10 digits>.tmp, which are
 * being written or removed, or were left by a process that ended meanwhile. What has another name is not the
 * library's, and left alone. */
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
#include "data/folder.h"
#include "train/checkpoint.h"

void uly__checkpoint_name(int64_t step, char name[ULY_CHECKPOINT_NAME]) {
  snprintf(name, ULY_CHECKPOINT_NAME, "step-%010" PRId64, step);
}

void uly__checkpoint_hidden_name(int64_t step, char name[ULY_CHECKPOINT_NAME]) {
  snprintf(name, ULY_CHECKPOINT_NAME, ".step-%010" PRId64 ".tmp", step);
}

bool uly__checkpoint_is_whole(int folder, const char *name) {
  char last[PATH_MAX];
  struct stat info;
  snprintf(last, sizeof last, "%s/%s", name, uly__trainer_file);
  return fstatat(folder, name, &info, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(info.st_mode) &&
         fstatat(folder, last, &info, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(info.st_mode);
}

int64_t uly__checkpoint_step(const char *name) {
  int64_t step = 0;
  if (strncmp(name, "step-", 5) != 0 || strlen(name) != 15) return -1;
  for (const char *at = name + 5; *at; at++) {
    if (*at < '0' || *at > '9') return -1;
    step = step * 10 + (*at - '0');
  }
  return step;
}

uly_status uly_checkpoint_prepare(const char *out_dir) {
  char path[PATH_MAX];
  ULY_TRY(uly__folder_make(out_dir));
  ULY_TRY(uly__path_join(path, sizeof path, out_dir, ".probe"));
  ULY_TRY(uly__file_create(path, "", 0, 0));
  if (unlink(path) != 0) ULY_FAIL(ULY_ERR_IO, "cannot remove '%s': %s", path, strerror(errno));
  DIR *folder = opendir(out_dir);
  if (!folder) ULY_FAIL(ULY_ERR_IO, "cannot open the folder '%s': %s", out_dir, strerror(errno));
  uly_status status = ULY_OK;
  for (struct dirent *entry; status == ULY_OK && (entry = readdir(folder));) {
    size_t length = strlen(entry->d_name);
    if (strncmp(entry->d_name, ".step-", 6) != 0 || strcmp(entry->d_name + length - 4, ".tmp") != 0)
      continue;
    status = uly__path_join(path, sizeof path, out_dir, entry->d_name);
    if (status == ULY_OK) status = uly__folder_remove(path);
  }
  closedir(folder);
  return status;
}

uly_status uly_checkpoint_latest(const char *out_dir, char *path, size_t capacity) {
  int64_t latest = -1;
  if (capacity == 0) ULY_FAIL(ULY_ERR_CONFIG, "no room for the path of a checkpoint");
  path[0] = '\0';
  DIR *folder = opendir(out_dir);
  if (!folder) {
    if (errno == ENOENT) return ULY_OK;
    ULY_FAIL(ULY_ERR_IO, "cannot open the folder '%s': %s", out_dir, strerror(errno));
  }
  for (struct dirent *entry; (entry = readdir(folder));) {
    int64_t step = uly__checkpoint_step(entry->d_name);
    if (step > latest && uly__checkpoint_is_whole(dirfd(folder), entry->d_name)) latest = step;
  }
  closedir(folder);
  if (latest < 0) return ULY_OK;
  char name[ULY_CHECKPOINT_NAME];
  uly__checkpoint_name(latest, name);
  return uly__path_join(path, capacity, out_dir, name);
}
