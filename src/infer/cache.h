/* Caches the keys and values of all tokens so far, for the heads that this rank attends with, so
 * that decoding reads them instead of computing them again. A key/value head that two ranks use is
 * cached on both. */
#ifndef ULY_CACHE_H
#define ULY_CACHE_H

#include "device/arena.h"
#include "model/stage.h"
#include "parallel/seq_attention.h"

typedef struct uly__cache {
  int64_t capacity, num_tokens; /* room, and tokens in it */
  uly__head_range heads;        /* this rank's */
  int first_layer, num_layers;  /* of the model's layers, which keep their numbers */
  int head_dim, group_size;
  uly_dtype dtype;
  uly__stream *stream;
  uly__mask *masks[2]; /* over `capacity` tokens */
  char *keys, *values; /* [L][kv_count][capacity][d] */
} uly__cache;

/* Creates the cache of some layers, for the heads that the plan gives this rank. masks: the 1 or 2
 * masks of the model, for `capacity` tokens. */
uly_status uly__cache_create(const uly_attention *plan, const uly_mask *masks, int num_masks,
                             uly__chunk layers, int64_t capacity, uly__cache *out);
void uly__cache_destroy(uly__cache *cache);
void uly__cache_carve(uly__cache *cache, uly__arena *activations);

/* Fills the cache of a block with all N tokens, from what the block's forward pass has kept. */
void uly__cache_fill(uly__cache *cache, const uly_attention *plan, int layer,
                     const uly__seq_kept *kept);
/* Adds one token of a block; k, v: [kv_count, d]. The token counts once num_tokens includes it. */
void uly__cache_add(uly__cache *cache, int layer, const void *k, const void *v);

/* Describes the attention of the token that was added last, under the mask with this index; q, o:
 * [q_count, d]. */
uly__attend_one uly__cache_attend(const uly__cache *cache, int layer, int mask, float scale,
                                  const void *q, void *o, float *workspace);
/* Returns the number of floats in its workspace. */
int64_t uly__cache_workspace(const uly__cache *cache);

#endif
