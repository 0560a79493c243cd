/* What the benchmarks share. Each measures something of the program and, in turn with it, the ceiling of
 * the machine; and prints a line of JSON. All ranks walk through these files together; rank 0 prints. */
#ifndef ULYSSES_CLI_BENCH_H
#define ULYSSES_CLI_BENCH_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "options.h"
#include "ulysses.h"

typedef struct bench {
  options options; /* what stands for "choose" in them is chosen before it is printed */
  command kind;    /* BENCH_ATTENTION, ... */
  bool is_first;   /* rank 0 */
  uly_mesh *world; /* all ranks, sharing one sequence */
} bench;

/* The benchmarks. A failure is the same on all ranks. */
uly_status bench_attention(bench *b);
uly_status bench_step(bench *b);
uly_status bench_exchange(bench *b);
uly_status bench_ceiling(bench *b);

/* --- Measuring (bench_measure.c). */

/* Something whose time is taken. */
typedef struct bench_work {
  uly_status (*run)(void *context); /* not collective, or the same calls on all ranks */
  void *context;
  double amount; /* FLOPs or bytes of one run: of this rank if ranks add up, else of all of them, or
                    whatever else is done when the slowest rank is done */
  bool adds_up;  /* ranks work each for itself, at the same time: their rates are added */
} bench_work;

/* Amount per second of each repeat, in ascending order. */
typedef struct bench_series {
  int count;
  double rates[MAX_REPEATS];
} bench_series;

double bench_median(const bench_series *series); /* NaN where nothing was measured */

/* (largest - smallest) / median; NaN too. */
double bench_spread(const bench_series *series);

typedef struct bench_result {
  bench_series figure, ceiling;
  double seconds; /* of one run, by the median of figure */
} bench_result;

/* Runs both once to warm up; then ceiling, figure, ceiling, figure, ..., --repeats times. ceiling NULL:
 * there is none. Collective. */
uly_status bench_compare(const bench *b, const bench_work *figure, const bench_work *ceiling,
                         bench_result *result);

/* Settles --threads as a training run does, and has OpenMP use as many. Collective. */
void bench_use_threads(bench *b);

/* Settles --q-heads and --kv-heads where they are 0. */
void bench_choose_heads(bench *b);

/* Bytes that random values of about the normal distribution have been written to: a softmax over
 * constants would be cheaper than one over data. NULL, with a message: no memory. */
void *bench_random(int64_t bytes, uly_dtype dtype, uint64_t seed);

/* --- Output (bench_line.c). */

/* Prints a line: what was measured, its unit (rates are printed in 10^9), both medians, their ratio, the
 * spreads, the members of `more` (which is freed), and every option of the benchmark. Rates that were
 * not measured are null. */
void bench_print(const bench *b, const char *what, const char *unit, const bench_result *result,
                 json_t *more);

#endif
