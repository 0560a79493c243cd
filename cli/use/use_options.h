/* The options of the commands that use a trained model: ulysses eval and generate. */
#ifndef ULYSSES_CLI_USE_OPTIONS_H
#define ULYSSES_CLI_USE_OPTIONS_H

#include "options/options.h"

/* The most tokens that are generated, or that a prompt has. */
#define MAX_TOKENS 4294967296

/* Holds the options of eval, which generate has too. */
typedef struct use_options {
  options base;
  run_options run;
  const char *checkpoint;
  bool json;
} use_options;

typedef struct generate_options {
  use_options use;
  const char *prompt, *prompt_file, *prompt_tokens;
  int64_t max_tokens;
  uly_sampling sampling; /* its seed comes from run */
  const char *tokenizer;
  int parse_special, add_special, skip_special, ignore_eos;
} generate_options;

#endif
