/* The options of ulysses plan. */
#ifndef ULYSSES_CLI_PLAN_OPTIONS_H
#define ULYSSES_CLI_PLAN_OPTIONS_H

#include "options/options.h"

typedef struct plan_options {
  options base;
  run_options run;
  bool json;
} plan_options;

#endif
