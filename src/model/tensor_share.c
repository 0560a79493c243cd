/* Divides a model for tensor parallelism: see tensor_share.h. */
#include "model/tensor_share.h"

#include "parallel/head_blocks.h"

static uly__head_range heads_of(const uly__model_config *c, int size, int index) {
  uly__head_range all = {0, c->num_q_heads, 0, c->num_kv_heads};
  return uly__head_range_part(all, c->num_q_heads / c->num_kv_heads, size, index);
}

uly__tensor_share uly__tensor_share_of(const uly__model_config *c, int size, int index) {
  int64_t uses = c->num_q_heads / c->num_kv_heads;
  uly__head_range heads = heads_of(c, size, index);
  uly__tensor_share share = {.size = size,
                             .index = index,
                             .q_heads = {heads.q_begin, heads.q_count},
                             .kv_heads = {heads.kv_begin, heads.kv_count},
                             .ffn = uly__split(c->ffn, 1, size, index),
                             .vocab = uly__split(c->vocab, 1, size, index)};
  if (!c->rope) share.positions = uly__split(c->max_positions, 1, size, index);
  int64_t begin = share.q_heads.begin, end = begin + share.q_heads.count;
  /* A rank owns a key/value head if it has the first of the query heads that use it. */
  share.owned_kv.begin = (begin + uses - 1) / uses;
  share.owned_kv.count = (end + uses - 1) / uses - share.owned_kv.begin;
  return share;
}

uly_status uly__tensor_share_check(const uly__model_config *c, int size) {
  const struct {
    const char *what;
    int64_t count;
  } parts[] = {{"MLP features", c->ffn}, {"tokens in its vocabulary", c->vocab}};
  for (int i = 0; i < 2; i++)
    if (parts[i].count < size)
      ULY_FAIL(ULY_ERR_CONFIG,
               "mesh.tp is %d, but the model has only %lld %s to divide: set mesh.tp "
               "to that number or less",
               size, (long long)parts[i].count, parts[i].what);
  return ULY_OK;
}
