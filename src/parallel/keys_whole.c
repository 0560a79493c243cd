/* The key scheme of a ring of one rank, which attends to the whole sequence: by the kernels, or by
 * a user's callback. Nothing is sent. */
#include <stddef.h>

#include "base/spans.h"
#include "device/device.h"
#include "parallel/local_attention.h"

static uly_status applicable(const uly_mesh *mesh, const uly_attention_desc *desc) {
  (void)mesh;
  (void)desc;
  return ULY_OK;
}

/* Returns the bytes of the sums of dK and dV, to which each call for part of the rows adds. */
static int64_t d_kv_bytes(const uly_attention *plan, const uly__head_block *block) {
  return plan->rows.count * uly__key_row(plan, block) * (int64_t)sizeof(float);
}

static int64_t workspace_bytes(const uly_attention *plan, const uly__head_block *block,
                               bool is_backward) {
  uly__attention_workspace unused;
  uly__attention_args args = uly__local_shape(plan, block);
  if (!is_backward || plan->desc.callback.forward) return 0;
  if (plan->rows_at_once == 0) return uly__attention_carve(&args, NULL, &unused);
  if (plan->rows_at_once < args.queries.count) args.queries.count = plan->rows_at_once;
  return d_kv_bytes(plan, block) + uly__attention_carve(&args, NULL, &unused);
}

static uly__attention_args describe(const uly_attention *plan, const uly__key_call *call) {
  uly__attention_args args = uly__local_shape(plan, call->block);
  args.mask = plan->masks[call->mask];
  args.q = call->rows.qkv;
  args.k = uly__at(args.q, args.dtype, (int64_t)args.num_q_heads * args.head_dim);
  args.v = uly__at(args.k, args.dtype, (int64_t)args.num_kv_heads * args.head_dim);
  args.o = call->rows.o;
  args.softmax = call->rows.softmax;
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
    ULY_FAIL(
        status,
        "the attention callback failed (%s) without a message: call uly_fail in it to give one",
        uly_status_name(status));
  return status;
}

static uly_status forward(uly_attention *plan, const uly__key_call *call) {
  const uly_attention_callback *callback = &plan->desc.callback;
  uly__attention_args args = describe(plan, call);
  double begin = uly__now();
  if (call->status != ULY_OK) return call->status;
  if (callback->forward) return call_users(callback->forward, callback->user, &args);
  plan->ops->attention_forward(plan->stream, &args);
  uly__span_end("attention", call->index, ULY_LANE_COMPUTE, begin);
  return ULY_OK;
}

static uly_status backward(uly_attention *plan, const uly__key_call *call) {
  const uly_attention_callback *callback = &plan->desc.callback;
  uly__attention_args args = describe(plan, call);
  ptrdiff_t to_k = (const char *)args.k - (const char *)args.q;
  ptrdiff_t to_v = (const char *)args.v - (const char *)args.q;
  args.d_o = call->d_o;
  args.d_q = call->d_qkv;
  args.d_k = (char *)args.d_q + to_k;
  args.d_v = (char *)args.d_q + to_v;
  double begin = uly__now();
  if (call->status != ULY_OK) return call->status;
  if (callback->backward) return call_users(callback->backward, callback->user, &args);
  plan->ops->attention_backward(plan->stream, &args, call->workspace);
  uly__span_end("attention backward", call->index, ULY_LANE_COMPUTE, begin);
  return ULY_OK;
}

/* Describes attention of some of the rows to the keys that they may see. */
static uly__attention_args describe_rows(const uly_attention *plan, const uly__key_call *call,
                                         uly__part rows) {
  uly__attention_args args = describe(plan, call);
  const uly_mask *mask = uly__mask_desc(args.mask);
  int64_t begin = 0, end = rows.begin + rows.count;
  if (mask->window > 0 && mask->window <= rows.begin) begin = rows.begin - mask->window + 1;
  if (mask->kind == ULY_MASK_CAUSAL) args.keys.count = end;
  args.queries = (uly_token_run){rows.begin, rows.count};
  args.keys.begin = begin;
  args.keys.count -= begin;
  args.q = uly__at(args.q, args.dtype, rows.begin * args.q_stride);
  args.k = uly__at(args.k, args.dtype, begin * args.kv_stride);
  args.v = uly__at(args.v, args.dtype, begin * args.kv_stride);
  args.o = uly__at(args.o, args.dtype, rows.begin * args.o_stride);
  args.softmax += rows.begin;
  return args;
}

static uly_status forward_rows(uly_attention *plan, const uly__key_call *call, uly__part rows) {
  uly__attention_args args = describe_rows(plan, call, rows);
  double begin = uly__now();
  plan->ops->attention_forward(plan->stream, &args);
  uly__span_end("attention", call->index, ULY_LANE_COMPUTE, begin);
  return ULY_OK;
}

static uly_status backward_rows(uly_attention *plan, const uly__key_call *call, uly__part rows) {
  uly__attention_args args = describe_rows(plan, call, rows);
  int64_t sums = d_kv_bytes(plan, call->block);
  float *d_kv = call->workspace;
  double begin = uly__now();
  if (rows.begin == 0) uly__clear(plan->stream, d_kv, sums);
  args.d_o = uly__at(call->d_o, args.dtype, rows.begin * args.o_stride);
  args.d_q = uly__at(call->d_qkv, args.dtype, rows.begin * args.q_stride);
  args.d_kv = d_kv + args.keys.begin * uly__key_row(plan, call->block);
  plan->ops->attention_backward(plan->stream, &args, (char *)call->workspace + sums);
  if (rows.begin + rows.count == plan->rows.count)
    uly__local_put_kv(plan, call->block, d_kv, call->d_qkv);
  uly__span_end("attention backward", call->index, ULY_LANE_COMPUTE, begin);
  return ULY_OK;
}

static int64_t nothing(const uly_attention *plan, const uly__head_block *block) {
  (void)plan;
  (void)block;
  return 0;
}

const uly__key_scheme uly__keys_whole = {
    .name = "whole",
    .applicable = applicable,
    .workspace_bytes = workspace_bytes,
    .forward = forward,
    .backward = backward,
    .forward_rows = forward_rows,
    .backward_rows = backward_rows,
    .sent_forward = nothing,
    .sent_backward = nothing,
};
