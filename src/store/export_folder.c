/* Makes the folder of an export: see export_folder.h. */
#include "store/export_folder.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/folder.h"

/* Hidden folders that are tried. */
enum { MOST_HIDDEN = 100 };

/* Refuses a folder that is not empty, and anything that is not a folder. */
static uly_status check_free(const char *path) {
  DIR *folder = opendir(path);
  int num = 0;
  if (!folder && errno == ENOENT) return ULY_OK;
  if (!folder && errno == ENOTDIR)
    ULY_FAIL(ULY_ERR_CONFIG, "export.out '%s' is a file: give the name of a new folder", path);
  if (!folder) return uly__file_failed("open the folder", path);
  while (readdir(folder)) num++;
  closedir(folder);
  if (num > 2)
    ULY_FAIL(ULY_ERR_CONFIG,
             "export.out '%s' exists and is not empty: give the name of a new folder", path);
  return ULY_OK;
}

/* Writes the path without slashes at its end. If it is a link, the folder that it points to is
 * meant, since a link cannot be replaced by a folder. */
static uly_status resolve(const char *out, char path[PATH_MAX]) {
  struct stat info;
  if (snprintf(path, PATH_MAX, "%s", out) >= PATH_MAX)
    ULY_FAIL(ULY_ERR_IO, "the path '%s' is too long", out);
  size_t length = strlen(path);
  while (length > 1 && path[length - 1] == '/') path[--length] = '\0';
  if (lstat(path, &info) != 0 || !S_ISLNK(info.st_mode)) return ULY_OK;
  char *target = realpath(path, NULL);
  if (!target)
    ULY_FAIL(
        ULY_ERR_CONFIG,
        "export.out '%s' is a link that leads to no folder (%s): give the name of a new folder",
        out, strerror(errno));
  snprintf(path, PATH_MAX, "%s", target);
  free(target);
  return ULY_OK;
}

/* Splits the path into the folder and the name in it. */
static uly_status name_paths(const char *out, uly__export_folder *folder) {
  char *path = folder->final;
  ULY_TRY(resolve(out, path));
  const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
  if (!*name || strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
    ULY_FAIL(ULY_ERR_CONFIG, "export.out '%s' is not the name of a new folder", out);
  /* "/a" is in "/", and "a" in ".". */
  int count = slash && slash > path ? (int)(slash - path) : 1;
  snprintf(folder->parent, PATH_MAX, "%.*s", count, slash ? path : ".");
  if (snprintf(folder->name, sizeof folder->name, "%s", name) >= (int)sizeof folder->name)
    ULY_FAIL(ULY_ERR_CONFIG, "the name of export.out '%s' is too long", out);
  return ULY_OK;
}

/* Makes the hidden folder: the first whose name is free. One that exists belongs to an export that
 * is under way or was killed, or to someone else. */
static uly_status make_hidden(uly__export_folder *folder) {
  for (int i = 1; i <= MOST_HIDDEN; i++) {
    char hidden[NAME_MAX + 32], number[16] = ""; /* a name that is too long is refused below */
    if (i > 1) snprintf(number, sizeof number, ".%d", i);
    snprintf(hidden, sizeof hidden, ".%s%s.tmp", folder->name, number);
    ULY_TRY(uly__path_join(folder->hidden, PATH_MAX, folder->parent, hidden));
    if (mkdir(folder->hidden, 0777) == 0) return ULY_OK;
    if (errno != EEXIST) return uly__file_failed("create the folder", folder->hidden);
  }
  ULY_FAIL(ULY_ERR_IO,
           "'%s' has %d folders of exports that were killed: remove those named like '.%s.tmp'",
           folder->parent, MOST_HIDDEN, folder->name);
}

uly_status uly__export_folder_begin(const char *out, uly__export_folder *folder) {
  ULY_TRY(name_paths(out, folder));
  ULY_TRY(check_free(folder->final));
  ULY_TRY(uly__folder_make(folder->parent));
  return make_hidden(folder);
}

static uly_status complete(const uly__export_folder *folder) {
  ULY_TRY(uly__folder_sync(folder->hidden));
  if (rename(folder->hidden, folder->final) == 0) return uly__folder_sync(folder->parent);
  if (errno == ENOTEMPTY || errno == EEXIST)
    ULY_FAIL(ULY_ERR_IO,
             "'%s' has been filled since the export began: give the name of a new folder",
             folder->final);
  ULY_FAIL(ULY_ERR_IO, "cannot rename to '%s': %s", folder->final, strerror(errno));
}

uly_status uly__export_folder_end(const uly__export_folder *folder, uly_status status) {
  if (status == ULY_OK) status = complete(folder);
  if (status == ULY_OK) return ULY_OK;
  /* The failure that led here is the one to report. */
  char message[1024];
  snprintf(message, sizeof message, "%s", uly_last_error());
  (void)uly__folder_remove(folder->hidden);
  uly__set_last_error(message);
  return status;
}
