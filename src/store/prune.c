/* Removes old checkpoints from the folder of a run, and keeps the newest ones and every so-many-th.
 *
 * A checkpoint loses its name before it loses its first file, and the disk records this first. So
 * whenever the process or the machine ends, what has a checkpoint's name is complete. What is left
 * under a hidden name is cleared by uly_checkpoint_remove_remains, like the remains of a save. */
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/folder.h"
#include "base/sized.h"
#include "store/run_folder.h"

typedef struct step_list {
  int64_t *steps;
  size_t num, capacity;
} step_list;

static uly_status add_step(step_list *list, int64_t step) {
  if (list->num == list->capacity) {
    size_t capacity = list->capacity ? 2 * list->capacity : 64;
    int64_t *steps = realloc(list->steps, capacity * sizeof *steps);
    if (!steps) ULY_FAIL(ULY_ERR_MEMORY, "no memory for a list of %zu checkpoints", capacity);
    list->steps = steps;
    list->capacity = capacity;
  }
  list->steps[list->num++] = step;
  return ULY_OK;
}

/* The first failure. The checkpoints after it are still pruned. */
typedef struct failure {
  uly_status status;
  char message[1024];
} failure;

static void note(uly_status status, failure *first) {
  if (status == ULY_OK || first->status != ULY_OK) return;
  first->status = status;
  snprintf(first->message, sizeof first->message, "%s", uly_last_error());
}

/* Lists the steps. What cannot be examined stays. */
static uly_status list_steps(const char *out_dir, step_list *list, failure *first) {
  DIR *folder = opendir(out_dir);
  if (!folder) return errno == ENOENT ? ULY_OK : uly__file_failed("open the folder", out_dir);
  uly_status status = ULY_OK;
  errno = 0;
  for (struct dirent *entry; status == ULY_OK && (entry = readdir(folder)); errno = 0) {
    uly__checkpoint_kind kind;
    int64_t step = uly__checkpoint_step(entry->d_name);
    if (step < 0) continue;
    note(uly__checkpoint_look(dirfd(folder), out_dir, entry->d_name, &kind), first);
    if (kind == ULY_CHECKPOINT_WHOLE) status = add_step(list, step);
  }
  if (status == ULY_OK && errno != 0) status = uly__file_failed("list the folder", out_dir);
  closedir(folder);
  return status;
}

static int newest_first(const void *a, const void *b) {
  int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
  return (x < y) - (x > y);
}

static uly_status name_hidden(const char *out_dir, int64_t step, char path[PATH_MAX]) {
  char name[ULY_CHECKPOINT_NAME];
  uly__checkpoint_hidden_name(step, name);
  return uly__path_join(path, PATH_MAX, out_dir, name);
}

static uly_status hide(const char *out_dir, int64_t step) {
  char name[ULY_CHECKPOINT_NAME], path[PATH_MAX], hidden[PATH_MAX];
  uly__checkpoint_name(step, name);
  ULY_TRY(uly__path_join(path, sizeof path, out_dir, name));
  ULY_TRY(name_hidden(out_dir, step, hidden));
  ULY_TRY(uly__folder_check_plain(path)); /* removal would stop halfway */
  /* A save of this step may have left remains. */
  ULY_TRY(uly__folder_remove(hidden));
  if (rename(path, hidden) != 0) return uly__file_failed("remove the checkpoint", path);
  return ULY_OK;
}

/* Removes the checkpoints of these steps. */
static void remove_steps(const char *out_dir, const int64_t *steps, size_t num, failure *first) {
  char hidden[PATH_MAX];
  for (size_t i = 0; i < num; i++) note(hide(out_dir, steps[i]), first);
  uly_status synced = uly__folder_sync(out_dir);
  note(synced, first);
  for (size_t i = 0; i < num && synced == ULY_OK; i++) {
    uly_status status = name_hidden(out_dir, steps[i], hidden);
    if (status == ULY_OK) status = uly__folder_remove(hidden);
    note(status, first);
  }
}

uly_status uly_checkpoint_prune(const char *out_dir, int64_t keep_last, int64_t keep_every) {
  ULY_NOT_NULL(out_dir);
  if (keep_last < 0 || keep_every < 0)
    ULY_FAIL(ULY_ERR_CONFIG,
             "keep_last is %lld and keep_every %lld, but neither may be negative (keep_last 0 "
             "keeps all)",
             (long long)keep_last, (long long)keep_every);
  if (keep_last == 0) return ULY_OK;
  step_list list = {0};
  failure first = {.status = ULY_OK};
  uly_status status = list_steps(out_dir, &list, &first);
  size_t num_old = 0;
  if (status == ULY_OK && list.num > 0) {
    qsort(list.steps, list.num, sizeof *list.steps, newest_first);
    for (size_t i = 0; i < list.num; i++) {
      bool is_kept = i < (size_t)keep_last || (keep_every > 0 && list.steps[i] % keep_every == 0);
      if (!is_kept) list.steps[num_old++] = list.steps[i];
    }
  }
  if (status == ULY_OK && num_old > 0) remove_steps(out_dir, list.steps, num_old, &first);
  free(list.steps);
  if (status == ULY_OK && first.status != ULY_OK) uly__set_last_error(first.message);
  return status == ULY_OK ? first.status : status;
}
