/* What the collectives of comm.h send, as formulas. */
#include "comm/traffic.h"

#include "base/split.h"

int64_t uly__traffic_all_to_all(int size, int rank, const int64_t *counts, int64_t unit_bytes) {
  int64_t units = 0;
  for (int p = 0; p < size; p++)
    if (p != rank) units += counts[p];
  return units * unit_bytes;
}

int64_t uly__traffic_all_gather(int size, int64_t bytes) { return bytes * (size - 1); }

int64_t uly__traffic_sum_f32(int size, int rank, int64_t count, int64_t workspace_count) {
  int64_t elements = 0, chunk = workspace_count / size * size;
  if (size == 1) return 0;
  for (int64_t begin = 0; begin < count; begin += chunk) {
    int64_t length = count - begin < chunk ? count - begin : chunk;
    int64_t own = uly__split(length, 1, size, rank).count;
    elements += (length - own) + own * (size - 1);
  }
  return elements * (int64_t)sizeof(float);
}
