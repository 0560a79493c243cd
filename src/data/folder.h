/* Folders that must survive a crash: every operation is checked, and entries are synced. For their
 * files, see base/file.h. */
#ifndef ULY_FOLDER_H
#define ULY_FOLDER_H

#include "base/status.h"

/* Writes "folder/name" into path[capacity]; a path that is too long is an error. */
uly_status uly__path_join(char *path, size_t capacity, const char *folder, const char *name);

/* Creates a folder and its parents. One that exists is accepted. */
uly_status uly__folder_make(const char *path);
/* Removes a folder with the plain files in it. One that does not exist is accepted, a link to one
 * is not. */
uly_status uly__folder_remove(const char *path);
/* Returns ULY_ERR_IO if there is a folder in it, at which uly__folder_remove would stop halfway. */
uly_status uly__folder_check_plain(const char *path);
/* Syncs a folder's entries to the disk. */
uly_status uly__folder_sync(const char *path);

#endif
