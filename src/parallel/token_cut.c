/* Which tokens of a stream each rank holds. */
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

uly_status uly__token_cut_create(int size, int rank, int64_t num_tokens, int64_t tile,
                                 uly__token_cut *out) {
  *out = (uly__token_cut){.size = size, .rank = rank, .num_runs = 1, .num_tokens = num_tokens};
  ULY_TRY(check(num_tokens, tile));
  out->runs = calloc((size_t)size, sizeof *out->runs);
  if (!out->runs) ULY_FAIL(ULY_ERR_MEMORY, "no memory for the tokens of %d ranks", size);
  for (int p = 0; p < size; p++) {
    uly__part part = uly__split(num_tokens, tile ? tile : 1, size, p);
    out->runs[p] = (uly_token_run){part.begin, part.count};
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
