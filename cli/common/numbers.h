/* Reads lists of tokens, as --prompt-tokens and --decode take them. */
#ifndef ULYSSES_CLI_NUMBERS_H
#define ULYSSES_CLI_NUMBERS_H

#include "ulysses.h"

typedef struct numbers {
  int32_t *tokens; /* [count], which the caller frees */
  int64_t count;
} numbers;

/* Reads numbers with commas between them; the line may end with white space. The message of
 * ULY_ERR_CONFIG begins with the option. */
uly_status numbers_read(const char *option, const char *text, numbers *out);

#endif
