/* Key/value heads that several head groups need: they are copied to all of these in forward, and
 * their gradients are summed in backward, in the buffers of the token side. */
#include "parallel/shared_kv.h"

#include "device/device.h"

bool uly__attention_shares_kv(const uly_attention *plan) {
  for (int g = 0; g < plan->num_blocks; g++)
    if (plan->blocks[g].kv_shared) return true;
  return false;
}

/* Returns the element of row t of key (which 0) or value (which 1) head i of block g. */
static int64_t kv_at(const uly_attention *plan, int g, int64_t t, int which, int i) {
  const uly__head_block *block = &plan->blocks[g];
  int64_t head = block->q_count + which * block->kv_count + i;
  return block->qkv_offset + t * block->qkv_stride + head * plan->desc.head_dim;
}

/* Returns the last block that also holds the last key/value head of block `first`: the blocks
 * between them hold nothing else. */
static int last_holder(const uly_attention *plan, int first) {
  const uly__head_block *blocks = plan->blocks;
  int last = first;
  while (last + 1 < plan->num_blocks && blocks[last + 1].kv_shared &&
         (last == first || blocks[last].kv_count == 1))
    last++;
  return last;
}

/* Address of the row of token 0 of a head. */
static void *kv_row(const uly_attention *plan, void *x, int g, int which, int i) {
  return uly__at(x, plan->desc.dtype, kv_at(plan, g, 0, which, i));
}

static void copy_to_holders(const uly_attention *plan, void *x, int first, int last) {
  const uly__head_block *blocks = plan->blocks;
  int64_t bytes = uly__dtype_bytes(plan->desc.dtype);
  int head = blocks[first].kv_count - 1;
  for (int which = 0; which < 2; which++)
    for (int g = first + 1; g <= last; g++)
      uly__copy_rows(plan->stream, plan->cut.count, plan->desc.head_dim * bytes,
                     kv_row(plan, x, g, which, 0), blocks[g].qkv_stride * bytes,
                     kv_row(plan, x, first, which, head), blocks[first].qkv_stride * bytes);
}

/* Sums over the holders in f32, and rounds once. */
static void sum_over_holders(const uly_attention *plan, void *x, int first, int last) {
  const uly__head_block *blocks = plan->blocks;
  int num = last - first + 1;
  void *parts[num];
  int64_t strides[num];
  for (int which = 0; which < 2; which++) {
    for (int i = 0; i < num; i++) {
      int head = i == 0 ? blocks[first].kv_count - 1 : 0;
      parts[i] = kv_row(plan, x, first + i, which, head);
      strides[i] = blocks[first + i].qkv_stride;
    }
    plan->ops->sum_rows(plan->stream, plan->cut.count, plan->desc.head_dim, plan->desc.dtype, num,
                        parts, strides);
  }
}

/* Calls visit(first holder, last holder) for every head that several blocks hold. */
static void for_shared_heads(const uly_attention *plan, void *x,
                             void (*visit)(const uly_attention *, void *, int, int)) {
  for (int first = 0; first < plan->num_blocks;) {
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
