/* Checks every operation on a file (POSIX). */
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

uly_status uly__file_failed(const char *what, const char *path) {
  ULY_FAIL(ULY_ERR_IO, "cannot %s '%s': %s", what, path, strerror(errno));
}

uly_status uly__file_write(int fd, const char *path, int64_t offset, const void *from,
                           int64_t count) {
  const char *bytes = from;
  while (count > 0) {
    ssize_t written = pwrite(fd, bytes, (size_t)(count < INT_MAX ? count : INT_MAX), offset);
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return uly__file_failed("write to", path);
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
    if (got < 0) return uly__file_failed("read from", path);
    if (got == 0) ULY_FAIL(ULY_ERR_IO, "'%s' ends too early", path);
    bytes += got;
    offset += got;
    count -= got;
  }
  return ULY_OK;
}

void uly__file_expect(int fd, int64_t offset, int64_t count) {
  (void)posix_fadvise(fd, offset, count, POSIX_FADV_WILLNEED);
}

uly_status uly__file_finish(int fd, const char *path, uly_status status) {
  if (status == ULY_OK && fsync(fd) != 0) status = uly__file_failed("sync", path);
  if (close(fd) != 0 && status == ULY_OK) status = uly__file_failed("close", path);
  return status;
}

static uly_status make_room(int fd, const char *path, int64_t size) {
  int error = posix_fallocate(fd, 0, size);
  if (error == EINVAL || error == EOPNOTSUPP) error = ftruncate(fd, size) == 0 ? 0 : errno;
  if (!error) return ULY_OK;
  errno = error;
  return uly__file_failed("make room for", path);
}

uly_status uly__file_create(const char *path, const void *bytes, int64_t count, int64_t size) {
  int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (fd < 0) return uly__file_failed("create", path);
  uly_status status = size > 0 ? make_room(fd, path, size) : ULY_OK;
  if (status == ULY_OK) status = uly__file_write(fd, path, 0, bytes, count);
  return uly__file_finish(fd, path, status);
}

static uly_status check_regular(int fd, const char *path, const char *what, int64_t *size) {
  struct stat info;
  if (fstat(fd, &info) != 0)
    ULY_FAIL(ULY_ERR_IO, "cannot examine %s '%s': %s", what, path, strerror(errno));
  if (S_ISDIR(info.st_mode))
    ULY_FAIL(ULY_ERR_DATA, "%s '%s' is a folder: give the path of a file", what, path);
  if (!S_ISREG(info.st_mode))
    ULY_FAIL(ULY_ERR_DATA,
             "%s '%s' is not a regular file, so it cannot be read at any offset: copy its contents "
             "to a file",
             what, path);
  *size = info.st_size;
  return ULY_OK;
}

uly_status uly__file_open_input(const char *path, const char *what, int *fd, int64_t *size) {
  /* With O_NONBLOCK, opening a FIFO does not wait for a writer. */
  *fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (*fd < 0)
    ULY_FAIL(ULY_ERR_IO, "cannot open %s '%s': %s: check %s", what, path, strerror(errno),
             errno == EACCES || errno == EPERM ? "its permissions" : "the path");
  uly_status status = check_regular(*fd, path, what, size);
  if (status == ULY_OK) return ULY_OK;
  close(*fd);
  *fd = -1;
  return status;
}

static uly_status load(int fd, const char *path, const char *what, int64_t most, char **bytes,
                       int64_t count) {
  if (count > most)
    ULY_FAIL(ULY_ERR_DATA, "%s '%s' has %lld bytes, but at most %lld are read: check the path",
             what, path, (long long)count, (long long)most);
  *bytes = malloc((size_t)count + 1);
  if (!*bytes) ULY_FAIL(ULY_ERR_MEMORY, "no memory to read %s '%s'", what, path);
  uly_status status = uly__file_read(fd, path, 0, *bytes, count);
  if (status == ULY_OK) return ULY_OK;
  free(*bytes);
  *bytes = NULL;
  return status;
}

uly_status uly__file_load(const char *path, const char *what, int64_t most, char **bytes,
                          int64_t *count) {
  int fd;
  *bytes = NULL;
  ULY_TRY(uly__file_open_input(path, what, &fd, count));
  uly_status status = load(fd, path, what, most, bytes, *count);
  close(fd);
  return status;
}

uly_status uly__file_open(const char *path, int *fd) {
  *fd = open(path, O_WRONLY | O_CLOEXEC);
  return *fd < 0 ? uly__file_failed("open", path) : ULY_OK;
}

uly_status uly__file_scratch(const char *path, int64_t size, int *fd) {
  *fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (*fd < 0) return uly__file_failed("create", path);
  uly_status status = unlink(path) == 0 ? ULY_OK : uly__file_failed("unlink", path);
  if (status == ULY_OK && size > 0) status = make_room(*fd, path, size);
  if (status == ULY_OK) return ULY_OK;
  close(*fd);
  *fd = -1;
  return status;
}
