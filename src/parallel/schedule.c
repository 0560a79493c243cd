/* Schedules of micro-batches: see schedule.h. */
#include "parallel/schedule.h"

#include <stdlib.h>

#include "base/integers.h"

/* The groups of micro-batches: the first `num_larger` have one more than `size`. */
typedef struct groups {
  int64_t size, num_larger;
} groups;

static groups groups_of(const uly__schedule_desc *d) {
  int64_t num = d->num_micro_batches / d->num_stages;
  if (num == 0) num = 1;
  return (groups){d->num_micro_batches / num, d->num_micro_batches % num};
}

/* Returns the k-th forward or backward pass. A group goes through all chunks, in backward in the
 * opposite order. */
static uly__schedule_item pass(const uly__schedule_desc *d, uly__operation operation, int64_t k) {
  groups g = groups_of(d);
  int64_t in_larger = g.num_larger * (g.size + 1) * d->num_chunks;
  int64_t size = k < in_larger ? g.size + 1 : g.size, begin = k < in_larger ? 0 : in_larger;
  int64_t first = begin / d->num_chunks + (k - begin) / (size * d->num_chunks) * size;
  int64_t rest = (k - begin) % (size * d->num_chunks);
  int chunk = (int)(rest / size);
  if (operation == ULY_BACKWARD) chunk = d->num_chunks - 1 - chunk;
  return (uly__schedule_item){operation, chunk, first + rest % size};
}

/* Returns how many forward passes come before the first backward pass, apart from the one that
 * directly precedes it. */
static int64_t num_warmup(const uly__schedule_desc *d, int64_t num_passes) {
  int64_t later = d->num_stages - 1 - d->stage;
  groups g = groups_of(d);
  if (d->num_chunks > 1)
    later = 2 * later + (d->num_chunks - 1) * (g.size + (g.num_larger > 0));
  else
    later *= 1 + d->ahead;
  return uly__min(later, num_passes);
}

uly_status uly__schedule_create(const uly__schedule_desc *desc, uly__schedule *out) {
  int64_t num = desc->num_micro_batches * desc->num_chunks, i = 0;
  *out = (uly__schedule){.num_items = desc->forward_only ? num : 2 * num};
  out->items = calloc((size_t)out->num_items, sizeof *out->items);
  if (!out->items)
    ULY_FAIL(ULY_ERR_MEMORY, "no memory for a schedule of %lld sequences",
             (long long)desc->num_micro_batches);
  int64_t warmup = desc->forward_only ? num : num_warmup(desc, num);
  for (int64_t k = 0; k < warmup; k++) out->items[i++] = pass(desc, ULY_FORWARD, k);
  for (int64_t k = 0; i < out->num_items; k++) {
    if (warmup + k < num) out->items[i++] = pass(desc, ULY_FORWARD, warmup + k);
    out->items[i++] = pass(desc, ULY_BACKWARD, k);
  }
  return ULY_OK;
}

void uly__schedule_destroy(uly__schedule *schedule) {
  free(schedule->items);
  *schedule = (uly__schedule){0};
}

int64_t uly__schedule_in_flight(const uly__schedule *schedule, int chunk) {
  int64_t now = 0, most = 1;
  bool goes_back = schedule->items[schedule->num_items - 1].operation == ULY_BACKWARD;
  for (int64_t i = 0; goes_back && i < schedule->num_items; i++) {
    if (schedule->items[i].chunk != chunk) continue;
    now += schedule->items[i].operation == ULY_FORWARD ? 1 : -1;
    if (now > most) most = now;
  }
  return most;
}
