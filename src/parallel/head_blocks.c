/* Deals heads to groups and places their blocks: see head_blocks.h. */
#include "parallel/head_blocks.h"

#include "base/split.h"

uly__head_range uly__head_range_part(uly__head_range heads, int uses, int parts, int index) {
  uly__part q = uly__split(heads.q_count, 1, parts, index);
  int begin = heads.q_begin + (int)q.begin, last = begin + (int)q.count - 1;
  return (uly__head_range){.q_begin = begin,
                           .q_count = (int)q.count,
                           .kv_begin = begin / uses,
                           .kv_count = last / uses - begin / uses + 1};
}

void uly__head_blocks_deal(uly__head_range heads, int uses, int head_dim, int num_groups,
                           uly__head_block *blocks) {
  for (int g = 0; g < num_groups; g++) {
    uly__head_range own = uly__head_range_part(heads, uses, num_groups, g);
    uly__head_block *block = &blocks[g];
    block->q_begin = own.q_begin;
    block->q_count = own.q_count;
    block->kv_begin = own.kv_begin;
    block->kv_count = own.kv_count;
    const uly__head_block *before = block - 1;
    block->kv_shared = g > 0 && block->kv_begin < before->kv_begin + before->kv_count;
    block->qkv_stride = (block->q_count + 2 * (int64_t)block->kv_count) * head_dim;
    block->o_stride = (int64_t)block->q_count * head_dim;
  }
}

void uly__head_blocks_place(int num_groups, int num_rounds, int64_t num_tokens,
                            uly__head_block *blocks) {
  int64_t qkv_offset = 0, o_offset = 0;
  for (int round = 0; round < num_rounds; round++)
    for (int g = round; g < num_groups; g += num_rounds) {
      blocks[g].qkv_offset = qkv_offset;
      blocks[g].o_offset = o_offset;
      qkv_offset += num_tokens * blocks[g].qkv_stride;
      o_offset += num_tokens * blocks[g].o_stride;
    }
}

uly__head_range uly__head_blocks_range(const uly__head_block *first, const uly__head_block *last) {
  return (uly__head_range){.q_begin = first->q_begin,
                           .q_count = last->q_begin + last->q_count - first->q_begin,
                           .kv_begin = first->kv_begin,
                           .kv_count = last->kv_begin + last->kv_count - first->kv_begin};
}
