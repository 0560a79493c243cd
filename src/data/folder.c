/* Durable files and folders (POSIX). */
#include "data/folder.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static uly_status failed(const char *what, const char *path) {
  ULY_FAIL(ULY_ERR_IO, "cannot %s '%s': %s", what, path, strerror(errno));
}

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
    if (mkdir(part, 0777) != 0 && errno != EEXIST) return failed("create the folder", part);
    if (end == '\0') break;
    *at = end;
  }
  struct stat info;
  if (stat(path, &info) != 0) return failed("use", path);
  if (!S_ISDIR(info.st_mode)) ULY_FAIL(ULY_ERR_IO, "'%s' is there and is no folder", path);
  return ULY_OK;
}

uly_status uly__folder_remove(const char *path) {
  DIR *folder = opendir(path);
  if (!folder) return errno == ENOENT ? ULY_OK : failed("open the folder", path);
  uly_status status = ULY_OK;
  for (struct dirent *entry; status == ULY_OK && (entry = readdir(folder));) {
    if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
    if (unlinkat(dirfd(folder), entry->d_name, 0) != 0) status = failed("remove a file of", path);
  }
  closedir(folder);
  if (status == ULY_OK && rmdir(path) != 0) status = failed("remove the folder", path);
  return status;
}

uly_status uly__folder_sync(const char *path) {
  int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return failed("open the folder", path);
  uly_status status = fsync(fd) == 0 ? ULY_OK : failed("sync the folder", path);
  close(fd);
  return status;
}

uly_status uly__file_write(int fd, const char *path, int64_t offset, const void *from,
                           int64_t count) {
  const char *bytes = from;
  while (count > 0) {
    ssize_t written = pwrite(fd, bytes, (size_t)(count < INT_MAX ? count : INT_MAX), offset);
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return failed("write to", path);
    bytes += written;
    offset += written;
    count -= written;
  }
  return ULY_OK;
}

uly_status uly__file_read(int fd, const char *path, int64_t offset, void *to, int64_t count) {
  char *bytes = to;
  while (count > 0) {
    ssize_t got = pread(fd, bytes, (size_t)(count < INT_MAX ? count : INT_MAX), offset);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return failed("read from", path);
    if (got == 0) ULY_FAIL(ULY_ERR_IO, "'%s' ends too early", path);
    bytes += got;
    offset += got;
    count -= got;
  }
  return ULY_OK;
}

uly_status uly__file_finish(int fd, const char *path, uly_status status) {
  if (status == ULY_OK && fsync(fd) != 0) status = failed("sync", path);
  if (close(fd) != 0 && status == ULY_OK) status = failed("close", path);
  return status;
}

static uly_status make_room(int fd, const char *path, int64_t size) {
  int error = posix_fallocate(fd, 0, size);
  if (error == EINVAL || error == EOPNOTSUPP) error = ftruncate(fd, size) == 0 ? 0 : errno;
  if (!error) return ULY_OK;
  errno = error;
  return failed("make room for", path);
}

uly_status uly__file_create(const char *path, const void *bytes, int64_t count, int64_t size) {
  int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (fd < 0) return failed("create", path);
  uly_status status = size > 0 ? make_room(fd, path, size) : ULY_OK;
  if (status == ULY_OK) status = uly__file_write(fd, path, 0, bytes, count);
  return uly__file_finish(fd, path, status);
}

uly_status uly__file_open(const char *path, int *fd) {
  *fd = open(path, O_WRONLY | O_CLOEXEC);
  return *fd < 0 ? failed("open", path) : ULY_OK;
}

uly_status uly__file_scratch(const char *path, int64_t size, int *fd) {
  *fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (*fd < 0) return failed("create", path);
  uly_status status = unlink(path) == 0 ? ULY_OK : failed("unlink", path);
  if (status == ULY_OK && size > 0) status = make_room(*fd, path, size);
  if (status == ULY_OK) return ULY_OK;
  close(*fd);
  *fd = -1;
  return status;
}
