/* Reads the lines of a file from the last to the first, in memory that does not depend on its
 * length. In metrics a later line replaces earlier ones; in this order, it is known of each line
 * whether it is replaced. */
#include "report/report_lines.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/try.h"
#include "report/report_text.h"

enum { CHUNK = 1 << 18 };

static uly_status cannot_read(const char *path, int error) {
  return report_fail(ULY_ERR_IO, "'%s' cannot be read: %s", path, strerror(error));
}

uly_status report_lines_open(const char *path, report_lines *lines) {
  *lines = (report_lines){.path = path};
  /* Without O_NONBLOCK, opening a pipe would wait for a writer. */
  lines->fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (lines->fd < 0) return cannot_read(path, errno);
  struct stat info;
  if (fstat(lines->fd, &info) != 0) return cannot_read(path, errno);
  if (!S_ISREG(info.st_mode))
    return report_fail(ULY_ERR_IO, "'%s' is not a regular file: expected metrics in lines of JSON",
                       path);
  lines->at = info.st_size;
  lines->buffer = malloc(REPORT_MAX_LINE + CHUNK);
  if (!lines->buffer) return report_fail(ULY_ERR_MEMORY, "no memory to read '%s'", path);
  return ULY_OK;
}

void report_lines_close(report_lines *lines) {
  if (lines->fd >= 0) close(lines->fd);
  free(lines->buffer);
  *lines = (report_lines){.fd = -1};
}

static uly_status read_at(int fd, const char *path, char *to, size_t count, off_t at) {
  while (count > 0) {
    ssize_t got = pread(fd, to, count, at);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return cannot_read(path, errno);
    if (got == 0)
      return report_fail(ULY_ERR_IO, "'%s' became shorter while it was being read", path);
    to += got;
    at += got;
    count -= (size_t)got;
  }
  return ULY_OK;
}

/* Puts the bytes that come earlier in the file in front of those in the buffer. */
static uly_status fill(report_lines *lines) {
  size_t count = lines->at < CHUNK ? (size_t)lines->at : CHUNK;
  memmove(lines->buffer + count, lines->buffer, lines->used);
  lines->at -= (off_t)count;
  lines->used += count;
  return read_at(lines->fd, lines->path, lines->buffer, count, lines->at);
}

uly_status report_lines_previous(report_lines *lines, const char **text, size_t *length) {
  *text = NULL;
  /* The buffer is never empty between lines. */
  if (!lines->used && lines->at > 0) TRY(fill(lines));
  if (!lines->used) return ULY_OK;
  if (lines->buffer[lines->used - 1] == '\n')
    lines->used--;
  else
    lines->is_last_open = true;
  const char *newline;
  while (!(newline = memrchr(lines->buffer, '\n', lines->used)) && lines->at > 0) {
    if (lines->used > REPORT_MAX_LINE) break;
    TRY(fill(lines));
  }
  size_t begin = newline ? (size_t)(newline - lines->buffer) + 1 : 0;
  lines->offset = lines->at + (off_t)begin;
  *length = lines->used - begin;
  if (*length > REPORT_MAX_LINE)
    return report_fail(ULY_ERR_DATA,
                       "'%s' has a line of more than %d bytes, so it does not hold metrics",
                       lines->path, REPORT_MAX_LINE);
  *text = lines->buffer + begin;
  lines->used = begin;
  return ULY_OK;
}

int64_t report_lines_number(report_lines *lines) {
  static char chunk[CHUNK];
  int64_t number = 1;
  for (off_t at = 0; at < lines->offset;) {
    off_t left = lines->offset - at;
    size_t count = left < CHUNK ? (size_t)left : CHUNK;
    if (read_at(lines->fd, lines->path, chunk, count, at) != ULY_OK) break;
    for (size_t i = 0; i < count; i++) number += chunk[i] == '\n';
    at += (off_t)count;
  }
  return number;
}
