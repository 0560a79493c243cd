/* Handles folders durably (POSIX). */
#include "base/folder.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/printable.h"

uly_status uly__path_join(char *path, size_t capacity, const char *folder, const char *name) {
  int length = snprintf(path, capacity, "%s/%s", folder, name);
  if (length < 0 || (size_t)length >= capacity)
    ULY_FAIL(ULY_ERR_IO, "the path '%s/%s' is too long", folder, name);
  return ULY_OK;
}

uly_status uly__folder_make(const char *path) {
  char part[PATH_MAX];
  if (!*path || strlen(path) >= sizeof part)
    ULY_FAIL(ULY_ERR_IO, "'%s' cannot be the name of a folder", path);
  memcpy(part, path, strlen(path) + 1);
  for (char *at = part + 1;; at++) {
    if (*at != '/' && *at != '\0') continue;
    char end = *at;
    *at = '\0';
    if (mkdir(part, 0777) != 0 && errno != EEXIST)
      return uly__file_failed("create the folder", part);
    if (end == '\0') break;
    *at = end;
  }
  struct stat info;
  if (stat(path, &info) != 0) return uly__file_failed("use", path);
  if (!S_ISDIR(info.st_mode)) ULY_FAIL(ULY_ERR_IO, "'%s' exists, but is not a folder", path);
  return ULY_OK;
}

/* Opens a folder, but not a link to one, since what it points to does not belong to the run.
 * Returns NULL, and errno tells why, if it cannot be opened. */
static DIR *open_folder(const char *path) {
  int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  DIR *folder = fd >= 0 ? fdopendir(fd) : NULL;
  int error = errno;
  if (!folder && fd >= 0) close(fd);
  errno = error;
  return folder;
}

static bool is_dots(const char *name) { return strcmp(name, ".") == 0 || strcmp(name, "..") == 0; }

uly_status uly__folder_remove(const char *path) {
  DIR *folder = open_folder(path);
  if (!folder) return errno == ENOENT ? ULY_OK : uly__file_failed("open the folder", path);
  uly_status status = ULY_OK;
  for (struct dirent *entry; status == ULY_OK && (entry = readdir(folder));)
    if (!is_dots(entry->d_name) && unlinkat(dirfd(folder), entry->d_name, 0) != 0)
      status = uly__file_failed("remove a file of", path);
  closedir(folder);
  if (status == ULY_OK && rmdir(path) != 0) status = uly__file_failed("remove the folder", path);
  return status;
}

uly_status uly__folder_check_plain(const char *path) {
  DIR *folder = open_folder(path);
  if (!folder) return uly__file_failed("open the folder", path);
  uly_status status = ULY_OK;
  for (struct dirent *entry; status == ULY_OK && (entry = readdir(folder));) {
    struct stat info;
    if (is_dots(entry->d_name) ||
        fstatat(dirfd(folder), entry->d_name, &info, AT_SYMLINK_NOFOLLOW) != 0 ||
        !S_ISDIR(info.st_mode))
      continue;
    status =
        uly_fail(ULY_ERR_IO,
                 "'%s' was not removed, because it contains the folder '%s': move that elsewhere",
                 path, uly__make_printable(entry->d_name).text);
  }
  closedir(folder);
  return status;
}

uly_status uly__folder_sync(const char *path) {
  int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return uly__file_failed("open the folder", path);
  uly_status status = fsync(fd) == 0 ? ULY_OK : uly__file_failed("sync the folder", path);
  close(fd);
  return status;
}
