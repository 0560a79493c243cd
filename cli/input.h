/* Files that the program itself reads. */
#ifndef ULYSSES_CLI_INPUT_H
#define ULYSSES_CLI_INPUT_H

#include "ulysses.h"

/* A regular file whole: bytes[count] with a 0 behind them, to be freed. What is no regular file is refused: a pipe would
 * be waited for, or give each rank another part. ULY_ERR_IO, ULY_ERR_DATA: also where there are more than `most`
 * bytes; last_failure begins with the option and the path. */
uly_status input_load(const char *option, const char *path, int64_t most, char **bytes,
                      size_t *count);

#endif
