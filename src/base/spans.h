/* Spans of time: what this process did when. Off until it is asked for; then every span is kept in memory,
 * to be written out at the end (train/trace.c). One recorder a process, like the log. */
#ifndef ULY_SPANS_H
#define ULY_SPANS_H

#include <stdbool.h>
#include <stdint.h>

/* Rows of the picture. What is under way beside the computation has rows of its own. */
typedef enum uly__lane {
  ULY_LANE_COMPUTE = 0,
  ULY_LANE_TO_HEADS,  /* attention's exchanges on their way */
  ULY_LANE_TO_TOKENS, /* and back */
  ULY_LANE_GATHER,    /* weights on their way; in stage 0 the gradients' sums */
  ULY_LANE_REDUCE,    /* gradients on their way */
  ULY_LANE_SAVE,      /* a checkpoint being written */
  ULY_LANE_DISK,      /* activations to local disk and back */
  ULY_NUM_LANES
} uly__lane;

typedef struct uly__span {
  const char *name; /* a literal */
  int64_t index;    /* of the block, unit, round or step; -1: none */
  uly__lane lane;
  double begin, end; /* seconds */
} uly__span;

/* Seconds of a clock that never goes back. */
double uly__now(void);

/* Forgets all spans, and records from now on. */
void uly__spans_start(void);
bool uly__spans_on(void);
/* Records a span that began then and ends now. Any thread. */
void uly__span_end(const char *name, int64_t index, uly__lane lane, double begin);
/* All spans so far. */
const uly__span *uly__spans_get(int64_t *count);

#endif
