/* Lays out what is kept between forward and backward. */
#include "model/stash.h"

#include <stdlib.h>

uly_status uly__stash_create(int num_layers, uly_recompute recompute, uly__stash *out) {
  *out = (uly__stash){.keeps_attention = recompute != ULY_RECOMPUTE_FULL,
                      .keeps_mlp = recompute == ULY_RECOMPUTE_NONE};
  out->layers = calloc((size_t)num_layers, sizeof *out->layers);
  if (!out->layers) ULY_FAIL(ULY_ERR_MEMORY, "no memory for the stash of %d blocks", num_layers);
  return ULY_OK;
}

void uly__stash_destroy(uly__stash *stash) {
  free(stash->layers);
  *stash = (uly__stash){0};
}

static uly__attention_record carve_record(uly_attention_bytes bytes, uly__arena *arena) {
  uly__attention_record record;
  record.qkv_heads = uly__arena_carve(arena, bytes.qkv_heads);
  record.o_heads = uly__arena_carve(arena, bytes.o_heads);
  record.o_tokens = uly__arena_carve(arena, bytes.o_tokens);
  record.lse = uly__arena_carve(arena, bytes.lse);
  return record;
}

void uly__stash_carve(uly__stash *stash, const uly__model_config *config, uly_dtype dtype,
                      int64_t num_tokens, uly_attention_bytes attention, uly__arena *activations,
                      uly__arena *scratch) {
  int64_t stream = num_tokens * config->hidden * uly__dtype_bytes(dtype);
  int64_t wide = num_tokens * config->ffn * uly__dtype_bytes(dtype);
  uly__attention_record shared = {0};
  if (!stash->keeps_attention) shared = carve_record(attention, scratch);
  for (int i = 0; i < config->num_layers; i++) {
    uly__stash_layer *layer = &stash->layers[i];
    layer->x = uly__arena_carve(activations, stream);
    layer->attention = stash->keeps_attention ? carve_record(attention, activations) : shared;
    if (!stash->keeps_mlp) continue;
    layer->x_mid = uly__arena_carve(activations, stream);
    layer->gate = config->gated ? uly__arena_carve(activations, wide) : NULL;
    layer->up = uly__arena_carve(activations, wide);
  }
  stash->x_final = uly__arena_carve(activations, stream);
}
