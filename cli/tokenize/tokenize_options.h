/* The options of ulysses tokenize. */
#ifndef ULYSSES_CLI_TOKENIZE_OPTIONS_H
#define ULYSSES_CLI_TOKENIZE_OPTIONS_H

#include "options/options.h"

typedef struct tokenize_options {
  options base;
  const char *tokenizer, *text, *file, *decode;
  int parse_special, add_special, skip_special, any_bytes;
  bool ids, json;
} tokenize_options;

#endif
