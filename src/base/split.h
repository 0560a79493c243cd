/* Computes which part of a range an owner has. All arithmetic of this kind is here. */
#ifndef ULY_SPLIT_H
#define ULY_SPLIT_H

#include <stdint.h>

typedef struct uly__part {
  int64_t begin, count;
} uly__part;

/* Returns part `index` of `total` items that are cut into `parts` contiguous parts of whole units
 * (the last unit of the range may be short). Parts differ by at most one unit. Cuts nest: if
 * `parts` divides a larger number, every cut into `parts` is also one into that number. */
static inline uly__part uly__split(int64_t total, int64_t unit, int64_t parts, int64_t index) {
  int64_t units = (total + unit - 1) / unit;
  int64_t first = (int64_t)((__int128)units * index / parts);
  int64_t last = (int64_t)((__int128)units * (index + 1) / parts);
  int64_t begin = first * unit < total ? first * unit : total;
  int64_t end = last * unit < total ? last * unit : total;
  return (uly__part){begin, end - begin};
}

#endif
