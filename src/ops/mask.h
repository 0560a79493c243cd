/* Masks: which keys a query sees, per pair and per tile. Kernels know nothing else about masks. */
#ifndef ULY_MASK_H
#define ULY_MASK_H

#include <stdbool.h>

#include "ulysses.h"

typedef enum uly__tile { ULY_TILE_SKIP, ULY_TILE_PARTIAL, ULY_TILE_FULL } uly__tile;

static inline bool uly__mask_sees(const uly_mask *mask, int64_t query, int64_t key) {
  return mask->kind == ULY_MASK_FULL || key <= query;
}

/* Queries [q_begin, q_end) against keys [k_begin, k_end); neither is empty. */
static inline uly__tile uly__mask_tile(const uly_mask *mask, int64_t q_begin, int64_t q_end,
                                       int64_t k_begin, int64_t k_end) {
  if (mask->kind == ULY_MASK_FULL || k_end - 1 <= q_begin) return ULY_TILE_FULL;
  return k_begin > q_end - 1 ? ULY_TILE_SKIP : ULY_TILE_PARTIAL;
}

#endif
