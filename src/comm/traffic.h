/* Bytes that a rank sends to other ranks, by kind, and how long it waits for them; and what each
 * collective will send, so that a plan uses the same arithmetic as the run. */
#ifndef ULY_TRAFFIC_H
#define ULY_TRAFFIC_H

#include "base/status.h"

typedef struct uly__traffic {
  int64_t bytes[ULY_NUM_TRAFFIC];
  /* Started calls that had not yet ended when they were last polled. */
  int under_way[ULY_NUM_TRAFFIC];
  /* Time in calls that return when other ranks have done their part. */
  double wait_seconds;
} uly__traffic;

/* Returns the bytes of uly__all_to_all: all blocks except the rank's own. Counts are in units of
 * unit_bytes. */
int64_t uly__traffic_all_to_all(int size, int rank, const int64_t *counts, int64_t unit_bytes);
/* Returns the bytes of uly__all_gather, uly__all_gather_start (part_bytes), uly__sum_i64 (8 bytes
 * per value), uly__agree and uly__same (8 bytes). */
int64_t uly__traffic_all_gather(int size, int64_t bytes);

#endif
