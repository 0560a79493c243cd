/* The two instructions of AVX512-BF16 that attention uses, in terms of AVX512F, so that machines
 * without them run its kernels too. It is included before everything else where those kernels are
 * compiled for tests. Unlike the instructions, which take denormal numbers for 0, it computes with
 * them. */
#ifndef ULY_BF16_DOT_H
#define ULY_BF16_DOT_H

#include <immintrin.h>

struct uly__ops;
void uly__attention_tiled_avx512soft(struct uly__ops *table);

/* The first of a pair is the lower half of a word. */
static inline __m512 soft_dpbf16_ps(__m512 sum, __m512bh a, __m512bh b) {
  const __m512i upper = _mm512_set1_epi32((int)0xffff0000);
  __m512i x = (__m512i)a, y = (__m512i)b;
  sum =
      _mm512_fmadd_ps((__m512)_mm512_and_si512(x, upper), (__m512)_mm512_and_si512(y, upper), sum);
  return _mm512_fmadd_ps((__m512)_mm512_slli_epi32(x, 16), (__m512)_mm512_slli_epi32(y, 16), sum);
}

/* To nearest, ties to even; NaN stays NaN. */
static inline __m256i soft_round(__m512 x) {
  __m512i bits = (__m512i)x,
          odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
  __m512i rounded = _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
  __mmask16 is_nan = _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q);
  rounded = _mm512_mask_mov_epi32(rounded, is_nan, _mm512_set1_epi32(0x7fc00000));
  return _mm512_cvtepi32_epi16(_mm512_srli_epi32(rounded, 16));
}

static inline __m512bh soft_cvtne2ps_pbh(__m512 high, __m512 low) {
  return (__m512bh)_mm512_inserti64x4(_mm512_castsi256_si512(soft_round(low)), soft_round(high), 1);
}

#define _mm512_dpbf16_ps soft_dpbf16_ps
#define _mm512_cvtne2ps_pbh soft_cvtne2ps_pbh

#endif
