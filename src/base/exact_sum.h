/* Exact sums of doubles: a fixed-point number wide enough for every finite double, so that a sum
 * does not depend on the order of its terms, nor on which rank added which of them.
 *
 * Digits of 32 bits, each in an int64_t: about 2^31 terms may be added between two carries. Such a
 * number travels as integers, and integer sums are exact. (The idea is Kulisch's long
 * accumulator.) */
#ifndef ULY_EXACT_SUM_H
#define ULY_EXACT_SUM_H

#include <stdint.h>

/* Digits of 2^-1152 .. 2^1087. Doubles end at 2^-1074 and 2^1024; their mantissas are taken as 53
 * bits, and the rest is room for carries. */
enum { ULY_EXACT_DIGITS = 70 };

typedef struct uly__exact_sum {
  int64_t digits[ULY_EXACT_DIGITS];
  int64_t nonfinite; /* terms that were infinite or not a number */
  int64_t pending;   /* terms since the last carry */
} uly__exact_sum;

/* Words of the struct that are added up for two sums (digits and nonfinite). */
enum { ULY_EXACT_WORDS = ULY_EXACT_DIGITS + 1 };

/* Adds a term. A sum of no terms is all zero bytes. */
void uly__exact_add(uly__exact_sum *sum, double term);
/* Adds all terms of another sum. */
void uly__exact_merge(uly__exact_sum *sum, const uly__exact_sum *other);
/* Makes digits small, so that the sums of 2^30 ranks may be added word by word. */
void uly__exact_carry(uly__exact_sum *sum);
/* Returns the sum as a double, within a few units in the last place and the same for any order of
 * the terms, or NaN if a term was not finite. */
double uly__exact_value(const uly__exact_sum *sum);

#endif
