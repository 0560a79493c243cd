/* The options of ulysses launch itself. */
#ifndef ULYSSES_CLI_LAUNCH_OPTIONS_H
#define ULYSSES_CLI_LAUNCH_OPTIONS_H

#include "options/options.h"

typedef struct launch_options {
  options base;
  int ranks;
} launch_options;

#endif
