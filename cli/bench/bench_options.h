/* The options of ulysses bench. Each benchmark knows some of them. */
#ifndef ULYSSES_CLI_BENCH_OPTIONS_H
#define ULYSSES_CLI_BENCH_OPTIONS_H

#include "measure/measure.h"
#include "options/options.h"

typedef struct bench_options {
  options base;
  run_options run;
  uly_attention_desc desc; /* heads */
  uly_mask mask;           /* kind */
  int64_t array_bytes, repeats;
  const char *trace;
} bench_options;

#endif
