/* Where weights and gradients live and when they move: see zero.h. */
#include "parallel/zero.h"

#include <stdlib.h>

#include "base/spans.h"
#include "ops/tree_sum.h"

enum { BLOCK_SLOTS = 2, OUTER = 2, OUTER_TIED = 3 };

/* The bytes of a sum or a gather that are under way to a rank. They delay an exchange for attention
 * by a few milliseconds on a slow link, and still keep a fast link busy. At least so many come from
 * each rank, since sending a message takes as long as sending some thousands of bytes. */
enum { IN_FLIGHT_BYTES = 2 << 20, IN_FLIGHT_FROM_EACH = 32 << 10 };

/* --------------------------------------------------------------------- who holds what */

/* Returns whether weights stay where they are, so that nothing is gathered for a pass. */
static bool holds_weights(const uly__zero *z) { return z->desc.stage < 3 || z->size == 1; }

/* Returns whether gradients are reduced pass by pass and shards are kept. Otherwise whole gradients
 * are kept, and reduced in the last pass. */
static bool keeps_shards(const uly__zero *z) { return z->desc.stage >= 2 || z->desc.reproducible; }

/* Returns whether backward adds straight to the gradients that are kept. */
static bool adds_in_place(const uly__zero *z) {
  return !keeps_shards(z) && z->desc.grad_dtype == ULY_F32;
}

static bool is_outer(const uly__zero *z, int unit) {
  return unit == 0 || unit == z->desc.num_units - 1;
}

/* Returns the number of contributions of this rank to a unit's gradient in a pass: those of a tied
 * embedding come from both ends of the model, which may be on this rank. */
static int num_sources(const uly__zero *z, int unit) {
  return z->desc.tied && z->desc.has_both_ends && unit == 0 ? 2 : 1;
}

/* Returns the number of arrays of a unit's shard that are kept: the sum, and the levels of each
 * source's tree over the passes. */
static int64_t num_sums(const uly__zero *z, int unit) {
  return 1 + (int64_t)num_sources(z, unit) * z->num_levels;
}

/* Returns the elements of the largest unit that shares this slot. */
static int64_t slot_count(const uly__zero *z, int slot) {
  int64_t count = 0;
  for (int u = 0; u < z->desc.num_units; u++)
    if (z->units[u].slot == slot && z->units[u].shard * z->size > count)
      count = z->units[u].shard * z->size;
  return count;
}

static int64_t largest_unit(const uly__zero *z) {
  int64_t count = 0;
  for (int s = 0; s < ULY_ZERO_SLOTS; s++)
    if (slot_count(z, s) > count) count = slot_count(z, s);
  return count;
}

static uly_status check(const uly_mesh *mesh, const uly__zero_desc *d) {
  int size = uly__mesh_extent(mesh, ULY_AXES_ZERO);
  if (d->stage < 0 || d->stage > 3)
    ULY_FAIL(ULY_ERR_CONFIG, "config.zero_stage is %d, but it must be from 0 to 3", d->stage);
  if (d->forward_only && d->stage != 0 && d->stage != 3)
    ULY_FAIL(ULY_ERR_CONFIG,
             "config.zero_stage is %d, but a run that does not train has no gradients to share: "
             "use 0 (each rank holds all weights) or 3 (its share of them)",
             d->stage);
  if (d->grad_dtype != ULY_F32 && d->grad_dtype != ULY_BF16)
    ULY_FAIL(ULY_ERR_CONFIG, "config.grad_dtype is %d, but it must be ULY_F32 or ULY_BF16",
             (int)d->grad_dtype);
  if (!d->reproducible) return ULY_OK;
  if (size & (size - 1))
    ULY_FAIL(ULY_ERR_CONFIG,
             "config.reproducible joins ranks in pairs, so it needs a power of two of them, not "
             "mesh.dp = %d times mesh.sp = %d: start 1, 2, 4, 8, ... ranks, or leave it out",
             uly__mesh_extent(mesh, ULY_AXIS_DP), uly__mesh_extent(mesh, ULY_AXES_SP));
  if (d->grad_dtype != ULY_F32)
    ULY_FAIL(ULY_ERR_CONFIG,
             "config.reproducible sums gradients in f32: use config.grad_dtype = ULY_F32");
  return ULY_OK;
}

static void lay_out(uly__zero *z, const int64_t *counts) {
  const uly__zero_desc *d = &z->desc;
  int num_blocks = 0; /* that this rank holds */
  for (int u = 0; u < d->num_units; u++) {
    uly__zero_unit *unit = &z->units[u];
    int64_t share = (counts[u] + z->size - 1) / z->size;
    unit->count = counts[u];
    unit->shard = (share + ULY_SHARD_PIECE - 1) / ULY_SHARD_PIECE * ULY_SHARD_PIECE;
    unit->full_begin = z->full_count;
    unit->shard_begin = z->shard_count;
    unit->slot = u > 0 && d->tied ? OUTER_TIED : OUTER;
    if (!is_outer(z, u)) unit->slot = num_blocks % BLOCK_SLOTS;
    num_blocks += !is_outer(z, u) && counts[u] > 0;
    z->full_count += unit->shard * z->size;
    z->shard_count += unit->shard;
  }
  z->num_levels = d->reproducible ? uly__tree_levels(d->passes) : 0;
  z->num_fold_levels = uly__tree_levels(d->segments);
  int64_t from_each = z->size * (int64_t)IN_FLIGHT_FROM_EACH;
  int64_t least = (int64_t)ULY_BULK_IN_FLIGHT * z->size * ULY_SHARD_PIECE * (int64_t)sizeof(float);
  int64_t most = largest_unit(z) * (int64_t)sizeof(float);
  z->in_flight_bytes = from_each > IN_FLIGHT_BYTES ? from_each : IN_FLIGHT_BYTES;
  if (z->in_flight_bytes > most) z->in_flight_bytes = most;
  if (z->in_flight_bytes < least) z->in_flight_bytes = least;
}

static uly_status prepare(uly_mesh *mesh, const uly__zero_desc *desc, uly__zero *z) {
  ULY_TRY(check(mesh, desc));
  z->units = calloc((size_t)desc->num_units, sizeof *z->units);
  if (!z->units) ULY_FAIL(ULY_ERR_MEMORY, "no memory for a table of %d units", desc->num_units);
  lay_out(z, desc->counts);
  z->fold_levels = calloc((size_t)z->num_fold_levels + 1, sizeof *z->fold_levels);
  if (!z->fold_levels) ULY_FAIL(ULY_ERR_MEMORY, "no memory for the levels of a sum");
  ULY_TRY(uly__bulk_create(z->group, z->ops, &z->gather));
  return uly__bulk_create(z->group, z->ops, &z->reduce);
}

uly_status uly__zero_create(uly_mesh *mesh, const uly__zero_desc *desc, uly__zero **out) {
  *out = NULL;
  uly__zero *z = calloc(1, sizeof *z);
  if (!z) ULY_FAIL(ULY_ERR_MEMORY, "no memory for the plan of model states");
  z->desc = *desc;
  z->desc.counts = NULL;
  z->ops = uly__ops_get();
  z->stream = uly__stream_get();
  z->group = uly__mesh_group(mesh, ULY_AXES_ZERO);
  z->size = uly__group_size(z->group);
  z->rank = uly__group_rank(z->group);
  z->reducing = z->gathering = z->travelling = -1;
  uly_status status = prepare(mesh, desc, z);
  if (status != ULY_OK)
    uly__zero_destroy(z);
  else
    *out = z;
  return status;
}

void uly__zero_destroy(uly__zero *zero) {
  if (!zero) return;
  uly__bulk_destroy(&zero->gather);
  uly__bulk_destroy(&zero->reduce);
  free(zero->units);
  free(zero->fold_levels);
  free(zero);
}

void uly__zero_on_complete(uly__zero *zero,
                           uly_status (*complete)(void *context, int unit, uly_dtype dtype,
                                                  void *grads),
                           void *context) {
  zero->complete = complete;
  zero->complete_context = context;
}

int64_t uly__zero_num_completions(const uly__zero *zero, int unit) {
  return keeps_shards(zero) ? zero->desc.passes * num_sources(zero, unit) : 1;
}

static uly_status note_complete(const uly__zero *z, int unit, uly_dtype dtype, void *grads) {
  return z->complete ? z->complete(z->complete_context, unit, dtype, grads) : ULY_OK;
}

/* ----------------------------------------------------------------------------- memory */

static void carve_gathered(uly__zero *z, uly__arena *scratch) {
  int64_t element = uly__dtype_bytes(z->desc.dtype);
  for (int s = 0; s < ULY_ZERO_SLOTS; s++)
    z->slots[s] =
        (uly__zero_slot){.data = uly__arena_carve(scratch, slot_count(z, s) * element), .unit = -1};
}

static void carve_live(uly__zero *z, uly__arena *scratch) {
  int64_t size = sizeof(float);
  /* One block's gradient is reduced while the next one's is made; without a reduction one place
   * suffices. */
  bool overlaps = keeps_shards(z) && z->size > 1;
  for (int s = 0; s < ULY_ZERO_SLOTS; s++)
    z->live[s] =
        s == 1 && !overlaps ? z->live[0] : uly__arena_carve(scratch, slot_count(z, s) * size);
  for (int level = 0; level < z->num_fold_levels; level++)
    z->fold_levels[level] =
        uly__arena_carve(scratch, (largest_unit(z) + slot_count(z, OUTER_TIED)) * size);
}

static void point_to_units(uly__zero *z) {
  const uly__zero_desc *d = &z->desc;
  int64_t element = uly__dtype_bytes(d->dtype), sum = uly__dtype_bytes(d->grad_dtype), at = 0;
  for (int u = 0; u < d->num_units; u++) {
    uly__zero_unit *unit = &z->units[u];
    unit->weights = holds_weights(z) ? z->weights + unit->full_begin * element : NULL;
    if (d->forward_only) continue;
    unit->sums = z->grads + (keeps_shards(z) ? at : unit->full_begin * sum);
    at += unit->shard * num_sums(z, u) * sum;
  }
}

static void carve_grads(uly__zero *zero, uly__arena *arenas) {
  uly__arena *scratch = &arenas[ULY_ARENA_SCRATCH];
  const uly__zero_desc *d = &zero->desc;
  int64_t sums = keeps_shards(zero) ? 0 : zero->full_count, shard = 0;
  for (int u = 0; u < d->num_units; u++) {
    const uly__zero_unit *unit = &zero->units[u];
    if (keeps_shards(zero)) sums += unit->shard * num_sums(zero, u);
    if (unit->shard > shard) shard = unit->shard;
  }
  zero->grads =
      uly__arena_carve(&arenas[ULY_ARENA_GRADIENTS], sums * uly__dtype_bytes(d->grad_dtype));
  if (!adds_in_place(zero)) {
    carve_live(zero, scratch);
    zero->reduced = uly__arena_carve(scratch, shard * (int64_t)sizeof(float));
  }
  if (zero->size > 1) zero->workspace = uly__arena_carve(scratch, zero->in_flight_bytes);
}

void uly__zero_carve(uly__zero *zero, uly__arena *arenas) {
  int64_t weights = holds_weights(zero) ? zero->full_count : zero->shard_count;
  zero->weights =
      uly__arena_carve(&arenas[ULY_ARENA_PARAMETERS], weights * uly__dtype_bytes(zero->desc.dtype));
  if (!holds_weights(zero)) carve_gathered(zero, &arenas[ULY_ARENA_SCRATCH]);
  if (!zero->desc.forward_only) carve_grads(zero, arenas);
  if (zero->weights) point_to_units(zero);
}

/* --------------------------------------------------------------------- what a rank updates */

static bool updates_all(const uly__zero *z) { return z->desc.stage == 0; }

static int64_t my_begin(const uly__zero *z, int unit) { return z->rank * z->units[unit].shard; }

uly__part uly__zero_owned(const uly__zero *zero, int unit) {
  const uly__zero_unit *u = &zero->units[unit];
  int64_t begin = my_begin(zero, unit), left = u->count > begin ? u->count - begin : 0;
  return (uly__part){begin, left < u->shard ? left : u->shard};
}

uly__part uly__zero_updated(const uly__zero *zero, int unit) {
  return updates_all(zero) ? (uly__part){0, zero->units[unit].count} : uly__zero_owned(zero, unit);
}

int64_t uly__zero_num_places(const uly__zero *zero) {
  return updates_all(zero) ? zero->full_count : zero->shard_count;
}

int64_t uly__zero_place(const uly__zero *zero, int unit, int64_t at) {
  const uly__zero_unit *u = &zero->units[unit];
  return updates_all(zero) ? u->full_begin + at : u->shard_begin + at - my_begin(zero, unit);
}

void *uly__zero_weight(const uly__zero *zero, int unit, int64_t at) {
  const uly__zero_unit *u = &zero->units[unit];
  int64_t place =
      holds_weights(zero) ? u->full_begin + at : u->shard_begin + at - my_begin(zero, unit);
  return uly__at(zero->weights, zero->desc.dtype, place);
}

/* ---------------------------------------------------------------------------- weights */

void uly__zero_forget_weights(uly__zero *zero) {
  for (int s = 0; s < ULY_ZERO_SLOTS; s++) zero->slots[s].unit = -1;
}

/* Records what has arrived. */
static void note_arrivals(uly__zero *z) {
  if (z->gathering >= 0 && !uly__bulk_is_pending(&z->gather)) {
    uly__span_end(z->desc.stage == 0 ? "gather sums of unit" : "gather unit", z->gathering,
                  ULY_LANE_GATHER, z->gather_began);
    z->gathering = -1;
  }
  if (z->travelling >= 0 && !uly__bulk_is_pending(&z->reduce)) {
    uly__span_end("reduce unit", z->travelling, ULY_LANE_REDUCE, z->travel_began);
    z->travelling = -1;
  }
}

/* Waits for the unit whose weights, or sums of gradients, are on their way. */
static uly_status wait_for_gather(uly__zero *z, const char *what) {
  bool waits = uly__bulk_is_pending(&z->gather);
  int unit = z->gathering;
  double begin = uly__now();
  ULY_TRY(uly__bulk_wait(&z->gather));
  note_arrivals(z);
  if (waits) uly__span_end(what, unit, ULY_LANE_COMPUTE, begin);
  return ULY_OK;
}

/* Waits for the unit whose gradients are on their way. */
static uly_status wait_for_reduction(uly__zero *z) {
  bool waits = uly__bulk_is_pending(&z->reduce);
  double begin = uly__now();
  ULY_TRY(uly__bulk_wait(&z->reduce));
  note_arrivals(z);
  if (waits) uly__span_end("wait for gradients of unit", z->reducing, ULY_LANE_COMPUTE, begin);
  return ULY_OK;
}

static uly_status wait_for_weights(uly__zero *z) {
  ULY_TRY(wait_for_gather(z, "wait for unit"));
  for (int s = 0; s < ULY_ZERO_SLOTS; s++) z->slots[s].ready = z->slots[s].unit >= 0;
  return ULY_OK;
}

uly_status uly__zero_prefetch(uly__zero *zero, int unit) {
  if (holds_weights(zero)) return ULY_OK;
  const uly__zero_unit *u = &zero->units[unit];
  uly__zero_slot *slot = &zero->slots[u->slot];
  if (slot->unit == unit) return ULY_OK;
  ULY_TRY(wait_for_weights(zero));
  int64_t bytes = u->shard * uly__dtype_bytes(zero->desc.dtype);
  slot->unit = unit;
  slot->ready = false;
  uly__copy(zero->stream, (char *)slot->data + zero->rank * bytes,
            uly__zero_weight(zero, unit, my_begin(zero, unit)), bytes);
  zero->gathering = unit;
  zero->gather_began = uly__now();
  return uly__bulk_gather_start(&zero->gather, zero->stream, ULY_TRAFFIC_PARAMETERS, slot->data,
                                bytes, zero->in_flight_bytes);
}

uly_status uly__zero_acquire(uly__zero *zero, int unit) {
  if (holds_weights(zero)) return ULY_OK;
  uly__zero_unit *u = &zero->units[unit];
  ULY_TRY(uly__zero_prefetch(zero, unit));
  if (!zero->slots[u->slot].ready) ULY_TRY(wait_for_weights(zero));
  u->weights = zero->slots[u->slot].data;
  return ULY_OK;
}

void uly__zero_release(uly__zero *zero, int unit) {
  if (!holds_weights(zero)) zero->units[unit].weights = NULL;
}

uly_status uly__zero_publish(uly__zero *zero, int unit) {
  const uly__zero_unit *u = &zero->units[unit];
  if (updates_all(zero) || zero->desc.stage == 3 || u->count == 0) return ULY_OK;
  int64_t bytes = u->shard * uly__dtype_bytes(zero->desc.dtype);
  ULY_TRY(uly__bulk_gather_start(&zero->gather, zero->stream, ULY_TRAFFIC_PARAMETERS, u->weights,
                                 bytes, zero->in_flight_bytes));
  return uly__bulk_wait(&zero->gather);
}

/* -------------------------------------------------------------------------- gradients */

void uly__zero_begin_step(uly__zero *zero) {
  uly__zero_forget_weights(zero);
  for (int u = 0; u < zero->desc.num_units; u++) {
    zero->units[u].num_reduced = 0;
    if (adds_in_place(zero)) zero->units[u].grads = (float *)zero->units[u].sums;
  }
  if (adds_in_place(zero))
    uly__clear(zero->stream, zero->grads, zero->full_count * (int64_t)sizeof(float));
}

void uly__zero_fold(uly__zero *zero, int unit, int segment, int64_t begin, int64_t count) {
  int last = zero->desc.segments - 1;
  if (last == 0) return;
  float *levels[64], *grads = zero->units[unit].grads + begin;
  /* A last unit beside the embedding is folded in turns with it, so it has a place of its own. */
  int64_t place = zero->units[unit].slot == OUTER_TIED ? largest_unit(zero) : 0;
  for (int level = 0; level < zero->num_fold_levels; level++)
    levels[level] = zero->fold_levels[level] + place + begin;
  if (segment == last) {
    zero->ops->tree_finish(zero->stream, levels, segment, count, grads);
  } else {
    zero->ops->tree_push(zero->stream, levels, segment, count, grads);
    uly__clear(zero->stream, grads, count * (int64_t)sizeof *grads);
  }
}

static void keep(const uly__zero *z, void *sums, const float *x, int64_t count, bool first) {
  z->ops->keep_sum(z->stream, count, z->desc.grad_dtype, x, first, sums);
}

/* Takes in one contribution to my shard. In reproducible runs each source is summed over the passes
 * by itself, since its passes are joined across the ranks first; then the sources are added. */
static void take_in(uly__zero *z, int unit, float *x) {
  uly__zero_unit *u = &z->units[unit];
  int sources = num_sources(z, unit), source = (int)(u->num_reduced % sources);
  int64_t pass = u->num_reduced++ / sources;
  float *levels[64], *sums = (float *)(void *)u->sums;
  for (int level = 0; level < z->num_levels; level++)
    levels[level] = sums + (1 + source * z->num_levels + level) * u->shard;
  if (z->desc.reproducible && pass + 1 < z->desc.passes) {
    z->ops->tree_push(z->stream, levels, pass, u->shard, x);
    return;
  }
  if (z->desc.reproducible) z->ops->tree_finish(z->stream, levels, pass, u->shard, x);
  bool first = source == 0 && (z->desc.reproducible || pass == 0);
  keep(z, u->sums, x, u->shard, first);
}

static uly_status start_reduction(uly__zero *z, int unit, void *data, float *out) {
  z->reducing = z->travelling = unit;
  z->travel_began = uly__now();
  return uly__bulk_sum_start(&z->reduce, z->stream, ULY_TRAFFIC_GRADIENTS, z->desc.grad_dtype, data,
                             z->units[unit].shard, out, z->workspace, z->in_flight_bytes);
}

/* Returns my shard of a unit's sums. */
static void *grad_shard(const uly__zero *z, int unit) {
  return uly__at(z->units[unit].sums, z->desc.grad_dtype, keeps_shards(z) ? 0 : my_begin(z, unit));
}

static int64_t grad_shard_bytes(const uly__zero *z, int unit) {
  return z->units[unit].shard * uly__dtype_bytes(z->desc.grad_dtype);
}

/* Returns whether a unit's gradient is completed later, by ranks of another stage of a pipeline. */
static bool is_completed_later(const uly__zero *z, int unit) {
  return unit == 0 && z->desc.tied && !z->desc.has_both_ends;
}

/* Sends my sum of a complete unit to all ranks at ZeRO stage 0, while the next unit's is
 * reduced. */
static uly_status send_complete(uly__zero *z, int unit) {
  if (!updates_all(z) || keeps_shards(z) || z->size == 1) return ULY_OK;
  ULY_TRY(wait_for_gather(z, "wait for sums of unit"));
  z->gathering = unit;
  z->gather_began = uly__now();
  return uly__bulk_gather_start(&z->gather, z->stream, ULY_TRAFFIC_GRADIENTS, z->units[unit].sums,
                                grad_shard_bytes(z, unit), z->in_flight_bytes);
}

static uly_status send_sum(uly__zero *z, int unit) {
  return unit < 0 || is_completed_later(z, unit) ? ULY_OK : send_complete(z, unit);
}

/* Waits for the reduction that is under way, and takes in its result. */
static uly_status finish_reduction(uly__zero *z) {
  int unit = z->reducing;
  if (unit < 0) return ULY_OK;
  ULY_TRY(wait_for_reduction(z));
  z->reducing = -1;
  if (keeps_shards(z)) {
    take_in(z, unit, z->reduced);
    return ULY_OK;
  }
  if (!adds_in_place(z)) keep(z, grad_shard(z, unit), z->reduced, z->units[unit].shard, true);
  return ULY_OK;
}

uly_status uly__zero_begin_grads(uly__zero *zero, int unit) {
  if (adds_in_place(zero)) return ULY_OK;
  uly__zero_unit *u = &zero->units[unit];
  /* A reduction from this place must end first. */
  if (zero->reducing >= 0 && zero->units[zero->reducing].slot == u->slot)
    ULY_TRY(finish_reduction(zero));
  u->grads = zero->live[u->slot];
  uly__clear(zero->stream, u->grads, u->shard * zero->size * (int64_t)sizeof(float));
  return ULY_OK;
}

/* Takes in, or sends on its way, what one pass has made. */
static uly_status end_pass(uly__zero *z, int unit, float *grads) {
  int64_t count = z->units[unit].shard * z->size;
  ULY_TRY(finish_reduction(z));
  ULY_TRY(note_complete(z, unit, ULY_F32, grads));
  if (z->size == 1) {
    take_in(z, unit, grads);
    return ULY_OK;
  }
  if (z->desc.grad_dtype == ULY_BF16) z->ops->round_in_place(z->stream, count, grads);
  return start_reduction(z, unit, grads, z->reduced);
}

/* Adds a gradient to what earlier passes made; after the last one, starts the reduction of the
 * sum. */
static uly_status add_pass(uly__zero *z, int unit, const float *grads) {
  uly__zero_unit *u = &z->units[unit];
  bool is_first = u->num_reduced++ == 0;
  if (!adds_in_place(z)) keep(z, u->sums, grads, u->shard * z->size, is_first);
  if (u->num_reduced < z->desc.passes * num_sources(z, unit)) return ULY_OK;
  ULY_TRY(note_complete(z, unit, z->desc.grad_dtype, u->sums));
  if (z->size == 1) return ULY_OK;
  int before = z->reducing;
  ULY_TRY(finish_reduction(z));
  ULY_TRY(start_reduction(z, unit, u->sums, adds_in_place(z) ? grad_shard(z, unit) : z->reduced));
  return send_sum(z, before);
}

uly_status uly__zero_end_grads(uly__zero *zero, int unit) {
  float *grads = zero->units[unit].grads;
  if (!adds_in_place(zero)) zero->units[unit].grads = NULL;
  return keeps_shards(zero) ? end_pass(zero, unit, grads) : add_pass(zero, unit, grads);
}

uly_status uly__zero_poll(uly__zero *zero) {
  ULY_TRY(uly__bulk_poll(&zero->gather));
  ULY_TRY(uly__bulk_poll(&zero->reduce));
  note_arrivals(zero);
  return ULY_OK;
}

uly_status uly__zero_reduce(uly__zero *zero) {
  int last = zero->reducing;
  ULY_TRY(finish_reduction(zero));
  ULY_TRY(send_sum(zero, last));
  return wait_for_gather(zero, "wait for sums of unit");
}

void *uly__zero_reduced(const uly__zero *zero, int unit) { return grad_shard(zero, unit); }

uly_status uly__zero_share_reduced(uly__zero *zero, int unit) {
  ULY_TRY(send_complete(zero, unit));
  return wait_for_gather(zero, "wait for sums of unit");
}

/* Returns where all of a unit's sums are after uly__zero_gather_grads in stage 0. */
static char *all_sums(const uly__zero *z, int unit) {
  const uly__zero_unit *u = &z->units[unit];
  return keeps_shards(z) && z->size > 1 ? (char *)z->live[u->slot] : u->sums;
}

uly_status uly__zero_gather_grads(uly__zero *zero, int unit) {
  char *sums = all_sums(zero, unit);
  if (!updates_all(zero) || sums == zero->units[unit].sums || zero->units[unit].count == 0)
    return ULY_OK;
  int64_t bytes = grad_shard_bytes(zero, unit);
  uly__copy(zero->stream, sums + zero->rank * bytes, grad_shard(zero, unit), bytes);
  ULY_TRY(uly__bulk_gather_start(&zero->gather, zero->stream, ULY_TRAFFIC_GRADIENTS, sums, bytes,
                                 zero->in_flight_bytes));
  return uly__bulk_wait(&zero->gather);
}

const void *uly__zero_grad(const uly__zero *zero, int unit, int64_t at) {
  uly__part owned = uly__zero_owned(zero, unit);
  if (at >= owned.begin && at < owned.begin + owned.count)
    return uly__at(grad_shard(zero, unit), zero->desc.grad_dtype, at - owned.begin);
  return uly__at(all_sums(zero, unit), zero->desc.grad_dtype, at);
}

/* ------------------------------------------------------------------------------ bytes */

int64_t uly__zero_sent_grads(const uly__zero *zero) {
  int64_t elements = 0;
  if (zero->desc.forward_only) return 0;
  for (int u = 0; u < zero->desc.num_units; u++) {
    int64_t times = uly__zero_num_completions(zero, u);
    elements += zero->units[u].shard * (times + updates_all(zero));
  }
  return (zero->size - 1) * elements * uly__dtype_bytes(zero->desc.grad_dtype);
}

uly__zero_gathers uly__zero_count_gathers(const uly__zero *zero) {
  uly__zero_gathers count = {.zero = zero};
  for (int s = 0; s < ULY_ZERO_SLOTS; s++) count.held[s] = -1;
  return count;
}

void uly__zero_gathers_use(uly__zero_gathers *count, int unit) {
  const uly__zero_unit *u = &count->zero->units[unit];
  if (holds_weights(count->zero) || count->held[u->slot] == unit) return;
  count->held[u->slot] = unit;
  count->elements += u->shard;
}

int64_t uly__zero_sent_weights(const uly__zero *zero, const uly__zero_gathers *count) {
  int64_t elements = count->elements, stage = zero->desc.stage;
  for (int u = 0; u < zero->desc.num_units && (stage == 1 || stage == 2); u++)
    elements += zero->units[u].shard;
  return (zero->size - 1) * elements * uly__dtype_bytes(zero->desc.dtype);
}
