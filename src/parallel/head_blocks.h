/* Heads in groups: which query heads and key/value heads each group holds, and where its rows lie
 * in the buffers of the token side. One group's rows are a block, [T, heads of the group, d].
 *
 * Blocks follow each other round after round, and within a round, rank after rank: what is
 * exchanged together lies together. */
#ifndef ULY_HEAD_BLOCKS_H
#define ULY_HEAD_BLOCKS_H

#include <stdint.h>

/* A row of a block has q_count query heads, then kv_count keys, then as many values; a row of
 * outputs has q_count heads. Offsets and strides are in elements. */
typedef struct uly__head_block {
  int q_begin, q_count; /* numbers among all heads of the attention */
  int kv_begin, kv_count;
  int kv_shared; /* 1: the block before also holds the first key/value head */
  int64_t qkv_offset, o_offset;
  int64_t qkv_stride, o_stride;
} uly__head_block;

/* A contiguous part of the heads; its numbers are those among all heads of the attention. */
typedef struct uly__head_range {
  int q_begin, q_count;
  int kv_begin, kv_count;
} uly__head_range;

/* Returns part `index` of a range whose query heads are cut into contiguous parts that differ by at
 * most one, with the key/value heads that these use, each of which `uses` query heads use.
 * Neighbours may share a key/value head. */
uly__head_range uly__head_range_part(uly__head_range heads, int uses, int parts, int index);

/* Deals these heads to num_groups groups, which are such parts. */
void uly__head_blocks_deal(uly__head_range heads, int uses, int head_dim, int num_groups,
                           uly__head_block *blocks);

/* Places the blocks for num_tokens tokens. Rank p owns groups [p num_rounds, (p + 1) num_rounds),
 * one for each round. */
void uly__head_blocks_place(int num_groups, int num_rounds, int64_t num_tokens,
                            uly__head_block *blocks);

/* Returns the heads of all groups from first to last. */
uly__head_range uly__head_blocks_range(const uly__head_block *first, const uly__head_block *last);

#endif
