/* Spans of time: what this process did, and when. Recording is off until it is asked for; then
 * every span is kept in memory, to be written at the end (train/trace.c). Each process has one
 * recorder. */
#ifndef ULY_SPANS_H
#define ULY_SPANS_H

#include <stdbool.h>
#include <stdint.h>

/* Rows of the picture. What overlaps with the computation has rows of its own. */
typedef enum uly__lane {
  ULY_LANE_COMPUTE = 0,
  ULY_LANE_TO_HEADS,  /* exchanges to the heads' owners */
  ULY_LANE_TO_TOKENS, /* exchanges to the tokens' owners */
  /* The gathering of weights; in stage 0, that of the gradients' sums. */
  ULY_LANE_GATHER,
  ULY_LANE_REDUCE, /* the reduction of gradients */
  ULY_LANE_SAVE,   /* a checkpoint being written */
  ULY_LANE_DISK,   /* activations to local disk and back */
  /* Keys and values on their way to other ranks, and gradients of these. */
  ULY_LANE_KEYS,
  ULY_LANE_KEY_GRADIENTS,
  /* Rows and partial sums of tensor parallelism on their way. */
  ULY_LANE_ROWS,
  ULY_LANE_SUMS,
  /* Rows and gradients on their way to and from other stages of a pipeline. */
  ULY_LANE_SEND,
  ULY_LANE_RECEIVE,
  ULY_NUM_LANES
} uly__lane;

typedef struct uly__span {
  const char *name; /* a literal */
  int64_t index;    /* of block, unit, round, step; -1: none */
  uly__lane lane;
  double begin, end; /* seconds */
} uly__span;

/* Returns the seconds of a clock that never runs backwards. */
double uly__now(void);

/* Forgets all spans, and records from now on. */
void uly__spans_start(void);
/* Records a span that began at `begin` and ends now. Any thread may call it. */
void uly__span_end(const char *name, int64_t index, uly__lane lane, double begin);
/* Returns all spans so far. */
const uly__span *uly__spans_get(int64_t *count);

#endif
