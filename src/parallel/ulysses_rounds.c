/* The exchanges of the Ulysses scheme and local attention, round by round: see ulysses_rounds.h. */
#include "parallel/ulysses_rounds.h"

#include "base/integers.h"
#include "base/spans.h"

/* Returns this rank's group of a round. */
static int own_group(const uly__ulysses *u, int round) {
  return uly__ulysses_group(u, u->rank, round);
}

/* ------------------------------------------------------------------------------ sizes */

uly__round uly__ulysses_round(const uly_attention *plan, int round) {
  const uly__ulysses *u = &uly__ulysses_of(plan)->table;
  const uly__head_block *own = &u->blocks[own_group(u, round)];
  const uly__head_place *place = &u->places[own_group(u, round)];
  const uly__head_block *first = &u->blocks[uly__ulysses_group(u, 0, round)];
  int64_t bytes = uly__dtype_bytes(plan->desc.dtype);
  return (uly__round){.qkv_tokens = first->qkv_offset * bytes,
                      .o_tokens = first->o_offset * bytes,
                      .qkv_heads = place->qkv_offset * bytes,
                      .o_heads = place->o_offset * bytes,
                      .qkv_heads_bytes = u->num_tokens * own->qkv_stride * bytes,
                      .o_heads_bytes = u->num_tokens * own->o_stride * bytes};
}

uly__ulysses_sizes uly__ulysses_size(const uly_attention *plan) {
  const uly__ulysses *u = &uly__ulysses_of(plan)->table;
  int64_t T = u->slices[u->rank].count, bytes = uly__dtype_bytes(plan->desc.dtype);
  uly__ulysses_sizes sizes = {0};
  for (int g = 0; g < u->num_groups; g++) {
    sizes.qkv_tokens += T * u->blocks[g].qkv_stride * bytes;
    sizes.o_tokens += T * u->blocks[g].o_stride * bytes;
  }
  for (int round = 0; round < u->num_rounds; round++) {
    uly__round at = uly__ulysses_round(plan, round);
    sizes.qkv_heads += at.qkv_heads_bytes;
    sizes.o_heads += at.o_heads_bytes;
    const uly__head_block *block = &u->blocks[own_group(u, round)];
    int64_t forward = plan->keys->workspace_bytes(plan, block, false);
    int64_t backward = plan->keys->workspace_bytes(plan, block, true);
    /* Rounds take turns. */
    sizes.forward_workspace = uly__max(sizes.forward_workspace, forward);
    sizes.workspace = uly__max(sizes.workspace, uly__max(forward, backward));
  }
  sizes.softmax =
      uly__ulysses_heads(u, u->rank).q_count * u->num_tokens * uly__local_softmax_bytes(plan);
  return sizes;
}

/* -------------------------------------------------------------------------- exchanges */

/* Which tensor a step sends, and in which direction. */
typedef struct route {
  uly__blocks from, to;
  int64_t unit_bytes;
} route;

static route find_route(const uly_attention *plan, uly__exchange_step step, int round) {
  const uly__ulysses *u = &uly__ulysses_of(plan)->table;
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
static void note_arrivals(uly__ulysses_plan *own) {
  for (int way = 0; way < 2; way++) {
    if (!own->travel[way].under_way || uly__request_is_pending(&own->travel[way].request)) continue;
    own->travel[way].under_way = false;
    uly__span_end(way == 0 ? "to heads" : "to tokens", own->travel[way].round,
                  way == 0 ? ULY_LANE_TO_HEADS : ULY_LANE_TO_TOKENS, own->travel[way].began);
  }
}

uly_status uly__ulysses_start(uly_attention *plan, uly__exchange_step step, uly_traffic kind,
                              int round, const void *from, void *to) {
  uly__ulysses_plan *own = uly__ulysses_of(plan);
  route r = find_route(plan, step, round);
  int way = direction(step);
  own->travel[way].under_way = true;
  own->travel[way].round = round;
  own->travel[way].began = uly__now();
  return uly__all_to_all_start(plan->head_group, plan->stream, kind, r.unit_bytes, from, r.from, to,
                               r.to, &own->travel[way].request);
}

uly_status uly__ulysses_wait(uly_attention *plan, uly__exchange_step step, int round) {
  uly__ulysses_plan *own = uly__ulysses_of(plan);
  double begin = uly__now();
  ULY_TRY(uly__request_wait(&own->travel[direction(step)].request));
  note_arrivals(own);
  uly__span_end("wait for exchange", round, ULY_LANE_COMPUTE, begin);
  return ULY_OK;
}

uly_status uly__ulysses_poll(uly_attention *plan) {
  uly__ulysses_plan *own = uly__ulysses_of(plan);
  for (int way = 0; way < 2; way++) ULY_TRY(uly__request_poll(&own->travel[way].request));
  note_arrivals(own);
  return ULY_OK;
}

uly_status uly__ulysses_exchange(uly_attention *plan, uly__exchange_step step, uly_traffic kind,
                                 const void *tokens, const void *heads) {
  double begin = uly__now();
  bool is_qkv = step == ULY_QKV_TO_HEADS || step == ULY_QKV_TO_TOKENS;
  bool is_to_heads = direction(step) == 0;
  for (int round = 0; round < uly__ulysses_of(plan)->table.num_rounds; round++) {
    route r = find_route(plan, step, round);
    uly__round at = uly__ulysses_round(plan, round);
    void *token_side = uly__past(tokens, is_qkv ? at.qkv_tokens : at.o_tokens);
    void *head_side = uly__past(heads, is_qkv ? at.qkv_heads : at.o_heads);
    ULY_TRY(uly__all_to_all(plan->head_group, plan->stream, kind, r.unit_bytes,
                            is_to_heads ? token_side : head_side, r.from,
                            is_to_heads ? head_side : token_side, r.to));
  }
  uly__span_end("exchange", -1, ULY_LANE_COMPUTE, begin);
  return ULY_OK;
}

/* ------------------------------------------------------------------------- attention */

/* Returns where the softmax of a round is in that of all rounds. */
static void *softmax_of(const uly_attention *plan, int round, const void *softmax) {
  const uly__ulysses *u = &uly__ulysses_of(plan)->table;
  int64_t heads = u->blocks[own_group(u, round)].q_begin - u->blocks[own_group(u, 0)].q_begin;
  return uly__past(softmax, heads * u->num_tokens * uly__local_softmax_bytes(plan));
}

uly__key_call uly__ulysses_round_call(const uly_attention *plan, int round, const void *qkv_heads,
                                      const void *o_heads, const void *softmax) {
  const uly__ulysses *u = &uly__ulysses_of(plan)->table;
  return (uly__key_call){
      .block = &u->blocks[own_group(u, round)],
      .rows = {qkv_heads, uly__past(o_heads, 0), softmax_of(plan, round, softmax)},
      .index = round};
}
