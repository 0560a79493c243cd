#include "random_mask.h"

#include <stdlib.h>

static void add_documents(uly_mask *mask, int64_t N, int (*pick)(int, int)) {
  int64_t *start = calloc((size_t)N, sizeof *start);
  int chance = pick(1, 40);
  mask->num_docs = 1;
  for (int64_t t = 1; t < N; t++)
    if (pick(0, chance) == 0) start[mask->num_docs++] = t;
  mask->doc_start = start;
}

static void add_blocks(uly_mask *mask, int num_layouts, int64_t N, int (*pick)(int, int)) {
  uly_block_layout *layout = calloc(1, sizeof *layout);
  int64_t B = pick(0, 3) == 0 ? pick(1, 3) : pick(1, (int)N + 3), M = (N + B - 1) / B;
  int64_t *row_begin = calloc((size_t)(num_layouts * M) + 1, sizeof *row_begin), num = 0;
  int32_t *cols = calloc((size_t)(num_layouts * M * M), sizeof *cols);
  int chance = pick(0, 6);
  for (int64_t row = 0; row < num_layouts * M; row++) {
    row_begin[row] = num;
    for (int64_t col = 0; col < M; col++)
      if (col == row % M || pick(0, chance) == 0) cols[num++] = (int32_t)col;
  }
  row_begin[num_layouts * M] = num;
  *layout = (uly_block_layout){.size = sizeof *layout,
                               .block = B,
                               .num_blocks = M,
                               .num_layouts = num_layouts,
                               .row_begin = row_begin,
                               .cols = cols};
  mask->blocks = layout;
}

uly_mask random_mask(int parts, int64_t num_tokens, int num_q_heads, int (*pick)(int, int)) {
  uly_mask mask = {.size = sizeof mask, .kind = pick(0, 1) ? ULY_MASK_CAUSAL : ULY_MASK_FULL};
  if (parts & WITH_WINDOW) mask.window = pick(1, (int)num_tokens + 2);
  if (parts & WITH_DOCUMENTS) add_documents(&mask, num_tokens, pick);
  if (parts & (WITH_BLOCKS | WITH_HEAD_BLOCKS))
    add_blocks(&mask, parts & WITH_HEAD_BLOCKS ? num_q_heads : 1, num_tokens, pick);
  return mask;
}

void free_random_mask(uly_mask *mask) {
  free((void *)(uintptr_t)mask->doc_start);
  if (mask->blocks) {
    free((void *)(uintptr_t)mask->blocks->row_begin);
    free((void *)(uintptr_t)mask->blocks->cols);
  }
  free((void *)(uintptr_t)mask->blocks);
}

static int64_t document_of(const uly_mask *mask, int64_t token) {
  int64_t doc = 0;
  while (doc + 1 < mask->num_docs && mask->doc_start[doc + 1] <= token) doc++;
  return doc;
}

bool mask_lets_see(const uly_mask *mask, int head, int64_t query, int64_t key) {
  int64_t distance = query > key ? query - key : key - query;
  if (mask->kind == ULY_MASK_CAUSAL && key > query) return false;
  if (mask->window > 0 && distance >= mask->window) return false;
  if (mask->num_docs > 0 && document_of(mask, query) != document_of(mask, key)) return false;
  const uly_block_layout *l = mask->blocks;
  if (!l) return true;
  int64_t row = (l->num_layouts == 1 ? 0 : head) * l->num_blocks + query / l->block;
  for (int64_t i = l->row_begin[row]; i < l->row_begin[row + 1]; i++)
    if (l->cols[i] == key / l->block) return true;
  return false;
}
