/* The kernel table `timed`: the first two calls of an op with a given shape run and are timed;
 * later calls only sleep for the faster of these times. So a machine can run more ranks than it has
 * cores as if each had a core of its own: ranks do not compete for cores, and only communication
 * that is not overlapped makes a step longer. The values are those of the last time that an op ran,
 * or 0, so they mean nothing.
 *
 * Times are those that the thread spent on a core, with one thread for each rank.
 *
 * ULY_OP_TIMES=FILE in the environment makes all ranks, and all runs, take the same times, so that
 * their work differs in nothing but its amount: the times are read from the file if there is one;
 * otherwise the process writes its times there when it ends. */
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>

#include "wrapped_ops.h"

enum { NUM_RUNS = 2, MAX_SHAPES = 1 << 16 };

typedef struct op_time {
  const char *name; /* NULL: free */
  uint64_t shape;
  int num_runs;
  double seconds;
} op_time;

static op_time times[MAX_SHAPES]; /* open addressing */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

/* When the op of this thread began; below 0 if it does not run. */
static _Thread_local double begin;
/* The seconds that the thread still has to sleep; below 0 if it has slept too long. */
static _Thread_local double debt;

static double seconds(clockid_t clock) {
  struct timespec time;
  clock_gettime(clock, &time);
  return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

static double cpu_seconds(void) { return seconds(CLOCK_THREAD_CPUTIME_ID); }

static op_time *find_place(const char *name, uint64_t shape) {
  size_t at = shape % MAX_SHAPES;
  for (int i = 0; i < MAX_SHAPES; i++, at = (at + 1) % MAX_SHAPES) {
    op_time *t = &times[at];
    if (!t->name || (t->shape == shape && strcmp(t->name, name) == 0)) return t;
  }
  fputs("timed ops: too many shapes\n", stderr);
  abort();
}

/* Finds the entry of an op with a shape, or makes one. The lock is held. */
static op_time *find(const op_call *call) {
  op_time *t = find_place(call->op, call->shape_hash);
  if (!t->name) *t = (op_time){call->op, call->shape_hash, 0, 0};
  return t;
}

/* Returns the time of a call, or -1 if it is not known yet. */
static double find_seconds(const op_call *call) {
  pthread_mutex_lock(&lock);
  const op_time *t = find(call);
  double found = t->num_runs < NUM_RUNS ? -1 : t->seconds;
  pthread_mutex_unlock(&lock);
  return found;
}

/* Sleeps in slices of a millisecond, with a poll after each. Times that are too short for a sleep
 * are added up. */
static void sleep_for(double time, const op_call *call) {
  enum { SLICE = 1000000, SHORTEST = 100000 }; /* nanoseconds */
  debt += time;
  if (debt < 1e-9 * SHORTEST) return;
  double end = seconds(CLOCK_MONOTONIC) + debt, left = debt;
  while (left > 0) {
    double slice = 1e9 * left < SLICE ? 1e9 * left : SLICE;
    nanosleep(&(struct timespec){.tv_nsec = (long)slice}, NULL);
    if (call->poll) op_polls(call);
    left = end - seconds(CLOCK_MONOTONIC);
  }
  debt = left;
}

bool op_begins(const op_call *call) {
  double time = find_seconds(call);
  if (time < 0) {
    begin = cpu_seconds();
    return true;
  }
  begin = -1;
  sleep_for(time, call);
  begin = -1; /* a poll may have run ops */
  return false;
}

/* Sets the results that the host reads (losses and sums of squares) to 0: computed from stale data,
 * they could be NaN, which would end a run. */
void op_ends(const op_call *call) {
  if (call->result) memset(call->result, 0, call->result_bytes);
  if (begin < 0) return;
  double time = cpu_seconds() - begin;
  pthread_mutex_lock(&lock);
  op_time *t = find(call);
  if (t->num_runs == 0 || time < t->seconds) t->seconds = time;
  t->num_runs++;
  pthread_mutex_unlock(&lock);
}

/* A poll is not part of the op, and may run others. */
void op_polls(const op_call *call) {
  double before = begin, from = cpu_seconds();
  call->poll(call->poll_context);
  begin = before < 0 ? before : before + cpu_seconds() - from;
}

static const char *times_path(void) { return getenv("ULY_OP_TIMES"); }

/* Reads the times of all ops, if there is a file of them. */
static void read_times(void) {
  char name[64];
  uint64_t shape;
  double time;
  FILE *file = times_path() ? fopen(times_path(), "r") : NULL;
  if (!file) return;
  while (fscanf(file, "%63s %" SCNx64 " %lg", name, &shape, &time) == 3)
    *find_place(name, shape) = (op_time){strdup(name), shape, NUM_RUNS, time};
  fclose(file);
}

/* Writes them, unless there is such a file. */
__attribute__((destructor)) static void write_times(void) {
  FILE *file = times_path() ? fopen(times_path(), "wx") : NULL;
  if (!file) return;
  for (int i = 0; i < MAX_SHAPES; i++)
    if (times[i].num_runs == NUM_RUNS)
      fprintf(file, "%s %" PRIx64 " %.9g\n", times[i].name, times[i].shape, times[i].seconds);
  fclose(file);
}

/* Lets threads wake up as soon as their time has passed; by default, the system may take 50
 * microseconds longer. */
__attribute__((constructor)) static void begin_process(void) {
  prctl(PR_SET_TIMERSLACK, 1000UL);
  read_times();
}
