/* Functions that the stages of a pass have in common. In a pass over token tiles, each tile goes
 * through several stages. With tensor parallelism, rows and sums travel between one stage and the
 * next, so each stage is one tile behind the stage before it; without it, a tile goes through all
 * stages at once. */
#ifndef ULY_STAGES_H
#define ULY_STAGES_H

#include "model/model.h"
#include "model/watch.h"

/* Returns the address of row t of a [T, width] buffer. */
static inline void *row(const uly__model *model, const void *x, int64_t t, int64_t width) {
  return uly__at(x, model->dtype, t * width);
}

/* Finds tile i; returns false if there is none. */
static inline bool find_tile(const uly__tiles *tiles, int64_t i, uly__tile_range *tile) {
  if (i < 0 || i >= tiles->num) return false;
  *tile = tiles->list[i];
  return true;
}

/* Returns how many turns a loop takes to bring all tiles through the first stage and `stages`
 * more. */
static inline int64_t num_turns(const uly__model *model, const uly__tiles *tiles, int64_t stages) {
  return tiles->num + stages * model->tensor.lag;
}

/* Returns this rank's rows of a tile, in a buffer of the residual stream. */
static inline void *own(const uly__model *model, const void *x, uly__tile_range tile) {
  return row(model, x, tile.own_begin, model->config.hidden);
}

/* Returns the place for this rank's normalized rows of tile i. */
static inline void *normed(const uly__model *model, int64_t i) {
  return model->work.n[i % ULY_TENSOR_SLOTS];
}

/* Normalizes x, this rank's rows of tile i, and starts to gather the normalized rows of all
 * ranks. */
static inline void gather_normed(uly__model *model, uly_traffic kind, int64_t i,
                                 uly__tile_range tile, const void *x, int unit, int64_t weight,
                                 int64_t bias) {
  uly__norm_args args = uly__model_norm(model, unit, weight, bias);
  model->ops->norm_forward(model->stream, &args, tile.own_rows, model->config.hidden, model->dtype,
                           x, normed(model, i));
  uly__model_gather(model, ULY_GATHER_NORMED, kind, i, tile.rows, normed(model, i));
}

/* Waits until the gradients of the normalized rows of tile i are added up, takes them back through
 * the norm, and adds the result to d_x. */
static inline void norm_backward(uly__model *model, int64_t i, uly__tile_range tile, const void *x,
                                 int unit, int64_t weight, int64_t bias, void *d_x) {
  uly__norm_args args = uly__model_norm(model, unit, weight, bias);
  const float *d_normed = uly__model_summed(model, ULY_SUM_OTHER, i);
  model->ops->norm_backward(model->stream, &args, tile.own_rows, model->config.hidden, model->dtype,
                            x, d_normed, d_x, uly__grad(model, unit, weight),
                            uly__grad(model, unit, bias));
}

/* The rows of a tile that are watched: all of its rows, or only this rank's. */
typedef struct watched_tile {
  int64_t t, rows;
} watched_tile;

static inline watched_tile all_rows(uly__tile_range tile) {
  return (watched_tile){tile.begin, tile.rows};
}

static inline watched_tile own_rows(uly__tile_range tile) {
  return (watched_tile){tile.begin + tile.first_own, tile.own_rows};
}

static inline void watch(uly__model *model, uly__watched tensor, int layer, watched_tile tile,
                         const void *x, int64_t width) {
  uly__watched_rows rows = {x, model->dtype, tile.rows, width, width, tile.t};
  uly__watch_block(model, tensor, layer, rows);
}

#endif
