/* Bytes that a rank sends to other ranks, by kind; and what each collective will send, so that a plan
 * uses the same arithmetic as the run. */
#ifndef ULY_TRAFFIC_H
#define ULY_TRAFFIC_H

#include "base/status.h"

typedef struct uly__traffic {
  int64_t bytes[ULY_NUM_TRAFFIC];
} uly__traffic;

/* Of uly__all_to_all: all blocks but the own one. counts in units of unit_bytes. */
int64_t uly__traffic_all_to_all(int size, int rank, const int64_t *counts, int64_t unit_bytes);
/* Of uly__all_gather, uly__sum_f64 (8 bytes a value) and uly__agree (8 bytes). */
int64_t uly__traffic_all_gather(int size, int64_t bytes);
/* Of uly__sum_f32. */
int64_t uly__traffic_sum_f32(int size, int rank, int64_t count, int64_t workspace_count);

#endif
