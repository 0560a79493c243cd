/* An arena: one piece of memory, measured first, allocated once, then carved.
 *
 * The code that lays out buffers runs twice over the same lines: while the arena has no memory,
 * carving returns NULL and only counts; after commit, the same calls return addresses. So a plan
 * and a run cannot disagree. mark/release lets buffers that are never alive together share a
 * place. */
#ifndef ULY_ARENA_H
#define ULY_ARENA_H

#include <stdbool.h>

#include "base/status.h"

typedef struct uly__arena {
  const char *name, *advice;
  bool of_host;     /* memory of the host, not of the device */
  char *base;       /* NULL while measuring */
  int64_t capacity; /* bytes allocated */
  int64_t used;     /* bytes carved now */
  int64_t peak;     /* high-water mark of used */
} uly__arena;

/* Makes an arena without memory. `name` says what the memory is for, and `advice` what a user can
 * do if there is not enough; both are literals. */
void uly__arena_init(uly__arena *arena, const char *name, const char *advice, bool of_host);

/* Returns the next bytes, on a 64-byte boundary; NULL while measuring. Carving more than was
 * measured is a defect of the caller (assert). */
void *uly__arena_carve(uly__arena *arena, int64_t bytes);

/* Returns a position to return to with uly__arena_release. */
int64_t uly__arena_mark(const uly__arena *arena);
void uly__arena_release(uly__arena *arena, int64_t mark);

/* Allocates the peak that was measured and forgets what was carved. The message of ULY_ERR_MEMORY
 * names the arena and the bytes. */
uly_status uly__arena_commit(uly__arena *arena);
void uly__arena_destroy(uly__arena *arena);

#endif
