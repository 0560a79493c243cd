/* See exact_sum.h. Digit i counts units of 2^(32 i - 1152). */
#include "base/exact_sum.h"

#include <math.h>

enum { LOWEST = -1152, DIGIT = 32 };

void uly__exact_carry(uly__exact_sum *sum) {
  int64_t carry = 0;
  for (int i = 0; i < ULY_EXACT_DIGITS; i++) {
    int64_t digit = sum->digits[i] + carry;
    /* Carries are rounded towards minus infinity: all digits but the highest end in 0 .. 2^32 - 1,
     * which is unique. */
    carry = i + 1 < ULY_EXACT_DIGITS ? digit >> DIGIT : 0;
    sum->digits[i] = digit - carry * ((int64_t)1 << DIGIT);
  }
  sum->pending = 0;
}

void uly__exact_add(uly__exact_sum *sum, double term) {
  if (!isfinite(term)) {
    sum->nonfinite++;
    return;
  }
  int exponent;
  /* term = mantissa 2^(exponent - 53), mantissa an integer. */
  int64_t mantissa = (int64_t)ldexp(frexp(term, &exponent), 53);
  int position = mantissa ? exponent - 53 - LOWEST : 0;
  int first = position / DIGIT;
  __int128 shifted = (__int128)mantissa * ((__int128)1 << (position % DIGIT));
  for (int i = 0; i < 3; i++) {
    int64_t digit = i < 2 ? (int64_t)(shifted & 0xffffffff) : (int64_t)shifted;
    sum->digits[first + i] += digit;
    shifted >>= DIGIT;
  }
  if (++sum->pending >= (int64_t)1 << 30) uly__exact_carry(sum);
}

void uly__exact_merge(uly__exact_sum *sum, const uly__exact_sum *other) {
  uly__exact_sum small = *other;
  uly__exact_carry(&small);
  uly__exact_carry(sum);
  for (int i = 0; i < ULY_EXACT_DIGITS; i++) sum->digits[i] += small.digits[i];
  sum->nonfinite += small.nonfinite;
}

double uly__exact_value(const uly__exact_sum *sum) {
  if (sum->nonfinite) return NAN;
  uly__exact_sum unique = *sum;
  uly__exact_carry(&unique);
  int negative = unique.digits[ULY_EXACT_DIGITS - 1] < 0;
  for (int i = 0; i < ULY_EXACT_DIGITS && negative; i++) unique.digits[i] = -unique.digits[i];
  if (negative) uly__exact_carry(&unique);
  double value = 0;
  for (int i = ULY_EXACT_DIGITS - 1; i >= 0; i--)
    value += ldexp((double)unique.digits[i], DIGIT * i + LOWEST);
  return negative ? -value : value;
}
