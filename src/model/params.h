/* The parameter table: every tensor's name, shape and place in one flat range.
 *
 * The range is laid out as the checkpoint is: embedding, block 0, ..., block L-1, final norm, head.
 * It falls into units, which are gathered and reduced as one: unit 0 is the embedding with its
 * positions, unit 1 + i block i, unit L + 1 the rest. A unit's parameters are one flat range and
 * all blocks have the same layout, so a shard is an offset and a length in memory, in the optimizer
 * and in the file. Linear weights are [out, in].
 *
 * With tensor parallelism, a rank holds a part of each tensor: some rows, some columns, or all of
 * it. Its units then consist of these parts, in the same order. Offsets and counts in the whole
 * unit say where a tensor is in a file; those that are called local say where the rank's part is in
 * memory. In a pipeline, a rank holds nothing of the tensors of other stages, but the table lists
 * them all. */
#ifndef ULY_PARAMS_H
#define ULY_PARAMS_H

#include "model/stage.h"
#include "model/tensor_share.h"

typedef enum uly__init { ULY_INIT_ZERO, ULY_INIT_ONE, ULY_INIT_NORMAL } uly__init;

typedef struct uly__param {
  char name[96];
  int unit;
  int64_t offset, count; /* elements of the whole tensor; offset in the whole unit */
  int64_t dims[2];
  int num_dims; /* 2: matrices, with weight decay */
  /* The elements that this rank holds, and their offset in its unit. */
  int64_t local_offset, local_count;
  /* Which rows and columns these are. A vector has one column. */
  uly__part rows, cols;
  /* It is true if every rank of tensor parallelism in this stage holds the whole tensor. */
  bool is_replicated;
  /* The rows that no other rank of tensor or pipeline parallelism counts or saves. */
  uly__part owned;
  uly__init init;
  float init_std;
} uly__param;

/* Local offsets of a block's tensors, for the blocks that this rank holds; -1: the model has none.
 * Tensors before wo belong to the input of attention; wo and those after it to what follows
 * attention. */
typedef struct uly__block_layout {
  int64_t norm1, norm1_bias;
  int64_t wq, bq, wk, bk, wv, bv, q_norm, k_norm, wo, bo;
  int64_t norm2, norm2_bias;
  int64_t w_gate, b_gate, w_up, b_up, w_down, b_down;
} uly__block_layout;

typedef struct uly__unit {
  int64_t begin, count; /* elements, in the flat range */
  int64_t local_count;  /* elements that this rank holds */
  int first, num;       /* its tensors in the list */
} uly__unit;

typedef struct uly__params {
  uly__param *list;
  int num;
  uly__unit *units; /* [num_units], L + 2 of them */
  int num_units;
  int64_t count;            /* parameters in all */
  int64_t embed, positions; /* local offsets in unit 0; positions -1 with RoPE */
  uly__block_layout block;
  int64_t norm, norm_bias; /* local offsets in the last unit */
  /* Local offset in head_unit: the last unit, or unit 0 when tied to the embedding. */
  int64_t head;
  int head_unit;
} uly__params;

/* Return the units of the embedding, of a block, and of the final norm. */
enum { ULY_UNIT_EMBED = 0 };
static inline int uly__unit_of_block(int layer) { return layer + 1; }
static inline int uly__last_unit(const uly__params *params) { return params->num_units - 1; }

/* Makes the table of a rank. layers: those of its stage; NULL: all. share: its part of each tensor;
 * NULL: all of it. With a tied head, the last stage holds the embedding too, but the first owns
 * it. */
uly_status uly__params_create(const uly__model_config *config, const uly__stage *layers,
                              const uly__tensor_share *share, uly__params *out);
void uly__params_destroy(uly__params *params);

/* Sets the initial values of elements [begin, begin + count) of a tensor, as functions of (seed,
 * name, index). */
void uly__param_init(const uly__param *param, const uly__ops *ops, uly__stream *stream,
                     uint64_t seed, int64_t begin, int64_t count, float *out);

#endif
