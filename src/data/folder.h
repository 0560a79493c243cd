/* Folders that must survive a crash: every operation checked, entries synced. Their files: base/file.h. */
#ifndef ULY_FOLDER_H
#define ULY_FOLDER_H

#include "base/status.h"

/* "folder/name" into path[capacity]; too long is an error. */
uly_status uly__path_join(char *path, size_t capacity, const char *folder, const char *name);

/* Creates a folder and its parents; one that is there is fine. */
uly_status uly__folder_make(const char *path);
/* Removes a folder with the plain files in it; one that is not there is fine, a link to one is not. */
uly_status uly__folder_remove(const char *path);
/* ULY_ERR_IO where there is a folder in it, at which uly__folder_remove would stop halfway. */
uly_status uly__folder_check_plain(const char *path);
/* Syncs a folder's entries to the disk. */
uly_status uly__folder_sync(const char *path);

#endif
