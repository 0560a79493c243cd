/* Folders that must survive a crash: every operation on them is checked, and entries are synced.
 * For their files, see base/file.h. */
#ifndef ULY_FOLDER_H
#define ULY_FOLDER_H

#include "base/status.h"

/* Writes "folder/name" into path[capacity]. A path that is too long is an error. */
uly_status uly__path_join(char *path, size_t capacity, const char *folder, const char *name);

/* Creates a folder and its parents. A folder that exists is accepted. */
uly_status uly__folder_make(const char *path);
/* Removes a folder with the plain files in it. A folder that does not exist is accepted, but a link
 * to one is not. */
uly_status uly__folder_remove(const char *path);
/* Returns ULY_ERR_IO if the folder contains another one, at which uly__folder_remove would stop
 * halfway. */
uly_status uly__folder_check_plain(const char *path);
/* Syncs a folder's entries to the disk. */
uly_status uly__folder_sync(const char *path);

#endif
