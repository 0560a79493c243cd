/* Attention on plain tensors: copies them into and out of the blocks of a plan, whose buffers it
 * allocates. Shapes are as in ulysses.h; with tensor parallelism, tensors have the heads of the
 * share (plan->heads), and of a key/value head that other shares have too, a part of the
 * gradient. */
#include "parallel/simple_attention.h"

#include <stdlib.h>

#include "base/sized.h"
#include "device/device.h"

/* What forward keeps for backward. */
struct uly_attention_saved {
  int64_t plan; /* its id */
  /* Number of the forward that filled it; 0: none, or one that failed. */
  int64_t forward;
  int mask;
  uint64_t documents; /* of the documents in forward */
  uly__arena arena;
  uly__seq_kept kept;
};

/* What all layers share. Nothing in it outlives a call, so forward and backward take turns in the
 * same memory: each places its buffers when it begins. */
struct uly__simple_buffers {
  uly__arena arena;
  void *outputs;         /* of forward; NULL: they are in kept->o */
  uly__seq_kept unsaved; /* filled by a forward that keeps nothing */
  int64_t num_forwards;  /* including failed ones */
  /* The state of the calls for one layer; NULL before the first. */
  uly_attention_saved *only;
};

/* ---------------------------------------------------------------------- allocation */

static const char advice[] = "use more ranks or fewer tokens";

static uly_status make_saved(const uly_attention *plan, uly_attention_saved **out) {
  uly_attention_saved *saved = calloc(1, sizeof *saved);
  if (!saved) ULY_FAIL(ULY_ERR_MEMORY, "no memory for the saved state of attention");
  *out = saved;
  saved->plan = plan->id;
  uly__arena_init(&saved->arena, "what attention keeps for backward", advice, false);
  plan->scheme->carve_kept(plan, &saved->arena, &saved->kept);
  ULY_TRY(uly__arena_commit(&saved->arena));
  plan->scheme->carve_kept(plan, &saved->arena, &saved->kept);
  return ULY_OK;
}

static void carve_forward(uly_attention *plan) {
  uly__simple_buffers *s = plan->simple;
  uly__arena_release(&s->arena, 0);
  s->outputs = uly__arena_carve(&s->arena, plan->scheme->outputs_bytes(plan));
  plan->scheme->carve_work(plan, ULY_SEQ_LSE, &s->arena);
  plan->scheme->carve_kept(plan, &s->arena, &s->unsaved);
}

static void carve_backward(uly_attention *plan) {
  uly__arena_release(&plan->simple->arena, 0);
  plan->scheme->carve_work(plan, ULY_SEQ_BACKWARD, &plan->simple->arena);
}

static uly_status make_buffers(uly_attention *plan) {
  plan->simple = calloc(1, sizeof *plan->simple);
  if (!plan->simple) ULY_FAIL(ULY_ERR_MEMORY, "no memory for the buffers of an attention plan");
  uly__arena_init(&plan->simple->arena, "the buffers of an attention plan", advice, false);
  carve_forward(plan);
  carve_backward(plan);
  return uly__arena_commit(&plan->simple->arena);
}

void uly_attention_saved_destroy(uly_attention_saved *saved) {
  if (!saved) return;
  uly__arena_destroy(&saved->arena);
  free(saved);
}

void uly__attention_free_simple(uly_attention *plan) {
  uly__simple_buffers *s = plan->simple;
  if (!s) return;
  uly_attention_saved_destroy(s->only);
  uly__arena_destroy(&s->arena);
  free(s);
  plan->simple = NULL;
}

/* Checks that the plan computes; it does on all ranks, or on none. */
static uly_status check_plan(const uly_attention *plan) {
  ULY_NOT_NULL(plan);
  return uly__mesh_check_online(plan->mesh);
}

uly_status uly_attention_saved_create(uly_attention *plan, uly_attention_saved **out) {
  ULY_NOT_NULL(out);
  *out = NULL;
  ULY_TRY(check_plan(plan));
  uly_attention_saved *saved = NULL;
  uly_status status = uly__agree(plan->group, make_saved(plan, &saved));
  if (status != ULY_OK)
    uly_attention_saved_destroy(saved);
  else
    *out = saved;
  return status;
}

/* Makes the buffers before the first forward, on all ranks or on none, so that all agree on a
 * further attempt. */
static uly_status prepare(uly_attention *plan) {
  if (plan->simple) return ULY_OK;
  uly_status status = uly__agree(plan->group, make_buffers(plan));
  if (status != ULY_OK) uly__attention_free_simple(plan);
  return status;
}

/* -------------------------------------------------------------------------- copies */

/* Copies columns between rows of different strides, all in elements of the plan's dtype. */
static void copy_columns(const uly_attention *plan, const void *from, int64_t from_at,
                         int64_t from_stride, void *to, int64_t to_at, int64_t to_stride,
                         int64_t columns) {
  uly_dtype dtype = plan->desc.dtype;
  int64_t bytes = uly__dtype_bytes(dtype);
  uly__copy_rows(plan->stream, plan->cut.count, columns * bytes, uly__at(to, dtype, to_at),
                 to_stride * bytes, uly__at(from, dtype, from_at), from_stride * bytes);
}

/* Plain q, k, v, or their gradients. */
typedef struct plain {
  const uly_attention *plan;
  void *tensors[3];
  void *blocks; /* the plan's place for them */
} plain;

/* Copies between plain tensors and blocks first, first + step, ... Shared key/value heads are in
 * the first block that holds them. */
static void copy_qkv(const plain *x, int first, int step, bool into_blocks) {
  const uly__head_range *share = &x->plan->heads;
  int64_t d = x->plan->desc.head_dim,
          rows[3] = {share->q_count * d, share->kv_count * d, share->kv_count * d};
  for (int g = first; g < x->plan->num_blocks; g += step) {
    const uly__head_block *b = &x->plan->blocks[g];
    int64_t own_kv = b->kv_count - b->kv_shared, heads[3] = {b->q_count, own_kv, own_kv};
    int64_t kv_first = b->kv_begin + b->kv_shared - share->kv_begin;
    int64_t begin[3] = {b->q_begin - share->q_begin, kv_first, kv_first};
    int64_t column[3] = {0, b->q_count + b->kv_shared, b->q_count + b->kv_count + b->kv_shared};
    for (int i = 0; i < 3; i++) {
      int64_t at = b->qkv_offset + column[i] * d, width = heads[i] * d;
      if (into_blocks)
        copy_columns(x->plan, x->tensors[i], begin[i] * d, rows[i], x->blocks, at, b->qkv_stride,
                     width);
      else
        copy_columns(x->plan, x->blocks, at, b->qkv_stride, x->tensors[i], begin[i] * d, rows[i],
                     width);
    }
  }
}

/* Copies into the blocks that the scheme asks for. */
static void project(void *context, int first, int step) { copy_qkv(context, first, step, true); }

static void copy_o(const uly_attention *plan, void *blocks, void *o, bool into_blocks) {
  int64_t d = plan->desc.head_dim, row = plan->heads.q_count * d;
  for (int g = 0; g < plan->num_blocks; g++) {
    const uly__head_block *b = &plan->blocks[g];
    int64_t at = (b->q_begin - plan->heads.q_begin) * d, width = b->q_count * d;
    if (into_blocks)
      copy_columns(plan, o, at, row, blocks, b->o_offset, b->o_stride, width);
    else
      copy_columns(plan, blocks, b->o_offset, b->o_stride, o, at, row, width);
  }
}

static void *writable(const void *x) { return (void *)(uintptr_t)x; }

/* --------------------------------------------------------------------------- calls */

/* Makes the ranks agree on a callback, which may fail on one rank: then no rank uses what
 * it received. */
static uly_status agree_on_callback(const uly_attention *plan, uly_status status) {
  return plan->desc.callback.forward ? uly__agree(plan->group, status) : status;
}

static uly_status check_tensors(const uly_attention *plan, const void *const tensors[],
                                const char *const names[], int num) {
  for (int i = 0; i < num && plan->cut.count > 0; i++)
    if (!tensors[i])
      ULY_FAIL(ULY_ERR_CONFIG, "%s is NULL, but this rank has %lld tokens", names[i],
               (long long)plan->cut.count);
  return ULY_OK;
}

static uly_status check_forward(const uly_attention *plan, int mask, const void *q, const void *k,
                                const void *v, const void *o, const uly_attention_saved *saved) {
  ULY_TRY(uly__attention_check_mask(plan, mask));
  if (saved && saved->plan != plan->id)
    ULY_FAIL(ULY_ERR_CONFIG, "the saved state is of another plan: each plan makes its own");
  return check_tensors(plan, (const void *[]){q, k, v, o}, (const char *[]){"q", "k", "v", "o"}, 4);
}

/* Makes the ranks agree. The arguments were checked on this rank; those that must be equal are
 * compared with those of other ranks. */
static uly_status agree(const uly_attention *plan, uly_status status, const uly__named *values,
                        int num) {
  ULY_TRY(uly__agree(plan->group, status));
  return uly__same_values(plan->group, values, num);
}

static uly_status run_forward(uly_attention *plan, int mask, const void *q, const void *k,
                              const void *v, void *o, float *lse, uly__seq_kept kept) {
  kept.outputs = plan->scheme->outputs_bytes(plan) > 0 ? plan->simple->outputs : kept.o;
  plain x = {plan, {writable(q), writable(k), writable(v)}, uly__attention_qkv(plan, &kept)};
  uly__seq_call call = {.mask = mask,
                        .kind = ULY_TRAFFIC_ATTENTION_FORWARD,
                        .kept = &kept,
                        .project = project,
                        .context = &x};
  ULY_TRY(agree_on_callback(plan, plan->scheme->forward(plan, &call)));
  copy_o(plan, kept.outputs, o, false);
  return lse ? plan->scheme->lse(plan, &kept, lse) : ULY_OK;
}

uly_status uly_attention_forward_layer(uly_attention *plan, int mask, const void *q, const void *k,
                                       const void *v, void *o, float *lse,
                                       uly_attention_saved *saved) {
  ULY_TRY(check_plan(plan));
  ULY_TRY(prepare(plan));
  const uly__named values[] = {{"mask", (uint64_t)mask},
                               {"list of documents", plan->documents.hash},
                               {"wish for lse", lse != NULL}};
  if (saved && saved->plan == plan->id) saved->forward = 0; /* until it has succeeded */
  ULY_TRY(agree(plan, check_forward(plan, mask, q, k, v, o, saved), values, 3));
  int64_t number = ++plan->simple->num_forwards;
  carve_forward(plan);
  if (!saved) return run_forward(plan, mask, q, k, v, o, lse, plan->simple->unsaved);
  saved->mask = mask;
  saved->documents = plan->documents.hash;
  ULY_TRY(run_forward(plan, mask, q, k, v, o, lse, saved->kept));
  saved->forward = number;
  return ULY_OK;
}

static uly_status fail_without_forward(void) {
  ULY_FAIL(ULY_ERR_CONFIG,
           "there is no forward for this backward: none has run, it failed, or, with the calls for "
           "one layer, a backward has used up what it kept (several layers need a "
           "uly_attention_saved each)");
}

static uly_status check_backward(const uly_attention *plan, const uly_attention_saved *saved,
                                 const void *d_o, const void *d_q, const void *d_k,
                                 const void *d_v) {
  ULY_NOT_NULL(saved);
  if (saved->plan != plan->id)
    ULY_FAIL(ULY_ERR_CONFIG, "the saved state is of another plan: each plan makes its own");
  if (saved->forward == 0) return fail_without_forward();
  if (saved->documents != plan->documents.hash)
    ULY_FAIL(ULY_ERR_CONFIG,
             "the documents were changed between forward and backward: set those of forward again");
  return check_tensors(plan, (const void *[]){d_o, d_q, d_k, d_v},
                       (const char *[]){"d_o", "d_q", "d_k", "d_v"}, 4);
}

uly_status uly_attention_backward_layer(uly_attention *plan, const uly_attention_saved *saved,
                                        const void *d_o, void *d_q, void *d_k, void *d_v) {
  ULY_TRY(check_plan(plan));
  if (!plan->simple) return fail_without_forward(); /* on all ranks: see prepare */
  const uly__named values[] = {{"saved state", saved ? (uint64_t)saved->forward : 0}};
  ULY_TRY(agree(plan, check_backward(plan, saved, d_o, d_q, d_k, d_v), values, 1));
  uly__seq_call call = {
      .mask = saved->mask, .kind = ULY_TRAFFIC_ATTENTION_BACKWARD, .kept = &saved->kept};
  carve_backward(plan);
  copy_o(plan, plan->work.d_o, writable(d_o), true);
  ULY_TRY(agree_on_callback(plan, plan->scheme->backward(plan, &call)));
  copy_qkv(&(plain){plan, {d_q, d_k, d_v}, plan->work.d_qkv}, 0, 1, false);
  return ULY_OK;
}

/* ------------------------------------------------------------- calls for one layer */

/* Makes the state that they share, before the first forward. */
static uly_status prepare_only(uly_attention *plan) {
  if (plan->simple->only) return ULY_OK;
  return uly_attention_saved_create(plan, &plan->simple->only);
}

uly_status uly_attention_forward(uly_attention *plan, const void *q, const void *k, const void *v,
                                 void *o) {
  ULY_TRY(check_plan(plan));
  ULY_TRY(prepare(plan));
  ULY_TRY(prepare_only(plan));
  return uly_attention_forward_layer(plan, 0, q, k, v, o, NULL, plan->simple->only);
}

uly_status uly_attention_backward(uly_attention *plan, const void *d_o, void *d_q, void *d_k,
                                  void *d_v) {
  ULY_TRY(check_plan(plan));
  uly_attention_saved none = {.plan = plan->id};
  uly_attention_saved *only = plan->simple && plan->simple->only ? plan->simple->only : &none;
  uly_status status = uly_attention_backward_layer(plan, only, d_o, d_q, d_k, d_v);
  if (status == ULY_OK) only->forward = 0;
  return status;
}
