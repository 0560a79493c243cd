/* Reads the files that the program itself needs. */
#ifndef ULYSSES_CLI_INPUT_H
#define ULYSSES_CLI_INPUT_H

#include "ulysses.h"

/* Reads a whole regular file: bytes[count], followed by a 0, which the caller frees. Other files
 * are refused, since a pipe could block, or give each rank a different part. Returns ULY_ERR_IO, or
 * ULY_ERR_DATA, also if there are more than `most` bytes; last_failure begins with the option and
 * the path. */
uly_status input_load(const char *option, const char *path, int64_t most, char **bytes,
                      size_t *count);

/* Reads standard input, which may be a pipe, to its end, in the same form. */
uly_status input_read_stdin(int64_t most, char **bytes, size_t *count);

#endif
