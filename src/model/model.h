/* A decoder-only transformer on a rank's tokens of a stream: embedding, blocks, head with loss;
 * forward and backward. It reads as single-device code: only ZeRO, the schemes of attention and the
 * pipeline know of other ranks.
 *
 * This file says what a model consists of; model_plan.h makes and carves it, passes.h runs it.
 *
 * Where tensor parallelism divides a layer, heads, f and V are those of this rank, and of each tile
 * it has some rows of the residual stream (parallel/tensor.h).
 *
 * In a pipeline, a rank has the blocks of its stage (model/stage.h), which have the same numbers on
 * all ranks.
 *
 * Legend: T tokens of this rank, h width, f MLP width, V vocabulary, d head dimension, L blocks. */
#ifndef ULY_MODEL_H
#define ULY_MODEL_H

#include "device/arena.h"
#include "model/boundary.h"
#include "model/params.h"
#include "model/pass_input.h"
#include "model/projection.h"
#include "model/stash.h"
#include "model/tiles.h"
#include "parallel/seq_attention.h"
#include "parallel/tensor.h"
#include "parallel/zero.h"

/* Scratch of one block's pass, and of one token tile. Buffers that are never alive together share
 * their place. */
enum { ULY_MID_SLOTS = 3 };

typedef struct uly__workspace {
  void *matmul; /* workspace of matrix products */
  /* [own rows of a tile, h]; tiles take turns, so that two or three are under way at once. */
  void *n[ULY_TENSOR_SLOTS], *mid[ULY_MID_SLOTS];
  /* [rows, d for each head of a block]: queries or keys before their norm; NULL if they have
   * none. */
  void *heads;
  void *gate, *up, *act; /* [rows, f] */
  void *d_gate, *d_up;   /* [rows, f] */
  float *logits;         /* [rows of a head tile, V] */
  void *d_logits;        /* [rows, V]; in f32 the same as logits */
  double *row_loss;      /* [rows] */
  double *host_loss;     /* room for them on the host */
  /* [rows], and [ranks of tensor parallelism][rows]; NULL without it. */
  uly__logit_summary *summary, *summaries;
  /* Parts of gradients that several ranks hold (model/tensor_grads.h); NULL without it. */
  float *shared_grads, *shared_parts;
  /* A part of another stage's gradient, and its values (model/grads.h); NULL without it. */
  void *tied_part;
  float *tied_values;
} uly__workspace;

/* The use that a model is made for, and has buffers for. */
typedef enum uly__model_use {
  ULY_MODEL_TRAINS,    /* forward and backward */
  ULY_MODEL_EVALUATES, /* forward and losses */
  ULY_MODEL_PREFILLS,  /* forward through the blocks */
  /* No passes over whole sequences: a decoder reads the weights, token by token. */
  ULY_MODEL_DECODES
} uly__model_use;

/* How a model is run. */
typedef struct uly__model_run {
  uly__model_use use;
  uly__stage stage; /* none: the layers are dealt over the mesh */
  int chunks;       /* of a stage; 0: 1 */
  int ahead;        /* of the schedule */
  int64_t seq_len;  /* N */
  /* The most positions of a document: N, or more if a text is generated. */
  int64_t num_positions;
  uly_sparse sparse;
  uly_dtype dtype, grad_dtype;
  uly_recompute recompute;
  int threads;
  bool stash_on_disk;
  int zero_stage;
  int leaves;     /* of reproducible sums; 0: not reproducible */
  int rounds;     /* of the exchanges; 0: choose */
  int64_t passes; /* per step, through a rank */
} uly__model_run;

typedef struct uly__watch uly__watch; /* watch.h */

typedef struct uly__model {
  uly__model_config config;
  uly__stage stage;
  int num_layers;          /* of the stage */
  uly__schedule schedule;  /* of a step */
  uly__boundary boundary;  /* between stages */
  uly__tensor_share share; /* what this rank has of each layer */
  uly__tensor tensor;
  uly__params params;
  const uly__ops *ops;
  uly__stream *stream;
  uly_attention *attention;
  uly__block_projections *projections; /* [blocks of heads] */
  double pairs;                        /* visible; mean of the layers */
  uly_dtype dtype;
  uly__model_use use;
  int threads;
  const uly__token_cut *cut; /* which tokens each rank holds */
  int64_t num_tokens;        /* T */
  int64_t num_own;           /* rows of the residual stream: T, unless these are divided */
  uly__tiles tiles, head_tiles;
  uly__zero *zero;    /* weights and gradients */
  int64_t *positions; /* [T], of the host: within their documents */
  uly__input input;   /* what ops read of a pass */
  uly__rope rope;
  float *angles; /* [T, d]: cosines, sines; NULL with learned positions */
  /* [own, h]: gradient of the residual stream, in a room of boundary; NULL: forward only */
  void *d_x;
  uly__stash stash;
  uly__workspace work;
  /* Forward calls it after each block, while the stash still has the block's attention. NULL:
   * nothing is called. */
  void (*after_block)(void *context, int layer);
  void *after_block_context;
  /* The first failure of a local operation. Collectives continue (on garbage), so that no rank
   * waits for another in vain; the step agrees on the failure at its end. */
  uly_status failure;
  uly__watch *watch;   /* NULL: nothing is checked */
  int64_t micro_batch; /* of the current pass */
} uly__model;

/* Returns the address of a unit's weight `at`, while the unit is acquired; NULL for at < 0. */
static inline void *uly__weight(const uly__model *model, int unit, int64_t at) {
  return at < 0 ? NULL : uly__at(model->zero->units[unit].weights, model->dtype, at);
}

/* Returns the address of its gradient, between begin and end of the unit's gradients. */
static inline float *uly__grad(const uly__model *model, int unit, int64_t at) {
  return at < 0 ? NULL : model->zero->units[unit].grads + at;
}

/* Remembers the first failure. */
static inline void uly__model_note(uly__model *model, uly_status status) {
  if (model->failure == ULY_OK) model->failure = status;
}

/* Acquires a unit before it is used, and starts to gather the one after it, unless that is -1. */
static inline void uly__model_acquire(uly__model *model, int unit, int next) {
  uly__model_note(model, uly__zero_acquire(model->zero, unit));
  if (next >= 0) uly__model_note(model, uly__zero_prefetch(model->zero, next));
}

/* Returns whether the model is for forward passes alone. */
static inline bool uly__model_is_forward_only(const uly__model *model) {
  return model->use != ULY_MODEL_TRAINS;
}

/* Returns the norm with these weights. */
static inline uly__norm_args uly__model_norm(const uly__model *model, int unit, int64_t weight,
                                             int64_t bias) {
  const uly__model_config *c = &model->config;
  return (uly__norm_args){c->norm, (float)c->norm_eps, uly__weight(model, unit, weight),
                          uly__weight(model, unit, bias)};
}

/* Gather and add up the rows of tile i (parallel/tensor.h), noting failures. */
static inline void uly__model_gather(uly__model *model, uly__tensor_gathered what, uly_traffic kind,
                                     int64_t i, int64_t rows, const void *mine) {
  uly__model_note(model, uly__tensor_gather(&model->tensor, what, kind, i, rows, mine));
}
static inline const void *uly__model_gathered(uly__model *model, uly__tensor_gathered what,
                                              int64_t i) {
  uly_status status;
  const void *rows = uly__tensor_gather_wait(&model->tensor, what, i, &status);
  uly__model_note(model, status);
  return rows;
}
static inline float *uly__model_partial(const uly__model *model, uly__tensor_summed what,
                                        int64_t i) {
  return uly__tensor_partial(&model->tensor, what, i);
}
static inline void uly__model_sum(uly__model *model, uly__tensor_summed what, uly_traffic kind,
                                  int64_t i, int64_t rows) {
  uly__model_note(model, uly__tensor_sum(&model->tensor, what, kind, i, rows, false));
}
static inline float *uly__model_summed(uly__model *model, uly__tensor_summed what, int64_t i) {
  uly_status status;
  float *sum = uly__tensor_sum_wait(&model->tensor, what, i, &status);
  uly__model_note(model, status);
  return sum;
}

/* Drives communication during the computation. */
static inline void uly__model_poll(uly__model *model) {
  uly__model_note(model, uly__attention_poll(model->attention));
  uly__model_note(model, uly__tensor_poll(&model->tensor));
  uly__model_note(model, uly__zero_poll(model->zero));
  uly__model_note(model, uly__boundary_poll(&model->boundary));
}

#endif
