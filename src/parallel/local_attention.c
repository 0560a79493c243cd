/* Calls the kernels, or a user's callback, for one block of heads: see local_attention.h. */
#include "parallel/local_attention.h"

#include <stddef.h>

#include "base/spans.h"
#include "device/device.h"

int64_t uly__local_softmax_bytes(const uly_attention *plan) {
  return plan->desc.callback.forward ? sizeof(float) : sizeof(uly__softmax_row);
}

void uly__local_lse(const uly_attention *plan, const void *softmax, int64_t first, int64_t count,
                    float *lse) {
  if (plan->desc.callback.forward)
    uly__copy(plan->stream, lse, (const float *)softmax + first, count * (int64_t)sizeof *lse);
  else
    plan->ops->softmax_lse(plan->stream, count, (const uly__softmax_row *)softmax + first,
                           plan->desc.scale, lse);
}

/* Describes the shape of what a block works on: neither its mask nor its pointers. */
static uly__attention_args shape(const uly_attention *plan, const uly__head_block *block) {
  const uly_attention_desc *desc = &plan->desc;
  int uses = desc->num_q_heads / desc->num_kv_heads;
  return (uly__attention_args){
      .queries = {0, desc->num_tokens},
      .keys = {0, desc->num_tokens},
      .num_q_heads = block->q_count,
      .num_kv_heads = block->kv_count,
      .head_dim = desc->head_dim,
      .first_q_head = block->q_begin,
      .group_size = uses,
      .group_offset = block->q_begin - block->kv_begin * uses,
      .dtype = desc->dtype,
      .scale = desc->scale,
      .q_stride = block->qkv_stride,
      .kv_stride = block->qkv_stride,
      .o_stride = block->o_stride,
      .softmax_stride = desc->num_tokens,
      .poll = plan->poll,
      .poll_context = plan->poll_context,
  };
}

int64_t uly__local_workspace_bytes(const uly_attention *plan, const uly__head_block *block) {
  uly__attention_workspace unused;
  uly__attention_args args = shape(plan, block);
  return plan->desc.callback.forward ? 0 : uly__attention_carve(&args, NULL, &unused);
}

static uly__attention_args describe(const uly_attention *plan, int mask,
                                    const uly__head_block *block, uly__local_rows rows) {
  uly__attention_args args = shape(plan, block);
  args.mask = plan->masks[mask];
  args.q = rows.qkv;
  args.k = uly__at(args.q, args.dtype, (int64_t)args.num_q_heads * args.head_dim);
  args.v = uly__at(args.k, args.dtype, (int64_t)args.num_kv_heads * args.head_dim);
  args.o = rows.o;
  args.softmax = rows.softmax;
  return args;
}

/* Translates the arguments for a user's kernel. */
static uly_local_attention for_callback(const uly__attention_args *args) {
  return (uly_local_attention){
      .size = sizeof(uly_local_attention),
      .num_tokens = args->queries.count,
      .num_q_heads = args->num_q_heads,
      .num_kv_heads = args->num_kv_heads,
      .head_dim = args->head_dim,
      .first_q_head = args->first_q_head,
      .group_size = args->group_size,
      .group_offset = args->group_offset,
      .dtype = args->dtype,
      .mask = uly__mask_desc(args->mask),
      .scale = args->scale,
      .qkv_stride = args->q_stride,
      .o_stride = args->o_stride,
      .q = args->q,
      .k = args->k,
      .v = args->v,
      .o = args->o,
      .lse = (float *)(void *)args->softmax,
      .d_o = args->d_o,
      .d_q = args->d_q,
      .d_k = args->d_k,
      .d_v = args->d_v,
      .poll = args->poll,
      .poll_context = args->poll_context,
  };
}

/* Calls a user's kernel, which may fail without a message. */
static uly_status call_users(uly_status (*kernel)(void *, const uly_local_attention *), void *user,
                             const uly__attention_args *args) {
  uly_local_attention users = for_callback(args);
  char before[2048];
  snprintf(before, sizeof before, "%s", uly_last_error());
  uly__set_last_error("");
  uly_status status = kernel(user, &users);
  if (status == ULY_OK)
    uly__set_last_error(before);
  else if (!uly_last_error()[0])
    ULY_FAIL(status, "the attention callback failed (%s) and gave no message: uly_fail records one",
             uly_status_name(status));
  return status;
}

uly_status uly__local_forward(const uly_attention *plan, int mask, const uly__head_block *block,
                              uly__local_rows rows, int64_t index) {
  const uly_attention_callback *callback = &plan->desc.callback;
  uly__attention_args args = describe(plan, mask, block, rows);
  double begin = uly__now();
  if (callback->forward) return call_users(callback->forward, callback->user, &args);
  plan->ops->attention_forward(plan->stream, &args);
  uly__span_end("attention", index, ULY_LANE_COMPUTE, begin);
  return ULY_OK;
}

uly_status uly__local_backward(const uly_attention *plan, int mask, const uly__head_block *block,
                               uly__local_rows rows, const void *d_o, void *d_qkv, void *workspace,
                               int64_t index) {
  const uly_attention_callback *callback = &plan->desc.callback;
  uly__attention_args args = describe(plan, mask, block, rows);
  ptrdiff_t to_k = (const char *)args.k - (const char *)args.q;
  ptrdiff_t to_v = (const char *)args.v - (const char *)args.q;
  args.d_o = d_o;
  args.d_q = d_qkv;
  args.d_k = (char *)args.d_q + to_k;
  args.d_v = (char *)args.d_q + to_v;
  double begin = uly__now();
  if (callback->backward) return call_users(callback->backward, callback->user, &args);
  plan->ops->attention_backward(plan->stream, &args, workspace);
  uly__span_end("attention backward", index, ULY_LANE_COMPUTE, begin);
  return ULY_OK;
}

void uly__local_copy_kv(const uly_attention *plan, const uly__head_block *block, const void *qkv,
                        int64_t capacity, void *keys, void *values) {
  uly_dtype dtype = plan->desc.dtype;
  int64_t N = plan->desc.num_tokens, d = plan->desc.head_dim, bytes = uly__dtype_bytes(dtype);
  for (int i = 0; i < block->kv_count; i++) {
    int64_t to = i * capacity * d, key = (block->q_count + i) * d,
            value = key + block->kv_count * d;
    uly__copy_rows(plan->stream, N, d * bytes, uly__at(keys, dtype, to), d * bytes,
                   uly__at(qkv, dtype, key), block->qkv_stride * bytes);
    uly__copy_rows(plan->stream, N, d * bytes, uly__at(values, dtype, to), d * bytes,
                   uly__at(qkv, dtype, value), block->qkv_stride * bytes);
  }
}
