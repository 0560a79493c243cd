/* See source_file.h. */
#include "data/source_file.h"

#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"

uly_status uly__source_open(const char *path, const char *what, uly__source_file *out) {
  int fd;
  *out = (uly__source_file){.path = path, .what = what};
  uly_status status = uly__file_open_input(path, what, &fd, &out->size);
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

uly_status uly__source_begin(const uly__source_file *file, int *fd) {
  int64_t size = 0;
  ULY_TRY(uly__file_open_input(file->path, file->what, fd, &size));
  if (size == file->size) return ULY_OK;
  close(*fd);
  *fd = -1;
  return fail_changed(file, size);
}

uly_status uly__source_read_part(const uly__source_file *file, int fd, int64_t begin, int64_t count,
                                 void *out) {
  uly_status status = uly__file_read(fd, file->path, begin, out, count);
  if (status == ULY_OK) return ULY_OK;
  /* The file may have been cut after the look at its size: then that is what went wrong. */
  struct stat info;
  if (fstat(fd, &info) == 0 && info.st_size != file->size) return fail_changed(file, info.st_size);
  return status;
}

uly_status uly__source_read(const uly__source_file *file, int64_t begin, int64_t count, void *out) {
  int fd;
  if (count == 0) return ULY_OK;
  ULY_TRY(uly__source_begin(file, &fd));
  uly_status status = uly__source_read_part(file, fd, begin, count, out);
  close(fd);
  return status;
}
