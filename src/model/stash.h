/* What is kept between forward and backward, by recompute policy.
 *
 *   full            every block's input x
 *   keep-attention  also what attention made: qkv_heads, o_heads, o_tokens, softmax
 *   none            also x_mid (after attention's residual), gate and up
 *
 * A run that makes no backward pass keeps nothing: each block's output takes the place of its
 * input.
 *
 * What is not kept has one place that all blocks share, and is computed again in backward. So
 * forward and backward use the same pointers under every policy.
 *
 * In a pipeline, several micro-batches are in flight in each chunk of layers, and each of them has
 * a set of places. A chunk that receives its input has one more place for inputs than sets, so that
 * the next input can arrive while all sets are in use. In a run that makes no backward pass, the
 * output overwrites the input.
 *
 * On disk, the blocks take turns in a ring of places: three for x (that of the block at work, of
 * its output, and one that travels), two for all else. While block i computes, i - 1 is written to
 * a scratch file in forward, and read in backward. The last two blocks of forward are there when
 * backward begins: they are neither written nor read, unless other passes come between. Inputs and
 * outputs of a pipeline's chunks, which travel between ranks, stay in memory. */
#ifndef ULY_STASH_H
#define ULY_STASH_H

#include "device/arena.h"
#include "device/disk.h"
#include "model/stage.h"
#include "parallel/seq_attention.h"

typedef struct uly__stash_layer {
  void *x; /* [T, h] */
  uly__seq_kept attention;
  void *x_mid;      /* [T, h]; NULL unless kept */
  void *gate, *up;  /* [T, f]; NULL unless kept */
  void *rest;       /* where everything but x begins */
  int64_t transfer; /* request under way; 0: none */
} uly__stash_layer;

/* The places in which one micro-batch keeps what its backward pass over a chunk needs. */
typedef struct uly__stash_set {
  uly__chunk chunk;
  /* [layers of the chunk + 1]: the last holds only x, the output of the last block. */
  uly__stash_layer *layers;
  int64_t offset; /* in the file */
} uly__stash_set;

/* The places of one chunk. */
typedef struct uly__stash_chunk {
  uly__stash_set *sets; /* [num_sets] */
  int64_t num_sets;     /* micro-batches in flight */
  void **inputs;        /* [num_inputs] */
  int64_t num_inputs;
} uly__stash_chunk;

typedef struct uly__stash_desc {
  const uly__stage *stage;
  const int64_t *in_flight; /* [chunks of the stage]: micro-batches in each */
  uly_recompute recompute;
  bool forward_only; /* there is no backward pass, whatever recompute says */
  bool on_disk;
  bool in_pipeline; /* there are other stages */
} uly__stash_desc;

typedef struct uly__stash {
  uly__stash_chunk chunks[ULY_MAX_CHUNKS];
  int num_chunks;
  const uly__stash_set *set; /* of the pass at work */
  bool keeps_x, keeps_attention, keeps_mlp, on_disk, in_pipeline;
  /* Passes over other micro-batches or chunks come between forward and backward. */
  bool interleaves;
  int64_t x_bytes, rest_bytes; /* of x, and of the rest */
  int64_t file_bytes;
  uly__disk *disk; /* NULL until it is opened */
} uly__stash;

/* Creates the stash, and chooses the first chunk and micro-batch. */
uly_status uly__stash_create(const uly__stash_desc *desc, uly__stash *out);
void uly__stash_destroy(uly__stash *stash);

/* Carves what is kept from `activations`, and the shared place of everything else from `scratch`.
 * stream, wide: the bytes of a block's rows of the residual stream, and of its inner rows of the
 * MLP. */
void uly__stash_carve(uly__stash *stash, const uly__model_config *config, int64_t stream,
                      int64_t wide, const uly_attention *attention, uly__arena *activations,
                      uly__arena *scratch);

/* Returns the places of a layer, or after the last layer of the chunk those of the chunk's output,
 * for the pass at work. */
static inline uly__stash_layer *uly__stash_at(const uly__stash *stash, int layer) {
  return &stash->set->layers[layer - stash->set->chunk.first];
}

/* Chooses the chunk and the micro-batch of the next pass. If passes over others come between
 * forward and backward, it waits for what is on its way to or from disk, and before a backward pass
 * starts to read the blocks with which that begins. */
uly_status uly__stash_use(uly__stash *stash, int chunk, int64_t micro_batch, bool goes_back);
/* Return the index of the place of a chunk's input, in `inputs`, and of its output: in `sets`, or
 * in `inputs` if there is no backward pass. */
int64_t uly__stash_input_place(const uly__stash *stash, int chunk, int64_t micro_batch);
int64_t uly__stash_output_place(const uly__stash *stash, int chunk, int64_t micro_batch);

/* Returns the bytes of the scratch file, once carved; 0 if nothing is on disk. */
int64_t uly__stash_file_bytes(const uly__stash *stash);
/* Makes the file, with room for all of it, if there is one. */
uly_status uly__stash_open(uly__stash *stash, uly__stream *stream, const char *path);

/* Waits in forward until the places of block `layer` and of its output are free. */
uly_status uly__stash_reserve(uly__stash *stash, int layer);
/* Keeps block `layer`, which is complete, for backward. */
void uly__stash_keep(uly__stash *stash, int layer);
/* Waits in backward until what block `layer` keeps is there. */
uly_status uly__stash_acquire(uly__stash *stash, int layer);
/* Releases block `layer`: what comes next takes its place. */
void uly__stash_release(uly__stash *stash, int layer);

#endif
