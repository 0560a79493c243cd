/* Key/value heads that several head groups need: copied to all of them forward, and their gradients summed
 * backward, in the buffers of the token side. */
#include "parallel/seq_attention.h"

/* Element of row t, key (which 0) or value (which 1) head i of block g. */
static int64_t kv_at(const uly_attention *plan, int g, int64_t t, int which, int i) {
  const uly__head_block *block = &plan->ulysses.blocks[g];
  int64_t head = block->q_count + which * block->kv_count + i;
  return block->qkv_offset + t * block->qkv_stride + head * plan->desc.head_dim;
}

/* The last block that holds the last key/value head of block `first` too: those in between hold
 * nothing else. */
static int last_holder(const uly_attention *plan, int first) {
  const uly__head_block *blocks = plan->ulysses.blocks;
  int last = first;
  while (last + 1 < plan->ulysses.num_groups && blocks[last + 1].kv_shared &&
         (last == first || blocks[last].kv_count == 1))
    last++;
  return last;
}

static void copy_to_holders(const uly_attention *plan, void *x, int first, int last) {
  uly_dtype dtype = plan->desc.dtype;
  int head = plan->ulysses.blocks[first].kv_count - 1;
  int64_t T = plan->ulysses.slices[plan->ulysses.rank].count;
  size_t bytes = (size_t)(plan->desc.head_dim * uly__dtype_bytes(dtype));
#pragma omp parallel for schedule(static)
  for (int64_t t = 0; t < T; t++)
    for (int which = 0; which < 2; which++)
      for (int p = first + 1; p <= last; p++)
        memcpy(uly__at(x, dtype, kv_at(plan, p, t, which, 0)),
               uly__at(x, dtype, kv_at(plan, first, t, which, head)), bytes);
}

/* In f32, rounded once. */
static void sum_over_holders(const uly_attention *plan, void *x, int first, int last) {
  uly_dtype dtype = plan->desc.dtype;
  int head = plan->ulysses.blocks[first].kv_count - 1;
  int64_t T = plan->ulysses.slices[plan->ulysses.rank].count;
#pragma omp parallel for schedule(static)
  for (int64_t t = 0; t < T; t++)
    for (int which = 0; which < 2; which++)
      for (int i = 0; i < plan->desc.head_dim; i++) {
        int64_t at = kv_at(plan, first, t, which, head) + i;
        float sum = uly__load(x, dtype, at);
        for (int p = first + 1; p <= last; p++)
          sum += uly__load(x, dtype, kv_at(plan, p, t, which, 0) + i);
        uly__store(x, dtype, at, sum);
      }
}

/* Calls visit(first holder, last holder) for every head that several blocks hold. */
static void for_shared_heads(const uly_attention *plan, void *x,
                             void (*visit)(const uly_attention *, void *, int, int)) {
  for (int first = 0; first < plan->ulysses.num_groups;) {
    int last = last_holder(plan, first);
    if (last > first) visit(plan, x, first, last);
    first = last > first ? last : first + 1;
  }
}

void uly__attention_share_kv(const uly_attention *plan, void *qkv_tokens) {
  for_shared_heads(plan, qkv_tokens, copy_to_holders);
}

void uly__attention_sum_kv(const uly_attention *plan, void *d_qkv_tokens) {
  for_shared_heads(plan, d_qkv_tokens, sum_over_holders);
}
