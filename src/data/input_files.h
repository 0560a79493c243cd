/* The files that inputs stand for: an input is a file, or a folder with its subfolders, whose files
 * are visited in the byte order of their names. Names in a folder that begin with a dot are left
 * out. */
#ifndef ULY_INPUT_FILES_H
#define ULY_INPUT_FILES_H

#include <sys/stat.h>

#include "base/status.h"

/* Visits the files of an input. A failure of `visit`, or of the walk, ends it. `info` is that of
 * the file. */
uly_status uly__input_files_visit(const char *input,
                                  uly_status (*visit)(void *context, const char *path,
                                                      const struct stat *info),
                                  void *context);

/* Returns ULY_ERR_CONFIG if the folder `out` lies in an input, whose files would be met there by
 * the next visit. */
uly_status uly__input_files_check(const char *const *inputs, int num_inputs, const char *out);

#endif
