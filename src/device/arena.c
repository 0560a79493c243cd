/* Arenas: measure, commit, carve. */
#include "device/arena.h"

#include <assert.h>

#include "device/device.h"

void uly__arena_init(uly__arena *arena, const char *name, const char *advice, bool of_host) {
  *arena = (uly__arena){.name = name, .advice = advice, .of_host = of_host};
}

void *uly__arena_carve(uly__arena *arena, int64_t bytes) {
  int64_t begin = arena->used;
  arena->used += (bytes + 63) / 64 * 64;
  if (arena->used > arena->peak) arena->peak = arena->used;
  if (!arena->base) return NULL;
  assert(arena->used <= arena->capacity);
  return arena->base + begin;
}

int64_t uly__arena_mark(const uly__arena *arena) { return arena->used; }

void uly__arena_release(uly__arena *arena, int64_t mark) { arena->used = mark; }

uly_status uly__arena_commit(uly__arena *arena) {
  arena->capacity = arena->peak;
  arena->used = arena->peak = 0;
  if (arena->capacity == 0) return ULY_OK;
  arena->base = (arena->of_host ? uly__host_alloc : uly__device_alloc)(arena->capacity);
  if (!arena->base)
    ULY_FAIL(ULY_ERR_MEMORY, "%lld bytes for %s cannot be allocated: %s",
             (long long)arena->capacity, arena->name, arena->advice);
  return ULY_OK;
}

void uly__arena_destroy(uly__arena *arena) {
  (arena->of_host ? uly__host_free : uly__device_free)(arena->base, arena->capacity);
  uly__arena_init(arena, arena->name, arena->advice, arena->of_host);
}

const char *uly_arena_name(uly_arena arena) {
  static const char *names[ULY_NUM_ARENAS] = {"parameters", "gradients", "optimizer", "activations",
                                              "scratch"};
  return (unsigned)arena < ULY_NUM_ARENAS ? names[arena] : "unknown";
}
