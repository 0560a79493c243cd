/* Counter-based random numbers on Random123's Philox4x32-10. Normals by Box-Muller, two from
 * each pair of words. Permutations by a balanced Feistel network with cycle walking, so that the
 * order of the data needs no memory (Black and Rogaway 2002). */
#include "base/rng.h"

#include <assert.h>
#include <math.h>

#include <Random123/philox.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

static const double two_pi = 6.283185307179586476925286766559;

uint64_t uly__rng_stream(const char *name) { return XXH3_64bits(name, strlen(name)); }

static philox4x32_ctr_t philox(uint64_t seed, uint64_t stream, uint64_t index) {
  philox4x32_ctr_t counter = {
      {(uint32_t)index, (uint32_t)(index >> 32), (uint32_t)stream, (uint32_t)(stream >> 32)}};
  philox4x32_key_t key = {{(uint32_t)seed, (uint32_t)(seed >> 32)}};
  return philox4x32(counter, key);
}

void uly__rng_normal(uint64_t seed, uint64_t stream, int64_t begin, int64_t count, float std,
                     float *out) {
  for (int64_t block = begin / 4; block * 4 < begin + count; block++) {
    philox4x32_ctr_t words = philox(seed, stream, (uint64_t)block);
    double normal[4];
    for (int pair = 0; pair < 4; pair += 2) {
      /* (w + 1/2) / 2^32 lies strictly between 0 and 1, so the logarithm is finite. */
      double u = ((double)words.v[pair] + 0.5) * 0x1p-32;
      double angle = two_pi * ((double)words.v[pair + 1] + 0.5) * 0x1p-32;
      double radius = sqrt(-2.0 * log(u));
      normal[pair] = radius * cos(angle);
      normal[pair + 1] = radius * sin(angle);
    }
    for (int lane = 0; lane < 4; lane++) {
      int64_t i = block * 4 + lane;
      if (i >= begin && i < begin + count) out[i - begin] = (float)(std * normal[lane]);
    }
  }
}

double uly__rng_uniform(uint64_t seed, uint64_t stream, int64_t index) {
  philox4x32_ctr_t words = philox(seed, stream, (uint64_t)index);
  uint64_t bits = (uint64_t)words.v[0] << 32 | words.v[1];
  return (double)(bits >> 11) * 0x1p-53;
}

int64_t uly__rng_permute(uint64_t seed, uint64_t stream, int64_t count, int64_t index) {
  assert(index >= 0 && index < count);
  int half_bits = 1;
  while (half_bits < 31 && ((int64_t)1 << (2 * half_bits)) < count) half_bits++;
  uint64_t mask = ((uint64_t)1 << half_bits) - 1;
  uint64_t value = (uint64_t)index;
  /* This is a permutation of 0..4^half_bits-1: walk until it lands below count. */
  do {
    uint64_t left = value >> half_bits, right = value & mask;
    for (uint64_t round = 0; round < 4; round++) {
      uint64_t mixed = left ^ (philox(seed, stream, right | round << 32).v[0] & mask);
      left = right;
      right = mixed;
    }
    value = left << half_bits | right;
  } while (value >= (uint64_t)count);
  return (int64_t)value;
}
