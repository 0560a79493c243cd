/* Attention of this rank's rows, which are runs of tokens, to the keys and values of one rank of
 * the ring after the other: what the ring and the gather share.
 *
 * Keys and values travel as rows of uly__key_row elements; their gradients have the same layout, in
 * f32. */
#ifndef ULY_KEY_RUNS_H
#define ULY_KEY_RUNS_H

#include "parallel/local_attention.h"

enum { ULY_MAX_KEY_RUNS = 2 }; /* of each rank */

/* The next place in a workspace; with memory NULL its size is only counted. */
typedef struct uly__place {
  char *memory;
  int64_t used;
} uly__place;
void *uly__place_carve(uly__place *place, int64_t bytes);

/* A pass with a block of heads: what its queries have summed stays here between ranks. */
typedef struct uly__key_pass {
  const uly_attention *plan;
  const uly__key_call *call;
  uly_traffic kind; /* of what is sent */
  bool is_backward;
  int64_t row; /* elements of a row of keys and values: 2 kv_count d */
  void *sums[ULY_MAX_KEY_RUNS];
  bool has_begun[ULY_MAX_KEY_RUNS]; /* the run has attended to some keys */
  void *workspace;                  /* of the kernels */
  uly_status status;                /* the first failure */
} uly__key_pass;

/* Carves the memory of a pass; `call` may be NULL while it is only counted. */
uly__key_pass uly__key_pass_begin(const uly_attention *plan, const uly__head_block *block,
                                  const uly__key_call *call, bool is_backward, uly__place *place);
static inline void uly__key_pass_note(uly__key_pass *pass, uly_status status) {
  if (pass->status == ULY_OK) pass->status = status;
}

/* Keys and values of one rank. */
typedef struct uly__key_source {
  int rank;
  const void *kv; /* NULL: this rank's own, in its block */
  float *d_kv;    /* backward adds to it */
  bool is_last;   /* of the ranks that the run attends to */
} uly__key_source;

/* Attends with one run of this rank's rows to all rows of a rank; or takes the gradients back. */
void uly__key_pass_attend(uly__key_pass *pass, int run, uly__key_source source);

/* Copies this rank's own keys and values to rows. */
void uly__key_pass_pack(const uly__key_pass *pass, void *kv);
/* Returns the most rows that a rank of the ring has. */
int64_t uly__key_rows_most(const uly_attention *plan);

/* Refuses what only whole sequences have: a callback, and counts that MPI cannot express. */
uly_status uly__key_runs_check(const char *scheme, const uly_mesh *mesh,
                               const uly_attention_desc *desc);

#endif
