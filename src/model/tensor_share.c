/* Divides a model for tensor parallelism: see tensor_share.h. */
#include "model/tensor_share.h"

uly__tensor_share uly__tensor_share_of(const uly__model_config *c, int size, int index) {
  int64_t uses = c->num_q_heads / c->num_kv_heads;
  uly__tensor_share share = {.size = size,
                             .index = index,
                             .q_heads = uly__split(c->num_q_heads, 1, size, index),
                             .ffn = uly__split(c->ffn, 1, size, index),
                             .vocab = uly__split(c->vocab, 1, size, index)};
  if (!c->rope) share.positions = uly__split(c->max_positions, 1, size, index);
  int64_t begin = share.q_heads.begin, end = begin + share.q_heads.count;
  share.kv_heads = (uly__part){begin / uses, (end - 1) / uses - begin / uses + 1};
  /* A rank owns a key/value head if it has the first of the query heads that use it. */
  share.owned_kv.begin = (begin + uses - 1) / uses;
  share.owned_kv.count = (end + uses - 1) / uses - share.owned_kv.begin;
  return share;
}

uly_status uly__tensor_share_check(const uly__model_config *c, int size) {
  const struct {
    const char *what;
    int64_t count;
  } parts[] = {{"query heads", c->num_q_heads},
               {"MLP features", c->ffn},
               {"tokens in its vocabulary", c->vocab}};
  for (int i = 0; i < 3; i++)
    if (parts[i].count < size)
      ULY_FAIL(ULY_ERR_CONFIG,
               "mesh.tp is %d, but the model has only %lld %s to divide: set mesh.tp "
               "to that number or less",
               size, (long long)parts[i].count, parts[i].what);
  return ULY_OK;
}
