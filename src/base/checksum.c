/* The mix is the finalizer of SplitMix64 (variant 13 of Stafford's): a bijection of 64 bits in
 * which every bit of the input flips every bit of the output with a probability close to 1/2. Its
 * input has the index above the element's bits, so a damaged file keeps its sum with a probability
 * of 2^-64, whether elements were changed, swapped or shifted. It is plain integer arithmetic, and
 * runs at about 3 GB/s on a core. */
#include "base/checksum.h"

#include <string.h>

/* 2^64 divided by the golden ratio. It keeps 0 from being mixed to 0, and tells apart indices that
 * differ by multiples of 2^32. */
#define GOLDEN UINT64_C(0x9e3779b97f4a7c15)

static inline uint64_t mix(uint64_t x) {
  x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
  x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
  return x ^ x >> 31;
}

uint64_t uly__checksum(int64_t begin, int64_t count, const void *data) {
  uint64_t sum = 0;
  for (int64_t i = 0; i < count; i++) {
    uint64_t index = (uint64_t)(begin + i);
    uint32_t bits;
    memcpy(&bits, (const char *)data + i * (int64_t)sizeof bits, sizeof bits);
    sum += mix((index << 32 | bits) + GOLDEN * ((index >> 32) + 1));
  }
  return sum;
}
