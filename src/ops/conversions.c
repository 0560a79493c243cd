/* Ops that convert between the types of files and f32. Bits are moved as integers, since arithmetic
 * may change a NaN. f16 is IEEE 754's binary16: a sign, 5 bits of exponent, 10 of mantissa. */
#include <string.h>

#include "base/integers.h"
#include "ops/ops.h"

/* The elements that a thread converts at a time; and the rows and columns of a block of a
 * transposition, small enough that both sides stay in the cache. */
enum { PIECE = 1 << 15, BLOCK = 32 };

static inline uint32_t widen_f32(uint32_t x) { return x; }
static inline uint32_t widen_bf16(uint16_t x) { return (uint32_t)x << 16; }

/* Widens an f16. As an f32, its exponent and mantissa are its value / 2^112, which may be
 * subnormal; the product is exact. Infinities and NaN have the largest exponent of either type. */
static inline uint32_t widen_f16(uint16_t x) {
  uint32_t rest = (uint32_t)(x & 0x7fffu) << 13, sign = (uint32_t)(x & 0x8000u) << 16;
  uint32_t finite = uly__bits_of_f32(uly__f32_of_bits(rest) * 0x1p112f);
  return sign | (rest >= 0x0f800000u ? rest | 0x7f800000u : finite);
}

static inline uint32_t narrow_f32(uint32_t x) { return x; }

/* Rounds to bf16. A NaN whose payload is lost below the mantissa gets the bit that makes it
 * quiet. */
static inline uint16_t narrow_bf16(uint32_t x) {
  uint32_t upper = x >> 16, rounded = (x + 0x7fffu + (upper & 1u)) >> 16;
  uint32_t nan = upper & 0x7fu ? upper : upper | 0x40u;
  return (uint16_t)((x & 0x7fffffffu) > 0x7f800000u ? nan : rounded);
}

/* Rounds to f16. Below 2^-14 the result is subnormal: its unit is 2^-24, which is that of an f32
 * near 1/2, so adding 1/2 rounds. What is rounded up past 65,504 becomes infinite by itself, up to
 * 65,536. */
static inline uint16_t narrow_f16(uint32_t x) {
  uint32_t rest = x & 0x7fffffffu, sign = (x >> 16) & 0x8000u;
  uint32_t small =
      uly__bits_of_f32(uly__f32_of_bits(rest < 0x38800000u ? rest : 0) + 0.5f) - 0x3f000000u;
  uint32_t normal = (rest - 0x38000000u + 0xfffu + ((rest >> 13) & 1u)) >> 13;
  uint32_t payload = (rest >> 13) & 0x3ffu;
  uint32_t nan = 0x7c00u | (payload ? payload : 0x200u);
  uint32_t result = rest < 0x38800000u ? small : normal;
  if (rest >= 0x47800000u) result = 0x7c00u;
  if (rest > 0x7f800000u) result = nan;
  return (uint16_t)(sign | result);
}

/* Return 1 if a finite value becomes infinite. The bits of what does so are at least those of the
 * value halfway from the largest finite one to the next, which the type lacks. */
static inline uint32_t is_between(uint32_t x, uint32_t least_lost) {
  return (x & 0x7fffffffu) - least_lost < 0x7f800000u - least_lost;
}
static inline uint32_t lost_narrow_bf16(uint32_t x) { return is_between(x, 0x7f7f8000u); }
static inline uint32_t lost_narrow_f16(uint32_t x) { return is_between(x, 0x477ff000u); }
static inline uint32_t lost_narrow_f32(uint32_t x) { return x & 0; }
static inline uint32_t lost_widen_f32(uint32_t x) { return x & 0; }
static inline uint32_t lost_widen_bf16(uint16_t x) { return x & 0; }
static inline uint32_t lost_widen_f16(uint16_t x) { return x & 0; }

/* Converts count elements, `from_step` apart, to others, `to_step` apart; steps of 1 have a loop of
 * their own, which is vectorized. Returns 1 if a finite value became infinite. */
#define CONVERSION(name, from_type, to_type)                                                   \
  static uint32_t convert_##name(int64_t count, const void *from, int64_t from_step, void *to, \
                                 int64_t to_step) {                                            \
    const from_type *x = from;                                                                 \
    to_type *y = to;                                                                           \
    uint32_t lost = 0;                                                                         \
    if (from_step == 1 && to_step == 1)                                                        \
      for (int64_t i = 0; i < count; i++) {                                                    \
        lost |= lost_##name(x[i]);                                                             \
        y[i] = name(x[i]);                                                                     \
      }                                                                                        \
    else                                                                                       \
      for (int64_t i = 0; i < count; i++) {                                                    \
        lost |= lost_##name(x[i * from_step]);                                                 \
        y[i * to_step] = name(x[i * from_step]);                                               \
      }                                                                                        \
    return lost;                                                                               \
  }
CONVERSION(widen_f32, uint32_t, uint32_t)
CONVERSION(widen_bf16, uint16_t, uint32_t)
CONVERSION(widen_f16, uint16_t, uint32_t)
CONVERSION(narrow_f32, uint32_t, uint32_t)
CONVERSION(narrow_bf16, uint32_t, uint16_t)
CONVERSION(narrow_f16, uint32_t, uint16_t)

typedef uint32_t conversion(int64_t count, const void *from, int64_t from_step, void *to,
                            int64_t to_step);

/* One side of a conversion. */
typedef struct side {
  char *at;
  int64_t bytes, row_step, col_step; /* steps in elements */
} side;

static void *element(const side *s, int64_t row, int64_t col) {
  return s->at + (row * s->row_step + col * s->col_step) * s->bytes;
}

/* Converts rows and columns as they lie in memory, or block by block if one side is transposed.
 * Returns whether a finite value became infinite. */
static bool convert(conversion *each, int64_t rows, int64_t cols, side from, side to) {
  bool is_flat = from.col_step == 1 && to.col_step == 1;
  if (is_flat && from.row_step == cols && to.row_step == cols) {
    cols *= rows;
    rows = 1;
  }
  int64_t height = is_flat ? 1 : BLOCK, width = is_flat ? PIECE : BLOCK;
  int64_t down = (rows + height - 1) / height, across = (cols + width - 1) / width;
  uint32_t lost = 0;
#pragma omp parallel for schedule(static) reduction(| : lost) if (rows * cols > PIECE)
  for (int64_t i = 0; i < down * across; i++) {
    int64_t row = i / across * height, col = i % across * width;
    int64_t end = uly__min(row + height, rows), count = uly__min(width, cols - col);
    for (int64_t r = row; r < end; r++)
      lost |= each(count, element(&from, r, col), from.col_step, element(&to, r, col), to.col_step);
  }
  return lost != 0;
}

static void widen(uly__stream *stream, int64_t rows, int64_t cols, uly_dtype dtype, const void *x,
                  int64_t row_step, int64_t col_step, float *y) {
  conversion *const by_type[] = {[ULY_F32] = convert_widen_f32,
                                 [ULY_BF16] = convert_widen_bf16,
                                 [ULY_F16] = convert_widen_f16};
  side from = {(char *)(uintptr_t)x, uly__dtype_bytes(dtype), row_step, col_step};
  (void)stream;
  (void)convert(by_type[dtype], rows, cols, from, (side){(char *)y, (int64_t)sizeof *y, cols, 1});
}

static bool narrow(uly__stream *stream, int64_t rows, int64_t cols, const float *x, uly_dtype dtype,
                   void *y, int64_t row_step, int64_t col_step) {
  conversion *const by_type[] = {[ULY_F32] = convert_narrow_f32,
                                 [ULY_BF16] = convert_narrow_bf16,
                                 [ULY_F16] = convert_narrow_f16};
  side from = {(char *)(uintptr_t)x, (int64_t)sizeof *x, cols, 1};
  (void)stream;
  return convert(by_type[dtype], rows, cols, from,
                 (side){y, uly__dtype_bytes(dtype), row_step, col_step});
}

void uly__ops_conversions(uly__ops *table) {
  table->widen = widen;
  table->narrow = narrow;
}
