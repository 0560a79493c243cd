/* The options of ulysses checkpoint. */
#ifndef ULYSSES_CLI_CHECKPOINT_OPTIONS_H
#define ULYSSES_CLI_CHECKPOINT_OPTIONS_H

#include "options/options.h"

typedef struct checkpoint_options {
  options base;
  bool json, tensors;
} checkpoint_options;

#endif
