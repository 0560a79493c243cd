/* Branch-free elementary functions that compilers turn into vector code inside simd loops. */
#ifndef ULY_VECTOR_MATH_H
#define ULY_VECTOR_MATH_H

#include <stdint.h>
#include <string.h>

/* Returns e^x to about 2 units in the last place; 0 below -87.3, clamped above 88.3; NaN stays NaN.
 * Cody-Waite reduction x = n ln 2 + r, then the Taylor polynomial of degree 7 on |r| <= ln(2)/2. */
static inline float uly__exp(float x) {
  float clamped = x < 88.3f ? x : 88.3f;
  clamped = clamped > -87.3f ? clamped : -87.3f;
  float shifted = clamped * 1.44269504f + 12582912.0f; /* 1.5 * 2^23: rounds to an integer */
  float n = shifted - 12582912.0f;
  float r = clamped - n * 0.693359375f + n * 2.12194440e-4f;
  float p = 1.0f / 5040;
  p = p * r + 1.0f / 720;
  p = p * r + 1.0f / 120;
  p = p * r + 1.0f / 24;
  p = p * r + 1.0f / 6;
  p = p * r + 0.5f;
  p = p * r + 1.0f;
  p = p * r + 1.0f;
  int32_t bits;
  memcpy(&bits, &p, sizeof bits);
  bits += (int32_t)n * (1 << 23);
  memcpy(&p, &bits, sizeof p);
  p = x < -87.3f ? 0.0f : p;
  return x == x ? p : x;
}

static inline float uly__sigmoid(float x) { return 1.0f / (1.0f + uly__exp(-x)); }

/* Returns tanh(x) = 2 sigmoid(2x) - 1, with an absolute error relative to 1, which is what GELU
 * needs. */
static inline float uly__tanh(float x) { return 2.0f * uly__sigmoid(2.0f * x) - 1.0f; }

#endif
