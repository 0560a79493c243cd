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
/* Writes bytes[count] at an offset of a file that exists, and syncs. */
uly_status uly__file_write_at(const char *path, int64_t offset, const void *bytes, int64_t count);

#endif
