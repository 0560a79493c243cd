/* A decoder-only transformer on one slice of a stream: embedding, blocks, head with loss; forward and
 * backward. Reads as single-device code: only the three exchanges in block.c know of ranks.
 *
 * Legend: T tokens of this rank, h width, f MLP width, V vocabulary, d head dimension, L blocks. */
#ifndef ULY_MODEL_H
#define ULY_MODEL_H

#include "device/arena.h"
#include "model/params.h"
#include "model/stash.h"
#include "parallel/seq_attention.h"

/* Scratch of one block's pass, and of one token tile. Buffers that are never alive together share
 * their place. */
typedef struct uly__workspace {
  void *qkv_tokens;      /* P blocks [T, (hq_p + 2 hkv_p) d]; in backward their gradients */
  void *d_o_tokens;      /* P blocks [T, hq_p d] */
  void *d_o_heads;       /* [N, hq d] */
  void *d_qkv_heads;     /* [N, (hq + 2 hkv) d] */
  void *delta;           /* attention's workspace */
  void *n, *mid;         /* [tile, h] */
  float *sum;            /* [tile, h] */
  void *gate, *up, *act; /* [tile, f] */
  void *d_gate, *d_up;   /* [tile, f] */
  float *logits;         /* [head_tile, V] */
  void *d_logits;        /* [head_tile, V]; in f32 the same as logits */
  double *row_loss;      /* [head_tile] */
} uly__workspace;

typedef struct uly__model {
  uly__model_config config;
  uly__params params;
  const uly__ops *ops;
  uly_attention *attention;
  uly_dtype dtype;
  int64_t num_tokens, token_begin; /* T and its place in the stream */
  int64_t tile, head_tile;         /* tokens of a tile */
  void *weights;                   /* [params.count] of dtype */
  float *grads;                    /* [params.count]; backward adds */
  float *rope;                     /* [T, d]: cosines, sines; NULL with learned positions */
  void *d_x;                       /* [T, h]: gradient of the residual stream */
  uly__stash stash;
  uly__workspace work;
  /* First failure of a local operation. Collectives go on (on garbage), so that no rank waits for
   * another; the step agrees on the failure at its end. */
  uly_status failure;
} uly__model;

/* Plans: checks that model and mesh fit, allocates no tensors. seq_len: N. */
uly_status uly__model_create(const uly__model_config *config, uly_mesh *mesh, int64_t seq_len,
                             uly_dtype dtype, uly_recompute recompute, uly__model **out);
void uly__model_destroy(uly__model *model);

/* Carves everything but the optimizer; arenas: [ULY_NUM_ARENAS]. The second time, with memory, also
 * fills the table of angles. */
void uly__model_carve(uly__model *model, uly__arena *arenas);

/* tokens, labels: [T]; negative labels are ignored. Adds to grads the gradient of
 * scale * (sum of losses over all ranks), and returns the sum of this rank's losses. */
double uly__model_train(uly__model *model, const int32_t *tokens, const int32_t *labels,
                        float scale);
/* The sum of losses alone. */
double uly__model_eval(uly__model *model, const int32_t *tokens, const int32_t *labels);

/* Forward and backward of a sequence of N tokens, over all ranks: 6 FLOPs for each weight of a matrix
 * and token, 12 h for each pair of tokens that the causal mask lets through. */
double uly__model_flops(const uly__model *model);

/* --- Within the room. */

/* Block `layer`: from its stashed input x to y [T, h]. */
void uly__block_forward(uly__model *model, int layer, void *y);
/* model->d_x: gradient of the block's output in, of its input out. */
void uly__block_backward(uly__model *model, int layer);

/* Final norm, head and loss over tiles. With scale != 0 also backward, into model->d_x. */
double uly__head(uly__model *model, const int32_t *labels, float scale);

/* Address of element i of the weights. */
static inline void *uly__weight(const uly__model *model, int64_t i) {
  return i < 0 ? NULL : uly__at(model->weights, model->dtype, i);
}

/* Address of element i of the gradients. */
static inline float *uly__grad(const uly__model *model, int64_t i) {
  return i < 0 ? NULL : model->grads + i;
}

/* Remembers the first failure. */
static inline void uly__model_note(uly__model *model, uly_status status) {
  if (model->failure == ULY_OK) model->failure = status;
}

#endif
