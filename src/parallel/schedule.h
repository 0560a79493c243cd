/* The order in which a rank works on the micro-batches of a step, as a list.
 *
 * Without a pipeline each micro-batch goes forward and then backward before the next begins. In a
 * pipeline of S stages, one forward pass and one backward pass alternate (1F1B, arXiv 2006.09503):
 * stage s begins with S - 1 - s forward passes, so that at most S - s micro-batches are in flight,
 * and the stages idle for (S - 1) / (M + S - 1) of the time that M micro-batches take.
 *
 * In an interleaved schedule (arXiv 2104.04473) a stage has V chunks of layers, and chunk v of
 * stage s comes after v * S + s others. Micro-batches go through the chunks in groups, so that the
 * first of them reaches the last stage sooner: the stages idle for (S - 1) / (V * M + S - 1) of the
 * time, but more is in flight, and each micro-batch is sent V times as often. The paper's groups
 * have S micro-batches, so S must divide M. Here there are M / S groups, rounded down, whose sizes
 * differ by at most one, the larger ones first: so no M of at least S makes the stages idle longer.
 * With fewer micro-batches than stages there is one group, and interleaving gains less.
 *
 * 1F1B lets as few micro-batches be in flight as keep the stages busy if sending takes no time. If
 * a micro-batch takes t to the next stage, it comes back 2 t later for each stage that follows, and
 * earlier stages wait. With A > 0, a stage begins with A more forward passes for each later stage,
 * which hides this if t is at most A / 2 of the time of a stage's two passes. Interleaved schedules
 * begin with one such pass anyway, and would hang with more.
 *
 * Every stage does the forward passes in the same order, and the backward passes too. So what one
 * stage sends to another arrives in the order in which it is needed. */
#ifndef ULY_SCHEDULE_H
#define ULY_SCHEDULE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/status.h"

typedef enum uly__operation { ULY_FORWARD, ULY_BACKWARD } uly__operation;

typedef struct uly__schedule_item {
  uly__operation operation;
  int chunk; /* of the stage */
  int64_t micro_batch;
} uly__schedule_item;

typedef struct uly__schedule_desc {
  int num_stages, stage;
  int num_chunks; /* V, of each stage; 1 if there is one stage */
  int ahead;      /* A; ignored if V is above 1 */
  int64_t num_micro_batches;
  bool forward_only;
} uly__schedule_desc;

typedef struct uly__schedule {
  uly__schedule_item *items;
  int64_t num_items;
} uly__schedule;

/* Makes the schedule of one stage. */
uly_status uly__schedule_create(const uly__schedule_desc *desc, uly__schedule *out);
void uly__schedule_destroy(uly__schedule *schedule);

/* Returns the largest number of micro-batches that are in flight in a chunk at the same time: that
 * have begun their forward pass and not ended their backward pass. In a schedule without backward
 * passes it is 1. */
int64_t uly__schedule_in_flight(const uly__schedule *schedule, int chunk);

#endif
