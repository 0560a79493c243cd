/* Reads lists of tokens, as --prompt-tokens and --decode take them. */
#ifndef ULYSSES_CLI_TOKEN_LIST_H
#define ULYSSES_CLI_TOKEN_LIST_H

#include "ulysses.h"

typedef struct token_list {
  int32_t *tokens; /* [count], which the caller frees */
  int64_t count;
} token_list;

/* Reads numbers with commas between them; the line may end with white space. The message of
 * ULY_ERR_CONFIG begins with the option. */
uly_status token_list_read(const char *option, const char *text, token_list *out);

#endif
