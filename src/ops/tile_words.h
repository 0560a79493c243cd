/* The arithmetic of attention's tiles, compiled once for each instruction set.
 *
 * Every product of attention has one form,
 *     C[m][lanes] += sum_k A(m, k) B[k][lanes],
 * over *words* of 32 bits: one f32; or, where the CPU multiplies bf16 (ULY_BF16_DOT), two bf16 that
 * are neighbours in k, so that k counts pairs. B lies across vector registers. A is read word by
 * word and broadcast, so it may have any strides: rows of Q, K, V and dO are read where they are. C
 * is f32.
 *
 * What is a pair along the other direction has to be packed first: pack_pairs takes neighbouring
 * rows, pack_lanes transposes. In f32 most of this is nothing at all.
 *
 * Legend: d elements, w = d / PER_WORD words of a head; ld is a distance of rows in words. */
#ifndef ULY_TILE_WORDS_H
#define ULY_TILE_WORDS_H

#include "ops/ops.h"
#include "ops/vectors.h"

enum { LANES = ULY_ATTENTION_TILE, MAX_D = ULY_MAX_HEAD_DIM };

/* ------------------------------------------------------------------------------ words */

/* `count` rows of a head; x is their first element, stride the distance of rows in elements. */
typedef struct head_rows {
  const void *x;
  int64_t stride, count;
} head_rows;

/* Prefetches rows that will be needed soon: the hardware does not foresee them. */
ULY_INLINE void prefetch_rows(head_rows rows, int64_t row_bytes, int64_t stride_bytes) {
  for (int64_t r = 0; r < rows.count; r++)
    for (int64_t i = 0; i < row_bytes; i += 64)
      __builtin_prefetch((const char *)rows.x + r * stride_bytes + i, 0, 2);
}

/* Returns d rounded up to whole blocks of a product's lanes. */
ULY_INLINE int padded(int d) { return (d + 31) / 32 * 32; }

#ifdef ULY_BF16_DOT

enum { PER_WORD = 2 };
typedef uint32_t word __attribute__((aligned(2), may_alias));

ULY_INLINE vec multiply_add(vec sum, word a, const word *b) {
  __m512i broadcast = _mm512_set1_epi32((int)a), lanes = _mm512_loadu_si512(b);
  return (vec)_mm512_dpbf16_ps((__m512)sum, (__m512bh)broadcast, (__m512bh)lanes);
}

/* Rows of words [count][w]. */
/* NOLINTNEXTLINE(readability-non-const-parameter): f32 words are written to buffer */
static const word *row_words(head_rows rows, int d, uly_dtype dtype, word *buffer, int64_t *ld) {
  (void)d, (void)dtype, (void)buffer;
  *ld = rows.stride / 2;
  return rows.x;
}

/* Interleaves 2 x 32 elements: words 0 .. 15 and 16 .. 31. */
ULY_INLINE void interleave(__m512i even, __m512i odd, word *words) {
  const __m512i low = _mm512_set_epi16(47, 15, 46, 14, 45, 13, 44, 12, 43, 11, 42, 10, 41, 9, 40, 8,
                                       39, 7, 38, 6, 37, 5, 36, 4, 35, 3, 34, 2, 33, 1, 32, 0);
  const __m512i high = _mm512_add_epi16(low, _mm512_set1_epi16(16));
  _mm512_storeu_si512(words, _mm512_permutex2var_epi16(even, low, odd));
  _mm512_storeu_si512(words + 16, _mm512_permutex2var_epi16(even, high, odd));
}

/* Packs words[count / 2][padded(d)]: word i of row r is element i of rows 2r and 2r + 1; 0 beyond
 * the ends. */
static void pack_pairs(head_rows rows, int d, uly_dtype dtype, word *words) {
  (void)dtype;
  for (int64_t r = 0; r < rows.count; r += 2)
    for (int i = 0; i < d; i += 32, words += 32) {
      const uint16_t *x = (const uint16_t *)rows.x + r * rows.stride + i;
      __mmask32 inside = d - i < 32 ? (1u << (d - i)) - 1 : ~0u;
      __m512i even = _mm512_maskz_loadu_epi16(inside, x), odd = _mm512_setzero_si512();
      if (r + 1 < rows.count) odd = _mm512_maskz_loadu_epi16(inside, x + rows.stride);
      interleave(even, odd, words);
    }
}

/* Returns pairs of rows, to be summed over as A. */
static const word *pair_words(head_rows rows, int d, uly_dtype dtype, word *buffer, int64_t *ld) {
  pack_pairs(rows, d, dtype, buffer);
  *ld = padded(d);
  return buffer;
}

/* Stores pairs of scores from registers: x is rows r and r + 1, lanes `lane` on, of words[count /
 * 2][LANES]. */
ULY_INLINE void store_pairs(word *words, int64_t r, int lane, vec x[2][2]) {
  __m512i even = (__m512i)_mm512_cvtne2ps_pbh((__m512)x[0][1], (__m512)x[0][0]);
  __m512i odd = (__m512i)_mm512_cvtne2ps_pbh((__m512)x[1][1], (__m512)x[1][0]);
  interleave(even, odd, words + r / 2 * LANES + lane);
}

ULY_INLINE word negative(word pair) { return pair ^ 0x80008000u; }

/* Stores scores as rows of A, [count][LANES / 2]. */
ULY_INLINE void store_rows(word *words, int64_t r, int lane, vec x[2][2]) {
  for (int i = 0; i < 2; i++)
    _mm512_storeu_si512(words + ((r + i) * LANES + lane) / 2,
                        (__m512i)_mm512_cvtne2ps_pbh((__m512)x[i][1], (__m512)x[i][0]));
}

#else

enum { PER_WORD = 1 };
typedef float word;

ULY_INLINE vec multiply_add(vec sum, word a, const word *b) { return sum + a * load_vec(b); }

static void widen(head_rows rows, int d, int64_t ld, word *words) {
  for (int64_t r = 0; r < rows.count; r++)
#pragma omp simd
    for (int i = 0; i < d; i++)
      words[r * ld + i] = uly__bf16_to_f32(((const uint16_t *)rows.x)[r * rows.stride + i]);
}

static const word *row_words(head_rows rows, int d, uly_dtype dtype, word *buffer, int64_t *ld) {
  *ld = dtype == ULY_F32 ? rows.stride : d;
  if (dtype == ULY_F32) return rows.x;
  widen(rows, d, d, buffer);
  return buffer;
}

/* It is inline because forward does not use it. */
static inline void pack_pairs(head_rows rows, int d, uly_dtype dtype, word *words) {
  int64_t ld = padded(d);
  memset(words, 0, (size_t)(rows.count * ld) * sizeof *words);
  if (dtype == ULY_BF16)
    widen(rows, d, ld, words);
  else
    for (int64_t r = 0; r < rows.count; r++)
      memcpy(words + r * ld, (const float *)rows.x + r * rows.stride, (size_t)d * sizeof *words);
}

static const word *pair_words(head_rows rows, int d, uly_dtype dtype, word *buffer, int64_t *ld) {
  return row_words(rows, d, dtype, buffer, ld);
}

ULY_INLINE word negative(word x) { return -x; }

ULY_INLINE void store_pairs(word *words, int64_t r, int lane, vec x[2][2]) {
  for (int i = 0; i < 2; i++)
    for (int j = 0; j < 2; j++) *vec_at(words + (r + i) * LANES + lane + j * WIDTH) = x[i][j];
}

ULY_INLINE void store_rows(word *words, int64_t r, int lane, vec x[2][2]) {
  store_pairs(words, r, lane, x);
}

#endif

/* Returns the number of words in a sum over `count` neighbours. */
ULY_INLINE int num_words(int64_t count) { return (int)((count + PER_WORD - 1) / PER_WORD); }

/* Packs words[w][LANES] = rows transposed; lanes beyond the last row are zero. */
static void pack_lanes(head_rows rows, int d, uly_dtype dtype, word *buffer, word *words) {
  int64_t ld;
  const word *x = row_words(rows, d, dtype, buffer, &ld);
  for (int i = 0; i < num_words(d); i++) {
    for (int64_t lane = 0; lane < rows.count; lane++) words[i * LANES + lane] = x[lane * ld + i];
    for (int64_t lane = rows.count; lane < LANES; lane++) words[i * LANES + lane] = 0;
  }
}

/* Changes the sign of packed lanes. */
static void negate(int num, word *words) {
  /* NOLINTNEXTLINE(clang-analyzer-core.CallAndMessage): all of them are packed */
  for (int i = 0; i < num * LANES; i++) words[i] = negative(words[i]);
}

/* --------------------------------------------------------------------------- products */

/* Where A, B and C lie: distances of m and k in A, of k in B, of m in C. */
typedef struct operands {
  const word *a;
  int64_t a_m, a_k;
  const word *b;
  int64_t b_k;
  float *c;
  int64_t c_m;
} operands;

/* Computes rows m .. m + rows - 1, lanes .. lanes + 2 WIDTH - 1. fresh: C = A B, instead of C += A
 * B. */
ULY_INLINE void product_block(int rows, operands x, bool fresh, int k_count) {
  vec sum[ROWS][2];
#pragma GCC unroll 8
  for (int m = 0; m < rows; m++)
    for (int j = 0; j < 2; j++)
      sum[m][j] = fresh ? (vec){0} : load_vec(x.c + m * x.c_m + j * WIDTH);
  for (int k = 0; k < k_count; k++) {
#pragma GCC unroll 8
    for (int m = 0; m < rows; m++)
      for (int j = 0; j < 2; j++)
        /* NOLINTNEXTLINE(clang-analyzer-core.CallAndMessage): rows of A are never empty */
        sum[m][j] = multiply_add(sum[m][j], x.a[m * x.a_m], x.b + j * WIDTH);
    x.a += x.a_k;
    x.b += x.b_k;
  }
#pragma GCC unroll 8
  for (int m = 0; m < rows; m++)
    for (int j = 0; j < 2; j++) *vec_at(x.c + m * x.c_m + j * WIDTH) = sum[m][j];
}

/* Computes a product. num_lanes: a multiple of 2 WIDTH. */
ULY_INLINE void product(operands x, bool fresh, int64_t m_count, int k_count, int num_lanes) {
  for (int64_t m = 0; m < m_count; m += m + ROWS <= m_count ? ROWS : 1)
    for (int lane = 0; lane < num_lanes; lane += 2 * WIDTH) {
      operands at = x;
      at.a += m * x.a_m, at.b += lane, at.c += m * x.c_m + lane;
      if (m + ROWS <= m_count)
        product_block(ROWS, at, fresh, k_count);
      else
        product_block(1, at, fresh, k_count);
    }
}

#endif
