/* Finds where numbers stop being finite. While a model has a watch, a pass checks what it computes,
 * tensor by tensor, and the watch keeps the one that is not finite and comes first in the order of
 * the computation: micro-batch by micro-batch, whatever the schedule. It is for a step that is
 * repeated to find out; otherwise a pass has no watch, and nothing is checked. */
#ifndef ULY_WATCH_H
#define ULY_WATCH_H

#include "model/model.h"

/* Tensors of a block's forward pass, and of its backward pass, in their order. */
typedef enum uly__watched {
  ULY_WATCH_QKV = 0,
  ULY_WATCH_ATTENTION,
  ULY_WATCH_MID,
  ULY_WATCH_INNER,
  ULY_WATCH_OUTPUT,
  ULY_WATCH_D_MID,
  ULY_WATCH_D_QKV,
  ULY_WATCH_D_INPUT,
  ULY_NUM_WATCHED
} uly__watched;

struct uly__watch {
  int64_t order; /* place in the step; INT64_MAX: none */
  int stage;     /* of the pipeline */
  char what[192];
};

void uly__watch_begin(uly__watch *watch);

/* Rows that are ld apart; the first is that of this rank's token t. */
typedef struct uly__watched_rows {
  const void *x;
  uly_dtype dtype;
  int64_t rows, cols, ld, t;
} uly__watched_rows;

/* Checks a tensor of block `layer`. */
void uly__watch_block(uly__model *model, uly__watched tensor, int layer, uly__watched_rows rows);
/* Checks some rows of attention's outputs (ULY_WATCH_ATTENTION), or of Q, K and V or their
 * gradients, in the blocks of all groups. */
void uly__watch_heads(uly__model *model, uly__watched tensor, int layer, uly__part tokens,
                      const void *x);
/* Check embeddings, logits, and the gradient that enters the last block. */
void uly__watch_embedding(uly__model *model);
void uly__watch_logits(uly__model *model, const float *logits, int64_t rows, int64_t t);
void uly__watch_d_stream(uly__model *model, uly__watched_rows rows);
/* Checks the gradients of a unit's tensors, once they are complete on this rank. */
void uly__watch_grads(uly__model *model, int unit);

#endif
