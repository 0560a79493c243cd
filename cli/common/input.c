/* Reads the files that the program itself needs: configurations and prompts. */
#include "common/input.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/try.h"

static uly_status fail(uly_status status, const char *option, const char *path, const char *what,
                       const char *more) {
  return uly_fail(status, "%s '%.400s' %s%s", option, path, what, more);
}

static uly_status check(int fd, const char *option, const char *path, int64_t most, size_t *size) {
  struct stat info;
  if (fstat(fd, &info) != 0)
    return fail(ULY_ERR_IO, option, path, "cannot be read: ", strerror(errno));
  if (S_ISDIR(info.st_mode))
    return fail(ULY_ERR_DATA, option, path, "is a folder: ", "give the path of a file");
  if (!S_ISREG(info.st_mode))
    return fail(ULY_ERR_DATA, option, path, "is not a regular file: ", "copy its contents to one");
  if (info.st_size > most)
    return uly_fail(ULY_ERR_DATA, "%s '%.400s' has %lld bytes, but at most %lld are read", option,
                    path, (long long)info.st_size, (long long)most);
  *size = (size_t)info.st_size;
  return ULY_OK;
}

/* Reads as much as there is, since the file may change meanwhile. */
static uly_status read_all(int fd, const char *option, const char *path, char *bytes,
                           size_t *count) {
  size_t size = *count, used = 0;
  while (used < size) {
    ssize_t got = read(fd, bytes + used, size - used);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return fail(ULY_ERR_IO, option, path, "cannot be read: ", strerror(errno));
    if (got == 0) break;
    used += (size_t)got;
  }
  bytes[used] = '\0';
  *count = used;
  return ULY_OK;
}

static uly_status load(int fd, const char *option, const char *path, int64_t most, char **bytes,
                       size_t *count) {
  TRY(check(fd, option, path, most, count));
  *bytes = malloc(*count + 1);
  if (!*bytes) return fail(ULY_ERR_MEMORY, option, path, "cannot be read: there is no memory", "");
  return read_all(fd, option, path, *bytes, count);
}

uly_status input_load(const char *option, const char *path, int64_t most, char **bytes,
                      size_t *count) {
  *bytes = NULL;
  /* With O_NONBLOCK, opening a FIFO does not wait for a writer. */
  int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) return fail(ULY_ERR_IO, option, path, "cannot be opened: ", strerror(errno));
  uly_status status = load(fd, option, path, most, bytes, count);
  close(fd);
  if (status != ULY_OK) {
    free(*bytes);
    *bytes = NULL;
  }
  return status;
}

/* Reads what comes next, at most `count` bytes, and sets *got to their number; 0: the end. */
static uly_status read_more(char *to, size_t count, size_t *got) {
  ssize_t more;
  do more = read(STDIN_FILENO, to, count);
  while (more < 0 && errno == EINTR);
  if (more < 0) return uly_fail(ULY_ERR_IO, "standard input cannot be read: %s", strerror(errno));
  *got = (size_t)more;
  return ULY_OK;
}

static uly_status read_pipe(int64_t most, char **bytes, size_t *count) {
  size_t capacity = 0, got = 1;
  while (got > 0) {
    if (*count + 1 >= capacity) {
      capacity = 2 * *count + (1 << 16);
      char *grown = realloc(*bytes, capacity);
      if (!grown) return uly_fail(ULY_ERR_MEMORY, "no memory for %zu bytes of text", capacity);
      *bytes = grown;
    }
    char *text = *bytes;
    TRY(read_more(text + *count, capacity - 1 - *count, &got));
    *count += got;
    text[*count] = '\0';
    if ((int64_t)*count > most)
      return uly_fail(ULY_ERR_DATA, "standard input has more than %lld bytes", (long long)most);
  }
  return ULY_OK;
}

uly_status input_read_stdin(int64_t most, char **bytes, size_t *count) {
  *bytes = NULL;
  *count = 0;
  uly_status status = read_pipe(most, bytes, count);
  if (status != ULY_OK) {
    free(*bytes);
    *bytes = NULL;
  }
  return status;
}
