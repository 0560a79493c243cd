/* The folder of an export: written under a hidden name beside its own, which it gets when it is
 * complete. */
#ifndef ULY_EXPORT_FOLDER_H
#define ULY_EXPORT_FOLDER_H

#include <limits.h>

#include "base/status.h"

typedef struct uly__export_folder {
  char parent[PATH_MAX], hidden[PATH_MAX], final[PATH_MAX];
  char name[NAME_MAX - 8]; /* room for ".NAME.100.tmp" */
} uly__export_folder;

/* Makes the hidden folder, which no other export uses. Returns ULY_ERR_CONFIG if `out` exists and
 * is neither an empty folder nor a link to one. */
uly_status uly__export_folder_begin(const char *out, uly__export_folder *folder);
/* Gives the folder its name if status is ULY_OK, and removes it otherwise. Returns the first
 * failure, including status. */
uly_status uly__export_folder_end(const uly__export_folder *folder, uly_status status);

#endif
