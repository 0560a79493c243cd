/* The options of ulysses report. */
#ifndef ULYSSES_CLI_REPORT_OPTIONS_H
#define ULYSSES_CLI_REPORT_OPTIONS_H

#include "options/options.h"

typedef struct report_options {
  options base;
  const char *out;
} report_options;

#endif
