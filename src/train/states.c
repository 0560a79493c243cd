/* Where the states are: see states.h. The file holds master weights (bf16 training), then the
 * first, then the second moments, each [count]. */
#include "train/states.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "ops/ops.h"

/* Returns whether the master weights are the weights, as in f32 training. */
static bool master_is_weights(const uly__states *s) { return s->zero->desc.dtype == ULY_F32; }

/* Returns whether nothing is trained and the weights are not master weights. */
static bool is_rounded(const uly__states *s) {
  return s->zero->desc.forward_only && !master_is_weights(s);
}

static bool is_kept_here(const uly__states *s, uly__state which) {
  return (!s->offloaded && !is_rounded(s)) || (which == ULY_STATE_MASTER && master_is_weights(s));
}

/* Returns the first element of a unit in the range of what this rank owns. */
static int64_t place(const uly__zero *z, int unit) {
  return z->desc.stage == 0 ? z->units[unit].full_begin : z->units[unit].shard_begin;
}

static uly__part clamp(const uly__zero *z, int unit, int64_t begin, int64_t count) {
  int64_t left = z->units[unit].count - begin;
  if (left < 0) left = 0;
  return (uly__part){begin, count < left ? count : left};
}

uly__part uly__states_shard(const uly__zero *zero, int unit) {
  int64_t shard = zero->units[unit].shard;
  return clamp(zero, unit, zero->rank * shard, shard);
}

uly__part uly__states_owned(const uly__zero *zero, int unit) {
  return zero->desc.stage == 0 ? clamp(zero, unit, 0, zero->units[unit].count)
                               : uly__states_shard(zero, unit);
}

void uly__states_init(uly__states *states, const uly__zero *zero, bool offloaded) {
  *states = (uly__states){.zero = zero,
                          .count = zero->desc.stage == 0 ? zero->full_count : zero->shard_count,
                          .num = zero->desc.forward_only ? 1 : ULY_NUM_STATES,
                          .offloaded = offloaded,
                          .fd = -1};
}

void uly__states_carve(uly__states *states, uly__arena *arenas) {
  bool is_window = states->offloaded || is_rounded(states);
  uly__arena *arena = &arenas[is_rounded(states) ? ULY_ARENA_SCRATCH : ULY_ARENA_OPTIMIZER];
  int64_t mark = uly__arena_mark(arena), count = states->count;
  if (is_window && count > ULY_STATE_WINDOW) count = ULY_STATE_WINDOW;
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

static float *in_memory(const uly__states *s, uly__state which, int unit, int64_t begin) {
  const uly__zero *z = s->zero;
  uly__part owned = uly__states_owned(z, unit);
  int64_t at = begin - owned.begin;
  if (which != ULY_STATE_MASTER || !master_is_weights(s))
    return s->data[which] + place(z, unit) + at;
  return uly__states_weight(s, unit, begin);
}

static int64_t in_file(const uly__states *s, uly__state which, int unit, int64_t begin) {
  int64_t at = begin - uly__states_owned(s->zero, unit).begin;
  return (which * s->count + place(s->zero, unit) + at) * (int64_t)sizeof(float);
}

void *uly__states_weight(const uly__states *states, int unit, int64_t at) {
  const uly__zero *z = states->zero;
  return uly__at(uly__zero_weight_shard(z, unit), z->desc.dtype,
                 at - z->rank * z->units[unit].shard);
}

uly_status uly__states_map(uly__states *states, uly__state which, int unit, int64_t begin,
                           int64_t count, float **window) {
  if (is_kept_here(states, which)) {
    *window = in_memory(states, which, unit, begin);
    return ULY_OK;
  }
  *window = states->data[which];
  /* The window is to be filled: nothing else is kept of it. */
  if (is_rounded(states)) return ULY_OK;
  return uly__file_read(states->fd, states->path, in_file(states, which, unit, begin), *window,
                        count * (int64_t)sizeof(float));
}

uly_status uly__states_unmap(uly__states *states, uly__state which, int unit, int64_t begin,
                             int64_t count) {
  if (is_kept_here(states, which)) return ULY_OK;
  if (is_rounded(states)) {
    const uly__zero *z = states->zero;
    z->ops->to_bf16(z->stream, count, states->data[which], uly__states_weight(states, unit, begin));
    return ULY_OK;
  }
  return uly__file_write(states->fd, states->path, in_file(states, which, unit, begin),
                         states->data[which], count * (int64_t)sizeof(float));
}

uly_status uly__states_read(const uly__states *states, uly__state which, int unit, int64_t begin,
                            int64_t count, float *buffer, const float **out) {
  if (is_kept_here(states, which)) {
    *out = in_memory(states, which, unit, begin);
    return ULY_OK;
  }
  *out = buffer;
  return uly__file_read(states->fd, states->path, in_file(states, which, unit, begin), buffer,
                        count * (int64_t)sizeof(float));
}
