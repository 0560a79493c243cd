/* Final norm, LM head and cross-entropy, fused over token tiles: logits exist for one tile at a
 * time, and their gradient is taken in the same pass (arXiv 2506.13996 calls it tiled loss). */
#include "model/head.h"

#include "model/linear.h"
#include "model/stages.h"

enum { FIRST_BIN = 16 };

int uly__position_bin(int64_t position) {
  int bin = 0;
  for (; position >= FIRST_BIN; position /= 2) bin++;
  return bin;
}

void uly__bin_positions(int bin, int64_t *begin, int64_t *end) {
  *end = (int64_t)FIRST_BIN << bin;
  *begin = bin == 0 ? 0 : *end / 2;
}

int uly__model_bin(const uly__model *model, int64_t t) {
  return uly__position_bin(model->positions[t]);
}

/* Adds the losses of a tile's rows: to one sum, or each to the sum of its bin. Of the ranks of
 * tensor parallelism, which all have the same losses, only the first adds them. */
static void add_losses(const uly__model *model, uly__tile_range tile, bool by_bin,
                       uly__exact_sum *loss) {
  if (model->tensor.rank > 0) return;
  const uly__workspace *work = &model->work;
  const double *losses = uly__download(model->stream, work->host_loss, work->row_loss,
                                       tile.rows * (int64_t)sizeof *losses);
  for (int64_t r = 0; r < tile.rows; r++)
    uly__exact_add(&loss[by_bin ? uly__model_bin(model, tile.begin + r) : 0], losses[r]);
}

static uly__linear head_linear(const uly__model *model) {
  int64_t h = model->config.hidden;
  return (uly__linear){.in = h,
                       .out = model->share.vocab.count,
                       .unit = model->params.head_unit,
                       .weight = model->params.head,
                       .ldw = h};
}

uly_status uly__head_prepare(const uly__model *model, int64_t rows) {
  uly__linear_use use = {.ldx = model->config.hidden,
                         .ldy = model->share.vocab.count,
                         .sums_y = true,
                         .sums_d_x = true};
  return uly__linear_prepare(model, head_linear(model), rows, use);
}

static void *input_of(const uly__model *model, uly__tile_range tile) {
  return own(model, uly__stash_at(&model->stash, model->config.num_layers)->x, tile);
}

/* Normalizes and gathers the rows of tile i. */
static void gather_input(uly__model *model, int64_t i) {
  uly__tile_range tile;
  if (!find_tile(&model->head_tiles, i, &tile)) return;
  const uly__params *params = &model->params;
  gather_normed(model, ULY_TRAFFIC_TENSOR_FORWARD, i, tile, input_of(model, tile),
                uly__last_unit(params), params->norm, params->norm_bias);
}

/* Collects what the ranks of tensor parallelism know of the tile's logits, each of its part of the
 * vocabulary. Returns NULL if this rank has all of it. */
static const uly__vocab_part *join_vocab(uly__model *model, uly__tile_range tile,
                                         uly__vocab_part *part) {
  uly__workspace *work = &model->work;
  uly__part mine = model->share.vocab;
  if (model->tensor.size == 1) return NULL;
  model->ops->summarize_logits(model->stream, tile.rows, mine.count, work->logits,
                               model->input.labels + tile.begin, mine.begin, work->summary);
  uly__model_note(
      model,
      uly__all_gather(model->tensor.group, model->stream, ULY_TRAFFIC_TENSOR_FORWARD, work->summary,
                      tile.rows * (int64_t)sizeof *work->summary, work->summaries));
  *part = (uly__vocab_part){mine.begin, model->tensor.size, work->summaries};
  return part;
}

/* Computes logits and losses of tile i and, if scale is not 0, the gradients of the head's weights
 * and of the normalized rows. */
static void run_tile(uly__model *model, int64_t i, float scale, uly__exact_sum *loss) {
  uly__workspace *work = &model->work;
  int64_t h = model->config.hidden, V = model->share.vocab.count;
  uly__linear head = head_linear(model);
  uly__vocab_part part;
  uly__tile_range tile;
  if (!find_tile(&model->head_tiles, i, &tile)) return;
  const void *n = uly__model_gathered(model, ULY_GATHER_NORMED, i);
  uly__linear_forward_sum(model, head, tile.rows, n, h, work->logits, true);
  uly__watch_logits(model, work->logits, tile.rows, tile.begin);
  model->ops->cross_entropy(model->stream, tile.rows, V, work->logits,
                            model->input.labels + tile.begin, join_vocab(model, tile, &part), scale,
                            work->row_loss, model->dtype, scale != 0.0f ? work->d_logits : NULL);
  add_losses(model, tile, scale == 0.0f, loss);
  if (scale == 0.0f) return;
  uly__linear_backward_weight(model, head, tile.rows, work->d_logits, V, n, h);
  uly__linear_backward_sum(model, head, tile.rows, work->d_logits, V,
                           uly__model_partial(model, ULY_SUM_OTHER, i), true);
  uly__model_sum(model, ULY_SUM_OTHER, ULY_TRAFFIC_TENSOR_BACKWARD, i, tile.rows);
}

/* Takes the gradient of tile i through the final norm, to d_x. */
static void input_backward(uly__model *model, int64_t i) {
  const uly__params *params = &model->params;
  int64_t h = model->config.hidden;
  int last = uly__last_unit(params), unit = params->head_unit;
  uly__tile_range tile;
  if (!find_tile(&model->head_tiles, i, &tile)) return;
  void *d_x = own(model, model->d_x, tile);
  uly__clear(model->stream, d_x, tile.own_rows * h * uly__dtype_bytes(model->dtype));
  norm_backward(model, i, tile, input_of(model, tile), last, params->norm, params->norm_bias, d_x);
  uly__watch_d_stream(model, (uly__watched_rows){d_x, model->dtype, tile.own_rows, h, h,
                                                 tile.begin + tile.first_own});
  if (tile.ends_segment < 0) return;
  uly__zero_fold(model->zero, last, tile.ends_segment, 0, params->units[last].local_count);
  if (unit != last)
    uly__zero_fold(model->zero, unit, tile.ends_segment, params->head,
                   model->share.vocab.count * h);
}

void uly__head(uly__model *model, float scale, uly__exact_sum *loss) {
  int64_t lag = model->tensor.lag;
  for (int64_t i = 0; i < num_turns(model, &model->head_tiles, 2); i++) {
    gather_input(model, i);
    run_tile(model, i - lag, scale, loss);
    if (scale == 0.0f) continue;
    input_backward(model, i - 2 * lag);
  }
}
