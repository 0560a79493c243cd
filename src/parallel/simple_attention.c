/* Attention on plain tensors: copies them into the zero-copy buffers of a plan, which it allocates,
 * and out of them. Shapes are as in ulysses.h. */
#include <stdlib.h>

#include "base/sized.h"
#include "device/device.h"
#include "parallel/seq_attention.h"

/* What forward keeps for backward, on the head side. */
struct uly_attention_saved {
  int64_t plan; /* its id */
  /* Number of the forward that filled it; 0: none, or one that failed. */
  int64_t forward;
  int mask;
  uint64_t documents; /* of the documents in forward */
  int64_t bytes;      /* of qkv_heads; others follow it */
  void *qkv_heads, *o_heads, *softmax;
};

/* What all layers share. If nothing is kept for backward, forward uses the buffers of the
 * gradients. */
struct uly__simple_buffers {
  int64_t bytes; /* of qkv_tokens; others follow it */
  void *qkv_tokens, *o_tokens, *d_qkv_heads, *d_o_heads, *workspace;
  void *softmax; /* if nothing is kept */
  /* [N, heads of this rank] and [T, Hq]: sent and received. */
  float *lse_out, *lse_in;
  /* [P] each: the parts of them that are sent, and where they lie. */
  int64_t *out_counts, *out_offsets, *in_counts, *in_offsets;
  int64_t num_forwards; /* including failed ones */
  /* The state of the calls for one layer; NULL before the first. */
  uly_attention_saved *only;
};

static int64_t round_up(int64_t bytes) { return (bytes + 63) / 64 * 64; }

static int64_t first_q_head(const uly_attention *plan, int rank) {
  return plan->ulysses.blocks[uly__ulysses_group(&plan->ulysses, rank, 0)].q_begin;
}

/* Returns the query heads of a rank in all rounds, which are contiguous. */
static int64_t q_heads_of(const uly_attention *plan, int rank) {
  int64_t end =
      rank + 1 < plan->ulysses.size ? first_q_head(plan, rank + 1) : plan->desc.num_q_heads;
  return end - first_q_head(plan, rank);
}

/* ---------------------------------------------------------------------- allocation */

/* Cuts bytes from one piece of memory, and moves *at on. */
static void *cut(char **at, int64_t bytes) {
  char *begin = *at;
  *at += round_up(bytes);
  return begin;
}

static uly_status allocate(int64_t bytes, const char *what, char **out) {
  *out = uly__device_alloc(bytes);
  if (!*out)
    ULY_FAIL(ULY_ERR_MEMORY, "cannot allocate %lld bytes for %s: use more ranks or fewer tokens",
             (long long)bytes, what);
  return ULY_OK;
}

static uly_status make_saved(const uly_attention *plan, uly_attention_saved **out) {
  uly__attention_sizes b = uly__attention_sizes_of(plan);
  uly_attention_saved *saved = calloc(1, sizeof *saved);
  if (!saved) ULY_FAIL(ULY_ERR_MEMORY, "no memory for the saved state of attention");
  *out = saved;
  char *at;
  saved->plan = plan->id;
  saved->bytes = round_up(b.qkv_heads) + round_up(b.o_heads) + round_up(b.softmax);
  ULY_TRY(allocate(saved->bytes, "what attention keeps for backward", &at));
  saved->qkv_heads = cut(&at, b.qkv_heads);
  saved->o_heads = cut(&at, b.o_heads);
  saved->softmax = cut(&at, b.softmax);
  return ULY_OK;
}

/* Counts what is sent of lse: [heads of the sender, tokens of the receiver] between two ranks. */
static uly_status count_lse(const uly_attention *plan, uly__simple_buffers *s) {
  const uly__ulysses *u = &plan->ulysses;
  int64_t *counts = calloc(4 * (size_t)u->size, sizeof *counts);
  if (!counts) ULY_FAIL(ULY_ERR_MEMORY, "no memory for an exchange among %d ranks", u->size);
  s->out_counts = counts;
  s->out_offsets = counts + u->size;
  s->in_counts = s->out_offsets + u->size;
  s->in_offsets = s->in_counts + u->size;
  for (int p = 0; p < u->size; p++) {
    int64_t mine = q_heads_of(plan, u->rank);
    s->out_counts[p] = mine * u->slices[p].count;
    s->out_offsets[p] = mine * u->slices[p].begin;
    s->in_counts[p] = q_heads_of(plan, p) * plan->run.count;
    s->in_offsets[p] = first_q_head(plan, p) * plan->run.count;
  }
  return ULY_OK;
}

static uly_status make_buffers(uly_attention *plan) {
  uly__attention_sizes b = uly__attention_sizes_of(plan);
  int64_t out =
      q_heads_of(plan, plan->ulysses.rank) * plan->desc.num_tokens * (int64_t)sizeof(float);
  int64_t in = plan->run.count * plan->desc.num_q_heads * (int64_t)sizeof(float);
  uly__simple_buffers *s = calloc(1, sizeof *s);
  if (!s) ULY_FAIL(ULY_ERR_MEMORY, "no memory for the buffers of an attention plan");
  plan->simple = s;
  ULY_TRY(count_lse(plan, s));
  char *at;
  s->bytes = round_up(b.qkv_tokens) + round_up(b.o_tokens) + round_up(b.qkv_heads) +
             round_up(b.o_heads) + round_up(b.workspace) + round_up(b.softmax) + round_up(out) +
             round_up(in);
  ULY_TRY(allocate(s->bytes, "the buffers of an attention plan", &at));
  s->qkv_tokens = cut(&at, b.qkv_tokens);
  s->o_tokens = cut(&at, b.o_tokens);
  s->d_qkv_heads = cut(&at, b.qkv_heads);
  s->d_o_heads = cut(&at, b.o_heads);
  s->workspace = cut(&at, b.workspace);
  s->softmax = cut(&at, b.softmax);
  s->lse_out = cut(&at, out);
  s->lse_in = cut(&at, in);
  return ULY_OK;
}

void uly_attention_saved_destroy(uly_attention_saved *saved) {
  if (!saved) return;
  if (saved->qkv_heads) uly__device_free(saved->qkv_heads, saved->bytes);
  free(saved);
}

void uly__attention_free_simple(uly_attention *plan) {
  uly__simple_buffers *s = plan->simple;
  if (!s) return;
  uly_attention_saved_destroy(s->only);
  if (s->qkv_tokens) uly__device_free(s->qkv_tokens, s->bytes);
  free(s->out_counts); /* the one allocation behind all four */
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
  uly__copy_rows(plan->stream, plan->run.count, columns * bytes, uly__at(to, dtype, to_at),
                 to_stride * bytes, uly__at(from, dtype, from_at), from_stride * bytes);
}

/* Copies between plain q, k, v (or their gradients) and the blocks. Shared key/value heads are in
 * the first block that holds them. */
static void copy_qkv(const uly_attention *plan, void *q, void *k, void *v, int into_blocks) {
  int d = plan->desc.head_dim;
  int64_t q_row = (int64_t)plan->desc.num_q_heads * d,
          kv_row = (int64_t)plan->desc.num_kv_heads * d;
  void *plain[3] = {q, k, v}, *blocks = plan->simple->qkv_tokens;
  for (int g = 0; g < plan->ulysses.num_groups; g++) {
    const uly__head_block *b = &plan->ulysses.blocks[g];
    int64_t own_kv = b->kv_count - b->kv_shared;
    int64_t heads[3] = {b->q_count, own_kv, own_kv};
    int64_t first[3] = {b->q_begin, b->kv_begin + b->kv_shared, b->kv_begin + b->kv_shared};
    int64_t column[3] = {0, b->q_count + b->kv_shared, b->q_count + b->kv_count + b->kv_shared};
    for (int i = 0; i < 3; i++) {
      int64_t row = i == 0 ? q_row : kv_row, at = b->qkv_offset + column[i] * d;
      if (into_blocks)
        copy_columns(plan, plain[i], first[i] * d, row, blocks, at, b->qkv_stride, heads[i] * d);
      else
        copy_columns(plan, blocks, at, b->qkv_stride, plain[i], first[i] * d, row, heads[i] * d);
    }
  }
}

static void copy_o(const uly_attention *plan, void *o, int into_blocks) {
  int d = plan->desc.head_dim;
  int64_t row = (int64_t)plan->desc.num_q_heads * d;
  void *blocks = plan->simple->o_tokens;
  for (int g = 0; g < plan->ulysses.num_groups; g++) {
    const uly__head_block *b = &plan->ulysses.blocks[g];
    int64_t at = (int64_t)b->q_begin * d, width = (int64_t)b->q_count * d;
    if (into_blocks)
      copy_columns(plan, o, at, row, blocks, b->o_offset, b->o_stride, width);
    else
      copy_columns(plan, blocks, b->o_offset, b->o_stride, o, at, row, width);
  }
}

static void *writable(const void *x) { return (void *)(uintptr_t)x; }

/* Sends lse from [my heads, N] on each rank to [T, Hq] of the tokens of each rank. */
static uly_status send_lse(uly_attention *plan, const void *softmax, float *out) {
  const uly__ulysses *u = &plan->ulysses;
  uly__simple_buffers *s = plan->simple;
  int64_t N = u->num_tokens, T = plan->run.count, Hq = u->num_q_heads;
  int64_t mine = q_heads_of(plan, u->rank);
  for (int p = 0; p < u->size; p++) {
    uly__part slice = u->slices[p];
    float *to = s->lse_out + s->out_offsets[p];
    for (int64_t head = 0; head < mine; head++, to += slice.count)
      uly__attention_lse(plan, softmax, head * N + slice.begin, slice.count, to);
  }
  ULY_TRY(uly__all_to_all(plan->group, ULY_TRAFFIC_ATTENTION_FORWARD, sizeof *out, s->lse_out,
                          (uly__blocks){s->out_counts, s->out_offsets}, s->lse_in,
                          (uly__blocks){s->in_counts, s->in_offsets}));
  int64_t size = sizeof *out;
  for (int64_t head = 0; head < Hq; head++)
    uly__copy_rows(plan->stream, T, size, out + head, Hq * size, s->lse_in + head * T, size);
  return ULY_OK;
}

/* --------------------------------------------------------------------------- calls */

/* Makes the ranks agree on a callback, which may fail on one rank: then no rank goes on to the next
 * exchange. */
static uly_status agree_on_callback(const uly_attention *plan, uly_status status) {
  return plan->desc.callback.forward ? uly__agree(plan->group, status) : status;
}

static uly_status check_tensors(const uly_attention *plan, const void *const tensors[],
                                const char *const names[], int num) {
  for (int i = 0; i < num && plan->run.count > 0; i++)
    if (!tensors[i])
      ULY_FAIL(ULY_ERR_CONFIG, "%s is NULL, but this rank has %lld tokens", names[i],
               (long long)plan->run.count);
  return ULY_OK;
}

static uly_status check_forward(const uly_attention *plan, int mask, const void *q, const void *k,
                                const void *v, const void *o, const uly_attention_saved *saved) {
  if (mask < 0 || mask >= plan->num_masks)
    ULY_FAIL(ULY_ERR_CONFIG, "mask %d is asked for, but the plan has %d, counted from 0", mask,
             plan->num_masks);
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
                              const void *v, void *o, float *lse, void *qkv_heads, void *o_heads,
                              void *softmax) {
  uly__simple_buffers *s = plan->simple;
  copy_qkv(plan, writable(q), writable(k), writable(v), 1);
  uly__attention_share_kv(plan, s->qkv_tokens);
  ULY_TRY(uly__attention_exchange(plan, ULY_QKV_TO_HEADS, ULY_TRAFFIC_ATTENTION_FORWARD,
                                  s->qkv_tokens, qkv_heads));
  ULY_TRY(agree_on_callback(plan, uly__attention_forward(plan, mask, qkv_heads, o_heads, softmax)));
  ULY_TRY(uly__attention_exchange(plan, ULY_O_TO_TOKENS, ULY_TRAFFIC_ATTENTION_FORWARD, s->o_tokens,
                                  o_heads));
  copy_o(plan, o, 0);
  return lse ? send_lse(plan, softmax, lse) : ULY_OK;
}

uly_status uly_attention_forward_layer(uly_attention *plan, int mask, const void *q, const void *k,
                                       const void *v, void *o, float *lse,
                                       uly_attention_saved *saved) {
  ULY_TRY(check_plan(plan));
  ULY_TRY(prepare(plan));
  uly__simple_buffers *s = plan->simple;
  const uly__named values[] = {{"mask", (uint64_t)mask},
                               {"list of documents", plan->documents.hash},
                               {"wish for lse", lse != NULL}};
  if (saved && saved->plan == plan->id) saved->forward = 0; /* until it has succeeded */
  ULY_TRY(agree(plan, check_forward(plan, mask, q, k, v, o, saved), values, 3));
  s->num_forwards++;
  if (!saved)
    return run_forward(plan, mask, q, k, v, o, lse, s->d_qkv_heads, s->d_o_heads, s->softmax);
  saved->mask = mask;
  saved->documents = plan->documents.hash;
  ULY_TRY(
      run_forward(plan, mask, q, k, v, o, lse, saved->qkv_heads, saved->o_heads, saved->softmax));
  saved->forward = s->num_forwards;
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
  uly__simple_buffers *s = plan->simple;
  copy_o(plan, writable(d_o), 1);
  ULY_TRY(uly__attention_exchange(plan, ULY_O_TO_HEADS, ULY_TRAFFIC_ATTENTION_BACKWARD, s->o_tokens,
                                  s->d_o_heads));
  ULY_TRY(agree_on_callback(
      plan, uly__attention_backward(plan, saved->mask, saved->qkv_heads, saved->o_heads,
                                    saved->softmax, s->d_o_heads, s->d_qkv_heads, s->workspace)));
  ULY_TRY(uly__attention_exchange(plan, ULY_QKV_TO_TOKENS, ULY_TRAFFIC_ATTENTION_BACKWARD,
                                  s->qkv_tokens, s->d_qkv_heads));
  uly__attention_sum_kv(plan, s->qkv_tokens);
  copy_qkv(plan, d_q, d_k, d_v, 0);
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
