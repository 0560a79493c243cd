/* Vectors of floats as wide as the instruction set that a file is compiled for (ULY_ISA), and
 * operations on their lanes. */
#ifndef ULY_VECTORS_H
#define ULY_VECTORS_H

#include <stdint.h>

/* WIDTH: floats of a vector. ROWS x 2 vectors of accumulators fit the register file. */
#if defined(__AVX512F__)
enum { WIDTH = 16, ROWS = 8 };
#elif defined(__AVX2__)
enum { WIDTH = 8, ROWS = 4 };
#else
enum { WIDTH = 4, ROWS = 4 };
#endif
#if defined(__SSE2__)
#include <immintrin.h>
#endif

typedef float vec __attribute__((vector_size(WIDTH * 4), aligned(4), may_alias));
typedef int32_t ivec __attribute__((vector_size(WIDTH * 4), aligned(4), may_alias));
typedef uint32_t uvec __attribute__((vector_size(WIDTH * 4), aligned(4), may_alias));

#define ULY_INLINE static inline __attribute__((always_inline))

ULY_INLINE vec *vec_at(float *x) { return (vec *)(void *)x; }
ULY_INLINE vec load_vec(const float *x) { return *(const vec *)(const void *)x; }

/* Widens WIDTH bf16, of any alignment. It is spelled out because compilers make it more complicated
 * than it is. */
ULY_INLINE vec widen_bf16(const uint16_t *x) {
#if defined(__AVX512F__)
  __m512i bits = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)(const void *)x));
  return (vec)_mm512_slli_epi32(bits, 16);
#elif defined(__AVX2__)
  __m256i bits = _mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)(const void *)x));
  return (vec)_mm256_slli_epi32(bits, 16);
#else
  ivec bits;
  for (int i = 0; i < WIDTH; i++) bits[i] = (int32_t)((uint32_t)x[i] << 16);
  return (vec)bits;
#endif
}

/* Returns the larger one; the second if either is NaN, as x86 does. */
ULY_INLINE vec max_vec(vec a, vec b) {
#if defined(__AVX512F__)
  return (vec)_mm512_max_ps((__m512)a, (__m512)b);
#elif defined(__AVX2__)
  return (vec)_mm256_max_ps((__m256)a, (__m256)b);
#else
  ivec greater = a > b;
  return (vec)((greater & (ivec)a) | (~greater & (ivec)b));
#endif
}

/* Returns the smaller one; the second if either is NaN. */
ULY_INLINE vec min_vec(vec a, vec b) {
#if defined(__AVX512F__)
  return (vec)_mm512_min_ps((__m512)a, (__m512)b);
#elif defined(__AVX2__)
  return (vec)_mm256_min_ps((__m256)a, (__m256)b);
#else
  ivec less = a < b;
  return (vec)((less & (ivec)a) | (~less & (ivec)b));
#endif
}

/* Returns 2^x for x up to 127; exactly 0 below -126.5, which includes -infinity, and exactly 1 at
 * 0; NaN stays NaN. Minimax polynomials on [-1/2, 1/2]: to 1e-7; or to 3e-6 beside products of
 * bf16, whose rounding (4e-3) hides the difference, and where each operation counts. */
ULY_INLINE vec exp2_vec(vec x) {
  const float to_integer = 12582912.0f; /* 1.5 * 2^23: the lowest bits of a sum are an integer */
  vec clamped = max_vec((vec){0} - 127.0f, x), shifted = clamped + to_integer;
  vec f = clamped - (shifted - to_integer);
#ifdef ULY_BF16_DOT
  vec p = f * 0.00958285294f + 0.0559064262f;
  p = p * f + 0.240240991f;
  p = p * f + 0.693124175f;
#else
  vec p = f * 0.00132647273f + 0.00967151299f;
  p = p * f + 0.0555073358f;
  p = p * f + 0.240222424f;
  p = p * f + 0.693147004f;
#endif
  p = p * f + 1.0f;
  return p * (vec)(((uvec)shifted << 23) + 0x3f800000u); /* 2^-127 would have zero bits */
}

#endif
