/* The smaller and the larger of two integers. */
#ifndef ULY_INTEGERS_H
#define ULY_INTEGERS_H

#include <stdint.h>

static inline int64_t uly__min(int64_t a, int64_t b) { return a < b ? a : b; }
static inline int64_t uly__max(int64_t a, int64_t b) { return a > b ? a : b; }

#endif
