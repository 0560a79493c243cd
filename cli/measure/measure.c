/* Times figures and ceilings in turn, since the machine may be shared: what slows one of them down
 * also slows down its neighbour in time. */
#include "measure/measure.h"

#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/try.h"
#include "measure/measure_mpi.h"

/* Runs the work once, and returns a rate that is the same on all ranks. */
static uly_status take_time(uly_mesh *world, const measure_work *work, double *rate) {
  measure_barrier();
  double start = clock_seconds();
  uly_status status = work->run(work->context);
  double seconds = clock_seconds() - start;
  if (!(seconds > 0)) seconds = 1e-9; /* the clock's own step */
  TRY(uly_mesh_agree(world, status));
  *rate =
      work->adds_up ? measure_sum(work->amount / seconds) : work->amount / measure_largest(seconds);
  return ULY_OK;
}

static int by_size(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static void sort(measure_series *series) {
  qsort(series->rates, (size_t)series->count, sizeof series->rates[0], by_size);
}

double measure_median(const measure_series *series) {
  int count = series->count;
  if (count == 0) return NAN;
  return (series->rates[(count - 1) / 2] + series->rates[count / 2]) / 2;
}

double measure_spread(const measure_series *series) {
  if (series->count == 0) return NAN;
  return (series->rates[series->count - 1] - series->rates[0]) / measure_median(series);
}

uly_status measure_compare(uly_mesh *world, int repeats, const measure_work *figure,
                           const measure_work *ceiling, measure_result *result) {
  double unused;
  if (ceiling) TRY(take_time(world, ceiling, &unused));
  TRY(take_time(world, figure, &unused));
  result->figure.count = repeats;
  result->ceiling.count = ceiling ? repeats : 0;
  for (int i = 0; i < repeats; i++) {
    if (ceiling) TRY(take_time(world, ceiling, &result->ceiling.rates[i]));
    TRY(take_time(world, figure, &result->figure.rates[i]));
  }
  sort(&result->figure);
  sort(&result->ceiling);
  double amount = figure->adds_up ? measure_sum(figure->amount) : figure->amount;
  result->seconds = amount / measure_median(&result->figure);
  return ULY_OK;
}

/* Returns the default that the help of --threads describes. A rank that is bound to cores uses no
 * others. */
static int default_threads(int ranks_of_node) {
  const char *wish = getenv("OMP_NUM_THREADS");
  long wished = wish ? strtol(wish, NULL, 10) : 0;
  if (wished > 0 && wished < 4096) return (int)wished;
  int share = (int)sysconf(_SC_NPROCESSORS_ONLN) / ranks_of_node, mine = omp_get_num_procs();
  if (share > mine) share = mine;
  return share > 0 ? share : 1;
}

void measure_use_threads(int *threads) {
  int ranks_of_node = measure_ranks_of_node();
  if (*threads == 0) *threads = default_threads(ranks_of_node);
  omp_set_num_threads(*threads);
}

/* Returns the next bits of splitmix64. */
static uint64_t next_bits(uint64_t *state) {
  uint64_t z = *state += 0x9e3779b97f4a7c15;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
  z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
  return z ^ (z >> 31);
}

/* Returns the sum of four uniform numbers, less its mean, over its standard deviation: close to
 * normal. */
static float next_value(uint64_t *state) {
  uint64_t bits = next_bits(state);
  float sum = 0;
  for (int i = 0; i < 4; i++) sum += (float)(bits >> (16 * i) & 0xffff);
  return (sum / 65536.0f - 2.0f) * 1.7320508f;
}

void *measure_random(int64_t bytes, uly_dtype dtype, uint64_t seed) {
  /* Buffers are on large pages if they fit, as the arenas of a trainer are. */
  enum { LINE = 64, LARGE_PAGE = 2 << 20 };
  size_t boundary = bytes < LARGE_PAGE ? LINE : LARGE_PAGE;
  size_t room = ((size_t)bytes / boundary + 1) * boundary;
  char *x = aligned_alloc(boundary, room);
  if (!x) {
    uly_fail(ULY_ERR_MEMORY, "no memory for %lld bytes to measure with", (long long)bytes);
    return NULL;
  }
#ifdef MADV_HUGEPAGE
  if (boundary == LARGE_PAGE) (void)madvise(x, room, MADV_HUGEPAGE);
#endif
  int64_t width = dtype == ULY_BF16 ? 2 : 4;
  for (int64_t i = 0; i + width <= bytes; i += width) {
    float value = next_value(&seed);
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    if (dtype == ULY_BF16) bits = (bits + 0x8000) >> 16;
    memcpy(x + i, &bits, (size_t)width); /* little-endian: the low half */
  }
  return x;
}
