/* Computes which tokens of a stream each rank holds. */
#include "parallel/token_cut.h"

#include <assert.h>
#include <stdlib.h>

#include "base/split.h"

static uly_status check(int64_t num_tokens, int64_t tile) {
  if (num_tokens < 1)
    ULY_FAIL(ULY_ERR_CONFIG, "desc.num_tokens is %lld, but a stream needs at least one token",
             (long long)num_tokens);
  if (num_tokens > (int64_t)1 << 40)
    ULY_FAIL(ULY_ERR_CONFIG, "desc.num_tokens is %lld, but a stream may have at most 2^40 tokens",
             (long long)num_tokens);
  if (tile < 0 || tile > (int64_t)1 << 40)
    ULY_FAIL(ULY_ERR_CONFIG, "desc.token_tile is %lld, but it must be from 0 to 2^40",
             (long long)tile);
  return ULY_OK;
}

/* Deals the chunks of the stream to rank r of a ring: its two runs, or one if it is alone. */
static void deal_chunks(int outer, int r, int64_t num_tokens, int64_t tile, uly_token_run runs[2]) {
  int chunks[2] = {r, 2 * outer - 1 - r}, num = outer > 1 ? 2 : 1;
  for (int i = 0; i < num; i++) {
    uly__part part = uly__split(num_tokens, tile, outer * num, chunks[i]);
    runs[i] = (uly_token_run){part.begin, part.count};
  }
}

/* Returns the part of a run that is among rows [begin, end), counted from the run's first row. */
static uly_token_run part_of_run(uly_token_run run, int64_t begin, int64_t end) {
  if (begin < 0) begin = 0;
  if (begin > run.count) begin = run.count;
  if (end > run.count) end = run.count;
  return (uly_token_run){run.begin + begin, end > begin ? end - begin : 0};
}

/* Fills in the runs of the `inner` ranks that are rank r of the ring together; returns the next. */
static uly_token_run *deal_rows(const uly__token_cut *cut, const uly_token_run chunks[2], int inner,
                                int64_t tile, uly_token_run *next) {
  for (int i = 0; i < inner; i++) {
    uly__part rows = uly__split(chunks[0].count + chunks[1].count, tile, inner, i);
    int64_t begin = rows.begin, end = rows.begin + rows.count;
    for (int run = 0; run < cut->num_runs; run++) {
      *next++ = part_of_run(chunks[run], begin, end);
      begin -= chunks[run].count;
      end -= chunks[run].count;
    }
  }
  return next;
}

uly_status uly__token_cut_create(int outer, int inner, int rank, int64_t num_tokens, int64_t tile,
                                 uly__token_cut *out) {
  *out = (uly__token_cut){
      .size = outer * inner, .rank = rank, .num_runs = outer > 1 ? 2 : 1, .num_tokens = num_tokens};
  ULY_TRY(check(num_tokens, tile));
  if (tile == 0) tile = 1;
  out->runs = calloc((size_t)out->size * (size_t)out->num_runs, sizeof *out->runs);
  if (!out->runs) ULY_FAIL(ULY_ERR_MEMORY, "no memory for the tokens of %d ranks", out->size);
  uly_token_run *next = out->runs;
  for (int r = 0; r < outer; r++) {
    uly_token_run chunks[2] = {{0}};
    deal_chunks(outer, r, num_tokens, tile, chunks);
    next = deal_rows(out, chunks, inner, tile, next);
  }
  out->count = uly__token_cut_count(out, rank);
  return ULY_OK;
}

void uly__token_cut_destroy(uly__token_cut *cut) {
  free(cut->runs);
  *cut = (uly__token_cut){0};
}

const uly_token_run *uly__token_cut_runs(const uly__token_cut *cut, int rank) {
  return cut->runs + (int64_t)rank * cut->num_runs;
}

int64_t uly__token_cut_count(const uly__token_cut *cut, int rank) {
  const uly_token_run *runs = uly__token_cut_runs(cut, rank);
  int64_t count = 0;
  for (int r = 0; r < cut->num_runs; r++) count += runs[r].count;
  return count;
}

int64_t uly__token_cut_at(const uly__token_cut *cut, int64_t t) {
  const uly_token_run *run = uly__token_cut_runs(cut, cut->rank);
  assert(t >= 0 && t < cut->count);
  for (; t >= run->count; run++) t -= run->count;
  return run->begin + t;
}

void uly__token_cut_find(const uly__token_cut *cut, int64_t token, int *rank, int64_t *t) {
  assert(token >= 0 && token < cut->num_tokens);
  for (*rank = 0;; ++*rank) {
    const uly_token_run *runs = uly__token_cut_runs(cut, *rank);
    *t = 0;
    for (int r = 0; r < cut->num_runs; *t += runs[r++].count) {
      if (token < runs[r].begin || token >= runs[r].begin + runs[r].count) continue;
      *t += token - runs[r].begin;
      return;
    }
  }
}
