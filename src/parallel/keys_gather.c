/* The key scheme that gathers: every rank of the ring receives the keys and values of all, and
 * attends to its own while they travel. In backward they are gathered again; each rank then has
 * gradients of all keys and values, in f32, sends every rank its own, and adds up what it receives.
 *
 * It sends as much as a ring whose keys travel all the way round, in one collective for the keys
 * and one for their gradients, but needs memory for the keys and values of the whole sequence. */
#include <stdlib.h>

#include "base/spans.h"
#include "device/device.h"
#include "parallel/key_runs.h"

/* Counts and offsets of the exchanges, [R] each, in rows of keys and values. */
typedef struct gather_plan {
  int64_t *rows, *begins; /* of each rank, among the rows of all */
  int64_t *mine, *zeros;  /* my rows, to every rank, from the same place */
  int64_t *stacked;       /* my rows, from every rank, one after the other */
  int64_t num_rows;       /* of all ranks: N */
  uly__request request;
} gather_plan;

static gather_plan *own_of(const uly_attention *plan) { return plan->key_own; }

static uly_status applicable(const uly_mesh *mesh, const uly_attention_desc *desc) {
  return uly__key_runs_check("gather", mesh, desc);
}

static uly_status create(uly_attention *plan) {
  int64_t size = plan->rows.size;
  gather_plan *own = calloc(1, sizeof *own);
  plan->key_own = own;
  if (own) own->rows = calloc(5 * (size_t)size, sizeof *own->rows);
  if (!own || !own->rows) ULY_FAIL(ULY_ERR_MEMORY, "no memory for a gather of keys and values");
  own->begins = own->rows + size;
  own->mine = own->rows + 2 * size;
  own->zeros = own->rows + 3 * size;
  own->stacked = own->rows + 4 * size;
  for (int r = 0; r < size; r++) {
    own->rows[r] = uly__token_cut_count(&plan->rows, r);
    own->begins[r] = own->num_rows;
    own->mine[r] = plan->rows.count;
    own->stacked[r] = r * plan->rows.count;
    own->num_rows += own->rows[r];
  }
  return ULY_OK;
}

static void destroy(uly_attention *plan) {
  if (plan->key_own) free(own_of(plan)->rows);
  free(plan->key_own);
}

/* The buffers of a pass. */
typedef struct buffers {
  char *mine;   /* my keys and values */
  char *all;    /* those of all ranks, [N] rows */
  float *d_kv;  /* gradients of all, f32 */
  float *parts; /* gradients of mine from every rank, [R][my rows], f32 */
} buffers;

static uly__key_pass begin(const uly_attention *plan, const uly__head_block *block,
                           const uly__key_call *call, bool is_backward, uly__place *place,
                           buffers *out) {
  const gather_plan *own = own_of(plan);
  uly__key_pass pass = uly__key_pass_begin(plan, block, call, is_backward, place);
  int64_t bytes = pass.row * uly__dtype_bytes(plan->desc.dtype);
  int64_t sum_bytes = pass.row * (int64_t)sizeof(float), mine = plan->rows.count;
  out->mine = uly__place_carve(place, mine * bytes);
  out->all = uly__place_carve(place, own->num_rows * bytes);
  out->d_kv = is_backward ? uly__place_carve(place, own->num_rows * sum_bytes) : NULL;
  out->parts = is_backward ? uly__place_carve(place, plan->rows.size * mine * sum_bytes) : NULL;
  return pass;
}

static int64_t workspace_bytes(const uly_attention *plan, const uly__head_block *block,
                               bool is_backward) {
  uly__place place = {0};
  buffers unused;
  (void)begin(plan, block, NULL, is_backward, &place, &unused);
  return place.used;
}

/* Returns the place of a rank's rows. */
static void *rows_of(const uly__key_pass *pass, const char *all, int rank, int64_t element_bytes) {
  return (char *)(uintptr_t)all + own_of(pass->plan)->begins[rank] * pass->row * element_bytes;
}

/* Attends with a run to the rows of a rank, whose gradients are added to d_kv. */
static void attend(uly__key_pass *pass, int run, int rank, const buffers *b, float *d_kv,
                   bool is_last) {
  const uly_attention *plan = pass->plan;
  int64_t bytes = uly__dtype_bytes(plan->desc.dtype);
  const void *kv = rank == plan->rows.rank ? NULL : rows_of(pass, b->all, rank, bytes);
  uly__key_pass_attend(pass, run,
                       (uly__key_source){.rank = rank, .kv = kv, .d_kv = d_kv, .is_last = is_last});
}

/* Returns where the gradients of a rank's rows are summed on this one. */
static float *gradients_of(const uly__key_pass *pass, const buffers *b, int rank) {
  return pass->is_backward ? rows_of(pass, (char *)b->d_kv, rank, sizeof(float)) : NULL;
}

/* Gathers all rows, while `own_runs` of this rank's runs attend to its own; then attends to those
 * of the other ranks. */
static void attend_to_others(uly__key_pass *pass, int own_runs, const buffers *b) {
  const uly_attention *plan = pass->plan;
  gather_plan *own = own_of(plan);
  int64_t bytes = uly__dtype_bytes(plan->desc.dtype);
  int size = plan->rows.size, me = plan->rows.rank, runs = plan->rows.num_runs;
  double began = uly__now();
  uly__key_pass_pack(pass, b->mine);
  uly__key_pass_note(
      pass, uly__all_to_all_start(plan->ring_group, plan->stream, pass->kind, pass->row * bytes,
                                  b->mine, (uly__blocks){own->mine, own->zeros}, b->all,
                                  (uly__blocks){own->rows, own->begins}, &own->request));
  for (int run = 0; run < own_runs; run++)
    attend(pass, run, me, b, gradients_of(pass, b, me), false);
  double waits = uly__now();
  uly__key_pass_note(pass, uly__request_wait(&own->request));
  uly__span_end("wait for keys", -1, ULY_LANE_COMPUTE, waits);
  uly__span_end("gather keys", -1, ULY_LANE_KEYS, began);
  for (int i = 1; i < size; i++)
    for (int run = 0; run < runs; run++)
      attend(pass, run, (me + i) % size, b, gradients_of(pass, b, (me + i) % size),
             i + 1 == size && run < own_runs);
}

static uly_status forward(uly_attention *plan, const uly__key_call *call) {
  uly__place place = {.memory = call->workspace};
  buffers b;
  uly__key_pass pass = begin(plan, call->block, call, false, &place, &b);
  attend_to_others(&pass, plan->rows.num_runs, &b);
  return pass.status;
}

/* The last run attends to this rank's own keys when all others are done, while their gradients
 * travel. */
static uly_status backward(uly_attention *plan, const uly__key_call *call) {
  gather_plan *own = own_of(plan);
  uly__place place = {.memory = call->workspace};
  buffers b;
  uly__key_pass pass = begin(plan, call->block, call, true, &place, &b);
  int me = plan->rows.rank, last = plan->rows.num_runs - 1;
  int64_t sum_bytes = pass.row * (int64_t)sizeof(float), mine = plan->rows.count * pass.row;
  uly__clear(plan->stream, b.d_kv, own->num_rows * sum_bytes);
  attend_to_others(&pass, last, &b);
  double began = uly__now();
  uly__key_pass_note(
      &pass, uly__all_to_all_start(plan->ring_group, plan->stream, pass.kind, sum_bytes, b.d_kv,
                                   (uly__blocks){own->rows, own->begins}, b.parts,
                                   (uly__blocks){own->mine, own->stacked}, &own->request));
  /* The call has copied the gradients of this rank's own rows to its part, which the last run adds
   * to. */
  attend(&pass, last, me, &b, b.parts + me * mine, true);
  double waits = uly__now();
  uly__key_pass_note(&pass, uly__request_wait(&own->request));
  uly__span_end("wait for gradients of keys", -1, ULY_LANE_COMPUTE, waits);
  uly__span_end("reduce gradients of keys", -1, ULY_LANE_KEY_GRADIENTS, began);
  if (mine == 0) return pass.status;
  plan->ops->tree_sum(plan->stream, ULY_F32, b.parts, plan->rows.size, mine, mine, b.parts);
  uly__local_put_kv(plan, call->block, b.parts, call->d_qkv);
  return pass.status;
}

static uly_status poll(uly_attention *plan) { return uly__request_poll(&own_of(plan)->request); }

static int64_t sent_forward(const uly_attention *plan, const uly__head_block *block) {
  return uly__traffic_all_to_all(plan->rows.size, plan->rows.rank, own_of(plan)->mine,
                                 uly__key_row(plan, block) * uly__dtype_bytes(plan->desc.dtype));
}

static int64_t sent_backward(const uly_attention *plan, const uly__head_block *block) {
  return sent_forward(plan, block) +
         uly__traffic_all_to_all(plan->rows.size, plan->rows.rank, own_of(plan)->rows,
                                 uly__key_row(plan, block) * (int64_t)sizeof(float));
}

const uly__key_scheme uly__keys_gather = {
    .name = "gather",
    .applicable = applicable,
    .create = create,
    .destroy = destroy,
    .workspace_bytes = workspace_bytes,
    .forward = forward,
    .backward = backward,
    .poll = poll,
    .sent_forward = sent_forward,
    .sent_backward = sent_backward,
};
