/* Files whose every operation is checked: whole reads and writes, space taken before it is needed, syncs. */
#ifndef ULY_FILE_H
#define ULY_FILE_H

#include "base/status.h"

/* ULY_ERR_IO: "cannot <what> '<path>'", and why by errno. */
uly_status uly__file_failed(const char *what, const char *path);

/* A new file of `size` bytes (the rest zeros) that begins with bytes[count], synced. Space is taken
 * from the disk at once where the file system can. */
uly_status uly__file_create(const char *path, const void *bytes, int64_t count, int64_t size);
/* Opens a file of somebody else's to be read; what: "token file", for messages. A file that is not regular is refused
 * (ULY_ERR_DATA), and a pipe that nobody writes to is not waited for. */
uly_status uly__file_open_input(const char *path, const char *what, int *fd, int64_t *size);
/* The same, read whole: bytes[count], to be freed. ULY_ERR_DATA where there are more than `most` bytes. */
uly_status uly__file_load(const char *path, const char *what, int64_t most, char **bytes,
                          int64_t *count);
/* Opens a file that exists, for writing. */
uly_status uly__file_open(const char *path, int *fd);
/* A file of `size` zeros for this process alone: it has lost its name when the call returns, and goes when
 * it is closed. */
uly_status uly__file_scratch(const char *path, int64_t size, int *fd);
/* All `count` bytes at an offset; path is for messages. */
uly_status uly__file_read(int fd, const char *path, int64_t offset, void *to, int64_t count);
uly_status uly__file_write(int fd, const char *path, int64_t offset, const void *from,
                           int64_t count);
/* Syncs (where status is ULY_OK) and closes: an error that the system reports only now is an error of the
 * write. Returns the first failure, status included. */
uly_status uly__file_finish(int fd, const char *path, uly_status status);

#endif
