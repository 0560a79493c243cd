/* Ring attention (Liu et al., arXiv 2310.01889): keys and values of every rank travel around the
 * ring, and each rank attends to those that it has while the next ones arrive. In step i it has
 * those of the rank i places before it. Softmax goes on from one rank's keys to the next (online),
 * so nothing has to be merged. In backward the gradients of keys and values travel behind them, in
 * f32: the first rank that receives the keys begins the sum, and the last one sends it home. A rank
 * attends to its own keys in two parts, with one run while the first keys arrive, and with the
 * other at the end, while the last gradients go home.
 *
 * Every rank walks through all steps, so that no rank waits for another. Keys and values travel
 * only as far as the mask lets a rank see any of them, by its kind and its window, which do not
 * change: that is all the way round unless a window is short. */
#include <stdlib.h>

#include "base/spans.h"
#include "device/device.h"
#include "parallel/key_runs.h"

/* What travels: keys and values, and their gradients, to the next rank; and gradients that go
 * home. */
enum { KEYS, GRADIENTS, HOME, NUM_TRAVELLERS };

typedef struct ring_plan {
  int *hops;                          /* [R]: how far the keys of each rank travel */
  int64_t *sent, *received, *offsets; /* [R] each, of an exchange; offsets are all 0 */
  int tags[NUM_TRAVELLERS];           /* of the present pass */
  uly__request requests[NUM_TRAVELLERS];
  double began[NUM_TRAVELLERS]; /* for the trace */
} ring_plan;

static ring_plan *own_of(const uly_attention *plan) { return plan->key_own; }

static uly_status applicable(const uly_mesh *mesh, const uly_attention_desc *desc) {
  return uly__key_runs_check("ring", mesh, desc);
}

/* Returns the rank that is `steps` places after this one, or before it if negative. */
static int neighbour(const uly_attention *plan, int steps) {
  int size = plan->rows.size;
  return (plan->rows.rank + steps % size + size) % size;
}

/* ------------------------------------------------------------------------------ hops */

/* Returns whether a query of [q, q + n) may see a key of the other run by kind and window alone. */
static bool may_see(const uly_mask *mask, uly_token_run q, uly_token_run k) {
  if (q.count == 0 || k.count == 0) return false;
  int64_t q_last = q.begin + q.count - 1, k_last = k.begin + k.count - 1;
  if (mask->kind == ULY_MASK_CAUSAL && k.begin > q_last) return false;
  if (mask->window == 0) return true;
  return k_last > q.begin - mask->window &&
         (mask->kind == ULY_MASK_CAUSAL || k.begin < q_last + mask->window);
}

/* Returns whether any token of a rank may see one of the source, with any of the masks. */
static bool may_reach(const uly_attention *plan, int rank, int source) {
  const uly_token_run *q = uly__token_cut_runs(&plan->rows, rank);
  const uly_token_run *k = uly__token_cut_runs(&plan->rows, source);
  int runs = plan->rows.num_runs;
  for (int m = 0; m < plan->num_masks; m++)
    for (int i = 0; i < runs * runs; i++)
      if (may_see(uly__mask_desc(plan->masks[m]), q[i / runs], k[i % runs])) return true;
  return false;
}

static uly_status create(uly_attention *plan) {
  size_t size = (size_t)plan->rows.size;
  ring_plan *own = calloc(1, sizeof *own);
  plan->key_own = own;
  if (own) own->hops = calloc(size, sizeof *own->hops);
  if (own) own->sent = calloc(3 * size, sizeof *own->sent);
  if (!own || !own->hops || !own->sent)
    ULY_FAIL(ULY_ERR_MEMORY, "no memory for a ring of %zu ranks", size);
  own->received = own->sent + size;
  own->offsets = own->sent + 2 * size;
  for (int source = 0; source < plan->rows.size; source++)
    for (int hop = 1; hop < plan->rows.size; hop++)
      if (may_reach(plan, (source + hop) % plan->rows.size, source)) own->hops[source] = hop;
  return ULY_OK;
}

static void destroy(uly_attention *plan) {
  if (plan->key_own) {
    free(own_of(plan)->hops);
    free(own_of(plan)->sent);
  }
  free(plan->key_own);
}

/* ----------------------------------------------------------------------------- buffers */

/* The buffers of a pass. Those of step i are number i % 2; gradients that have come home have a
 * place of their own if others still travel then. */
typedef struct buffers {
  char *keys[2];
  float *own;          /* the gradients that this rank adds to its own keys */
  float *added;        /* those that one step adds to a sum that has arrived */
  float *gradients[2]; /* sums that travel */
  float *home;
} buffers;

static uly__key_pass begin(const uly_attention *plan, const uly__head_block *block,
                           const uly__key_call *call, bool is_backward, uly__place *place,
                           buffers *out) {
  const ring_plan *own = own_of(plan);
  uly__key_pass pass = uly__key_pass_begin(plan, block, call, is_backward, place);
  int64_t elements = uly__key_rows_most(plan) * pass.row, sums = elements * (int64_t)sizeof(float);
  *out = (buffers){.home = NULL};
  for (int i = 0; i < 2; i++)
    out->keys[i] = uly__place_carve(place, elements * uly__dtype_bytes(plan->desc.dtype));
  if (!is_backward) return pass;
  out->own = uly__place_carve(place, sums);
  if (plan->rows.size > 2) out->added = uly__place_carve(place, sums);
  for (int i = 0; i < 2; i++) out->gradients[i] = uly__place_carve(place, sums);
  out->home = own->hops[plan->rows.rank] < plan->rows.size - 1
                  ? uly__place_carve(place, sums)
                  : out->gradients[plan->rows.size % 2];
  return pass;
}

static int64_t workspace_bytes(const uly_attention *plan, const uly__head_block *block,
                               bool is_backward) {
  uly__place place = {0};
  buffers unused;
  (void)begin(plan, block, NULL, is_backward, &place, &unused);
  return place.used;
}

/* --------------------------------------------------------------------------- exchanges */

/* Rows that go to a rank, or come from one. No rows: nothing travels. */
typedef struct leg {
  int rank;
  int64_t rows;
  void *memory;
} leg;

/* Returns the rank whose keys this one has in a step, and whether they reach it. */
static int source_of(const uly_attention *plan, int step) { return neighbour(plan, -step); }
static bool has_keys(const uly_attention *plan, int step) {
  return step < plan->rows.size && step <= own_of(plan)->hops[source_of(plan, step)];
}
/* Returns whether they go on to the next rank. */
static bool sends_on(const uly_attention *plan, int step) {
  return step < own_of(plan)->hops[source_of(plan, step)];
}

static int64_t rows_of(const uly_attention *plan, int rank) {
  return uly__token_cut_count(&plan->rows, rank);
}

static void start(uly__key_pass *pass, int what, leg to, leg from) {
  const uly_attention *plan = pass->plan;
  ring_plan *own = own_of(plan);
  if (to.rows == 0 && from.rows == 0) return;
  int64_t element = what == KEYS ? uly__dtype_bytes(plan->desc.dtype) : (int64_t)sizeof(float);
  for (int r = 0; r < plan->rows.size; r++) own->sent[r] = own->received[r] = 0;
  own->sent[to.rank] = to.rows;
  own->received[from.rank] = from.rows;
  own->began[what] = uly__now();
  uly__key_pass_note(
      pass, uly__send_recv_start(plan->ring_group, plan->stream, pass->kind, pass->row * element,
                                 to.memory, (uly__blocks){own->sent, own->offsets}, from.memory,
                                 (uly__blocks){own->received, own->offsets}, own->tags[what],
                                 &own->requests[what]));
}

static void wait_for(uly__key_pass *pass, int what, int step) {
  static const char *const waits[] = {"wait for keys", "wait for gradients of keys",
                                      "wait for gradients of keys"};
  static const char *const travels[] = {"keys", "gradients of keys", "gradients of keys go home"};
  ring_plan *own = own_of(pass->plan);
  if (!own->requests[what].started) return;
  double begin = uly__now();
  uly__key_pass_note(pass, uly__request_wait(&own->requests[what]));
  uly__span_end(waits[what], step, ULY_LANE_COMPUTE, begin);
  uly__span_end(travels[what], step, what == KEYS ? ULY_LANE_KEYS : ULY_LANE_KEY_GRADIENTS,
                own->began[what]);
}

/* Sends what this rank has of keys or gradients in a step to the next rank, and receives what it
 * has in the next step. */
static void pass_on(uly__key_pass *pass, int what, int step, void *sent, void *received) {
  const uly_attention *plan = pass->plan;
  leg to = {neighbour(plan, 1), 0, sent}, from = {neighbour(plan, -1), 0, received};
  if (sends_on(plan, step)) to.rows = rows_of(plan, source_of(plan, step));
  if (has_keys(plan, step + 1)) from.rows = rows_of(plan, source_of(plan, step + 1));
  start(pass, what, to, from);
}

/* Sends the gradients that end in this step to the rank whose keys they belong to. */
static void send_home(uly__key_pass *pass, int step, const buffers *b) {
  const uly_attention *plan = pass->plan;
  int source = source_of(plan, step), me = plan->rows.rank;
  leg to = {source, 0, b->gradients[step % 2]}, from = {neighbour(plan, step), 0, b->home};
  if (step == own_of(plan)->hops[source]) to.rows = rows_of(plan, source);
  if (step == own_of(plan)->hops[me]) from.rows = rows_of(plan, me);
  start(pass, HOME, to, from);
}

/* ------------------------------------------------------------------------------- passes */

/* Returns the last step in which this rank has keys. */
static int last_step(const uly_attention *plan) {
  int last = 0;
  for (int step = 1; step < plan->rows.size; step++)
    if (has_keys(plan, step)) last = step;
  return last;
}

/* Attends with a run to the keys of a step, whose gradients are added to d_kv. */
static void attend(uly__key_pass *pass, int run, int step, const buffers *b, float *d_kv,
                   bool is_last) {
  uly__key_pass_attend(pass, run,
                       (uly__key_source){.rank = source_of(pass->plan, step),
                                         .kv = step == 0 ? NULL : b->keys[step % 2],
                                         .d_kv = d_kv,
                                         .is_last = is_last});
}

/* Begins a pass, and takes its tags: those of earlier passes may have been given to other calls. */
static uly__key_pass begin_call(uly_attention *plan, const uly__key_call *call, bool is_backward,
                                buffers *out) {
  uly__place place = {.memory = call->workspace};
  uly__key_pass pass = begin(plan, call->block, call, is_backward, &place, out);
  for (int i = 0; i < NUM_TRAVELLERS; i++)
    uly__key_pass_note(&pass, uly__group_take_tag(plan->ring_group, &own_of(plan)->tags[i],
                                                  "ring attention %d", i));
  return pass;
}

static uly_status forward(uly_attention *plan, const uly__key_call *call) {
  buffers b;
  uly__key_pass pass = begin_call(plan, call, false, &b);
  int last = last_step(plan), runs = plan->rows.num_runs;
  uly__key_pass_pack(&pass, b.keys[0]);
  for (int step = 0; step < plan->rows.size; step++) {
    pass_on(&pass, KEYS, step, b.keys[step % 2], b.keys[(step + 1) % 2]);
    for (int run = 0; run < runs && has_keys(plan, step); run++)
      attend(&pass, run, step, &b, NULL, step == last);
    wait_for(&pass, KEYS, step);
  }
  return pass.status;
}

static int64_t elements_of(const uly__key_pass *pass, int step) {
  return rows_of(pass->plan, source_of(pass->plan, step)) * pass->row;
}

/* Takes the gradients of another rank's keys back, and adds them to the sum that came with its
 * keys, or begins the sum. */
static void visit(uly__key_pass *pass, int step, const buffers *b) {
  const uly_attention *plan = pass->plan;
  int64_t elements = elements_of(pass, step);
  float *sum = b->gradients[step % 2], *added = step == 1 ? sum : b->added;
  int last = last_step(plan);
  if (has_keys(plan, step)) {
    uly__clear(plan->stream, added, elements * (int64_t)sizeof(float));
    attend(pass, 0, step, b, added, step == last);
    attend(pass, 1, step, b, added, false);
  }
  wait_for(pass, GRADIENTS, step - 1);
  wait_for(pass, HOME, step - 1);
  if (step > 1 && has_keys(plan, step))
    plan->ops->keep_sum(plan->stream, elements, ULY_F32, added, false, sum);
}

static uly_status backward(uly_attention *plan, const uly__key_call *call) {
  buffers b;
  uly__key_pass pass = begin_call(plan, call, true, &b);
  int64_t elements = elements_of(&pass, 0);
  int size = plan->rows.size;
  uly__key_pass_pack(&pass, b.keys[0]);
  pass_on(&pass, KEYS, 0, b.keys[0], b.keys[1]);
  uly__clear(plan->stream, b.own, elements * (int64_t)sizeof(float));
  attend(&pass, 0, 0, &b, b.own, last_step(plan) == 0);
  wait_for(&pass, KEYS, 0);
  for (int step = 1; step < size; step++) {
    pass_on(&pass, KEYS, step, b.keys[step % 2], b.keys[(step + 1) % 2]);
    visit(&pass, step, &b);
    pass_on(&pass, GRADIENTS, step, b.gradients[step % 2], b.gradients[(step + 1) % 2]);
    send_home(&pass, step, &b);
    wait_for(&pass, KEYS, step);
  }
  attend(&pass, 1, 0, &b, b.own, true);
  wait_for(&pass, HOME, size - 1);
  if (own_of(plan)->hops[plan->rows.rank] > 0)
    plan->ops->keep_sum(plan->stream, elements, ULY_F32, b.home, false, b.own);
  uly__local_put_kv(plan, call->block, b.own, call->d_qkv);
  return pass.status;
}

static uly_status poll(uly_attention *plan) {
  for (int i = 0; i < NUM_TRAVELLERS; i++) ULY_TRY(uly__request_poll(&own_of(plan)->requests[i]));
  return ULY_OK;
}

/* ------------------------------------------------------------------------------ queries */

/* Returns the rows that this rank sends in a pass: of keys, to the next rank; of gradients, which
 * begin where keys first arrive, to the next rank or home. */
static int64_t rows_sent(const uly_attention *plan, bool of_gradients) {
  int64_t rows = 0;
  for (int step = of_gradients; step < plan->rows.size; step++)
    if (of_gradients ? has_keys(plan, step) : sends_on(plan, step))
      rows += rows_of(plan, source_of(plan, step));
  return rows;
}

static int64_t sent_forward(const uly_attention *plan, const uly__head_block *block) {
  return rows_sent(plan, false) * uly__key_row(plan, block) * uly__dtype_bytes(plan->desc.dtype);
}

static int64_t sent_backward(const uly_attention *plan, const uly__head_block *block) {
  return sent_forward(plan, block) +
         rows_sent(plan, true) * uly__key_row(plan, block) * (int64_t)sizeof(float);
}

const uly__key_scheme uly__keys_ring = {
    .name = "ring",
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
