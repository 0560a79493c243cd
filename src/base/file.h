/* Files on which every operation is checked: reads and writes are complete, space is reserved
 * before it is needed, and data are synced. */
#ifndef ULY_FILE_H
#define ULY_FILE_H

#include "base/status.h"

/* Returns ULY_ERR_IO: "cannot <what> '<path>'", and the reason from errno. */
uly_status uly__file_failed(const char *what, const char *path);

/* Creates a file of `size` bytes that begins with bytes[count] and continues with zeros, and syncs
 * it. Space is reserved on the disk at once if the file system can do so. */
uly_status uly__file_create(const char *path, const void *bytes, int64_t count, int64_t size);
/* Opens a file that the user gave for reading; `what`, such as "token file", is for messages. A
 * file that is not regular is refused (ULY_ERR_DATA), and the call does not wait for the writer of
 * a pipe. */
uly_status uly__file_open_input(const char *path, const char *what, int *fd, int64_t *size);
/* Opens such a file and reads all of it into bytes[count], which the caller frees. Returns
 * ULY_ERR_DATA if there are more than `most` bytes. */
uly_status uly__file_load(const char *path, const char *what, int64_t most, char **bytes,
                          int64_t *count);
/* Opens an existing file for writing. */
uly_status uly__file_open(const char *path, int *fd);
/* Creates a file of `size` zeros for this process alone. The file no longer has a name when the
 * call returns, and is removed when it is closed. */
uly_status uly__file_scratch(const char *path, int64_t size, int *fd);
/* Read or write all `count` bytes at an offset; path is for messages. */
uly_status uly__file_read(int fd, const char *path, int64_t offset, void *to, int64_t count);
uly_status uly__file_write(int fd, const char *path, int64_t offset, const void *from,
                           int64_t count);
/* Lets the system start to read bytes that will be read soon. This is only advice. */
void uly__file_expect(int fd, int64_t offset, int64_t count);
/* Syncs (if status is ULY_OK) and closes the file; an error that the system reports only now is an
 * error of the write. Returns the first failure, including status. */
uly_status uly__file_finish(int fd, const char *path, uly_status status);

#endif
