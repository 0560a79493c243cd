/* See source_file.h. */
#include "data/source_file.h"

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

uly_status uly__source_read(const uly__source_file *file, int64_t begin, int64_t count, void *out) {
  int fd;
  int64_t size = 0;
  if (count == 0) return ULY_OK;
  uly_status status = uly__file_open_input(file->path, file->what, &fd, &size);
  if (status == ULY_OK && size != file->size) status = fail_changed(file, size);
  if (status == ULY_OK) status = uly__file_read(fd, file->path, begin, out, count);
  if (fd >= 0) close(fd);
  return status;
}
