/* What the key schemes share: see local_attention.h. */
#include "parallel/local_attention.h"

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

uly__attention_args uly__local_shape(const uly_attention *plan, const uly__head_block *block) {
  const uly_attention_desc *desc = &plan->desc;
  const uly_token_run *runs = uly__token_cut_runs(&plan->rows, plan->rows.rank);
  int uses = desc->num_q_heads / desc->num_kv_heads;
  return (uly__attention_args){
      .queries = runs[0],
      .keys = plan->rows.size == 1 ? runs[0] : (uly_token_run){0},
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
      .softmax_stride = plan->rows.count,
      .poll = plan->poll,
      .poll_context = plan->poll_context,
  };
}

void uly__local_copy_kv(const uly_attention *plan, const uly__head_block *block, const void *qkv,
                        int64_t capacity, void *keys, void *values) {
  uly_dtype dtype = plan->desc.dtype;
  int64_t rows = plan->rows.count, d = plan->desc.head_dim, bytes = uly__dtype_bytes(dtype);
  for (int i = 0; i < block->kv_count; i++) {
    int64_t to = i * capacity * d, key = (block->q_count + i) * d,
            value = key + block->kv_count * d;
    uly__copy_rows(plan->stream, rows, d * bytes, uly__at(keys, dtype, to), d * bytes,
                   uly__at(qkv, dtype, key), block->qkv_stride * bytes);
    uly__copy_rows(plan->stream, rows, d * bytes, uly__at(values, dtype, to), d * bytes,
                   uly__at(qkv, dtype, value), block->qkv_stride * bytes);
  }
}

int64_t uly__key_row(const uly_attention *plan, const uly__head_block *block) {
  return 2 * (int64_t)block->kv_count * plan->desc.head_dim;
}

void uly__local_put_kv(const uly_attention *plan, const uly__head_block *block, float *d_kv,
                       void *d_qkv) {
  uly_dtype dtype = plan->desc.dtype;
  int64_t rows = plan->rows.count, row = uly__key_row(plan, block), bytes = uly__dtype_bytes(dtype);
  int64_t first_key = (int64_t)block->q_count * plan->desc.head_dim;
  if (dtype == ULY_BF16) plan->ops->round_in_place(plan->stream, rows * row, d_kv);
  uly__copy_rows(plan->stream, rows, row * bytes, uly__at(d_qkv, dtype, first_key),
                 block->qkv_stride * bytes, d_kv, row * bytes);
}
