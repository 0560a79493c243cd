/* DeepSpeed-Ulysses (arXiv 2309.14509): an exchange turns "all heads of my tokens" into "all tokens
 * of my heads", attention runs on whole sequences, and a second exchange turns outputs back.
 *
 * The exchange of a round overlaps with the projections of the next and the attention of the one
 * before; outputs go back during the attention of the next. */
#include <stdlib.h>

#include "parallel/head_share.h"
#include "parallel/shared_kv.h"
#include "parallel/ulysses_rounds.h"

enum { MAX_CHOSEN_ROUNDS = 4 };

static uly_status applicable(const uly_mesh *mesh, const uly_attention_desc *desc) {
  return uly__ulysses_applicable(mesh, desc);
}

/* Chooses rounds of whole key/value heads that are wide enough for matrix products to run at their
 * peak, on all ranks among which heads are divided. */
static int choose_rounds(const uly_mesh *mesh, const uly_attention_desc *desc) {
  int64_t width = uly__ops_get()->sizes.product_width;
  int ranks = uly__mesh_extent(mesh, ULY_AXIS_TP | ULY_AXIS_ULYSSES), rounds = MAX_CHOSEN_ROUNDS;
  while (rounds > 1 && (desc->num_kv_heads % (ranks * rounds) != 0 ||
                        (int64_t)(desc->num_q_heads / (ranks * rounds)) * desc->head_dim < width))
    rounds--;
  return rounds;
}

static uly_status deal_heads(const uly_mesh *mesh, int rounds, uly_attention_desc *desc) {
  int size = uly__mesh_extent(mesh, ULY_AXIS_ULYSSES);
  int least = uly__head_share_least(mesh, desc);
  char heads[64];
  ULY_TRY(uly__ulysses_applicable(mesh, desc));
  uly__head_share_name(mesh, desc, heads);
  if ((int64_t)rounds * size > least)
    ULY_FAIL(ULY_ERR_CONFIG,
             "config.rounds is %d, but %s give each rank of mesh.sp = %d at most %d: use no more "
             "rounds than that",
             rounds, heads, size, least / size);
  desc->head_groups = size * (rounds > 0 ? rounds : choose_rounds(mesh, desc));
  return ULY_OK;
}

static void poll(void *plan) { (void)uly__ulysses_poll(plan); }

static uly_status create(uly_attention *plan) {
  uly__ulysses_plan *own = calloc(1, sizeof *own);
  if (!own) ULY_FAIL(ULY_ERR_MEMORY, "no memory for an attention plan");
  plan->own = own;
  ULY_TRY(uly__ulysses_create(plan->mesh, &plan->cut, &plan->desc, &own->table));
  plan->blocks = own->table.blocks;
  plan->num_blocks = own->table.num_groups;
  own->bytes = uly__ulysses_size(plan);
  if (own->table.num_rounds > 1 && !plan->mesh->is_offline) {
    plan->poll = poll;
    plan->poll_context = plan;
  }
  return ULY_OK;
}

static void destroy(uly_attention *plan) {
  if (plan->own) uly__ulysses_destroy(&uly__ulysses_of(plan)->table);
  free(plan->own);
}

/* ----------------------------------------------------------------------------- memory */

static void carve_kept(const uly_attention *plan, uly__arena *arena, uly__seq_kept *out) {
  const uly__ulysses_sizes *bytes = &uly__ulysses_of(plan)->bytes;
  out->qkv = uly__arena_carve(arena, bytes->qkv_heads);
  out->o = uly__arena_carve(arena, bytes->o_heads);
  out->softmax = uly__arena_carve(arena, bytes->softmax);
}

static int64_t outputs_bytes(const uly_attention *plan) {
  return uly__ulysses_of(plan)->bytes.o_tokens;
}

/* Returns the bytes on the head side of the largest of rounds `first`, first + 2, ... */
static int64_t largest_round(const uly_attention *plan, int first, bool of_qkv) {
  int64_t most = 0;
  for (int r = first; r < uly__ulysses_of(plan)->table.num_rounds; r += 2) {
    uly__round round = uly__ulysses_round(plan, r);
    int64_t bytes = of_qkv ? round.qkv_heads_bytes : round.o_heads_bytes;
    if (bytes > most) most = bytes;
  }
  return most;
}

/* Carves the buffers that layers share. With one round nothing overlaps with attention, so buffers
 * share places: d_o has been sent before d_qkv_heads is written, and local attention's backward has
 * ended before gradients arrive in qkv. */
static void carve_work(uly_attention *plan, unsigned uses, uly__arena *arena) {
  uly__ulysses_plan *own = uly__ulysses_of(plan);
  const uly__ulysses_sizes *bytes = &own->bytes;
  bool overlaps = own->table.num_rounds > 1;
  if (uses & ULY_SEQ_LSE) uly__ulysses_carve_lse(plan, arena);
  if (!(uses & ULY_SEQ_BACKWARD)) {
    int64_t mark = uly__arena_mark(arena);
    own->workspace = uly__arena_carve(arena, bytes->forward_workspace);
    if (!overlaps) uly__arena_release(arena, mark);
    plan->work.qkv = uly__arena_carve(arena, bytes->qkv_tokens);
    return;
  }
  for (int i = 0; i < 2; i++)
    own->d_o_heads[i] = uly__arena_carve(arena, largest_round(plan, i, false));
  int64_t mark = uly__arena_mark(arena);
  plan->work.d_o = uly__arena_carve(arena, bytes->o_tokens);
  if (!overlaps) uly__arena_release(arena, mark);
  for (int i = 0; i < 2; i++)
    own->d_qkv_heads[i] = uly__arena_carve(arena, largest_round(plan, i, true));
  mark = uly__arena_mark(arena);
  own->workspace = uly__arena_carve(arena, bytes->workspace);
  if (!overlaps) uly__arena_release(arena, mark);
  plan->work.qkv = plan->work.d_qkv = uly__arena_carve(arena, bytes->qkv_tokens);
}

/* --------------------------------------------------------------------------- schedule */

/* A pass through the rounds, and its first failure. */
typedef struct pass {
  uly_attention *plan;
  const uly__seq_call *call;
  int num_rounds;
  uly_status status;
} pass;

static pass begin(uly_attention *plan, const uly__seq_call *call) {
  return (pass){plan, call, uly__ulysses_of(plan)->table.num_rounds, ULY_OK};
}

static void note(pass *p, uly_status status) {
  if (p->status == ULY_OK) p->status = status;
}

static void start(pass *p, uly__exchange_step step, int round, const void *from, void *to) {
  note(p, uly__ulysses_start(p->plan, step, p->call->kind, round, from, to));
}

static void wait_for(pass *p, uly__exchange_step step, int round) {
  note(p, uly__ulysses_wait(p->plan, step, round));
}

static void send_qkv(pass *p, int round) {
  uly__round at = uly__ulysses_round(p->plan, round);
  start(p, ULY_QKV_TO_HEADS, round, uly__past(p->plan->work.qkv, at.qkv_tokens),
        uly__past(p->call->kept->qkv, at.qkv_heads));
}

/* Describes the attention of a round in this pass. */
static uly__key_call call_of(const pass *p, int round) {
  const uly__seq_kept *kept = p->call->kept;
  uly__round at = uly__ulysses_round(p->plan, round);
  uly__key_call call = uly__ulysses_round_call(p->plan, round, uly__past(kept->qkv, at.qkv_heads),
                                               uly__past(kept->o, at.o_heads), kept->softmax);
  call.mask = p->call->mask;
  call.kind = p->call->kind;
  call.workspace = uly__ulysses_of(p->plan)->workspace;
  call.status = p->status;
  return call;
}

static void attend(pass *p, int round) {
  uly__key_call call = call_of(p, round);
  note(p, p->plan->keys->forward(p->plan, &call));
}

static void send_o(pass *p, int round) {
  const uly__seq_kept *kept = p->call->kept;
  uly__round at = uly__ulysses_round(p->plan, round);
  start(p, ULY_O_TO_TOKENS, round, uly__past(kept->o, at.o_heads),
        uly__past(kept->outputs, at.o_tokens));
}

static uly_status forward(uly_attention *plan, const uly__seq_call *call) {
  pass p = begin(plan, call);
  int num = p.num_rounds;
  bool at_once = uly__attention_shares_kv(plan);
  call->project(call->context, 0, at_once ? 1 : num);
  if (at_once) uly__attention_share_kv(plan, plan->work.qkv);
  send_qkv(&p, 0);
  for (int round = 0; round < num; round++) {
    bool is_last = round + 1 == num;
    if (!is_last && !at_once) call->project(call->context, round + 1, num);
    wait_for(&p, ULY_QKV_TO_HEADS, round);
    if (!is_last) send_qkv(&p, round + 1);
    attend(&p, round);
    if (round > 0) wait_for(&p, ULY_O_TO_TOKENS, round - 1);
    send_o(&p, round);
  }
  wait_for(&p, ULY_O_TO_TOKENS, num - 1);
  return p.status;
}

static void send_d_o(pass *p, int round) {
  uly__round at = uly__ulysses_round(p->plan, round);
  start(p, ULY_O_TO_HEADS, round, uly__past(p->plan->work.d_o, at.o_tokens),
        uly__ulysses_of(p->plan)->d_o_heads[round % 2]);
}

static void attend_backward(pass *p, int round) {
  const uly__ulysses_plan *own = uly__ulysses_of(p->plan);
  uly__key_call call = call_of(p, round);
  call.d_o = own->d_o_heads[round % 2];
  call.d_qkv = own->d_qkv_heads[round % 2];
  note(p, p->plan->keys->backward(p->plan, &call));
}

static void send_d_qkv(pass *p, int round) {
  uly__round at = uly__ulysses_round(p->plan, round);
  start(p, ULY_QKV_TO_TOKENS, round, uly__ulysses_of(p->plan)->d_qkv_heads[round % 2],
        uly__past(p->plan->work.d_qkv, at.qkv_tokens));
}

static uly_status backward(uly_attention *plan, const uly__seq_call *call) {
  pass p = begin(plan, call);
  int num = p.num_rounds;
  send_d_o(&p, 0);
  for (int round = 0; round < num; round++) {
    wait_for(&p, ULY_O_TO_HEADS, round);
    if (round + 1 < num) send_d_o(&p, round + 1);
    attend_backward(&p, round);
    if (round > 0) wait_for(&p, ULY_QKV_TO_TOKENS, round - 1);
    send_d_qkv(&p, round);
  }
  wait_for(&p, ULY_QKV_TO_TOKENS, num - 1);
  uly__attention_sum_kv(plan, plan->work.d_qkv);
  return p.status;
}

/* ---------------------------------------------------------------------------- queries */

static uly__head_range heads_of(const uly_attention *plan, int rank) {
  return uly__ulysses_heads(&uly__ulysses_of(plan)->table, rank);
}

static void copy_kv(const uly_attention *plan, const uly__seq_kept *kept, int64_t capacity,
                    void *keys, void *values) {
  const uly__ulysses *u = &uly__ulysses_of(plan)->table;
  int64_t head = capacity * u->head_dim;
  for (int round = 0; round < u->num_rounds; round++) {
    const uly__head_block *block = &u->blocks[uly__ulysses_group(u, u->rank, round)];
    int64_t at = (block->kv_begin - heads_of(plan, u->rank).kv_begin) * head;
    uly__local_copy_kv(plan, block, uly__past(kept->qkv, uly__ulysses_round(plan, round).qkv_heads),
                       capacity, uly__at(keys, plan->desc.dtype, at),
                       uly__at(values, plan->desc.dtype, at));
  }
}

static uly__block_range attended(const uly_attention *plan) {
  const uly__ulysses *u = &uly__ulysses_of(plan)->table;
  return (uly__block_range){uly__ulysses_group(u, u->rank, 0), u->num_rounds};
}

static int64_t sent_forward(const uly_attention *plan) {
  const uly__ulysses *u = &uly__ulysses_of(plan)->table;
  int64_t bytes = uly__dtype_bytes(plan->desc.dtype);
  return uly__ulysses_sent(u, &u->qkv.tokens, bytes) + uly__ulysses_sent(u, &u->o.heads, bytes);
}

static int64_t sent_backward(const uly_attention *plan) {
  const uly__ulysses *u = &uly__ulysses_of(plan)->table;
  int64_t bytes = uly__dtype_bytes(plan->desc.dtype);
  return uly__ulysses_sent(u, &u->o.tokens, bytes) + uly__ulysses_sent(u, &u->qkv.heads, bytes);
}

const uly__seq_scheme uly__scheme_ulysses = {
    .name = "Ulysses",
    .applicable = applicable,
    .deal_heads = deal_heads,
    .create = create,
    .destroy = destroy,
    .carve_kept = carve_kept,
    .outputs_bytes = outputs_bytes,
    .carve_work = carve_work,
    .forward = forward,
    .backward = backward,
    .poll = uly__ulysses_poll,
    .lse = uly__ulysses_lse,
    .heads_of = heads_of,
    .copy_kv = copy_kv,
    .attended = attended,
    .sent_forward = sent_forward,
    .sent_backward = sent_backward,
};
