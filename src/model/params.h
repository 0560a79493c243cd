/* The parameter table: every tensor's name, shape and place in one flat range.
 *
 * The range is laid out as the checkpoint is: embedding, block 0, ..., block L-1, final norm, head. A
 * block's parameters are one flat range and all blocks have the same layout, so a shard is an offset
 * and a length in memory, in the optimizer and in the file. Linear weights are [out, in]. */
#ifndef ULY_PARAMS_H
#define ULY_PARAMS_H

#include "model/config.h"

typedef enum uly__init { ULY_INIT_ZERO, ULY_INIT_ONE, ULY_INIT_NORMAL } uly__init;

typedef struct uly__param {
  char name[96];
  int64_t offset, count; /* elements, in the flat range */
  int64_t dims[2];
  int num_dims; /* 2: matrices, which weight decay acts on */
  uly__init init;
  float init_std;
} uly__param;

/* Offsets of a block's tensors from the block's begin; -1: the model has none. */
typedef struct uly__block_layout {
  int64_t norm1, norm1_bias;
  int64_t wq, bq, wk, bk, wv, bv, wo, bo;
  int64_t norm2, norm2_bias;
  int64_t w_gate, b_gate, w_up, b_up, w_down, b_down;
} uly__block_layout;

typedef struct uly__params {
  uly__param *list;
  int num;
  int64_t count;               /* parameters in all */
  int64_t embed, positions;    /* offsets; positions -1 with RoPE */
  int64_t blocks, block_count; /* offset of block 0, elements of a block */
  uly__block_layout block;
  int64_t norm, norm_bias, head; /* head: that of the embedding when tied */
} uly__params;

uly_status uly__params_create(const uly__model_config *config, uly__params *out);
void uly__params_destroy(uly__params *params);

/* Elements [begin, begin + count) of the flat range, as functions of (seed, name, index). */
void uly__params_init(const uly__params *params, uint64_t seed, int64_t begin, int64_t count,
                      float *out);

#endif
