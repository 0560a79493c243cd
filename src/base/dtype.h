/* Storage types: f32, and bf16 held as uint16_t (the upper half of an f32). Files may also have
 * f16, which ops/conversions.c widens and nothing else reads. */
#ifndef ULY_DTYPE_H
#define ULY_DTYPE_H

#include <stdint.h>
#include <string.h>

#include "ulysses.h"

static inline int64_t uly__dtype_bytes(uly_dtype dtype) { return dtype == ULY_F32 ? 4 : 2; }

/* Return the bits of a number, and the number that has these bits. */
static inline uint32_t uly__bits_of_f32(float x) {
  uint32_t bits;
  memcpy(&bits, &x, sizeof bits);
  return bits;
}
static inline float uly__f32_of_bits(uint32_t bits) {
  float x;
  memcpy(&x, &bits, sizeof x);
  return x;
}

static inline float uly__bf16_to_f32(uint16_t x) { return uly__f32_of_bits((uint32_t)x << 16); }

/* Rounds to nearest, ties to even; NaN stays NaN. It has no branches, so that loops vectorize. */
static inline uint16_t uly__f32_to_bf16(float x) {
  uint32_t bits = uly__bits_of_f32(x);
  uint32_t rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
  uint32_t quiet = (bits >> 16) | 0x40u;
  return (uint16_t)((bits & 0x7fffffffu) > 0x7f800000u ? quiet : rounded);
}

/* Returns element i of an array of either type. */
static inline float uly__load(const void *x, uly_dtype dtype, int64_t i) {
  return dtype == ULY_BF16 ? uly__bf16_to_f32(((const uint16_t *)x)[i]) : ((const float *)x)[i];
}

static inline void uly__store(void *x, uly_dtype dtype, int64_t i, float value) {
  if (dtype == ULY_BF16)
    ((uint16_t *)x)[i] = uly__f32_to_bf16(value);
  else
    ((float *)x)[i] = value;
}

/* Returns the address of element i. */
static inline void *uly__at(const void *x, uly_dtype dtype, int64_t i) {
  return (char *)(uintptr_t)x + i * uly__dtype_bytes(dtype);
}

#endif
