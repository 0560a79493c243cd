/* Counter-based random numbers (Philox4x32-10, Salmon et al. 2011): value i of a stream is a
 * function of (seed, stream, i) alone, so it does not matter which rank draws it. */
#ifndef ULY_RNG_H
#define ULY_RNG_H

#include <stdint.h>

/* Returns the stream of a named tensor. */
uint64_t uly__rng_stream(const char *name);

/* Sets out[j] = std * normal value begin + j of the stream, for j < count. */
void uly__rng_normal(uint64_t seed, uint64_t stream, int64_t begin, int64_t count, float std,
                     float *out);

/* Returns value `index` of the stream, uniform from 0 to below 1, with 53 bits. */
double uly__rng_uniform(uint64_t seed, uint64_t stream, int64_t index);

/* Returns the image of index under a random permutation of 0..count-1; 0 <= index < count. */
int64_t uly__rng_permute(uint64_t seed, uint64_t stream, int64_t count, int64_t index);

#endif
