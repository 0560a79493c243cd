/* The log-sum-exp of attention, from the head side to the token side of the Ulysses scheme. */
#include "device/device.h"
#include "parallel/ulysses_rounds.h"

void uly__ulysses_carve_lse(uly_attention *plan, uly__arena *arena) {
  uly__ulysses_plan *own = uly__ulysses_of(plan);
  const uly__ulysses *u = &own->table;
  int64_t mine = uly__ulysses_heads(u, u->rank).q_count, value = sizeof(float);
  own->lse_out = uly__arena_carve(arena, mine * u->num_tokens * value);
  own->lse_in = uly__arena_carve(arena, u->heads.q_count * plan->cut.count * value);
}

/* Writes [heads of this rank, tokens of rank p] for every p, one after the other. */
static void gather_own(uly_attention *plan, const void *softmax) {
  uly__ulysses_plan *own = uly__ulysses_of(plan);
  const uly__ulysses *u = &own->table;
  int64_t mine = uly__ulysses_heads(u, u->rank).q_count;
  float *to = own->lse_out;
  for (int p = 0; p < u->size; p++) {
    uly__part slice = u->slices[p];
    for (int64_t head = 0; head < mine; head++, to += slice.count)
      uly__local_lse(plan, softmax, head * u->num_tokens + slice.begin, slice.count, to);
  }
}

uly_status uly__ulysses_lse(uly_attention *plan, const uly__seq_kept *kept, float *lse) {
  uly__ulysses_plan *own = uly__ulysses_of(plan);
  const uly__ulysses *u = &own->table;
  int64_t T = plan->cut.count, hq = u->heads.q_count, size = sizeof *lse;
  int64_t counts[4][u->size]; /* sent: counts and offsets; received */
  for (int p = 0; p < u->size; p++) {
    uly__head_range heads = uly__ulysses_heads(u, p), mine = uly__ulysses_heads(u, u->rank);
    counts[0][p] = mine.q_count * u->slices[p].count;
    counts[1][p] = mine.q_count * u->slices[p].begin;
    counts[2][p] = heads.q_count * T;
    counts[3][p] = (heads.q_begin - u->heads.q_begin) * T;
  }
  gather_own(plan, kept->softmax);
  ULY_TRY(uly__all_to_all(plan->head_group, plan->stream, ULY_TRAFFIC_ATTENTION_FORWARD, size,
                          own->lse_out, (uly__blocks){counts[0], counts[1]}, own->lse_in,
                          (uly__blocks){counts[2], counts[3]}));
  for (int64_t head = 0; head < hq; head++)
    uly__copy_rows(plan->stream, T, size, lse + head, hq * size, own->lse_in + head * T, size);
  return ULY_OK;
}
