/* The prompt of `ulysses generate`. */
#ifndef ULYSSES_CLI_PROMPT_H
#define ULYSSES_CLI_PROMPT_H

#include "use/vocabulary.h"

typedef struct prompt {
  int32_t *tokens; /* owned */
  int64_t count;   /* at least 1 */
} prompt;

/* Returns ULY_ERR_CONFIG unless exactly one of --prompt, --prompt-file and --prompt-tokens is
 * given. */
uly_status prompt_check(const generate_options *o);
/* Reads the prompt from the one of --prompt, --prompt-file and --prompt-tokens that is given. Not
 * collective. */
uly_status prompt_read(const generate_options *o, const vocabulary *v, prompt *out);

#endif
