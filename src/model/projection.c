/* Plans the products around attention: see projection.h. */
#include "model/projection.h"

/* Fills in Q, K and V. Key/value heads that the block before also holds are left to that block. */
static void plan_qkv(const uly__model_config *c, const uly__tensor_share *share,
                     const uly__block_layout *b, const uly__head_block *block,
                     uly__projection out[3]) {
  int64_t h = c->hidden, d = c->head_dim;
  int kv_heads = block->kv_count - block->kv_shared, kv_first = block->kv_begin + block->kv_shared;
  int heads[3] = {block->q_count, kv_heads, kv_heads};
  /* The first head's place among those of this rank. */
  int64_t q = block->q_begin - share->q_heads.begin, kv = kv_first - share->kv_heads.begin;
  int64_t first[3] = {q, kv, kv};
  int column[3] = {0, block->q_count + block->kv_shared,
                   block->q_count + block->kv_count + block->kv_shared};
  int64_t weights[3] = {b->wq, b->wk, b->wv}, biases[3] = {b->bq, b->bk, b->bv};
  int64_t norms[3] = {b->q_norm, b->k_norm, -1};
  for (int i = 0; i < 3; i++)
    out[i] = (uly__projection){
        .linear = {.in = h, .out = heads[i] * d, .ldw = h, .weight = weights[i] + first[i] * d * h},
        .bias = biases[i] < 0 ? -1 : biases[i] + first[i] * d,
        .at = block->qkv_offset + column[i] * d,
        .heads = heads[i],
        .norm = norms[i],
        .rotated = i < 2 && c->rope,
    };
}

void uly__projections_plan(const uly__model_config *config, const uly__tensor_share *share,
                           const uly__block_layout *layout, const uly_attention *attention,
                           uly__block_projections *out) {
  int64_t d = config->head_dim;
  for (int g = 0; g < attention->num_blocks; g++) {
    const uly__head_block *block = &attention->blocks[g];
    plan_qkv(config, share, layout, block, out[g].qkv);
    out[g].o = (uly__linear){.in = block->q_count * d,
                             .out = config->hidden,
                             .ldw = share->q_heads.count * d,
                             .weight = layout->wo + (block->q_begin - share->q_heads.begin) * d};
  }
}
