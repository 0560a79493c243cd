/* The files of a tokenizer, as a folder of shards keeps them. */
#ifndef ULY_TOKENIZER_FILES_H
#define ULY_TOKENIZER_FILES_H

#include "data/companions.h"

/* Reads the files of the tokenizer that `path` was opened as, of this kind (uly_tokenizer_info):
 * those of the folder, or the file, under a name that makes it the tokenizer of a folder, and what
 * is configured beside it. On failure *out is empty. */
uly_status uly__tokenizer_files_read(const char *path, const char *kind, uly__companions *out);
/* Returns ULY_ERR_CONFIG if `folder` holds a file of another tokenizer. */
uly_status uly__tokenizer_files_check(const uly__companions *files, const char *folder);
/* Writes those files that are not yet in the folder, which was checked. */
uly_status uly__tokenizer_files_write(const uly__companions *files, const char *folder);

#endif
