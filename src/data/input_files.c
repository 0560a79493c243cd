/* Goes through folders with fts: see input_files.h. */
#include "data/input_files.h"

#include <errno.h>
#include <fts.h>
#include <limits.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"

/* Says what is done with each file. */
typedef struct visitor {
  uly_status (*visit)(void *context, const char *path, const struct stat *info);
  void *context;
} visitor;

/* Visits one entry of a folder, or the input itself. */
static uly_status visit_entry(const visitor *v, FTS *walk, FTSENT *entry) {
  bool is_input = entry->fts_level == FTS_ROOTLEVEL;
  if (!is_input && entry->fts_name[0] == '.') {
    (void)fts_set(walk, entry, FTS_SKIP);
    return ULY_OK;
  }
  switch (entry->fts_info) {
    case FTS_F: return v->visit(v->context, entry->fts_path, entry->fts_statp);
    /* A pipe may be an input, but one in a folder is not text. */
    case FTS_DEFAULT:
      return is_input ? v->visit(v->context, entry->fts_path, entry->fts_statp) : ULY_OK;
    case FTS_DC:
      ULY_FAIL(ULY_ERR_IO, "'%s' is a symbolic link to a folder that it lies in: remove it",
               entry->fts_path);
    case FTS_SLNONE:
      ULY_FAIL(ULY_ERR_IO, "'%s' is a symbolic link to nothing: repair or remove it",
               entry->fts_path);
    case FTS_DNR:
    case FTS_ERR:
    case FTS_NS: errno = entry->fts_errno; return uly__file_failed("read", entry->fts_path);
    /* The default case is a folder, before and after its entries. */
    default: return ULY_OK;
  }
}

/* Compares names. strcmp compares bytes as unsigned, so the order does not depend on the locale. */
static int compare_names(const FTSENT **a, const FTSENT **b) {
  return strcmp((*a)->fts_name, (*b)->fts_name);
}

uly_status uly__input_files_visit(const char *input,
                                  uly_status (*visit)(void *context, const char *path,
                                                      const struct stat *info),
                                  void *context) {
  const visitor v = {visit, context};
  char *copy = strdup(input);
  if (!copy) ULY_FAIL(ULY_ERR_MEMORY, "no memory for a path");
  char *const paths[] = {copy, NULL};
  FTS *walk = fts_open(paths, FTS_LOGICAL | FTS_NOCHDIR, compare_names);
  uly_status status = walk ? ULY_OK : uly__file_failed("read", input);
  errno = 0;
  for (FTSENT *entry; status == ULY_OK && (entry = fts_read(walk)); errno = 0)
    status = visit_entry(&v, walk, entry);
  if (status == ULY_OK && errno != 0) status = uly__file_failed("read the folder", input);
  if (walk) fts_close(walk);
  free(copy);
  return status;
}

/* Returns whether the folder is the other one, or would be met on a walk through it, which skips
 * names that begin with a dot. */
static bool is_met_in(const char *folder, const struct stat *other) {
  char path[PATH_MAX];
  struct stat info;
  if (!realpath(folder, path)) return false;
  for (;;) {
    bool is_same =
        stat(path, &info) == 0 && info.st_dev == other->st_dev && info.st_ino == other->st_ino;
    char *slash = strrchr(path, '/');
    if (is_same || path[1] == '\0' || slash[1] == '.') return is_same;
    slash[slash == path] = '\0'; /* up: "/" of "/a" */
  }
}

uly_status uly__input_files_check(const char *const *inputs, int num_inputs, const char *out) {
  for (int i = 0; i < num_inputs; i++) {
    struct stat input;
    if (stat(inputs[i], &input) == 0 && S_ISDIR(input.st_mode) && is_met_in(out, &input))
      ULY_FAIL(ULY_ERR_CONFIG,
               "prepare.out = '%s' lies in '%s', whose files are read: give another folder", out,
               inputs[i]);
  }
  return ULY_OK;
}
