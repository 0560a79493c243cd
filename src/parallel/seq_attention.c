/* Attention over a sequence that is cut over ranks: the plan, its sizes, and attention round by
 * round. Source: DeepSpeed-Ulysses, arXiv 2309.14509. Shapes are as in ulysses.h. */
#include "parallel/seq_attention.h"

#include <math.h>
#include <stddef.h>
#include <stdlib.h>

#include "base/sized.h"
#include "base/spans.h"
#include "device/device.h"

static uly_status check(const uly_attention_desc *desc) {
  if (desc->dtype != ULY_F32 && desc->dtype != ULY_BF16)
    ULY_FAIL(ULY_ERR_CONFIG, "desc.dtype is %d, but it must be ULY_F32 or ULY_BF16",
             (int)desc->dtype);
  if (!desc->callback.forward != !desc->callback.backward)
    ULY_FAIL(ULY_ERR_CONFIG, "desc.callback must have both forward and backward, or neither");
  if (!desc->callback.forward && desc->head_dim > ULY_MAX_HEAD_DIM)
    ULY_FAIL(ULY_ERR_CONFIG,
             "desc.head_dim is %d: the kernels go up to %d (a callback of your own has no limit)",
             desc->head_dim, ULY_MAX_HEAD_DIM);
  if (!isfinite(desc->scale)) ULY_FAIL(ULY_ERR_CONFIG, "desc.scale is not finite");
  return ULY_OK;
}

/* The first mask of a plan that was given none: it hides nothing. */
static const uly_mask no_mask = {.size = sizeof no_mask};

static int num_masks(const uly_attention_desc *desc) {
  return desc->masks && desc->num_masks ? desc->num_masks : 1;
}

static bool same_documents(const uly_mask *a, const uly_mask *b) {
  return a->num_docs == b->num_docs &&
         (a->num_docs == 0 ||
          memcmp(a->doc_start, b->doc_start, (size_t)a->num_docs * sizeof *a->doc_start) == 0);
}

static uly_status make_masks(uly_attention *plan, const uly_attention_desc *desc) {
  plan->num_masks = num_masks(desc);
  plan->masks = calloc((size_t)plan->num_masks, sizeof *plan->masks);
  if (!plan->masks) ULY_FAIL(ULY_ERR_MEMORY, "no memory for %d masks", plan->num_masks);
  for (int i = 0; i < plan->num_masks; i++) {
    const uly_mask *mask = desc->masks ? &desc->masks[i] : &no_mask;
    ULY_TRY(uly__mask_create(mask, desc->num_tokens, desc->num_q_heads, &plan->masks[i]));
    if (desc->masks && !same_documents(mask, desc->masks))
      ULY_FAIL(ULY_ERR_CONFIG, "desc.masks[%d] has other documents than desc.masks[0]", i);
  }
  return ULY_OK;
}

static uly_status fill(uly_attention *plan, const uly_attention_desc *desc) {
  static _Atomic int64_t last_id;
  plan->id = ++last_id;
  plan->desc = *desc;
  plan->desc.masks = NULL;
  if (desc->scale == 0.0f) plan->desc.scale = (float)(1.0 / sqrt((double)desc->head_dim));
  plan->ops = uly__ops_get();
  plan->stream = uly__stream_get();
  plan->group = uly__mesh_group(plan->mesh, ULY_AXES_SP);
  ULY_TRY(uly__ulysses_create(uly__group_size(plan->group), uly__group_rank(plan->group), desc,
                              &plan->ulysses));
  uly__part slice = plan->ulysses.slices[plan->ulysses.rank];
  plan->run = (uly_token_run){slice.begin, slice.count};
  return make_masks(plan, desc);
}

uly_status uly__attention_plan(uly_mesh *mesh, const uly_attention_desc *desc,
                               uly_attention **out) {
  *out = NULL;
  ULY_TRY(check(desc));
  ULY_TRY(uly__ops_check_wish());
  uly_attention *plan = calloc(1, sizeof *plan);
  if (!plan) ULY_FAIL(ULY_ERR_MEMORY, "no memory for an attention plan");
  plan->mesh = uly__mesh_use(mesh);
  uly_status status = fill(plan, desc);
  if (status != ULY_OK)
    uly_attention_destroy(plan);
  else
    *out = plan;
  return status;
}

void uly_attention_destroy(uly_attention *plan) {
  if (!plan) return;
  uly__attention_free_simple(plan);
  for (int i = 0; plan->masks && i < plan->num_masks; i++) uly__mask_destroy(plan->masks[i]);
  free(plan->masks);
  free(plan->documents.room);
  uly__ulysses_destroy(&plan->ulysses);
  uly__mesh_leave(plan->mesh);
  free(plan);
}

uly_status uly__attention_use_documents(uly_attention *plan, const int64_t *doc_start,
                                        int64_t num_docs) {
  uly_mask before = *uly__mask_desc(plan->masks[0]);
  for (int i = 0; i < plan->num_masks; i++) {
    uly_status status = uly__mask_set_documents(plan->masks[i], doc_start, num_docs);
    if (status == ULY_OK) continue;
    while (--i >= 0)
      (void)uly__mask_set_documents(plan->masks[i], before.doc_start, before.num_docs);
    return status;
  }
  return ULY_OK;
}

double uly__attention_pairs(const uly_attention *plan, int mask) {
  return uly__mask_pairs(plan->masks[mask], plan->desc.num_q_heads);
}

int uly__attention_num_groups(const uly_attention *plan) { return plan->ulysses.num_groups; }

uly__head_block uly__attention_block(const uly_attention *plan, int group) {
  return plan->ulysses.blocks[group];
}

int uly__attention_num_rounds(const uly_attention *plan) { return plan->ulysses.num_rounds; }

bool uly__attention_shares_kv(const uly_attention *plan) {
  for (int g = 0; g < plan->ulysses.num_groups; g++)
    if (plan->ulysses.blocks[g].kv_shared) return true;
  return false;
}

/* Returns this rank's group of a round. */
static const uly__head_block *own_block(const uly_attention *plan, int round) {
  const uly__ulysses *u = &plan->ulysses;
  return &u->blocks[uly__ulysses_group(u, u->rank, round)];
}

/* Returns the bytes that forward keeps of the softmax of a row. */
static int64_t row_bytes(const uly_attention *plan) {
  return plan->desc.callback.forward ? sizeof(float) : sizeof(uly__softmax_row);
}

void uly__attention_lse(const uly_attention *plan, const void *softmax, int64_t first,
                        int64_t count, float *lse) {
  if (plan->desc.callback.forward)
    uly__copy(plan->stream, lse, (const float *)softmax + first, count * (int64_t)sizeof *lse);
  else
    plan->ops->softmax_lse(plan->stream, count, (const uly__softmax_row *)softmax + first,
                           plan->desc.scale, lse);
}

/* Returns the number of rows of softmax before those of a round. */
static int64_t rows_before(const uly_attention *plan, int round) {
  return own_block(plan, round)->q_begin - own_block(plan, 0)->q_begin;
}

/* Describes what a round works on, without its pointers. */
static uly__attention_args shape(const uly_attention *plan, int mask, int round) {
  const uly_attention_desc *desc = &plan->desc;
  const uly__head_block *block = own_block(plan, round);
  int uses = desc->num_q_heads / desc->num_kv_heads;
  return (uly__attention_args){
      .num_tokens = desc->num_tokens,
      .num_q_heads = block->q_count,
      .num_kv_heads = block->kv_count,
      .head_dim = desc->head_dim,
      .first_q_head = block->q_begin,
      .group_size = uses,
      .group_offset = block->q_begin - block->kv_begin * uses,
      .dtype = desc->dtype,
      .mask = plan->masks[mask],
      .scale = desc->scale,
      .qkv_stride = block->qkv_stride,
      .o_stride = block->o_stride,
      .poll = plan->poll,
      .poll_context = plan->poll_context,
  };
}

/* Describes a round with its pointers, which are to its own part of each buffer; softmax is that of
 * all rounds. */
static uly__attention_args local(const uly_attention *plan, int mask, int round,
                                 const void *qkv_heads, void *o_heads, void *softmax) {
  uly__attention_args args = shape(plan, mask, round);
  int64_t q_width = (int64_t)args.num_q_heads * args.head_dim;
  int64_t kv_width = (int64_t)args.num_kv_heads * args.head_dim;
  args.q = (void *)(uintptr_t)qkv_heads;
  args.k = uly__at(args.q, args.dtype, q_width);
  args.v = uly__at(args.k, args.dtype, kv_width);
  args.o = o_heads;
  args.softmax =
      (void *)((char *)softmax + rows_before(plan, round) * args.num_tokens * row_bytes(plan));
  return args;
}

/* Translates the arguments for a user's kernel. */
static uly_local_attention for_callback(const uly__attention_args *args) {
  return (uly_local_attention){
      .size = sizeof(uly_local_attention),
      .num_tokens = args->num_tokens,
      .num_q_heads = args->num_q_heads,
      .num_kv_heads = args->num_kv_heads,
      .head_dim = args->head_dim,
      .first_q_head = args->first_q_head,
      .group_size = args->group_size,
      .group_offset = args->group_offset,
      .dtype = args->dtype,
      .mask = uly__mask_desc(args->mask),
      .scale = args->scale,
      .qkv_stride = args->qkv_stride,
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

/* Returns the bytes of the workspace, which rounds use one after the other. */
static int64_t workspace_bytes(const uly_attention *plan) {
  int64_t most = 0;
  for (int round = 0; round < plan->ulysses.num_rounds; round++) {
    uly__attention_workspace unused;
    uly__attention_args args = shape(plan, 0, round);
    int64_t bytes = uly__attention_carve(&args, NULL, &unused);
    if (bytes > most) most = bytes;
  }
  return most;
}

uly__attention_sizes uly__attention_sizes_of(const uly_attention *plan) {
  const uly__ulysses *u = &plan->ulysses;
  int64_t N = u->num_tokens, bytes = uly__dtype_bytes(plan->desc.dtype);
  int64_t T = u->slices[u->rank].count, qkv_row = 0, o_row = 0, qkv_heads = 0, o_heads = 0;
  for (int g = 0; g < u->num_groups; g++) {
    qkv_row += u->blocks[g].qkv_stride;
    o_row += u->blocks[g].o_stride;
  }
  for (int round = 0; round < u->num_rounds; round++) {
    qkv_heads += own_block(plan, round)->qkv_stride;
    o_heads += own_block(plan, round)->o_stride;
  }
  int64_t q_heads = o_heads / u->head_dim;
  return (uly__attention_sizes){
      .qkv_tokens = T * qkv_row * bytes,
      .qkv_heads = N * qkv_heads * bytes,
      .o_tokens = T * o_row * bytes,
      .o_heads = N * o_heads * bytes,
      .softmax = N * q_heads * row_bytes(plan),
      .workspace = plan->desc.callback.forward ? 0 : workspace_bytes(plan),
  };
}

int64_t uly__attention_sent_forward(const uly_attention *plan) {
  const uly__ulysses *u = &plan->ulysses;
  int64_t bytes = uly__dtype_bytes(plan->desc.dtype);
  return uly__ulysses_sent(u, &u->qkv.tokens, bytes) + uly__ulysses_sent(u, &u->o.heads, bytes);
}

int64_t uly__attention_sent_backward(const uly_attention *plan) {
  const uly__ulysses *u = &plan->ulysses;
  int64_t bytes = uly__dtype_bytes(plan->desc.dtype);
  return uly__ulysses_sent(u, &u->o.tokens, bytes) + uly__ulysses_sent(u, &u->qkv.heads, bytes);
}

/* -------------------------------------------------------------- round by round */

/* Which tensor a step sends, and in which direction. */
typedef struct route {
  uly__blocks from, to;
  int64_t unit_bytes;
} route;

static route find_route(const uly_attention *plan, uly__exchange_step step, int round) {
  const uly__ulysses *u = &plan->ulysses;
  bool is_qkv = step == ULY_QKV_TO_HEADS || step == ULY_QKV_TO_TOKENS;
  bool is_to_heads = step == ULY_QKV_TO_HEADS || step == ULY_O_TO_HEADS;
  const uly__exchange *exchange = is_qkv ? &u->qkv : &u->o;
  uly__blocks tokens = uly__ulysses_blocks(u, &exchange->tokens, round);
  uly__blocks heads = uly__ulysses_blocks(u, &exchange->heads, round);
  return (route){.from = is_to_heads ? tokens : heads,
                 .to = is_to_heads ? heads : tokens,
                 .unit_bytes = u->head_dim * uly__dtype_bytes(plan->desc.dtype)};
}

/* Returns 0 for steps to heads, 1 for steps to tokens. */
static int direction(uly__exchange_step step) {
  return step == ULY_QKV_TO_HEADS || step == ULY_O_TO_HEADS ? 0 : 1;
}

/* Records what has arrived. */
static void note_arrivals(uly_attention *plan) {
  for (int way = 0; way < 2; way++) {
    if (!plan->travel[way].under_way || uly__request_is_pending(&plan->travel[way].request))
      continue;
    plan->travel[way].under_way = false;
    uly__span_end(way == 0 ? "to heads" : "to tokens", plan->travel[way].round,
                  way == 0 ? ULY_LANE_TO_HEADS : ULY_LANE_TO_TOKENS, plan->travel[way].began);
  }
}

uly_status uly__attention_start(uly_attention *plan, uly__exchange_step step, uly_traffic kind,
                                int round, const void *from, void *to) {
  route r = find_route(plan, step, round);
  int way = direction(step);
  plan->travel[way].under_way = true;
  plan->travel[way].round = round;
  plan->travel[way].began = uly__now();
  return uly__all_to_all_start(plan->group, kind, r.unit_bytes, from, r.from, to, r.to,
                               &plan->travel[way].request);
}

uly_status uly__attention_wait(uly_attention *plan, uly__exchange_step step, int round) {
  double begin = uly__now();
  ULY_TRY(uly__request_wait(&plan->travel[direction(step)].request));
  note_arrivals(plan);
  uly__span_end("wait for exchange", round, ULY_LANE_COMPUTE, begin);
  return ULY_OK;
}

uly_status uly__attention_poll(uly_attention *plan) {
  for (int way = 0; way < 2; way++) ULY_TRY(uly__request_poll(&plan->travel[way].request));
  note_arrivals(plan);
  return ULY_OK;
}

uly__round uly__attention_round(const uly_attention *plan, int round) {
  const uly__ulysses *u = &plan->ulysses;
  const uly__head_block *own = own_block(plan, round);
  const uly__head_block *first = &u->blocks[uly__ulysses_group(u, 0, round)];
  int64_t bytes = uly__dtype_bytes(plan->desc.dtype);
  return (uly__round){.qkv_tokens = first->qkv_offset * bytes,
                      .o_tokens = first->o_offset * bytes,
                      .qkv_heads = own->qkv_heads_offset * bytes,
                      .o_heads = own->o_heads_offset * bytes,
                      .qkv_heads_bytes = u->num_tokens * own->qkv_stride * bytes,
                      .o_heads_bytes = u->num_tokens * own->o_stride * bytes};
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

uly_status uly__attention_round_forward(const uly_attention *plan, int mask, int round,
                                        const void *qkv_heads, void *o_heads, void *softmax) {
  const uly_attention_callback *callback = &plan->desc.callback;
  uly__attention_args args = local(plan, mask, round, qkv_heads, o_heads, softmax);
  double begin = uly__now();
  if (callback->forward) return call_users(callback->forward, callback->user, &args);
  plan->ops->attention_forward(&args);
  uly__span_end("attention", round, ULY_LANE_COMPUTE, begin);
  return ULY_OK;
}

uly_status uly__attention_round_backward(const uly_attention *plan, int mask, int round,
                                         const void *qkv_heads, const void *o_heads,
                                         const void *softmax, const void *d_o_heads,
                                         void *d_qkv_heads, void *workspace) {
  const uly_attention_callback *callback = &plan->desc.callback;
  uly__attention_args args =
      local(plan, mask, round, qkv_heads, (void *)(uintptr_t)o_heads, (void *)(uintptr_t)softmax);
  ptrdiff_t to_k = (const char *)args.k - (const char *)args.q;
  ptrdiff_t to_v = (const char *)args.v - (const char *)args.q;
  args.d_o = d_o_heads;
  args.d_q = d_qkv_heads;
  args.d_k = (char *)args.d_q + to_k;
  args.d_v = (char *)args.d_q + to_v;
  double begin = uly__now();
  if (callback->backward) return call_users(callback->backward, callback->user, &args);
  plan->ops->attention_backward(&args, workspace);
  uly__span_end("attention backward", round, ULY_LANE_COMPUTE, begin);
  return ULY_OK;
}

/* --------------------------------------------------------------- all rounds at once */

static void *past(const void *buffer, int64_t bytes) { return (char *)(uintptr_t)buffer + bytes; }

uly_status uly__attention_exchange(uly_attention *plan, uly__exchange_step step, uly_traffic kind,
                                   const void *tokens, const void *heads) {
  double begin = uly__now();
  bool is_qkv = step == ULY_QKV_TO_HEADS || step == ULY_QKV_TO_TOKENS;
  bool is_to_heads = direction(step) == 0;
  for (int round = 0; round < plan->ulysses.num_rounds; round++) {
    route r = find_route(plan, step, round);
    uly__round at = uly__attention_round(plan, round);
    void *token_side = past(tokens, is_qkv ? at.qkv_tokens : at.o_tokens);
    void *head_side = past(heads, is_qkv ? at.qkv_heads : at.o_heads);
    ULY_TRY(uly__all_to_all(plan->group, kind, r.unit_bytes, is_to_heads ? token_side : head_side,
                            r.from, is_to_heads ? head_side : token_side, r.to));
  }
  uly__span_end("exchange", -1, ULY_LANE_COMPUTE, begin);
  return ULY_OK;
}

uly_status uly__attention_forward(const uly_attention *plan, int mask, const void *qkv_heads,
                                  void *o_heads, void *softmax) {
  for (int round = 0; round < plan->ulysses.num_rounds; round++) {
    uly__round at = uly__attention_round(plan, round);
    ULY_TRY(uly__attention_round_forward(plan, mask, round, past(qkv_heads, at.qkv_heads),
                                         past(o_heads, at.o_heads), softmax));
  }
  return ULY_OK;
}

uly_status uly__attention_backward(const uly_attention *plan, int mask, const void *qkv_heads,
                                   const void *o_heads, const void *softmax, const void *d_o_heads,
                                   void *d_qkv_heads, void *workspace) {
  for (int round = 0; round < plan->ulysses.num_rounds; round++) {
    uly__round at = uly__attention_round(plan, round);
    ULY_TRY(uly__attention_round_backward(
        plan, mask, round, past(qkv_heads, at.qkv_heads), past(o_heads, at.o_heads), softmax,
        past(d_o_heads, at.o_heads), past(d_qkv_heads, at.qkv_heads), workspace));
  }
  return ULY_OK;
}
