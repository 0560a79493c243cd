/* Prints what `ulysses generate` draws: each token at once, as text if there is a tokenizer. */
#ifndef ULYSSES_CLI_OUTPUT_H
#define ULYSSES_CLI_OUTPUT_H

#include <jansson.h>

#include "use/prompt.h"

typedef struct output {
  const vocabulary *vocabulary;
  bool is_printed;   /* as it grows */
  bool skip_special; /* special tokens are not text */
  /* The text of the prompt and of what follows it, as the tokenizer makes it. */
  uly_text text;
  int64_t begin;       /* where the new text begins */
  int64_t num_printed; /* bytes of the text */
  int64_t num_tokens;
} output;

/* Begins with the prompt, since its text may change the text that follows: a tokenizer that leaves
 * out the space before the first word of a text must see that this word is not the first. */
uly_status output_begin(output *out, const vocabulary *v, const prompt *before);
/* Adds a token. Only whole characters of UTF-8 are printed, except in a vocabulary of bytes. A
 * token that the tokenizer does not know has no text. */
uly_status output_add(output *out, int32_t token);
/* Prints what is left of the text. */
void output_end(output *out);
/* Returns the text as a JSON string, or null if tokens have none. tokens: all that were added. */
json_t *output_json(const output *out, const int32_t *tokens);
void output_free(output *out);

#endif
