/* A decoder-only transformer on a rank's tokens of a stream: embedding, blocks, head with loss;
 * forward and backward. Reads as single-device code: only the schemes of attention know of ranks.
 *
 * Legend: T tokens of this rank, h width, f MLP width, V vocabulary, d head dimension, L blocks. */
#ifndef ULY_MODEL_H
#define ULY_MODEL_H

#include "base/exact_sum.h"
#include "device/arena.h"
#include "model/params.h"
#include "model/pass_input.h"
#include "model/projection.h"
#include "model/stash.h"
#include "model/tiles.h"
#include "parallel/seq_attention.h"
#include "parallel/zero.h"

/* Scratch of one block's pass, and of one token tile. Buffers that are never alive together share
 * their place. */
typedef struct uly__workspace {
  void *matmul;          /* workspace of matrix products */
  void *n, *mid;         /* [rows of a tile, h] */
  float *sum;            /* [rows, h] */
  void *gate, *up, *act; /* [rows, f] */
  void *d_gate, *d_up;   /* [rows, f] */
  float *logits;         /* [rows of a head tile, V] */
  void *d_logits;        /* [rows, V]; in f32 the same as logits */
  double *row_loss;      /* [rows] */
  double *host_loss;     /* room for them on the host */
} uly__workspace;

typedef struct uly__decoder uly__decoder; /* decode.h */

/* How a model is run. */
typedef struct uly__model_run {
  int64_t seq_len; /* N */
  int64_t window;  /* of the causal mask; 0: none */
  uly_sparse sparse;
  uly_dtype dtype, grad_dtype;
  uly_recompute recompute;
  int threads;
  bool forward_only; /* nothing of a backward pass */
  bool stash_on_disk;
  int stage;      /* of ZeRO */
  int leaves;     /* of reproducible sums; 0: not reproducible */
  int rounds;     /* of the exchanges; 0: choose */
  int64_t passes; /* per step, through a rank */
  /* Forward only: tokens that are cached for decoding, one after the other; 0: none. seq_len is
   * then that of the prompt, which goes through at once if `prefills` is set. */
  int64_t capacity;
  bool prefills;
} uly__model_run;

typedef struct uly__watch uly__watch; /* watch.h */

typedef struct uly__model {
  uly__model_config config;
  uly__params params;
  const uly__ops *ops;
  uly__stream *stream;
  uly_attention *attention;
  uly__block_projections *projections; /* [blocks of heads] */
  double pairs;                        /* visible, over all query heads */
  uly_dtype dtype;
  int threads;
  bool forward_only, makes_passes; /* passes over whole sequences */
  const uly__token_cut *cut;       /* which tokens each rank holds */
  int64_t num_tokens;              /* T */
  uly__tiles tiles, head_tiles;
  uly__zero *zero;    /* weights and gradients */
  int64_t *positions; /* [T], of the host: within their documents */
  uly__input input;   /* what ops read of a pass */
  float *rope;        /* [T, d]: cosines, sines; NULL with learned positions */
  void *d_x;          /* [T, h]: gradient of the residual stream; NULL: forward only */
  uly__stash stash;
  uly__workspace work;
  uly__decoder *decoder; /* NULL: none */
  /* First failure of a local operation. Collectives continue (on garbage), so that no rank waits
   * for another; the step agrees on the failure at its end. */
  uly_status failure;
  uly__watch *watch; /* NULL: nothing is checked */
} uly__model;

/* Plans: checks that model and mesh fit; allocates no tensors. */
uly_status uly__model_create(const uly__model_config *config, uly_mesh *mesh,
                             const uly__model_run *run, uly__model **out);
void uly__model_destroy(uly__model *model);

/* Carves everything but the optimizer; arenas: [ULY_NUM_ARENAS] of the device; host: that of the
 * host. The second time, with memory, also sets the positions, those of one document. */
void uly__model_carve(uly__model *model, uly__arena *arenas, uly__arena *host);

/* Sets the documents of the next sequence; before the first call it is one document. The list is
 * not copied: it must stay as it is while the sequence is processed. Sets positions, mask and
 * pairs. */
uly_status uly__model_set_documents(uly__model *model, const int64_t *doc_start, int64_t num_docs);

/* Trains on a sequence. tokens, labels: [T], of the host; negative labels are ignored. Adds to the
 * gradients that of scale * (sum of losses over all ranks), and this rank's losses to loss. */
void uly__model_train(uly__model *model, const int32_t *tokens, const int32_t *labels, float scale,
                      uly__exact_sum *loss);
/* Computes the losses alone, by position: losses[ULY_MAX_EVAL_BINS]. */
void uly__model_eval(uly__model *model, const int32_t *tokens, const int32_t *labels,
                     uly__exact_sum *losses);

/* Returns the bin of a position: [0, 16), [16, 32), [32, 64), ... */
int uly__position_bin(int64_t position);
void uly__bin_positions(int bin, int64_t *begin, int64_t *end);
/* Returns the bin of this rank's token t. */
int uly__model_bin(const uly__model *model, int64_t t);

/* Returns the FLOPs of forward and backward of num_sequences sequences of N tokens, over all ranks:
 * 6 FLOPs for each weight of a matrix and token, and 12 d for each of `pairs`, the visible pairs of
 * all heads and sequences. Forward alone takes a third. */
double uly__model_flops(const uly__model *model, int64_t num_sequences, double pairs);

/* --- Within the room. */

/* Computes from the embedding to the output of the last block, for the tokens of model->input;
 * `keeps` says whether a backward pass follows. */
void uly__model_forward(uly__model *model, bool keeps);

/* Computes block `layer`, from its stashed input x to y [T, h]. */
void uly__block_forward(uly__model *model, int layer, void *y);
/* Turns model->d_x from the gradient of the block's output into that of its input. */
void uly__block_backward(uly__model *model, int layer);

/* Computes final norm, head and loss over tiles. With scale != 0 it also computes backward, into
 * model->d_x; otherwise loss is an array of bins. */
void uly__head(uly__model *model, float scale, uly__exact_sum *loss);

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

/* Returns the norm with these weights. */
static inline uly__norm_args uly__model_norm(const uly__model *model, int unit, int64_t weight,
                                             int64_t bias) {
  const uly__model_config *c = &model->config;
  return (uly__norm_args){c->norm, c->norm_eps, uly__weight(model, unit, weight),
                          uly__weight(model, unit, bias)};
}

/* Drives communication during the computation; called between tiles. */
static inline void uly__model_poll(uly__model *model) {
  uly__model_note(model, uly__attention_poll(model->attention));
  uly__model_note(model, uly__zero_poll(model->zero));
}

#endif
