/* The prompt of `ulysses generate`. */
#ifndef ULYSSES_CLI_PROMPT_H
#define ULYSSES_CLI_PROMPT_H

#include "use/use_options.h"

typedef struct prompt {
  int32_t *tokens; /* owned */
  int64_t count;   /* at least 1 */
} prompt;

/* Reads the prompt from the one of --prompt, --prompt-file and --prompt-tokens that is given. vocab:
 * of the model. Not collective. */
uly_status prompt_read(const generate_options *o, int64_t vocab, prompt *out);

#endif
