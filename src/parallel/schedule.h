/* The order in which a rank works on the micro-batches of a step, as a list. Without a pipeline
 * each micro-batch goes forward and then backward before the next begins. */
#ifndef ULY_SCHEDULE_H
#define ULY_SCHEDULE_H

#include <stdint.h>

#include "base/status.h"

typedef enum uly__operation { ULY_FORWARD, ULY_BACKWARD } uly__operation;

typedef struct uly__schedule_item {
  uly__operation operation;
  int64_t micro_batch;
} uly__schedule_item;

typedef struct uly__schedule {
  uly__schedule_item *items;
  int64_t num_items;
} uly__schedule;

/* Makes the schedule of a rank that has all layers. */
uly_status uly__schedule_create(int64_t num_micro_batches, uly__schedule *out);
void uly__schedule_destroy(uly__schedule *schedule);

#endif
