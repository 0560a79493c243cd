/* See source_file.h. */
#include "data/source_file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static uly_status open_descriptor(const char *path, const char *what, int *fd, int64_t *size) {
  /* O_NONBLOCK: opening a FIFO must not wait for a writer; it is refused below. */
  *fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (*fd < 0)
    ULY_FAIL(ULY_ERR_IO, "cannot open %s '%s': %s: check the path and its permissions", what, path,
             strerror(errno));
  struct stat info;
  if (fstat(*fd, &info) != 0)
    ULY_FAIL(ULY_ERR_IO, "cannot examine %s '%s': %s", what, path, strerror(errno));
  if (S_ISDIR(info.st_mode))
    ULY_FAIL(ULY_ERR_DATA, "%s '%s' is a folder: give the path of a file", what, path);
  if (!S_ISREG(info.st_mode))
    ULY_FAIL(ULY_ERR_DATA,
             "%s '%s' is not a regular file, and cannot be read at any place: copy its contents to "
             "a file",
             what, path);
  *size = info.st_size;
  return ULY_OK;
}

uly_status uly__source_open(const char *path, const char *what, uly__source_file *out) {
  int fd;
  *out = (uly__source_file){.path = path, .what = what};
  uly_status status = open_descriptor(path, what, &fd, &out->size);
  if (fd >= 0) close(fd);
  return status;
}

static uly_status fail_changed(const uly__source_file *file, int64_t size) {
  ULY_FAIL(
      ULY_ERR_DATA,
      "%s '%s' was changed while it is in use: it had %lld bytes, and has %lld now: files must "
      "stay as they are until the run has ended",
      file->what, file->path, (long long)file->size, (long long)size);
}

static uly_status read_all(const uly__source_file *file, int fd, int64_t begin, int64_t count,
                           char *out) {
  while (count > 0) {
    ssize_t done = pread(fd, out, (size_t)count, begin);
    if (done < 0 && errno == EINTR) continue;
    if (done < 0)
      ULY_FAIL(ULY_ERR_IO, "cannot read %s '%s': %s", file->what, file->path, strerror(errno));
    if (done == 0) return fail_changed(file, begin);
    begin += done;
    count -= done;
    out += done;
  }
  return ULY_OK;
}

uly_status uly__source_read(const uly__source_file *file, int64_t begin, int64_t count, void *out) {
  int fd;
  int64_t size = 0;
  if (count == 0) return ULY_OK;
  uly_status status = open_descriptor(file->path, file->what, &fd, &size);
  if (status == ULY_OK && size != file->size) status = fail_changed(file, size);
  if (status == ULY_OK) status = read_all(file, fd, begin, count, out);
  if (fd >= 0) close(fd);
  return status;
}
