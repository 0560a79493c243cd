/* Schedules of micro-batches: see schedule.h. */
#include "parallel/schedule.h"

#include <stdlib.h>

uly_status uly__schedule_create(int64_t num_micro_batches, uly__schedule *out) {
  *out = (uly__schedule){.num_items = 2 * num_micro_batches};
  out->items = calloc((size_t)out->num_items, sizeof *out->items);
  if (!out->items)
    ULY_FAIL(ULY_ERR_MEMORY, "no memory for a schedule of %lld sequences",
             (long long)num_micro_batches);
  for (int64_t m = 0; m < num_micro_batches; m++) {
    out->items[2 * m] = (uly__schedule_item){ULY_FORWARD, m};
    out->items[2 * m + 1] = (uly__schedule_item){ULY_BACKWARD, m};
  }
  return ULY_OK;
}

void uly__schedule_destroy(uly__schedule *schedule) {
  free(schedule->items);
  *schedule = (uly__schedule){0};
}
