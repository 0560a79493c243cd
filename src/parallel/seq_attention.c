/* Attention over a sequence that is cut over ranks: the plan, and the explicit calls on zero-copy buffers.
 *
 * Source: DeepSpeed-Ulysses, arXiv 2309.14509. Shapes as in ulysses.h. */
#include "parallel/seq_attention.h"

#include <math.h>
#include <stddef.h>
#include <stdlib.h>

#include "base/spans.h"
#include "device/device.h"

static uly_status check(const uly_attention_desc *desc) {
  if (desc->dtype != ULY_F32 && desc->dtype != ULY_BF16)
    ULY_FAIL(ULY_ERR_CONFIG, "unknown dtype %d: use ULY_F32 or ULY_BF16", (int)desc->dtype);
  if (!desc->callback.forward != !desc->callback.backward)
    ULY_FAIL(ULY_ERR_CONFIG, "an attention callback needs both forward and backward");
  if (!desc->callback.forward && desc->head_dim > ULY_MAX_HEAD_DIM)
    ULY_FAIL(ULY_ERR_CONFIG,
             "a head dimension of %d: the kernels go up to %d (an own local "
             "attention, as a callback, has no limit)",
             desc->head_dim, ULY_MAX_HEAD_DIM);
  if (!isfinite(desc->scale)) ULY_FAIL(ULY_ERR_CONFIG, "the scale of attention is not finite");
  return ULY_OK;
}

uly_status uly__attention_plan(uly_mesh *mesh, const uly_attention_desc *desc,
                               uly_attention **out) {
  *out = NULL;
  ULY_TRY(check(desc));
  ULY_TRY(uly__ops_check_wish());
  uly_attention *plan = calloc(1, sizeof *plan);
  if (!plan) ULY_FAIL(ULY_ERR_MEMORY, "no memory for an attention plan");
  plan->mesh = mesh;
  plan->desc = *desc;
  if (desc->scale == 0.0f) plan->desc.scale = (float)(1.0 / sqrt((double)desc->head_dim));
  plan->ops = uly__ops_get();
  uly_status status = uly__ulysses_create(mesh->sp, mesh->sp_index, desc, &plan->ulysses);
  if (status == ULY_OK)
    status = uly__mask_create(&desc->mask, desc->num_tokens, desc->num_q_heads, &plan->mask);
  if (status != ULY_OK) {
    uly_attention_destroy(plan);
    return status;
  }
  plan->desc.mask = *uly__mask_desc(plan->mask);
  *out = plan;
  return ULY_OK;
}

uly_status uly_attention_create(uly_mesh *mesh, const uly_attention_desc *desc,
                                uly_attention **out) {
  *out = NULL;
  if (!mesh->world)
    ULY_FAIL(ULY_ERR_CONFIG, "an offline mesh cannot attend: make the mesh with uly_mesh_create");
  uly_status status = uly_mesh_agree(mesh, uly__attention_plan(mesh, desc, out));
  if (status != ULY_OK) {
    uly_attention_destroy(*out);
    *out = NULL;
  }
  return status;
}

void uly_attention_destroy(uly_attention *plan) {
  if (!plan) return;
  uly__attention_free_simple(plan);
  uly__mask_destroy(plan->mask);
  uly__ulysses_destroy(&plan->ulysses);
  free(plan);
}

void uly_attention_tokens(const uly_attention *plan, int64_t *begin, int64_t *count) {
  uly__part slice = plan->ulysses.slices[plan->ulysses.rank];
  *begin = slice.begin;
  *count = slice.count;
}

uly_status uly_attention_set_documents(uly_attention *plan, const int64_t *doc_start,
                                       int64_t num_docs) {
  ULY_TRY(uly__mask_set_documents(plan->mask, doc_start, num_docs));
  plan->desc.mask = *uly__mask_desc(plan->mask);
  return ULY_OK;
}

double uly_attention_pairs(const uly_attention *plan) {
  return uly__mask_pairs(plan->mask, plan->desc.num_q_heads);
}

int uly_attention_num_blocks(const uly_attention *plan) { return plan->ulysses.num_groups; }

uly_attention_block uly_attention_get_block(const uly_attention *plan, int block) {
  return plan->ulysses.blocks[block];
}

int uly__attention_num_rounds(const uly_attention *plan) { return plan->ulysses.num_rounds; }

bool uly__attention_shares_kv(const uly_attention *plan) {
  for (int g = 0; g < plan->ulysses.num_groups; g++)
    if (plan->ulysses.blocks[g].kv_shared) return true;
  return false;
}

/* This rank's group of a round. */
static const uly_attention_block *own_block(const uly_attention *plan, int round) {
  const uly__ulysses *u = &plan->ulysses;
  return &u->blocks[uly__ulysses_group(u, u->rank, round)];
}

/* Rows of lse before those of a round. */
static int64_t rows_before(const uly_attention *plan, int round) {
  return own_block(plan, round)->q_begin - own_block(plan, 0)->q_begin;
}

/* What a round works on, without its pointers. */
static uly__attention_args shape(const uly_attention *plan, int round) {
  const uly_attention_desc *desc = &plan->desc;
  const uly_attention_block *block = own_block(plan, round);
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
      .mask = plan->mask,
      .scale = desc->scale,
      .qkv_stride = block->qkv_stride,
      .o_stride = block->o_stride,
      .poll = plan->poll,
      .poll_context = plan->poll_context,
  };
}

/* The pointers are to the round's own part of each buffer; lse: of all rounds. */
static uly__attention_args local(const uly_attention *plan, int round, const void *qkv_heads,
                                 void *o_heads, float *lse) {
  uly__attention_args args = shape(plan, round);
  int64_t q_width = (int64_t)args.num_q_heads * args.head_dim;
  int64_t kv_width = (int64_t)args.num_kv_heads * args.head_dim;
  args.q = (void *)(uintptr_t)qkv_heads;
  args.k = uly__at(args.q, args.dtype, q_width);
  args.v = uly__at(args.k, args.dtype, kv_width);
  args.o = o_heads;
  args.lse = lse + rows_before(plan, round) * args.num_tokens;
  return args;
}

/* The same, as a user's kernel is given it. */
static uly_local_attention for_callback(const uly_attention *plan,
                                        const uly__attention_args *args) {
  return (uly_local_attention){
      .num_tokens = args->num_tokens,
      .num_q_heads = args->num_q_heads,
      .num_kv_heads = args->num_kv_heads,
      .head_dim = args->head_dim,
      .first_q_head = args->first_q_head,
      .group_size = args->group_size,
      .group_offset = args->group_offset,
      .dtype = args->dtype,
      .mask = plan->desc.mask,
      .scale = args->scale,
      .qkv_stride = args->qkv_stride,
      .o_stride = args->o_stride,
      .q = args->q,
      .k = args->k,
      .v = args->v,
      .o = args->o,
      .lse = args->lse,
      .d_o = args->d_o,
      .d_q = args->d_q,
      .d_k = args->d_k,
      .d_v = args->d_v,
      .poll = args->poll,
      .poll_context = args->poll_context,
  };
}

/* Rounds use it one after the other. */
static int64_t workspace_bytes(const uly_attention *plan) {
  int64_t most = 0;
  for (int round = 0; round < plan->ulysses.num_rounds; round++) {
    uly__attention_workspace unused;
    uly__attention_args args = shape(plan, round);
    int64_t bytes = uly__attention_carve(&args, NULL, &unused);
    if (bytes > most) most = bytes;
  }
  return most;
}

uly_attention_bytes uly_attention_get_bytes(const uly_attention *plan) {
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
  return (uly_attention_bytes){
      .qkv_tokens = T * qkv_row * bytes,
      .qkv_heads = N * qkv_heads * bytes,
      .o_tokens = T * o_row * bytes,
      .o_heads = N * o_heads * bytes,
      .lse = N * q_heads * (int64_t)sizeof(float),
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

/* ------------------------------------------------------------------ explicit calls */

/* Element of row t, key (which 0) or value (which 1) head i of block g. */
static int64_t kv_at(const uly_attention *plan, int g, int64_t t, int which, int i) {
  const uly_attention_block *block = &plan->ulysses.blocks[g];
  int64_t head = block->q_count + which * block->kv_count + i;
  return block->qkv_offset + t * block->qkv_stride + head * plan->desc.head_dim;
}

/* The last block that holds the last key/value head of block `first` too: those in between hold
 * nothing else. */
static int last_holder(const uly_attention *plan, int first) {
  const uly_attention_block *blocks = plan->ulysses.blocks;
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

void uly_attention_share_kv(const uly_attention *plan, void *qkv_tokens) {
  for_shared_heads(plan, qkv_tokens, copy_to_holders);
}

void uly_attention_sum_kv(const uly_attention *plan, void *d_qkv_tokens) {
  for_shared_heads(plan, d_qkv_tokens, sum_over_holders);
}

/* Which tensor goes which way. */
typedef struct route {
  uly__comm *comm; /* of the direction */
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
  return (route){.comm = is_to_heads ? plan->mesh->to_heads : plan->mesh->to_tokens,
                 .from = is_to_heads ? tokens : heads,
                 .to = is_to_heads ? heads : tokens,
                 .unit_bytes = u->head_dim * uly__dtype_bytes(plan->desc.dtype)};
}

/* 0: to heads; 1: to tokens. */
static int direction(uly__exchange_step step) {
  return step == ULY_QKV_TO_HEADS || step == ULY_O_TO_HEADS ? 0 : 1;
}

/* Records what has arrived. */
static void note_arrivals(uly_attention *plan) {
  const uly__comm *comms[2] = {plan->mesh->to_heads, plan->mesh->to_tokens};
  for (int way = 0; way < 2; way++) {
    if (!plan->travel[way].under_way || uly__comm_pending(comms[way])) continue;
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
  return uly__all_to_all_start(r.comm, kind, r.unit_bytes, from, r.from, to, r.to);
}

uly_status uly__attention_wait(uly_attention *plan, uly__exchange_step step, int round) {
  double begin = uly__now();
  ULY_TRY(uly__comm_wait(find_route(plan, step, round).comm));
  note_arrivals(plan);
  uly__span_end("wait for exchange", round, ULY_LANE_COMPUTE, begin);
  return ULY_OK;
}

uly_status uly__attention_poll(uly_attention *plan) {
  ULY_TRY(uly__comm_poll(plan->mesh->to_heads));
  ULY_TRY(uly__comm_poll(plan->mesh->to_tokens));
  note_arrivals(plan);
  return ULY_OK;
}

uly__round uly__attention_round(const uly_attention *plan, int round) {
  const uly__ulysses *u = &plan->ulysses;
  const uly_attention_block *own = own_block(plan, round);
  const uly_attention_block *first = &u->blocks[uly__ulysses_group(u, 0, round)];
  int64_t bytes = uly__dtype_bytes(plan->desc.dtype);
  return (uly__round){.qkv_tokens = first->qkv_offset * bytes,
                      .o_tokens = first->o_offset * bytes,
                      .qkv_heads = own->qkv_heads_offset * bytes,
                      .o_heads = own->o_heads_offset * bytes,
                      .qkv_heads_bytes = u->num_tokens * own->qkv_stride * bytes,
                      .o_heads_bytes = u->num_tokens * own->o_stride * bytes};
}

static const void *past(const void *buffer, int64_t bytes) { return (const char *)buffer + bytes; }

/* All rounds, and nothing beside. */
static uly_status exchange(const uly_attention *plan, uly__exchange_step step, uly_traffic kind,
                           const void *from, void *to) {
  double begin = uly__now();
  for (int round = 0; round < plan->ulysses.num_rounds; round++) {
    route r = find_route(plan, step, round);
    uly__round at = uly__attention_round(plan, round);
    bool is_qkv = step == ULY_QKV_TO_HEADS || step == ULY_QKV_TO_TOKENS;
    bool is_to_heads = step == ULY_QKV_TO_HEADS || step == ULY_O_TO_HEADS;
    int64_t tokens = is_qkv ? at.qkv_tokens : at.o_tokens;
    int64_t heads = is_qkv ? at.qkv_heads : at.o_heads;
    ULY_TRY(uly__all_to_all(r.comm, kind, r.unit_bytes, past(from, is_to_heads ? tokens : heads),
                            r.from, (char *)to + (is_to_heads ? heads : tokens), r.to));
  }
  uly__span_end("exchange", -1, ULY_LANE_COMPUTE, begin);
  return ULY_OK;
}

uly_status uly_attention_qkv_to_heads(uly_attention *plan, uly_traffic kind, const void *qkv_tokens,
                                      void *qkv_heads) {
  return exchange(plan, ULY_QKV_TO_HEADS, kind, qkv_tokens, qkv_heads);
}

uly_status uly_attention_qkv_to_tokens(uly_attention *plan, uly_traffic kind, const void *qkv_heads,
                                       void *qkv_tokens) {
  return exchange(plan, ULY_QKV_TO_TOKENS, kind, qkv_heads, qkv_tokens);
}

uly_status uly_attention_o_to_heads(uly_attention *plan, uly_traffic kind, const void *o_tokens,
                                    void *o_heads) {
  return exchange(plan, ULY_O_TO_HEADS, kind, o_tokens, o_heads);
}

uly_status uly_attention_o_to_tokens(uly_attention *plan, uly_traffic kind, const void *o_heads,
                                     void *o_tokens) {
  return exchange(plan, ULY_O_TO_TOKENS, kind, o_heads, o_tokens);
}

uly_status uly__attention_round_forward(const uly_attention *plan, int round, const void *qkv_heads,
                                        void *o_heads, float *lse) {
  const uly_attention_callback *callback = &plan->desc.callback;
  uly__attention_args args = local(plan, round, qkv_heads, o_heads, lse);
  double begin = uly__now();
  if (callback->forward) {
    uly_local_attention users = for_callback(plan, &args);
    return callback->forward(callback->user, &users);
  }
  plan->ops->attention_forward(&args);
  uly__span_end("attention", round, ULY_LANE_COMPUTE, begin);
  return ULY_OK;
}

uly_status uly__attention_round_backward(const uly_attention *plan, int round,
                                         const void *qkv_heads, const void *o_heads,
                                         const float *lse, const void *d_o_heads, void *d_qkv_heads,
                                         void *workspace) {
  const uly_attention_callback *callback = &plan->desc.callback;
  uly__attention_args args =
      local(plan, round, qkv_heads, (void *)(uintptr_t)o_heads, (float *)(uintptr_t)lse);
  ptrdiff_t to_k = (const char *)args.k - (const char *)args.q;
  ptrdiff_t to_v = (const char *)args.v - (const char *)args.q;
  args.d_o = d_o_heads;
  args.d_q = d_qkv_heads;
  args.d_k = (char *)args.d_q + to_k;
  args.d_v = (char *)args.d_q + to_v;
  double begin = uly__now();
  if (callback->backward) {
    uly_local_attention users = for_callback(plan, &args);
    return callback->backward(callback->user, &users);
  }
  plan->ops->attention_backward(&args, workspace);
  uly__span_end("attention backward", round, ULY_LANE_COMPUTE, begin);
  return ULY_OK;
}

uly_status uly_attention_local_forward(uly_attention *plan, const void *qkv_heads, void *o_heads,
                                       float *lse) {
  for (int round = 0; round < plan->ulysses.num_rounds; round++) {
    uly__round at = uly__attention_round(plan, round);
    ULY_TRY(uly__attention_round_forward(plan, round, past(qkv_heads, at.qkv_heads),
                                         (char *)o_heads + at.o_heads, lse));
  }
  return ULY_OK;
}

uly_status uly_attention_local_backward(uly_attention *plan, const void *qkv_heads,
                                        const void *o_heads, const float *lse,
                                        const void *d_o_heads, void *d_qkv_heads, void *workspace) {
  for (int round = 0; round < plan->ulysses.num_rounds; round++) {
    uly__round at = uly__attention_round(plan, round);
    ULY_TRY(uly__attention_round_backward(
        plan, round, past(qkv_heads, at.qkv_heads), past(o_heads, at.o_heads), lse,
        past(d_o_heads, at.o_heads), (char *)d_qkv_heads + at.qkv_heads, workspace));
  }
  return ULY_OK;
}
