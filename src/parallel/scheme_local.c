/* The scheme without an exchange of heads: attention reads Q, K and V where they were projected,
 * and writes its outputs where the next product reads them. The sequence lies on one rank, or is
 * cut over a ring, whose key scheme brings the keys and values of other ranks. */
#include <stdlib.h>

#include "device/device.h"
#include "parallel/head_share.h"
#include "parallel/local_attention.h"
#include "parallel/shared_kv.h"

typedef struct local_plan {
  uly__head_block *blocks; /* [head groups] */
  void *workspace;         /* of a block */
  float *lse;              /* [query heads of the share, T] */
} local_plan;

static local_plan *own_of(const uly_attention *plan) { return plan->own; }

static uly_status applicable(const uly_mesh *mesh, const uly_attention_desc *desc) {
  int size = uly__mesh_extent(mesh, ULY_AXIS_ULYSSES);
  if (size > 1)
    ULY_FAIL(ULY_ERR_CONFIG, "local attention needs all heads on one rank, but mesh.ulysses is %d",
             size);
  ULY_TRY(uly__head_share_check(mesh, desc));
  char heads[64];
  uly__head_share_name(mesh, desc, heads);
  if (desc->head_groups > uly__head_share_least(mesh, desc))
    ULY_FAIL(ULY_ERR_CONFIG, "desc.head_groups is %d, but there are only %s", desc->head_groups,
             heads);
  return ULY_OK;
}

/* No heads are exchanged: rounds only divide the products around attention. */
static uly_status deal_heads(const uly_mesh *mesh, int rounds, uly_attention_desc *desc) {
  ULY_TRY(uly__head_share_check(mesh, desc));
  char heads[64];
  uly__head_share_name(mesh, desc, heads);
  if (rounds > uly__head_share_least(mesh, desc))
    ULY_FAIL(ULY_ERR_CONFIG,
             "config.rounds is %d, but the model has %s: use no more rounds than that", rounds,
             heads);
  desc->head_groups = rounds > 0 ? rounds : 1;
  return ULY_OK;
}

static uly_status create(uly_attention *plan) {
  const uly_attention_desc *d = &plan->desc;
  local_plan *own = calloc(1, sizeof *own);
  if (!own) ULY_FAIL(ULY_ERR_MEMORY, "no memory for an attention plan");
  plan->own = own;
  plan->num_blocks = d->head_groups ? d->head_groups : 1;
  own->blocks = calloc((size_t)plan->num_blocks, sizeof *own->blocks);
  if (!own->blocks) ULY_FAIL(ULY_ERR_MEMORY, "no memory for %d head groups", plan->num_blocks);
  plan->blocks = own->blocks;
  uly__head_blocks_deal(plan->heads, d->num_q_heads / d->num_kv_heads, d->head_dim,
                        plan->num_blocks, own->blocks);
  uly__head_blocks_place(plan->num_blocks, plan->num_blocks, plan->cut.count, own->blocks);
  return ULY_OK;
}

static void destroy(uly_attention *plan) {
  if (plan->own) free(own_of(plan)->blocks);
  free(plan->own);
}

/* ----------------------------------------------------------------------------- memory */

static int64_t qkv_bytes(const uly_attention *plan) {
  int64_t row = 0;
  for (int b = 0; b < plan->num_blocks; b++) row += plan->blocks[b].qkv_stride;
  return plan->cut.count * row * uly__dtype_bytes(plan->desc.dtype);
}

static int64_t o_bytes(const uly_attention *plan) {
  return plan->cut.count * plan->heads.q_count * plan->desc.head_dim *
         uly__dtype_bytes(plan->desc.dtype);
}

static void carve_kept(const uly_attention *plan, uly__arena *arena, uly__seq_kept *out) {
  out->qkv = uly__arena_carve(arena, qkv_bytes(plan));
  out->o = uly__arena_carve(arena, o_bytes(plan));
  out->softmax = uly__arena_carve(
      arena, plan->cut.count * plan->heads.q_count * uly__local_softmax_bytes(plan));
}

static int64_t none(const uly_attention *plan) {
  (void)plan;
  return 0;
}

/* Returns the bytes of the workspace of any block, which take turns. */
static int64_t workspace_bytes(const uly_attention *plan, bool has_backward) {
  int64_t most = 0;
  for (int b = 0; b < plan->num_blocks; b++)
    for (int backward = 0; backward <= has_backward; backward++) {
      int64_t bytes = plan->keys->workspace_bytes(plan, &plan->blocks[b], backward);
      if (bytes > most) most = bytes;
    }
  return most;
}

static void carve_work(uly_attention *plan, unsigned uses, uly__arena *arena) {
  bool has_backward = uses & ULY_SEQ_BACKWARD;
  int64_t rows = plan->cut.count * plan->heads.q_count;
  if (uses & ULY_SEQ_LSE)
    own_of(plan)->lse = uly__arena_carve(arena, rows * (int64_t)sizeof(float));
  if (has_backward) {
    plan->work.d_o = uly__arena_carve(arena, o_bytes(plan));
    plan->work.d_qkv = uly__arena_carve(arena, qkv_bytes(plan));
  }
  own_of(plan)->workspace = uly__arena_carve(arena, workspace_bytes(plan, has_backward));
}

/* ----------------------------------------------------------------------------- passes */

static uly__key_call call_of(const uly_attention *plan, const uly__seq_call *call, int index) {
  const uly__head_block *block = &plan->blocks[index];
  const uly__seq_kept *kept = call->kept;
  int64_t heads_before = block->q_begin - plan->heads.q_begin;
  int64_t softmax = heads_before * plan->cut.count * uly__local_softmax_bytes(plan);
  return (uly__key_call){.mask = call->mask,
                         .kind = call->kind,
                         .block = block,
                         .rows = {.qkv = uly__at(kept->qkv, plan->desc.dtype, block->qkv_offset),
                                  .o = uly__at(kept->o, plan->desc.dtype, block->o_offset),
                                  .softmax = (char *)kept->softmax + softmax},
                         .workspace = own_of(plan)->workspace,
                         .index = index};
}

static uly_status forward(uly_attention *plan, const uly__seq_call *call) {
  uly_status first = ULY_OK;
  call->project(call->context, 0, 1);
  uly__attention_share_kv(plan, call->kept->qkv);
  for (int b = 0; b < plan->num_blocks; b++) {
    uly__key_call block = call_of(plan, call, b);
    block.status = first;
    first = plan->keys->forward(plan, &block);
  }
  return first;
}

static uly_status backward(uly_attention *plan, const uly__seq_call *call) {
  uly_dtype dtype = plan->desc.dtype;
  uly_status first = ULY_OK;
  for (int b = 0; b < plan->num_blocks; b++) {
    uly__key_call block = call_of(plan, call, b);
    block.d_o = uly__at(plan->work.d_o, dtype, plan->blocks[b].o_offset);
    block.d_qkv = uly__at(plan->work.d_qkv, dtype, plan->blocks[b].qkv_offset);
    block.status = first;
    first = plan->keys->backward(plan, &block);
  }
  uly__attention_sum_kv(plan, plan->work.d_qkv);
  return first;
}

static uly_status forward_rows(uly_attention *plan, const uly__seq_call *call, uly__part rows) {
  uly__key_call block = call_of(plan, call, 0);
  return plan->keys->forward_rows(plan, &block, rows);
}

static uly_status backward_rows(uly_attention *plan, const uly__seq_call *call, uly__part rows) {
  uly__key_call block = call_of(plan, call, 0);
  block.d_o = plan->work.d_o;
  block.d_qkv = plan->work.d_qkv;
  return plan->keys->backward_rows(plan, &block, rows);
}

static uly_status write_lse(uly_attention *plan, const uly__seq_kept *kept, float *lse) {
  int64_t T = plan->cut.count, hq = plan->heads.q_count, size = sizeof *lse;
  float *by_head = own_of(plan)->lse;
  uly__local_lse(plan, kept->softmax, 0, hq * T, by_head);
  for (int64_t head = 0; head < hq; head++)
    uly__copy_rows(plan->stream, T, size, lse + head, hq * size, by_head + head * T, size);
  return ULY_OK;
}

/* ---------------------------------------------------------------------------- queries */

static uly__head_range heads_of(const uly_attention *plan, int rank) {
  (void)rank; /* the only one */
  return uly__head_blocks_range(&plan->blocks[0], &plan->blocks[plan->num_blocks - 1]);
}

static void copy_kv(const uly_attention *plan, const uly__seq_kept *kept, int64_t capacity,
                    void *keys, void *values) {
  uly_dtype dtype = plan->desc.dtype;
  for (int b = 0; b < plan->num_blocks; b++) {
    const uly__head_block *block = &plan->blocks[b];
    int64_t at = (block->kv_begin - plan->heads.kv_begin) * capacity * plan->desc.head_dim;
    uly__local_copy_kv(plan, block, uly__at(kept->qkv, dtype, block->qkv_offset), capacity,
                       uly__at(keys, dtype, at), uly__at(values, dtype, at));
  }
}

static uly__block_range attended(const uly_attention *plan) {
  return (uly__block_range){0, plan->num_blocks};
}

const uly__seq_scheme uly__scheme_local = {
    .name = "local",
    .applicable = applicable,
    .deal_heads = deal_heads,
    .create = create,
    .destroy = destroy,
    .carve_kept = carve_kept,
    .outputs_bytes = none,
    .carve_work = carve_work,
    .forward = forward,
    .backward = backward,
    .forward_rows = forward_rows,
    .backward_rows = backward_rows,
    .lse = write_lse,
    .heads_of = heads_of,
    .copy_kv = copy_kv,
    .attended = attended,
    .sent_forward = none,
    .sent_backward = none,
};
