/* Declares what the benchmarks share. Each benchmark measures something of the program and, in turn
 * with it, the ceiling of the machine, and prints a line of JSON. All ranks run these files
 * together; rank 0 prints. */
#ifndef ULYSSES_CLI_BENCH_H
#define ULYSSES_CLI_BENCH_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "options/options.h"
#include "ulysses.h"

typedef struct bench {
  /* Options that are left to the program are chosen before it prints them. */
  options options;
  command kind;    /* such as BENCH_ATTENTION */
  bool is_first;   /* rank 0 */
  uly_mesh *world; /* all ranks, sharing one sequence */
} bench;

/* The benchmarks. A failure is the same on all ranks. */
uly_status bench_attention(bench *b);
uly_status bench_step(bench *b);
uly_status bench_exchange(bench *b);
uly_status bench_ceiling(bench *b);

/* --- Measuring (bench_measure.c). */

/* A piece of work to time. */
typedef struct bench_work {
  /* A benchmark is not collective, or it makes the same calls on all ranks. */
  uly_status (*run)(void *context);
  void *context;
  /* FLOPs or bytes of one run: of this rank if the ranks' rates are added; otherwise of all ranks,
   * or whatever else is done when the slowest rank is done. */
  double amount;
  /* The ranks work at the same time, each alone, so their rates are added. */
  bool adds_up;
} bench_work;

/* The amount per second of each repeat, in ascending order. */
typedef struct bench_series {
  int count;
  double rates[MAX_REPEATS];
} bench_series;

double bench_median(const bench_series *series); /* NaN if nothing was measured */

/* Returns (largest - smallest) / median; NaN if nothing was measured. */
double bench_spread(const bench_series *series);

typedef struct bench_result {
  bench_series figure, ceiling;
  double seconds; /* of a median run */
} bench_result;

/* Runs both once to warm up; then ceiling, figure, ceiling, figure, ..., --repeats times. ceiling
 * NULL: there is none. Collective. */
uly_status bench_compare(const bench *b, const bench_work *figure, const bench_work *ceiling,
                         bench_result *result);

/* Sets --threads as a training run does, and makes OpenMP use as many. Collective. */
void bench_use_threads(bench *b);

/* Chooses --q-heads and --kv-heads if they are 0. */
void bench_choose_heads(bench *b);

/* Returns bytes filled with random values that are close to normally distributed: a softmax over
 * constants would be cheaper than one over data. NULL, with a message: no memory. */
void *bench_random(int64_t bytes, uly_dtype dtype, uint64_t seed);

/* --- Output (bench_line.c). */

/* Prints a line: what was measured, its unit (rates are printed in 10^9), both medians, their
 * ratio, the spreads, the members of `more` (which is freed), and every option of the benchmark.
 * Rates that were not measured are null. */
void bench_print(const bench *b, const char *what, const char *unit, const bench_result *result,
                 json_t *more);

#endif
