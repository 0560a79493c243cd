/* Makes the folder of an export: see export_folder.h. */
#include "store/export_folder.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "data/folder.h"

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

/* Splits the path into the folder and the name in it. */
static uly_status name_paths(const char *out, uly__export_folder *folder) {
  char *path = folder->final;
  if (snprintf(path, PATH_MAX, "%s", out) >= PATH_MAX)
    ULY_FAIL(ULY_ERR_IO, "the path '%s' is too long", out);
  size_t length = strlen(path);
  while (length > 1 && path[length - 1] == '/') path[--length] = '\0';
  const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
  if (!*name || strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
    ULY_FAIL(ULY_ERR_CONFIG, "export.out '%s' is not the name of a new folder", out);
  /* "/a" is in "/", and "a" in ".". */
  int count = slash && slash > path ? (int)(slash - path) : 1;
  snprintf(folder->parent, PATH_MAX, "%.*s", count, slash ? path : ".");
  char hidden[NAME_MAX + 16];
  if (snprintf(hidden, sizeof hidden, ".%s.tmp", name) > NAME_MAX)
    ULY_FAIL(ULY_ERR_CONFIG, "the name of export.out '%s' is too long", out);
  return uly__path_join(folder->hidden, PATH_MAX, folder->parent, hidden);
}

uly_status uly__export_folder_begin(const char *out, uly__export_folder *folder) {
  ULY_TRY(name_paths(out, folder));
  ULY_TRY(check_free(folder->final));
  ULY_TRY(uly__folder_make(folder->parent));
  ULY_TRY(uly__folder_remove(folder->hidden)); /* remains of a killed export */
  return uly__folder_make(folder->hidden);
}

static uly_status complete(const uly__export_folder *folder) {
  ULY_TRY(uly__folder_sync(folder->hidden));
  if (rename(folder->hidden, folder->final) != 0)
    ULY_FAIL(ULY_ERR_IO, "cannot rename to '%s': %s", folder->final, strerror(errno));
  return uly__folder_sync(folder->parent);
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
