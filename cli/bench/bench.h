/* Declares what the benchmarks share. Each benchmark measures something of the program and, in turn
 * with it, the ceiling of the machine, and prints a line of JSON. All ranks run these files
 * together; rank 0 prints. */
#ifndef ULYSSES_CLI_BENCH_H
#define ULYSSES_CLI_BENCH_H

#include <jansson.h>

#include "bench/bench_options.h"
#include "measure/measure.h"

typedef struct bench {
  /* A benchmark settles the options that are left to the program before it prints them. */
  bench_options options;
  command kind;    /* such as BENCH_ATTENTION */
  bool is_first;   /* rank 0 */
  uly_mesh *world; /* all ranks, sharing one sequence */
} bench;

/* Declares the benchmarks. A failure is the same on all ranks. */
uly_status bench_attention(bench *b);
uly_status bench_step(bench *b);
uly_status bench_exchange(bench *b);
uly_status bench_ceiling(bench *b);

/* Chooses --q-heads and --kv-heads if they are 0, and returns the attention of all heads over the
 * sequence, without a mask. */
uly_attention_desc bench_describe_heads(bench *b);

/* Measures --repeats times, without a ceiling if that is NULL, and prints a line: what was
 * measured, its unit (rates are printed in 10^9), both medians, their ratio, the spreads, the
 * members of `more` (which is freed), and every option of the benchmark. Collective. */
uly_status bench_report(const bench *b, const char *what, const char *unit,
                        const measure_work *figure, const measure_work *ceiling, json_t *more);

/* Prints such a line for a result; rates that were not measured are null. */
void bench_print(const bench *b, const char *what, const char *unit, const measure_result *result,
                 json_t *more);

#endif
