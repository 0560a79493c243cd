/* A buffer of bytes that grows. The 16 bytes after its contents can be read, too. */
#ifndef ULY_BYTE_BUFFER_H
#define ULY_BYTE_BUFFER_H

#include <stdlib.h>
#include <string.h>

#include "base/status.h"

typedef struct uly__buffer {
  unsigned char *bytes;
  int64_t n, capacity;
} uly__buffer;

/* Makes room for `more` bytes after the n that there are. */
static inline uly_status uly__buffer_reserve(uly__buffer *b, int64_t more) {
  if (b->n + more + 16 <= b->capacity) return ULY_OK;
  int64_t capacity = b->n + more + b->capacity / 2 + 256;
  unsigned char *grown = realloc(b->bytes, (size_t)capacity);
  if (!grown) ULY_FAIL(ULY_ERR_MEMORY, "no memory for %lld bytes of text", (long long)capacity);
  b->bytes = grown;
  b->capacity = capacity;
  return ULY_OK;
}

static inline uly_status uly__buffer_add(uly__buffer *b, const void *bytes, int64_t n) {
  ULY_TRY(uly__buffer_reserve(b, n));
  if (n > 0) memcpy(b->bytes + b->n, bytes, (size_t)n);
  b->n += n;
  return ULY_OK;
}

static inline void uly__buffer_free(uly__buffer *b) {
  free(b->bytes);
  *b = (uly__buffer){0};
}

#endif
