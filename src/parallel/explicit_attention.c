/* The explicit calls of ulysses.h: the buffers of the Ulysses scheme, its exchanges and its local
 * attention one by one, for programs that have their own projections. The arguments of the program
 * are checked here. */
#include "base/sized.h"
#include "parallel/shared_kv.h"
#include "parallel/ulysses_rounds.h"

/* --------------------------------------------------------------------------- buffers */

/* Refuses plans whose buffers and exchanges are not those of Ulysses. */
static uly_status check_explicit(const uly_attention *plan) {
  ULY_NOT_NULL(plan);
  if (plan->rows.size > 1)
    ULY_FAIL(ULY_ERR_CONFIG,
             "the explicit calls are those of Ulysses, but mesh.%s is %d: use the simple calls, or "
             "mesh.ulysses alone",
             plan->keys->name, plan->rows.size);
  return ULY_OK;
}

int uly_attention_num_blocks(const uly_attention *plan) { return plan ? plan->num_blocks : 0; }

uly_status uly_attention_get_block(const uly_attention *plan, int index,
                                   uly_attention_block *block) {
  ULY_TRY(check_explicit(plan));
  ULY_TRY(uly__sized_check(block, "uly_attention_block"));
  if (index < 0 || index >= plan->num_blocks)
    ULY_FAIL(ULY_ERR_CONFIG, "block %d is asked for, but the plan has %d, counted from 0", index,
             plan->num_blocks);
  const uly__head_block *b = &plan->blocks[index];
  const uly__head_place *place = &uly__ulysses_of(plan)->table.places[index];
  uly_attention_block known = {.q_begin = b->q_begin,
                               .q_count = b->q_count,
                               .kv_begin = b->kv_begin,
                               .kv_count = b->kv_count,
                               .kv_shared = b->kv_shared,
                               .qkv_offset = b->qkv_offset,
                               .o_offset = b->o_offset,
                               .qkv_stride = b->qkv_stride,
                               .o_stride = b->o_stride,
                               .qkv_heads_offset = place->qkv_offset,
                               .o_heads_offset = place->o_offset};
  uly__sized_write(block, &known, sizeof known);
  return ULY_OK;
}

uly_status uly_attention_get_bytes(const uly_attention *plan, uly_attention_bytes *bytes) {
  ULY_TRY(check_explicit(plan));
  ULY_TRY(uly__sized_check(bytes, "uly_attention_bytes"));
  uly__ulysses_sizes sizes = uly__ulysses_of(plan)->bytes;
  uly_attention_bytes known = {.qkv_tokens = sizes.qkv_tokens,
                               .qkv_heads = sizes.qkv_heads,
                               .o_tokens = sizes.o_tokens,
                               .o_heads = sizes.o_heads,
                               .softmax = sizes.softmax,
                               .workspace = sizes.workspace};
  uly__sized_write(bytes, &known, sizeof known);
  return ULY_OK;
}

/* ------------------------------------------------------------------------- exchanges */

uly_status uly_attention_share_kv(const uly_attention *plan, void *qkv_tokens) {
  ULY_TRY(check_explicit(plan));
  if (plan->cut.count > 0) ULY_NOT_NULL(qkv_tokens);
  uly__attention_share_kv(plan, qkv_tokens);
  return ULY_OK;
}

uly_status uly_attention_sum_kv(const uly_attention *plan, void *d_qkv_tokens) {
  ULY_TRY(check_explicit(plan));
  if (plan->cut.count > 0) ULY_NOT_NULL(d_qkv_tokens);
  uly__attention_sum_kv(plan, d_qkv_tokens);
  return ULY_OK;
}

/* Makes the exchange of one step, from one of the two sides' buffers, tokens and heads, to the
 * other. */
static uly_status exchange(uly_attention *plan, uly__exchange_step step, uly_traffic kind,
                           const void *tokens, const void *heads) {
  ULY_TRY(check_explicit(plan));
  ULY_TRY(uly__mesh_check_online(plan->mesh));
  if ((unsigned)kind >= ULY_NUM_TRAFFIC)
    ULY_FAIL(ULY_ERR_CONFIG, "there is no traffic of kind %d: uly_traffic has %d kinds", (int)kind,
             (int)ULY_NUM_TRAFFIC);
  if (plan->cut.count > 0) ULY_NOT_NULL(tokens);
  ULY_NOT_NULL(heads);
  return uly__ulysses_exchange(plan, step, kind, tokens, heads);
}

uly_status uly_attention_qkv_to_heads(uly_attention *plan, uly_traffic kind, const void *qkv_tokens,
                                      void *qkv_heads) {
  return exchange(plan, ULY_QKV_TO_HEADS, kind, qkv_tokens, qkv_heads);
}

uly_status uly_attention_qkv_to_tokens(uly_attention *plan, uly_traffic kind, const void *qkv_heads,
                                       void *qkv_tokens) {
  return exchange(plan, ULY_QKV_TO_TOKENS, kind, qkv_tokens, qkv_heads);
}

uly_status uly_attention_o_to_heads(uly_attention *plan, uly_traffic kind, const void *o_tokens,
                                    void *o_heads) {
  return exchange(plan, ULY_O_TO_HEADS, kind, o_tokens, o_heads);
}

uly_status uly_attention_o_to_tokens(uly_attention *plan, uly_traffic kind, const void *o_heads,
                                     void *o_tokens) {
  return exchange(plan, ULY_O_TO_TOKENS, kind, o_tokens, o_heads);
}

/* -------------------------------------------------------------------- local attention */

uly_status uly_attention_local_forward(uly_attention *plan, int mask, const void *qkv_heads,
                                       void *o_heads, void *softmax) {
  ULY_TRY(check_explicit(plan));
  ULY_TRY(uly__attention_check_mask(plan, mask));
  ULY_NOT_NULL(qkv_heads);
  ULY_NOT_NULL(o_heads);
  ULY_NOT_NULL(softmax);
  for (int round = 0; round < uly__ulysses_of(plan)->table.num_rounds; round++) {
    uly__round at = uly__ulysses_round(plan, round);
    uly__key_call call = uly__ulysses_round_call(plan, round, uly__past(qkv_heads, at.qkv_heads),
                                                 uly__past(o_heads, at.o_heads), softmax);
    call.mask = mask;
    ULY_TRY(plan->keys->forward(plan, &call));
  }
  return ULY_OK;
}

uly_status uly_attention_local_backward(uly_attention *plan, int mask, const void *qkv_heads,
                                        const void *o_heads, const void *softmax,
                                        const void *d_o_heads, void *d_qkv_heads, void *workspace) {
  ULY_TRY(check_explicit(plan));
  ULY_TRY(uly__attention_check_mask(plan, mask));
  ULY_NOT_NULL(qkv_heads);
  ULY_NOT_NULL(o_heads);
  ULY_NOT_NULL(softmax);
  ULY_NOT_NULL(d_o_heads);
  ULY_NOT_NULL(d_qkv_heads);
  if (uly__ulysses_of(plan)->bytes.workspace > 0) ULY_NOT_NULL(workspace);
  for (int round = 0; round < uly__ulysses_of(plan)->table.num_rounds; round++) {
    uly__round at = uly__ulysses_round(plan, round);
    uly__key_call call = uly__ulysses_round_call(plan, round, uly__past(qkv_heads, at.qkv_heads),
                                                 uly__past(o_heads, at.o_heads), softmax);
    call.mask = mask;
    call.d_o = uly__past(d_o_heads, at.o_heads);
    call.d_qkv = uly__past(d_qkv_heads, at.qkv_heads);
    call.workspace = workspace;
    ULY_TRY(plan->keys->backward(plan, &call));
  }
  return ULY_OK;
}
