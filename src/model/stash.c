/* Lays out what is kept between forward and backward, writes it to disk and reads it back. */
#include "model/stash.h"

#include <stdlib.h>

#include "base/spans.h"

/* Places of the ring on disk: for everything but x, and for x. */
enum { RING = 2, X_RING = RING + 1 };

static uly_status create_chunk(const uly__stash_desc *desc, int v, uly__stash_chunk *out) {
  uly__chunk chunk = desc->stage->chunks[v];
  bool arrives_early = desc->in_pipeline && (desc->forward_only || !uly__chunk_embeds(chunk));
  size_t num = (size_t)uly__chunk_layers(chunk) + 1;
  *out = (uly__stash_chunk){.num_sets = desc->in_flight[v],
                            .num_inputs = desc->in_flight[v] + arrives_early};
  out->sets = calloc((size_t)out->num_sets, sizeof *out->sets);
  out->inputs = calloc((size_t)out->num_inputs, sizeof *out->inputs);
  bool failed = !out->sets || !out->inputs;
  for (int64_t i = 0; !failed && i < out->num_sets; i++) {
    out->sets[i] = (uly__stash_set){chunk, calloc(num, sizeof *out->sets[i].layers), 0};
    failed = !out->sets[i].layers;
  }
  if (failed)
    ULY_FAIL(ULY_ERR_MEMORY, "no memory for the stash of %d blocks", uly__chunk_layers(chunk));
  return ULY_OK;
}

uly_status uly__stash_create(const uly__stash_desc *desc, uly__stash *out) {
  bool keeps = !desc->forward_only;
  *out = (uly__stash){.num_chunks = desc->stage->num_chunks,
                      .keeps_x = keeps,
                      .keeps_attention = keeps && desc->recompute != ULY_RECOMPUTE_FULL,
                      .keeps_mlp = keeps && desc->recompute == ULY_RECOMPUTE_NONE,
                      .on_disk = desc->on_disk,
                      .in_pipeline = desc->in_pipeline};
  for (int v = 0; v < out->num_chunks; v++) ULY_TRY(create_chunk(desc, v, &out->chunks[v]));
  out->interleaves = out->num_chunks > 1 || out->chunks[0].num_sets > 1;
  out->set = &out->chunks[0].sets[0];
  return ULY_OK;
}

void uly__stash_destroy(uly__stash *stash) {
  uly__disk_close(stash->disk);
  for (int v = 0; v < stash->num_chunks; v++) {
    uly__stash_chunk *chunk = &stash->chunks[v];
    for (int64_t i = 0; chunk->sets && i < chunk->num_sets; i++) free(chunk->sets[i].layers);
    free(chunk->sets);
    free(chunk->inputs);
  }
  *stash = (uly__stash){0};
}

/* ------------------------------------------------------------------------------ layout */

/* Returns whether an input has one of the places that blocks share. */
static bool has_input_in_ring(const uly__stash *stash) {
  return stash->keeps_x && stash->on_disk && !stash->in_pipeline;
}

/* Returns how many of n blocks are written. Those that are in memory when backward begins need no
 * file. */
static int num_written(const uly__stash *stash, int n) {
  if (!stash->on_disk) return 0;
  return stash->interleaves ? n : n > RING ? n - RING : 0;
}

/* Returns where block i of a set begins in the set's part of the file. Inputs in a pipeline are not
 * written. */
static int64_t offset_of(const uly__stash *stash, int i) {
  int64_t bytes = i * (stash->x_bytes + stash->rest_bytes);
  return i == 0 || has_input_in_ring(stash) ? bytes : bytes - stash->x_bytes;
}

/* Points the first layer of the current set, or without backward passes all its layers, to the
 * place of an input. */
static void point_to_input(uly__stash *stash, int chunk, int64_t place) {
  uly__stash_layer *layers = stash->set->layers;
  void *input = stash->chunks[chunk].inputs[place];
  layers[0].x = input;
  for (int i = 1; !stash->keeps_x && i <= uly__chunk_layers(stash->set->chunk); i++)
    layers[i].x = input;
}

/* A stash that is being carved, with what it is carved from. */
typedef struct carver {
  uly__stash *stash;
  const uly__model_config *config;
  int64_t stream, wide;
  const uly_attention *attention;
  uly__arena *activations, *rest;
  /* The places that blocks share: of everything but x, and of x. */
  uly__stash_layer shared[RING];
  void *shared_x[X_RING];
  int num_shared, num_shared_x;
} carver;

/* Carves everything but x, one after the other, so that it is transferred in one piece. */
static uly__stash_layer carve_rest(carver *c) {
  uly__stash_layer layer = {.rest = uly__arena_carve(c->rest, 0)};
  int64_t begin = uly__arena_mark(c->rest);
  c->attention->scheme->carve_kept(c->attention, c->rest, &layer.attention);
  uly__attention_carve_outputs(c->attention, c->rest, &layer.attention);
  if (c->stash->keeps_mlp) {
    layer.x_mid = uly__arena_carve(c->rest, c->stream);
    layer.gate = c->config->gated ? uly__arena_carve(c->rest, c->wide) : NULL;
    layer.up = uly__arena_carve(c->rest, c->wide);
  }
  if (c->stash->keeps_attention) c->stash->rest_bytes = uly__arena_mark(c->rest) - begin;
  return layer;
}

static void *carve_x(carver *c) { return uly__arena_carve(c->activations, c->stream); }

/* Returns place i of everything but x. What is not kept has one place for all blocks. */
static uly__stash_layer rest_place(carver *c, int i) {
  int ring = !c->stash->keeps_attention ? 1 : c->stash->on_disk ? RING : 0;
  if (ring == 0) return carve_rest(c);
  if (i % ring >= c->num_shared) c->shared[c->num_shared++] = carve_rest(c);
  return c->shared[i % ring];
}

/* Returns where layer i of a chunk with n layers keeps x; layer n stands for the chunk's output.
 * NULL: in the place of an input. The inputs and outputs of a pipeline share no place with
 * others. */
static void *x_place(carver *c, int i, int n) {
  const uly__stash *stash = c->stash;
  if (!stash->keeps_x || (i == 0 && !has_input_in_ring(stash))) return NULL;
  if (!stash->on_disk || (stash->in_pipeline && i == n)) return carve_x(c);
  int turn = (has_input_in_ring(stash) ? i : i - 1) % X_RING;
  if (turn >= c->num_shared_x) c->shared_x[c->num_shared_x++] = carve_x(c);
  return c->shared_x[turn];
}

static void carve_chunk(carver *c, uly__stash_chunk *chunk) {
  uly__stash *stash = c->stash;
  int n = uly__chunk_layers(chunk->sets[0].chunk);
  for (int64_t s = 0; s < chunk->num_sets; s++) {
    uly__stash_layer *layers = chunk->sets[s].layers;
    for (int i = 0; i < n; i++) layers[i] = rest_place(c, i);
    for (int i = 0; i <= n; i++) layers[i].x = x_place(c, i, n);
    chunk->sets[s].offset = stash->file_bytes;
    stash->file_bytes += offset_of(stash, num_written(stash, n));
  }
  bool has_place = has_input_in_ring(stash);
  for (int64_t i = 0; i < chunk->num_inputs; i++)
    chunk->inputs[i] = has_place ? chunk->sets[i].layers[0].x : carve_x(c);
}

void uly__stash_carve(uly__stash *stash, const uly__model_config *config, int64_t stream,
                      int64_t wide, const uly_attention *attention, uly__arena *activations,
                      uly__arena *scratch) {
  carver c = {.stash = stash,
              .config = config,
              .stream = stream,
              .wide = wide,
              .attention = attention,
              .activations = activations,
              .rest = stash->keeps_attention ? activations : scratch};
  stash->x_bytes = stream;
  stash->file_bytes = 0;
  for (int v = 0; v < stash->num_chunks; v++) carve_chunk(&c, &stash->chunks[v]);
  point_to_input(stash, 0, 0);
}

/* --------------------------------------------------------------------- disk and back */

int64_t uly__stash_file_bytes(const uly__stash *stash) { return stash->file_bytes; }

uly_status uly__stash_open(uly__stash *stash, uly__stream *stream, const char *path) {
  return uly__disk_open(stream, path, uly__stash_file_bytes(stash), &stash->disk);
}

/* Starts the transfer of a block, with uly__disk_write or uly__disk_read. i counts from the chunk's
 * first. */
static void start(uly__stash *stash, int i,
                  int64_t ask(uly__disk *, int64_t, int64_t, void *, int64_t)) {
  uly__stash_layer *layer = &stash->set->layers[i];
  int number = stash->set->chunk.first + i;
  int64_t offset = stash->set->offset + offset_of(stash, i);
  if (i > 0 || has_input_in_ring(stash)) {
    layer->transfer = ask(stash->disk, number, offset, layer->x, stash->x_bytes);
    offset += stash->x_bytes;
  }
  if (stash->rest_bytes > 0)
    layer->transfer = ask(stash->disk, number, offset, layer->rest, stash->rest_bytes);
}

static uly_status finish(uly__stash *stash, int i) {
  uly__stash_layer *layer = &stash->set->layers[i];
  if (layer->transfer == 0) return ULY_OK;
  double begin = uly__now();
  uly_status status = uly__disk_wait(stash->disk, layer->transfer);
  uly__span_end("wait for disk", stash->set->chunk.first + i, ULY_LANE_COMPUTE, begin);
  layer->transfer = 0;
  return status;
}

int64_t uly__stash_input_place(const uly__stash *stash, int chunk, int64_t micro_batch) {
  return micro_batch % stash->chunks[chunk].num_inputs;
}

int64_t uly__stash_output_place(const uly__stash *stash, int chunk, int64_t micro_batch) {
  const uly__stash_chunk *of = &stash->chunks[chunk];
  return micro_batch % (stash->keeps_x ? of->num_sets : of->num_inputs);
}

/* Waits for all transfers of the current set. */
static uly_status finish_all(uly__stash *stash) {
  uly_status status = ULY_OK;
  for (int i = 0; i < uly__chunk_layers(stash->set->chunk); i++) {
    uly_status finished = finish(stash, i);
    if (status == ULY_OK) status = finished;
  }
  return status;
}

/* Starts to read the blocks with which backward begins. */
static void start_reads(uly__stash *stash) {
  int n = uly__chunk_layers(stash->set->chunk);
  for (int i = n - 1; i >= 0 && i >= n - RING; i--) start(stash, i, uly__disk_read);
}

uly_status uly__stash_use(uly__stash *stash, int chunk, int64_t micro_batch, bool goes_back) {
  const uly__stash_chunk *of = &stash->chunks[chunk];
  /* Then the sets take turns in the same memory. */
  bool moves = stash->on_disk && stash->interleaves;
  uly_status status = moves ? finish_all(stash) : ULY_OK;
  stash->set = &of->sets[micro_batch % of->num_sets];
  point_to_input(stash, chunk, uly__stash_input_place(stash, chunk, micro_batch));
  if (moves && goes_back) start_reads(stash);
  return status;
}

uly_status uly__stash_reserve(uly__stash *stash, int layer) {
  int i = layer - stash->set->chunk.first;
  return i >= RING ? finish(stash, i - RING) : ULY_OK;
}

void uly__stash_keep(uly__stash *stash, int layer) {
  int i = layer - stash->set->chunk.first;
  if (i < num_written(stash, uly__chunk_layers(stash->set->chunk)))
    start(stash, i, uly__disk_write);
}

uly_status uly__stash_acquire(uly__stash *stash, int layer) {
  return finish(stash, layer - stash->set->chunk.first);
}

void uly__stash_release(uly__stash *stash, int layer) {
  int i = layer - stash->set->chunk.first;
  if (stash->on_disk && i >= RING) start(stash, i - RING, uly__disk_read);
}
