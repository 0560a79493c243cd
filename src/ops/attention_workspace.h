/* The workspace of attention's backward. */
#ifndef ULY_ATTENTION_WORKSPACE_H
#define ULY_ATTENTION_WORKSPACE_H

#include "ops/attention_args.h"

/* Queries and keys of a tile of attention. */
enum { ULY_ATTENTION_TILE = 64 };

/* Where attention's backward keeps its sums, f32. The query heads that share a key/value head are
 * processed together if there are two, otherwise one by one: whatever needs less memory. Blocks
 * have ULY_ATTENTION_TILE tokens. */
typedef struct uly__attention_workspace {
  int num_together; /* query heads in a pass: 1 or 2 */
  float *delta;     /* [num_q_heads][Nq]: sums of dO o O over a row */
  /* [num_together][query blocks x tile][d rounded up to 32]; with sums, [num_q_heads]... */
  float *d_q;
  /* [key blocks][2][d][tile]: over the passes of a key/value head; NULL: there is one pass. */
  float *d_kv;
  _Atomic int64_t *progress; /* [key blocks] */
} uly__attention_workspace;

/* Carves memory (of any alignment), or only counts if it is NULL; returns the bytes. What
 * args->sums keeps is not in it. */
int64_t uly__attention_carve(const uly__attention_args *args, void *memory,
                             uly__attention_workspace *out);

/* What queries keep from one call to the next. Forward and backward use the same place. */
typedef struct uly__attention_sums {
  float *
      o; /* forward: [num_q_heads][query blocks][d][tile], not yet divided by the sums of softmax */
  float *delta, *d_q; /* backward: as in the workspace */
} uly__attention_sums;

/* Carves args->sums in the same way. It depends on the number of queries, not on the keys. */
int64_t uly__attention_carve_sums(const uly__attention_args *args, void *memory,
                                  uly__attention_sums *out);

#endif
