/* Checksums of arrays of 4-byte elements that are divided among ranks.
 *
 * A checksum is the sum, modulo 2^64, of a mix of each element's index and bits. So the checksums
 * of parts can be computed anywhere and added in any order, and the sum does not depend on the
 * cuts. */
#ifndef ULY_CHECKSUM_H
#define ULY_CHECKSUM_H

#include <stdint.h>

/* Returns what elements [begin, begin + count), which lie at data, add to the checksum. data may be
 * unaligned. */
uint64_t uly__checksum(int64_t begin, int64_t count, const void *data);

#endif
