/* Files and folders that must survive a crash: every write checked, synced, renamed into place. */
#ifndef ULY_FOLDER_H
#define ULY_FOLDER_H

#include "base/status.h"

/* "folder/name" into path[capacity]; too long is an error. */
uly_status uly__path_join(char *path, size_t capacity, const char *folder, const char *name);

/* Creates a folder and its parents; one that is there is fine. */
uly_status uly__folder_make(const char *path);
/* Removes a folder with the plain files in it; one that is not there is fine. */
uly_status uly__folder_remove(const char *path);
/* Syncs a folder's entries to the disk. */
uly_status uly__folder_sync(const char *path);

/* A new file of `size` bytes (the rest zeros) that begins with bytes[count], synced. Space is taken
 * from the disk at once where the file system can. */
uly_status uly__file_create(const char *path, const void *bytes, int64_t count, int64_t size);
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
