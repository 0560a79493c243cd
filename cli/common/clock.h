/* Reads a clock. */
#ifndef ULYSSES_CLI_CLOCK_H
#define ULYSSES_CLI_CLOCK_H

#include <time.h>

/* Returns the seconds of a clock that never runs backwards. */
static inline double clock_seconds(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

#endif
