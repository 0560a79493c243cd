/* See spans.h. The list grows by doubling; when there is no more memory, further spans are not
 * recorded. */
#include "base/spans.h"

#include <pthread.h>
#include <stdlib.h>
#include <time.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static uly__span *spans;
static int64_t num_spans, capacity;
static bool recording;

double uly__now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

void uly__spans_start(void) {
  pthread_mutex_lock(&lock);
  num_spans = 0;
  recording = true;
  pthread_mutex_unlock(&lock);
}

void uly__span_end(const char *name, int64_t index, uly__lane lane, double begin) {
  if (!recording) return;
  double end = uly__now();
  pthread_mutex_lock(&lock);
  if (num_spans == capacity) {
    int64_t wanted = capacity ? 2 * capacity : 4096;
    uly__span *more = realloc(spans, (size_t)wanted * sizeof *more);
    if (more) {
      spans = more;
      capacity = wanted;
    }
  }
  if (num_spans < capacity)
    spans[num_spans++] =
        (uly__span){.name = name, .index = index, .lane = lane, .begin = begin, .end = end};
  pthread_mutex_unlock(&lock);
}

const uly__span *uly__spans_get(int64_t *count) {
  *count = num_spans;
  return spans;
}
