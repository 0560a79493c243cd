/* Loads and stores rows for the ops on them. Rows are widened to f32 in pieces of ROW_PIECE elements, so
 * that one body serves both storage types and vectorizes. */
#ifndef ULY_ROWS_H
#define ULY_ROWS_H

#include <stdint.h>
#include <string.h>

#include "base/dtype.h"
#include "base/integers.h"
#include "ops/instruction_set.h"

enum { ROW_PIECE = 256, COLUMN_BLOCK = 64 };

static inline void load_row(float *restrict y, const void *restrict x, uly_dtype dtype, int64_t at,
                            int64_t n) {
  if (dtype == ULY_BF16) {
    const uint16_t *restrict from = (const uint16_t *)x + at;
#pragma omp simd
    for (int64_t i = 0; i < n; i++) y[i] = uly__bf16_to_f32(from[i]);
  } else {
    memcpy(y, (const float *)x + at, (size_t)n * sizeof(float));
  }
}

static inline void store_row(void *restrict y, uly_dtype dtype, int64_t at, const float *restrict x,
                             int64_t n) {
  if (dtype == ULY_BF16) {
    uint16_t *restrict to = (uint16_t *)y + at;
#pragma omp simd
    for (int64_t i = 0; i < n; i++) to[i] = uly__f32_to_bf16(x[i]);
  } else {
    memcpy((float *)y + at, x, (size_t)n * sizeof(float));
  }
}

#endif
