/* Attention on plain tensors: copies into the zero-copy buffers of a plan, which it allocates, and out of them. Shapes
 * as in ulysses.h. */
#include "device/device.h"
#include "parallel/seq_attention.h"

static int64_t round_up(int64_t bytes) { return (bytes + 63) / 64 * 64; }

static int64_t simple_bytes(const uly_attention *plan) {
  const uly_attention_bytes *b = &plan->bytes;
  return round_up(b->qkv_tokens) + round_up(b->qkv_heads) * 2 + round_up(b->o_tokens) +
         round_up(b->o_heads) * 2 + round_up(b->lse) + round_up(b->workspace);
}

void uly__attention_free_simple(uly_attention *plan) {
  if (plan->simple) uly__device_free(plan->simple, simple_bytes(plan));
  plan->simple = NULL;
}

static uly_status allocate_simple(uly_attention *plan) {
  plan->bytes = uly_attention_get_bytes(plan);
  int64_t total = simple_bytes(plan);
  char *at = plan->simple = uly__device_alloc(total);
  if (!at)
    ULY_FAIL(ULY_ERR_MEMORY,
             "cannot allocate %lld bytes for the buffers of an attention plan: use "
             "more ranks or fewer tokens",
             (long long)total);
  plan->qkv_tokens = at;
  plan->qkv_heads = (at += round_up(plan->bytes.qkv_tokens));
  plan->o_tokens = (at += 2 * round_up(plan->bytes.qkv_heads));
  plan->o_heads = (at += round_up(plan->bytes.o_tokens));
  plan->d_o_heads = (at += round_up(plan->bytes.o_heads));
  plan->lse = (float *)(at += round_up(plan->bytes.o_heads));
  plan->workspace = at + round_up(plan->bytes.lse);
  return ULY_OK;
}

static void *d_qkv_heads(const uly_attention *plan) {
  return (char *)plan->qkv_heads + round_up(plan->bytes.qkv_heads);
}

/* Copies columns between rows of different strides, all in elements of the plan's dtype. */
static void copy_columns(const uly_attention *plan, const void *from, int64_t from_at,
                         int64_t from_stride, void *to, int64_t to_at, int64_t to_stride,
                         int64_t columns) {
  uly_dtype dtype = plan->desc.dtype;
  int64_t T = plan->ulysses.slices[plan->ulysses.rank].count;
#pragma omp parallel for schedule(static)
  for (int64_t t = 0; t < T; t++)
    memcpy(uly__at(to, dtype, to_at + t * to_stride),
           uly__at(from, dtype, from_at + t * from_stride),
           (size_t)(columns * uly__dtype_bytes(dtype)));
}

/* Between plain q, k, v (or their gradients) and the blocks. Shared key/value heads live in the first
 * block that holds them. */
static void copy_qkv(const uly_attention *plan, void *q, void *k, void *v, int into_blocks) {
  int d = plan->desc.head_dim;
  int64_t q_row = (int64_t)plan->desc.num_q_heads * d,
          kv_row = (int64_t)plan->desc.num_kv_heads * d;
  void *plain[3] = {q, k, v};
  for (int g = 0; g < plan->ulysses.num_groups; g++) {
    const uly_attention_block *b = &plan->ulysses.blocks[g];
    int64_t own_kv = b->kv_count - b->kv_shared;
    int64_t heads[3] = {b->q_count, own_kv, own_kv};
    int64_t first[3] = {b->q_begin, b->kv_begin + b->kv_shared, b->kv_begin + b->kv_shared};
    int64_t column[3] = {0, b->q_count + b->kv_shared, b->q_count + b->kv_count + b->kv_shared};
    for (int i = 0; i < 3; i++) {
      int64_t row = i == 0 ? q_row : kv_row, at = b->qkv_offset + column[i] * d;
      if (into_blocks)
        copy_columns(plan, plain[i], first[i] * d, row, plan->qkv_tokens, at, b->qkv_stride,
                     heads[i] * d);
      else
        copy_columns(plan, plan->qkv_tokens, at, b->qkv_stride, plain[i], first[i] * d, row,
                     heads[i] * d);
    }
  }
}

static void copy_o(const uly_attention *plan, void *o, int into_blocks) {
  int d = plan->desc.head_dim;
  int64_t row = (int64_t)plan->desc.num_q_heads * d;
  for (int g = 0; g < plan->ulysses.num_groups; g++) {
    const uly_attention_block *b = &plan->ulysses.blocks[g];
    int64_t at = (int64_t)b->q_begin * d, width = (int64_t)b->q_count * d;
    if (into_blocks)
      copy_columns(plan, o, at, row, plan->o_tokens, b->o_offset, b->o_stride, width);
    else
      copy_columns(plan, plan->o_tokens, b->o_offset, b->o_stride, o, at, row, width);
  }
}

static void *writable(const void *x) { return (void *)(uintptr_t)x; }

/* A user's kernel may fail on one rank: then no rank goes on to the next exchange. */
static uly_status agree_on_callback(const uly_attention *plan, uly_status status) {
  return plan->desc.callback.forward ? uly__agree(plan->mesh->sequence, status) : status;
}

uly_status uly_attention_forward(uly_attention *plan, const void *q, const void *k, const void *v,
                                 void *o) {
  if (!plan->simple) {
    uly_status status = uly__agree(plan->mesh->sequence, allocate_simple(plan));
    if (status != ULY_OK) {
      uly__attention_free_simple(plan); /* on all ranks: a further try is agreed on again */
      return status;
    }
  }
  copy_qkv(plan, writable(q), writable(k), writable(v), 1);
  uly_attention_share_kv(plan, plan->qkv_tokens);
  ULY_TRY(uly_attention_qkv_to_heads(plan, ULY_TRAFFIC_ATTENTION_FORWARD, plan->qkv_tokens,
                                     plan->qkv_heads));
  ULY_TRY(agree_on_callback(
      plan, uly_attention_local_forward(plan, plan->qkv_heads, plan->o_heads, plan->lse)));
  ULY_TRY(uly_attention_o_to_tokens(plan, ULY_TRAFFIC_ATTENTION_FORWARD, plan->o_heads,
                                    plan->o_tokens));
  copy_o(plan, o, 0);
  return ULY_OK;
}

uly_status uly_attention_backward(uly_attention *plan, const void *d_o, void *d_q, void *d_k,
                                  void *d_v) {
  if (!plan->simple) ULY_FAIL(ULY_ERR_CONFIG, "attention backward before any forward");
  copy_o(plan, writable(d_o), 1);
  ULY_TRY(uly_attention_o_to_heads(plan, ULY_TRAFFIC_ATTENTION_BACKWARD, plan->o_tokens,
                                   plan->d_o_heads));
  ULY_TRY(agree_on_callback(
      plan, uly_attention_local_backward(plan, plan->qkv_heads, plan->o_heads, plan->lse,
                                         plan->d_o_heads, d_qkv_heads(plan), plan->workspace)));
  ULY_TRY(uly_attention_qkv_to_tokens(plan, ULY_TRAFFIC_ATTENTION_BACKWARD, d_qkv_heads(plan),
                                      plan->qkv_tokens));
  uly_attention_sum_kv(plan, plan->qkv_tokens);
  copy_qkv(plan, d_q, d_k, d_v, 0);
  return ULY_OK;
}
