/* Where the states are: see states.h. The file holds master weights (bf16 training), then the
 * first, then the second moments, each [count]. */
#include "model/states.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "ops/ops.h"

/* Returns whether the master weights are the weights, as in f32 training. */
static bool master_is_weights(const uly__states *s) { return s->dtype == ULY_F32; }

/* Returns whether nothing is trained and the weights are not master weights. */
static bool is_rounded(const uly__states *s) { return s->forward_only && !master_is_weights(s); }

static bool is_kept_here(const uly__states *s, uly__state which) {
  return (!s->offloaded && !is_rounded(s)) || (which == ULY_STATE_MASTER && master_is_weights(s));
}

void uly__states_init(uly__states *states, const uly__zero *zero, uly_dtype dtype,
                      bool forward_only, bool offloaded) {
  *states = (uly__states){.zero = zero,
                          .dtype = dtype,
                          .forward_only = forward_only,
                          .count = uly__zero_num_places(zero),
                          .num = forward_only ? 1 : ULY_NUM_STATES,
                          .offloaded = offloaded,
                          .fd = -1};
}

void uly__states_carve(uly__states *states, uly__arena *arenas) {
  bool is_window = states->offloaded || is_rounded(states);
  uly__arena *arena = &arenas[is_rounded(states) ? ULY_ARENA_SCRATCH : ULY_ARENA_OPTIMIZER];
  int64_t mark = uly__arena_mark(arena), count = states->count;
  if (is_window && count > ULY_LARGEST_RANGE) count = ULY_LARGEST_RANGE;
  for (int which = 0; which < states->num; which++)
    if (which != ULY_STATE_MASTER || !master_is_weights(states))
      states->data[which] = uly__arena_carve(arena, count * (int64_t)sizeof(float));
  if (is_rounded(states)) uly__arena_release(arena, mark);
}

uly_status uly__states_open(uly__states *states, const char *path) {
  states->path = strdup(path);
  if (!states->path) ULY_FAIL(ULY_ERR_MEMORY, "no memory for a path");
  int64_t bytes = ULY_NUM_STATES * states->count * (int64_t)sizeof(float);
  return uly__file_scratch(path, bytes, &states->fd);
}

void uly__states_close(uly__states *states) {
  if (states->fd >= 0) close(states->fd);
  states->fd = -1;
  free(states->path);
  states->path = NULL;
}

static int64_t place(const uly__states *s, const uly__range *range) {
  return uly__zero_place(s->zero, range->param->unit, range->local);
}

static void *weights(const uly__states *s, const uly__range *range) {
  return uly__zero_weight(s->zero, range->param->unit, range->local);
}

static float *in_memory(const uly__states *s, uly__state which, const uly__range *range) {
  if (which == ULY_STATE_MASTER && master_is_weights(s)) return weights(s, range);
  return s->data[which] + place(s, range);
}

static int64_t in_file(const uly__states *s, uly__state which, const uly__range *range) {
  return (which * s->count + place(s, range)) * (int64_t)sizeof(float);
}

static int64_t bytes_of(const uly__range *range) { return range->count * (int64_t)sizeof(float); }

uly_status uly__states_map(uly__states *states, uly__state which, const uly__range *range,
                           float **window) {
  if (is_kept_here(states, which)) {
    *window = in_memory(states, which, range);
    return ULY_OK;
  }
  *window = states->data[which];
  /* The window is to be filled: nothing else is kept of it. */
  if (is_rounded(states)) return ULY_OK;
  return uly__device_read(states->zero->stream, states->fd, states->path,
                          in_file(states, which, range), *window, bytes_of(range));
}

uly_status uly__states_unmap(uly__states *states, uly__state which, const uly__range *range) {
  if (is_kept_here(states, which)) return ULY_OK;
  if (is_rounded(states)) {
    const uly__zero *z = states->zero;
    z->ops->to_bf16(z->stream, range->count, states->data[which], weights(states, range));
    return ULY_OK;
  }
  return uly__device_write(states->zero->stream, states->fd, states->path,
                           in_file(states, which, range), states->data[which], bytes_of(range));
}

uly_status uly__states_read(const uly__states *states, uly__state which, const uly__range *range,
                            float *buffer, const float **out) {
  if (is_kept_here(states, which)) {
    *out = uly__download(states->zero->stream, buffer, in_memory(states, which, range),
                         bytes_of(range));
    return ULY_OK;
  }
  *out = buffer;
  return uly__file_read(states->fd, states->path, in_file(states, which, range), buffer,
                        bytes_of(range));
}
