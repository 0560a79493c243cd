/* The options of ulysses doctor. */
#ifndef ULYSSES_CLI_DOCTOR_OPTIONS_H
#define ULYSSES_CLI_DOCTOR_OPTIONS_H

#include "options/options.h"

typedef struct doctor_options {
  options base;
  bool json;
} doctor_options;

#endif
