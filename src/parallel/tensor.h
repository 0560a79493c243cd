/* Tensor parallelism with sequence parallelism (Megatron-LM, arXiv 2205.05198): what travels
 * between T ranks that each hold a part of every linear layer.
 *
 * The T ranks work on the same stretch of tokens. The residual stream, and with it the work of the
 * norms, is divided by rows: uly__tensor_part says which rows of a tile a rank has. Before a layer
 * whose outputs are divided, the rows of a tile are gathered. After a layer whose inputs are
 * divided, every rank has partial sums for all rows of a tile, and a reduce-scatter adds them up on
 * the rank that has the row: they travel in the storage type and are added in f32, in the order of
 * ranks. Tiles use two slots in turn, so that one tile travels while its neighbours are computed.
 *
 * With T = 1, nothing is copied: the gathered rows are the caller's rows, and the sums are the
 * partial sums. */
#ifndef ULY_TENSOR_H
#define ULY_TENSOR_H

#include "base/split.h"
#include "comm/mesh.h"
#include "device/arena.h"
#include "ops/ops.h"

enum { ULY_TENSOR_SLOTS = 2 };

/* The kinds of rows that are gathered, and of sums. Each kind has slots of its own, because several
 * kinds may be under way at the same time. */
typedef enum uly__tensor_gathered {
  ULY_GATHER_NORMED,     /* normalized rows */
  ULY_GATHER_D_OUTPUT,   /* gradients of a block's output */
  ULY_GATHER_D_ATTENDED, /* gradients of the stream after attention */
  ULY_NUM_GATHERED
} uly__tensor_gathered;

typedef enum uly__tensor_summed {
  ULY_SUM_ATTENDED, /* what attention adds to the stream */
  ULY_SUM_OTHER,    /* what the MLP adds, and gradients of normalized rows */
  ULY_NUM_SUMMED
} uly__tensor_summed;

typedef struct uly__tensor_slot {
  /* Room for what arrives: gathered rows, [rows, width]; or partial sums, [T][own rows, width]. */
  void *room;
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
  int size, rank; /* T, and my index */
  uly_dtype dtype;
  int64_t width; /* of the residual stream */
  /* The number of tiles by which each stage of the computation is behind the stage before it, while
   * the results of that stage travel: 1, or 0 if nothing travels. */
  int64_t lag;
  uly__tensor_slot gathers[ULY_NUM_GATHERED][ULY_TENSOR_SLOTS];
  uly__tensor_slot sums[ULY_NUM_SUMMED][ULY_TENSOR_SLOTS];
  int64_t *blocks; /* [4][T]: counts and offsets of an exchange */
} uly__tensor;

/* Plans the communication; allocates no tensors. */
uly_status uly__tensor_create(const uly_mesh *mesh, uly_dtype dtype, int64_t width,
                              uly__tensor *out);
void uly__tensor_destroy(uly__tensor *tensor);

/* Carves the slots, for tiles of at most `rows` rows. has_backward: gradients are gathered too. */
void uly__tensor_carve(uly__tensor *tensor, int64_t rows, bool has_backward, uly__arena *scratch);

/* Returns which rows a rank has of a tile of `rows` rows. */
uly__part uly__tensor_part(const uly__tensor *tensor, int64_t rows, int rank);

/* Starts to gather a tile's rows. `mine` are this rank's, [own rows, width], which must not change
 * until the wait returns the rows of all ranks. Tile i uses slot i % 2. */
uly_status uly__tensor_gather(uly__tensor *tensor, uly__tensor_gathered what, uly_traffic kind,
                              int64_t tile, int64_t rows, const void *mine);
const void *uly__tensor_gather_wait(uly__tensor *tensor, uly__tensor_gathered what, int64_t tile,
                                    uly_status *status);

/* Returns the place for a tile's partial sums, [rows, width] in f32. */
float *uly__tensor_partial(const uly__tensor *tensor, uly__tensor_summed what, int64_t tile);
/* Starts to add up the partial sums of a tile over the ranks. If they are `stored`, the caller has
 * written elements of dtype to that place, not f32. The wait returns the sums for this rank's rows,
 * [own rows, width] in f32, which stay until the slot is used again. */
uly_status uly__tensor_sum(uly__tensor *tensor, uly__tensor_summed what, uly_traffic kind,
                           int64_t tile, int64_t rows, bool stored);
float *uly__tensor_sum_wait(uly__tensor *tensor, uly__tensor_summed what, int64_t tile,
                            uly_status *status);

/* Makes progress with the exchanges under way; never waits. */
uly_status uly__tensor_poll(uly__tensor *tensor);

/* Return the bytes that this rank sends to gather, and to sum, a tile of `rows` rows. */
int64_t uly__tensor_gather_bytes(const uly__tensor *tensor, int64_t rows);
int64_t uly__tensor_sum_bytes(const uly__tensor *tensor, int64_t rows);

#endif
