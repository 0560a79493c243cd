/* The options of ulysses prepare. */
#ifndef ULYSSES_CLI_PREPARE_OPTIONS_H
#define ULYSSES_CLI_PREPARE_OPTIONS_H

#include "options/options.h"

typedef struct prepare_options {
  options base;
  uly_prepare_config prepare;
  progress_kind progress;
} prepare_options;

#endif
