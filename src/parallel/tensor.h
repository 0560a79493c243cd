/* Tensor parallelism with sequence parallelism (Megatron-LM, arXiv 2205.05198): what travels between
 * T ranks that each hold a part of every linear layer.
 *
 * The T ranks work on one stretch of tokens. The residual stream, and with it the norms, is divided:
 * of each tile of rows, a rank has the part that uly__tensor_part says. In front of a layer whose
 * outputs are divided, the rows of a tile are gathered; behind a layer whose inputs are divided,
 * every rank has a partial sum for all rows of a tile, and these are added up for the rank that has
 * the rows (a reduce-scatter): they travel in the storage type and are added in f32, in the order of
 * ranks. Tiles take turns in two slots, so that one travels while its neighbours are computed.
 *
 * With T = 1 nothing is copied: gathered rows are the caller's rows, and a sum is the partial sum. */
#ifndef ULY_TENSOR_H
#define ULY_TENSOR_H

#include "base/split.h"
#include "comm/mesh.h"
#include "device/arena.h"
#include "ops/ops.h"

enum { ULY_TENSOR_SLOTS = 2 };

/* What is gathered and summed at the same time has a place of its own. */
typedef enum uly__tensor_gathered {
  ULY_GATHER_NORMED,     /* rows behind a norm */
  ULY_GATHER_D_OUTPUT,   /* gradients of a block's output */
  ULY_GATHER_D_ATTENDED, /* gradients of the stream behind attention */
  ULY_NUM_GATHERED
} uly__tensor_gathered;

typedef enum uly__tensor_summed {
  ULY_SUM_ATTENDED, /* what attention adds to the stream */
  ULY_SUM_OTHER,    /* what the MLP adds, and gradients of normed rows */
  ULY_NUM_SUMMED
} uly__tensor_summed;

typedef struct uly__tensor_slot {
  void *room; /* gathered rows, [rows, width]; or parts that have arrived, [T][own rows, width] */
  const void *rows; /* what a gather returns */
  float *partial;   /* [rows, width] */
  uly__request request;
  int64_t count; /* rows of the tile */
  bool travels;
  double began;
} uly__tensor_slot;

typedef struct uly__tensor {
  uly__group *group;
  const uly__ops *ops;
  uly__stream *stream;
  int size, rank; /* T, and my place */
  uly_dtype dtype;
  int64_t width; /* of the residual stream */
  /* By how many tiles a stage of the computation is behind the stage before, whose result travels
   * to it meanwhile: 1, or 0 if nothing travels. */
  int64_t lag;
  uly__tensor_slot gathers[ULY_NUM_GATHERED][ULY_TENSOR_SLOTS];
  uly__tensor_slot sums[ULY_NUM_SUMMED][ULY_TENSOR_SLOTS];
  int64_t *blocks; /* [4][T]: counts and offsets of an exchange */
} uly__tensor;

/* Plans; allocates no tensors. */
uly_status uly__tensor_create(const uly_mesh *mesh, uly_dtype dtype, int64_t width,
                              uly__tensor *out);
void uly__tensor_destroy(uly__tensor *tensor);

/* Carves the places for tiles of at most `rows` rows. has_backward: gradients are gathered too. */
void uly__tensor_carve(uly__tensor *tensor, int64_t rows, bool has_backward, uly__arena *scratch);

/* Returns the rows that a rank has of a tile of so many. */
uly__part uly__tensor_part(const uly__tensor *tensor, int64_t rows, int rank);

/* Starts to gather a tile's rows, of which mine are [own rows, width]; they stay as they are until
 * the wait returns all of them. Tile i uses slot i % 2. */
uly_status uly__tensor_gather(uly__tensor *tensor, uly__tensor_gathered what, uly_traffic kind,
                              int64_t tile, int64_t rows, const void *mine);
const void *uly__tensor_gather_wait(uly__tensor *tensor, uly__tensor_gathered what, int64_t tile,
                                    uly_status *status);

/* Returns where to write a tile's partial sums, [rows, width] in f32; then starts to add them up. If
 * they are `stored`, the caller has written elements of dtype there instead. The wait returns the
 * sums of my rows, [own rows, width] in f32, which stay until the slot is used again. */
float *uly__tensor_partial(const uly__tensor *tensor, uly__tensor_summed what, int64_t tile);
uly_status uly__tensor_sum(uly__tensor *tensor, uly__tensor_summed what, uly_traffic kind,
                           int64_t tile, int64_t rows, bool stored);
float *uly__tensor_sum_wait(uly__tensor *tensor, uly__tensor_summed what, int64_t tile,
                            uly_status *status);

/* Drives what is under way; never waits. */
uly_status uly__tensor_poll(uly__tensor *tensor);

/* Return the bytes that this rank sends to gather, and to sum, a tile of so many rows. */
int64_t uly__tensor_gather_bytes(const uly__tensor *tensor, int64_t rows);
int64_t uly__tensor_sum_bytes(const uly__tensor *tensor, int64_t rows);

#endif
