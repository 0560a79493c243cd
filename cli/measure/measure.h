/* Times pieces of work, in turn with the ceiling of the machine. All ranks run these files
 * together. */
#ifndef ULYSSES_CLI_MEASURE_H
#define ULYSSES_CLI_MEASURE_H

#include <stdbool.h>
#include <stdint.h>

#include "ulysses.h"

enum { MAX_REPEATS = 1000 };

/* A piece of work to time. */
typedef struct measure_work {
  /* A piece of work is not collective, or it makes the same calls on all ranks. */
  uly_status (*run)(void *context);
  void *context;
  /* FLOPs or bytes of one run: of this rank if the ranks' rates are added; otherwise of all ranks,
   * or whatever else is done when the slowest rank is done. */
  double amount;
  /* The ranks work at the same time, each alone, so their rates are added. */
  bool adds_up;
} measure_work;

/* The amount per second of each repeat, in ascending order. */
typedef struct measure_series {
  int count;
  double rates[MAX_REPEATS];
} measure_series;

double measure_median(const measure_series *series); /* NaN if nothing was measured */

/* Returns (largest - smallest) / median; NaN if nothing was measured. */
double measure_spread(const measure_series *series);

typedef struct measure_result {
  measure_series figure, ceiling;
  double seconds; /* of a median run */
} measure_result;

/* Runs both once to warm up; then ceiling, figure, ceiling, figure, ..., `repeats` times. ceiling
 * may be NULL. Collective. */
uly_status measure_compare(uly_mesh *world, int repeats, const measure_work *figure,
                           const measure_work *ceiling, measure_result *result);

/* Sets *threads, if it is 0, as a training run sets --threads, and makes OpenMP use as many.
 * Collective. */
void measure_use_threads(int *threads);

/* Returns bytes filled with random values that are close to normally distributed, since a softmax
 * over constants would be cheaper than one over data. Returns NULL, with a message, if there is no
 * memory. */
void *measure_random(int64_t bytes, uly_dtype dtype, uint64_t seed);

#endif
