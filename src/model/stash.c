/* Lays out what is kept between forward and backward, writes it to disk and reads it back. */
#include "model/stash.h"

#include <stdlib.h>

#include "base/spans.h"

/* Places of the ring on disk: for everything but x, and for x. */
enum { RING = 2, X_RING = RING + 1 };

static int least(int a, int b) { return a < b ? a : b; }

uly_status uly__stash_create(int num_layers, uly_recompute recompute, bool forward_only,
                             bool on_disk, uly__stash *out) {
  *out = (uly__stash){.num_layers = num_layers,
                      .keeps_x = !forward_only,
                      .keeps_attention = !forward_only && recompute != ULY_RECOMPUTE_FULL,
                      .keeps_mlp = !forward_only && recompute == ULY_RECOMPUTE_NONE,
                      .on_disk = on_disk};
  out->layers = calloc((size_t)num_layers + 1, sizeof *out->layers);
  if (!out->layers) ULY_FAIL(ULY_ERR_MEMORY, "no memory for the stash of %d blocks", num_layers);
  return ULY_OK;
}

void uly__stash_destroy(uly__stash *stash) {
  uly__disk_close(stash->disk);
  free(stash->layers);
  *stash = (uly__stash){0};
}

/* ------------------------------------------------------------------------------ layout */

/* Carves everything but x, one after the other, so that it is transferred in one piece. */
static uly__stash_layer carve_rest(const uly__stash *stash, const uly__model_config *config,
                                   int64_t stream, int64_t wide, const uly_attention *attention,
                                   uly__arena *arena) {
  uly__stash_layer layer = {.rest = uly__arena_carve(arena, 0)};
  attention->scheme->carve_kept(attention, arena, &layer.attention);
  uly__attention_carve_outputs(attention, arena, &layer.attention);
  if (!stash->keeps_mlp) return layer;
  layer.x_mid = uly__arena_carve(arena, stream);
  layer.gate = config->gated ? uly__arena_carve(arena, wide) : NULL;
  layer.up = uly__arena_carve(arena, wide);
  return layer;
}

void uly__stash_carve(uly__stash *stash, const uly__model_config *config, int64_t stream,
                      int64_t wide, const uly_attention *attention, uly__arena *activations,
                      uly__arena *scratch) {
  int L = stash->num_layers;
  int ring = stash->on_disk ? least(RING, L) : L;
  int x_ring = stash->on_disk ? least(X_RING, L + 1) : L + 1;
  /* What is not kept has one place for all blocks. */
  if (!stash->keeps_attention) ring = 1;
  if (!stash->keeps_x) x_ring = 1;
  uly__arena *arena = stash->keeps_attention ? activations : scratch;
  int64_t begin = uly__arena_mark(arena);
  for (int i = 0; i < L; i++)
    stash->layers[i] = i < ring ? carve_rest(stash, config, stream, wide, attention, arena)
                                : stash->layers[i - ring];
  stash->rest_bytes = stash->keeps_attention ? (uly__arena_mark(arena) - begin) / ring : 0;
  for (int i = 0; i <= L; i++)
    stash->layers[i].x =
        i < x_ring ? uly__arena_carve(activations, stream) : stash->layers[i - x_ring].x;
  stash->x_bytes = stream;
}

/* --------------------------------------------------------------------- disk and back */

/* Returns how many blocks are written. Those that are in memory when backward begins need no
 * file. */
static int num_written(const uly__stash *stash) {
  return stash->on_disk && stash->num_layers > RING ? stash->num_layers - RING : 0;
}

int64_t uly__stash_file_bytes(const uly__stash *stash) {
  return num_written(stash) * (stash->x_bytes + stash->rest_bytes);
}

uly_status uly__stash_open(uly__stash *stash, uly__stream *stream, const char *path) {
  return uly__disk_open(stream, path, uly__stash_file_bytes(stash), &stash->disk);
}

/* Starts the transfer of a block, with uly__disk_write or uly__disk_read. */
static void start(uly__stash *stash, int i,
                  int64_t ask(uly__disk *, int64_t, int64_t, void *, int64_t)) {
  uly__stash_layer *layer = &stash->layers[i];
  int64_t offset = i * (stash->x_bytes + stash->rest_bytes);
  layer->transfer = ask(stash->disk, i, offset, layer->x, stash->x_bytes);
  if (stash->rest_bytes > 0)
    layer->transfer = ask(stash->disk, i, offset + stash->x_bytes, layer->rest, stash->rest_bytes);
}

static uly_status finish(uly__stash *stash, int i) {
  uly__stash_layer *layer = &stash->layers[i];
  if (layer->transfer == 0) return ULY_OK;
  double begin = uly__now();
  uly_status status = uly__disk_wait(stash->disk, layer->transfer);
  uly__span_end("wait for disk", i, ULY_LANE_COMPUTE, begin);
  layer->transfer = 0;
  return status;
}

uly_status uly__stash_reserve(uly__stash *stash, int layer) {
  return layer >= RING ? finish(stash, layer - RING) : ULY_OK;
}

void uly__stash_keep(uly__stash *stash, int layer) {
  if (layer < num_written(stash)) start(stash, layer, uly__disk_write);
}

uly_status uly__stash_acquire(uly__stash *stash, int layer) { return finish(stash, layer); }

void uly__stash_release(uly__stash *stash, int layer) {
  if (stash->on_disk && layer >= RING) start(stash, layer - RING, uly__disk_read);
}
