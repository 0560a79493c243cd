/* Attends run by run: see key_runs.h. */
#include "parallel/key_runs.h"

#include "base/spans.h"
#include "device/device.h"

void *uly__place_carve(uly__place *place, int64_t bytes) {
  void *here = place->memory ? place->memory + place->used : NULL;
  place->used += (bytes + 63) / 64 * 64;
  return here;
}

int64_t uly__key_rows_most(const uly_attention *plan) {
  int64_t most = 0;
  for (int r = 0; r < plan->rows.size; r++) {
    int64_t rows = uly__token_cut_count(&plan->rows, r);
    if (rows > most) most = rows;
  }
  return most;
}

uly_status uly__key_runs_check(const char *scheme, const uly_mesh *mesh,
                               const uly_attention_desc *desc) {
  int ring = uly__mesh_extent(mesh, ULY_AXIS_RING);
  if (desc->callback.forward)
    ULY_FAIL(ULY_ERR_CONFIG,
             "desc.callback attends to whole sequences, but the %s cuts them over %d ranks: use "
             "mesh.ulysses instead of mesh.%s",
             scheme, ring, scheme);
  if (desc->num_tokens > INT32_MAX) /* rows are counted */
    ULY_FAIL(ULY_ERR_CONFIG, "%lld tokens are more than the %s can count with MPI: use fewer",
             (long long)desc->num_tokens, scheme);
  return ULY_OK;
}

/* Describes attention of the rows of run `run`, without keys. */
static uly__attention_args describe(const uly_attention *plan, const uly__head_block *block,
                                    int run) {
  uly__attention_args args = uly__local_shape(plan, block);
  args.queries = uly__token_cut_runs(&plan->rows, plan->rows.rank)[run];
  return args;
}

/* Returns the longest run of a rank of the ring. */
static int64_t longest_run(const uly_attention *plan) {
  int64_t longest = 0;
  for (int i = 0; i < plan->rows.size * plan->rows.num_runs; i++)
    if (plan->rows.runs[i].count > longest) longest = plan->rows.runs[i].count;
  return longest;
}

/* Returns the kind that keys and values have where the exchange of heads has this one. */
static uly_traffic kind_of_keys(uly_traffic kind) {
  if (kind == ULY_TRAFFIC_ATTENTION_FORWARD) return ULY_TRAFFIC_KEYS_FORWARD;
  return kind == ULY_TRAFFIC_ATTENTION_BACKWARD ? ULY_TRAFFIC_KEYS_BACKWARD
                                                : ULY_TRAFFIC_KEYS_RECOMPUTE;
}

uly__key_pass uly__key_pass_begin(const uly_attention *plan, const uly__head_block *block,
                                  const uly__key_call *call, bool is_backward, uly__place *place) {
  uly__key_pass pass = {
      .plan = plan, .call = call, .is_backward = is_backward, .row = uly__key_row(plan, block)};
  uly__attention_sums sums;
  uly__attention_workspace work;
  int64_t most = 0;
  if (call) {
    pass.status = call->status;
    pass.kind = kind_of_keys(call->kind);
  }
  for (int run = 0; run < plan->rows.num_runs; run++) {
    uly__attention_args args = describe(plan, block, run);
    pass.sums[run] = uly__place_carve(place, uly__attention_carve_sums(&args, NULL, &sums));
    if (!is_backward) continue;
    args.sums = place; /* they are kept, and so are not in the workspace */
    args.keys.count = longest_run(plan);
    int64_t bytes = uly__attention_carve(&args, NULL, &work);
    if (bytes > most) most = bytes;
  }
  pass.workspace = uly__place_carve(place, most);
  return pass;
}

/* Returns whether no query of a run sees a key of another, with any head of the block. */
static bool is_hidden(const uly__key_pass *pass, uly_token_run queries, uly_token_run keys) {
  const uly__head_block *block = pass->call->block;
  const uly__mask *mask = pass->plan->masks[pass->call->mask];
  if (queries.count == 0 || keys.count == 0) return true;
  for (int head = block->q_begin; head < block->q_begin + block->q_count; head++)
    if (uly__mask_next_keys(mask, head, queries.begin, queries.begin + queries.count, keys.begin,
                            keys.begin, ULY_ATTENTION_TILE) < keys.begin + keys.count)
      return false;
  return true;
}

/* Places the queries of a run, which are rows from `row` on, and what belongs to them. */
static void place_queries(const uly__key_pass *pass, int64_t row, uly__attention_args *args) {
  const uly__key_call *call = pass->call;
  uly_dtype dtype = args->dtype;
  args->mask = pass->plan->masks[call->mask];
  args->q = uly__at(call->rows.qkv, dtype, row * args->q_stride);
  args->o = uly__at(call->rows.o, dtype, row * args->o_stride);
  args->softmax = (uly__softmax_row *)call->rows.softmax + row;
  if (!pass->is_backward) return;
  args->d_o = uly__at(call->d_o, dtype, row * args->o_stride);
  args->d_q = uly__at(call->d_qkv, dtype, row * args->q_stride);
}

static void place_keys(const uly__key_pass *pass, uly__key_source source, int64_t row,
                       uly__attention_args *args) {
  const uly__head_block *block = pass->call->block;
  int64_t d = args->head_dim;
  const void *kv = source.kv;
  args->kv_stride = kv ? pass->row : block->qkv_stride;
  if (!kv) kv = uly__at(pass->call->rows.qkv, args->dtype, block->q_count * d);
  args->k = uly__at(kv, args->dtype, row * args->kv_stride);
  args->v = uly__at(args->k, args->dtype, block->kv_count * d);
  args->d_kv = source.d_kv ? source.d_kv + row * pass->row : NULL;
}

void uly__key_pass_attend(uly__key_pass *pass, int run, uly__key_source source) {
  const uly_attention *plan = pass->plan;
  const uly_token_run *queries = uly__token_cut_runs(&plan->rows, plan->rows.rank);
  const uly_token_run *keys = uly__token_cut_runs(&plan->rows, source.rank);
  uly__attention_args args = describe(plan, pass->call->block, run);
  int num = plan->rows.num_runs;
  int64_t row = 0, key_row = 0;
  double begin = uly__now();
  if (pass->status != ULY_OK || queries[run].count == 0) return;
  for (int i = 0; i < run; i++) row += queries[i].count;
  place_queries(pass, row, &args);
  args.sums = pass->sums[run];
  for (int i = 0; i < num; key_row += keys[i++].count) {
    args.resumes = pass->has_begun[run];
    args.suspends = !source.is_last || i + 1 < num;
    if (args.resumes && args.suspends && is_hidden(pass, args.queries, keys[i])) continue;
    args.keys = keys[i];
    place_keys(pass, source, key_row, &args);
    if (pass->is_backward)
      plan->ops->attention_backward(plan->stream, &args, pass->workspace);
    else
      plan->ops->attention_forward(plan->stream, &args);
    pass->has_begun[run] = true;
  }
  uly__span_end(pass->is_backward ? "attention backward to rank" : "attention to rank", source.rank,
                ULY_LANE_COMPUTE, begin);
}

void uly__key_pass_pack(const uly__key_pass *pass, void *kv) {
  const uly_attention *plan = pass->plan;
  const uly__head_block *block = pass->call->block;
  int64_t bytes = uly__dtype_bytes(plan->desc.dtype);
  uly__copy_rows(plan->stream, plan->rows.count, pass->row * bytes, kv, pass->row * bytes,
                 uly__at(pass->call->rows.qkv, plan->desc.dtype,
                         (int64_t)block->q_count * plan->desc.head_dim),
                 block->qkv_stride * bytes);
}
