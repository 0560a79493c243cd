/* The cache of keys and values: see cache.h. */
#include "model/cache.h"

uly_status uly__cache_create(const uly_attention *plan, const uly_mask *mask, int num_layers,
                             int64_t capacity, uly__cache *out) {
  const uly__ulysses *u = &plan->ulysses;
  int rounds = u->num_rounds;
  const uly__head_block *first = &u->blocks[uly__ulysses_group(u, u->rank, 0)];
  const uly__head_block *last = &u->blocks[uly__ulysses_group(u, u->rank, rounds - 1)];
  *out = (uly__cache){.capacity = capacity,
                      .q_begin = first->q_begin,
                      .q_count = last->q_begin + last->q_count - first->q_begin,
                      .kv_begin = first->kv_begin,
                      .kv_count = last->kv_begin + last->kv_count - first->kv_begin,
                      .num_layers = num_layers,
                      .head_dim = u->head_dim,
                      .group_size = u->num_q_heads / u->num_kv_heads,
                      .dtype = plan->desc.dtype,
                      .stream = plan->stream};
  return uly__mask_create(mask, capacity, u->num_q_heads, &out->mask);
}

void uly__cache_destroy(uly__cache *cache) { uly__mask_destroy(cache->mask); }

static int64_t layer_bytes(const uly__cache *c) {
  return c->kv_count * c->capacity * c->head_dim * uly__dtype_bytes(c->dtype);
}

void uly__cache_carve(uly__cache *cache, uly__arena *activations) {
  cache->keys = uly__arena_carve(activations, cache->num_layers * layer_bytes(cache));
  cache->values = uly__arena_carve(activations, cache->num_layers * layer_bytes(cache));
}

void *uly__cache_keys(const uly__cache *cache, int layer) {
  return cache->keys + layer * layer_bytes(cache);
}

void *uly__cache_values(const uly__cache *cache, int layer) {
  return cache->values + layer * layer_bytes(cache);
}

/* Returns where a head's token is in a block's keys or values. */
static int64_t place(const uly__cache *c, int64_t head, int64_t token) {
  return (head * c->capacity + token) * c->head_dim;
}

static void take_round(const uly__cache *c, const uly__head_block *block, int64_t num_tokens,
                       const void *rows, void *keys, void *values) {
  int64_t d = c->head_dim, bytes = uly__dtype_bytes(c->dtype);
  for (int i = 0; i < block->kv_count; i++) {
    int64_t to = place(c, block->kv_begin + i - c->kv_begin, 0);
    int64_t key = (block->q_count + i) * d, value = key + block->kv_count * d;
    uly__copy_rows(c->stream, num_tokens, d * bytes, uly__at(keys, c->dtype, to), d * bytes,
                   uly__at(rows, c->dtype, key), block->qkv_stride * bytes);
    uly__copy_rows(c->stream, num_tokens, d * bytes, uly__at(values, c->dtype, to), d * bytes,
                   uly__at(rows, c->dtype, value), block->qkv_stride * bytes);
  }
}

void uly__cache_fill(uly__cache *cache, const uly_attention *plan, int layer,
                     const void *qkv_heads) {
  const uly__ulysses *u = &plan->ulysses;
  for (int round = 0; round < u->num_rounds; round++)
    take_round(cache, &u->blocks[uly__ulysses_group(u, u->rank, round)], u->num_tokens,
               (const char *)qkv_heads + uly__attention_round(plan, round).qkv_heads,
               uly__cache_keys(cache, layer), uly__cache_values(cache, layer));
}

void uly__cache_add(uly__cache *cache, int layer, const void *k, const void *v) {
  int64_t row = cache->head_dim * uly__dtype_bytes(cache->dtype), stride = cache->capacity * row;
  int64_t at = cache->num_tokens * row;
  uly__copy_rows(cache->stream, cache->kv_count, row, (char *)uly__cache_keys(cache, layer) + at,
                 stride, k, row);
  uly__copy_rows(cache->stream, cache->kv_count, row, (char *)uly__cache_values(cache, layer) + at,
                 stride, v, row);
}

uly__attend_one uly__cache_attend(const uly__cache *cache, int layer, float scale, const void *q,
                                  void *o, float *workspace) {
  return (uly__attend_one){.query = cache->num_tokens,
                           .num_q_heads = cache->q_count,
                           .num_kv_heads = cache->kv_count,
                           .head_dim = cache->head_dim,
                           .first_q_head = cache->q_begin,
                           .group_size = cache->group_size,
                           .group_offset = cache->q_begin - cache->kv_begin * cache->group_size,
                           .dtype = cache->dtype,
                           .mask = cache->mask,
                           .scale = scale,
                           .capacity = cache->capacity,
                           .q = q,
                           .k = uly__cache_keys(cache, layer),
                           .v = uly__cache_values(cache, layer),
                           .o = o,
                           .workspace = workspace};
}

int64_t uly__cache_workspace(const uly__cache *cache) {
  return cache->q_count * uly__attend_num_chunks(cache->capacity) *
         uly__attend_width(cache->head_dim);
}
