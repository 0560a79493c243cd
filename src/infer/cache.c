/* Caches keys and values: see cache.h. */
#include "infer/cache.h"

uly_status uly__cache_create(const uly_attention *plan, const uly_mask *masks, int num_masks,
                             uly__chunk layers, int64_t capacity, uly__cache *out) {
  const uly_attention_desc *desc = &plan->desc;
  *out = (uly__cache){.capacity = capacity,
                      .heads = plan->scheme->heads_of(plan, uly__group_rank(plan->group)),
                      .first_layer = layers.first,
                      .num_layers = uly__chunk_layers(layers),
                      .head_dim = desc->head_dim,
                      .group_size = desc->num_q_heads / desc->num_kv_heads,
                      .dtype = desc->dtype,
                      .stream = plan->stream};
  for (int i = 0; i < num_masks; i++)
    ULY_TRY(uly__mask_create(&masks[i], capacity, desc->num_q_heads, &out->masks[i]));
  return ULY_OK;
}

void uly__cache_destroy(uly__cache *cache) {
  for (int i = 0; i < 2; i++) uly__mask_destroy(cache->masks[i]);
}

static int64_t layer_bytes(const uly__cache *c) {
  return c->heads.kv_count * c->capacity * c->head_dim * uly__dtype_bytes(c->dtype);
}

void uly__cache_carve(uly__cache *cache, uly__arena *activations) {
  cache->keys = uly__arena_carve(activations, cache->num_layers * layer_bytes(cache));
  cache->values = uly__arena_carve(activations, cache->num_layers * layer_bytes(cache));
}

/* Return where a block keeps its keys and values: [kv_count][capacity][d]. */
static void *layer_keys(const uly__cache *cache, int layer) {
  return cache->keys + (layer - cache->first_layer) * layer_bytes(cache);
}

static void *layer_values(const uly__cache *cache, int layer) {
  return cache->values + (layer - cache->first_layer) * layer_bytes(cache);
}

void uly__cache_fill(uly__cache *cache, const uly_attention *plan, int layer,
                     const uly__seq_kept *kept) {
  plan->scheme->copy_kv(plan, kept, cache->capacity, layer_keys(cache, layer),
                        layer_values(cache, layer));
}

void uly__cache_add(uly__cache *cache, int layer, const void *k, const void *v) {
  int64_t row = cache->head_dim * uly__dtype_bytes(cache->dtype), stride = cache->capacity * row;
  int64_t at = cache->num_tokens * row;
  uly__copy_rows(cache->stream, cache->heads.kv_count, row, (char *)layer_keys(cache, layer) + at,
                 stride, k, row);
  uly__copy_rows(cache->stream, cache->heads.kv_count, row, (char *)layer_values(cache, layer) + at,
                 stride, v, row);
}

uly__attend_one uly__cache_attend(const uly__cache *cache, int layer, int mask, float scale,
                                  const void *q, void *o, float *workspace) {
  return (uly__attend_one){
      .query = cache->num_tokens,
      .num_q_heads = cache->heads.q_count,
      .num_kv_heads = cache->heads.kv_count,
      .head_dim = cache->head_dim,
      .first_q_head = cache->heads.q_begin,
      .group_size = cache->group_size,
      .group_offset = cache->heads.q_begin - cache->heads.kv_begin * cache->group_size,
      .dtype = cache->dtype,
      .mask = cache->masks[mask],
      .scale = scale,
      .capacity = cache->capacity,
      .q = q,
      .k = layer_keys(cache, layer),
      .v = layer_values(cache, layer),
      .o = o,
      .workspace = workspace};
}

int64_t uly__cache_workspace(const uly__cache *cache) {
  return cache->heads.q_count * uly__attend_num_chunks(cache->capacity) *
         uly__attend_width(cache->head_dim);
}
