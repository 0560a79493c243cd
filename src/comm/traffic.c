/* Computes what the collectives of group.h send. */
#include "comm/traffic.h"

int64_t uly__traffic_all_to_all(int size, int rank, const int64_t *counts, int64_t unit_bytes) {
  int64_t units = 0;
  for (int p = 0; p < size; p++)
    if (p != rank) units += counts[p];
  return units * unit_bytes;
}

int64_t uly__traffic_all_gather(int size, int64_t bytes) { return bytes * (size - 1); }

const char *uly_traffic_name(uly_traffic kind) {
  static const char *names[ULY_NUM_TRAFFIC] = {
      "attention_forward", "attention_backward", "attention_recompute",
      "gradients",         "parameters",         "control",
      "keys_forward",      "keys_backward",      "keys_recompute",
      "tensor_forward",    "tensor_backward",    "tensor_recompute",
      "pipeline_forward",  "pipeline_backward"};
  return (unsigned)kind < ULY_NUM_TRAFFIC ? names[kind] : "unknown";
}
