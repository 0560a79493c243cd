/* Tells which tokens of a stream each rank holds, as a list of runs.
 *
 * A rank's rows are its runs, one after the other, in the order of the stream. Its token t is row
 * t. The stream is cut over a ring first, so that causal attention is as much work for each of its
 * R ranks: into 2R chunks, of which rank r holds chunks r and 2R - 1 - r (zigzag, as in Brandon et
 * al., arXiv 2311.09431). The rows of a rank of the ring are then cut over U ranks of Ulysses,
 * which are neighbours: rank u + U r holds part u. Without a ring every rank has one run. */
#ifndef ULY_TOKEN_CUT_H
#define ULY_TOKEN_CUT_H

#include "base/status.h"

typedef struct uly__token_cut {
  int size, rank;      /* P and my index */
  int num_runs;        /* R of each rank; some may be empty */
  int64_t num_tokens;  /* N */
  int64_t count;       /* T, of this rank */
  uly_token_run *runs; /* [P][R] */
} uly__token_cut;

/* Cuts N tokens over `outer` ranks of a ring, and the rows of each over `inner` ranks, in whole
 * tiles of `tile` tokens (0: of one token); the last tile may be short. ULY_ERR_CONFIG says which
 * number cannot work. */
uly_status uly__token_cut_create(int outer, int inner, int rank, int64_t num_tokens, int64_t tile,
                                 uly__token_cut *out);
void uly__token_cut_destroy(uly__token_cut *cut);

/* Returns the R runs of a rank, and how many tokens they have together. */
const uly_token_run *uly__token_cut_runs(const uly__token_cut *cut, int rank);
int64_t uly__token_cut_count(const uly__token_cut *cut, int rank);

/* Returns where this rank's token t, of its T, is in the stream. */
int64_t uly__token_cut_at(const uly__token_cut *cut, int64_t t);

/* Finds the rank that holds a token of the stream, and the token's place t among those of that
 * rank. */
void uly__token_cut_find(const uly__token_cut *cut, int64_t token, int *rank, int64_t *t);

#endif
