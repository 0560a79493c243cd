/* Final norm, LM head and cross-entropy, fused over token tiles: logits exist for one tile at a
 * time, and their gradient is taken in the same pass (arXiv 2506.13996 calls it tiled loss). */
#include "model/head.h"

#include "model/linear.h"
#include "model/watch.h"

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

/* Adds the losses of a tile's rows: to one sum, or each to the sum of its bin. */
static void add_losses(const uly__model *model, uly__tile_range tile, bool by_bin,
                       uly__exact_sum *loss) {
  const uly__workspace *work = &model->work;
  const double *losses = uly__download(model->stream, work->host_loss, work->row_loss,
                                       tile.rows * (int64_t)sizeof *losses);
  for (int64_t r = 0; r < tile.rows; r++)
    uly__exact_add(&loss[by_bin ? uly__model_bin(model, tile.begin + r) : 0], losses[r]);
}

static uly__linear head_linear(const uly__model *model) {
  int64_t h = model->config.hidden;
  return (uly__linear){.in = h,
                       .out = model->config.vocab,
                       .unit = model->params.head_unit,
                       .weight = model->params.head,
                       .ldw = h};
}

uly_status uly__head_prepare(const uly__model *model, int64_t rows) {
  uly__linear_use use = {
      .ldx = model->config.hidden, .ldy = model->config.vocab, .sums_y = true, .sums_d_x = true};
  return uly__linear_prepare(model, head_linear(model), rows, use);
}

void uly__head(uly__model *model, float scale, uly__exact_sum *loss) {
  const uly__model_config *c = &model->config;
  const uly__params *params = &model->params;
  const uly__ops *ops = model->ops;
  uly__workspace *work = &model->work;
  uly_dtype dtype = model->dtype;
  int64_t h = c->hidden;
  int last = uly__last_unit(params), unit = params->head_unit;
  uly__norm_args norm = uly__model_norm(model, last, params->norm, params->norm_bias);
  uly__linear head = head_linear(model);
  for (int64_t i = 0; i < model->head_tiles.num; i++) {
    uly__tile_range tile = model->head_tiles.list[i];
    const void *x = uly__at(model->stash.layers[model->num_layers].x, dtype, tile.begin * h);
    ops->norm_forward(model->stream, &norm, tile.rows, h, dtype, x, work->n);
    uly__linear_forward_sum(model, head, tile.rows, work->n, h, work->logits, true);
    uly__watch_logits(model, work->logits, tile.rows, tile.begin);
    ops->cross_entropy(model->stream, tile.rows, c->vocab, work->logits,
                       model->input.labels + tile.begin, scale, work->row_loss, dtype,
                       scale != 0.0f ? work->d_logits : NULL);
    add_losses(model, tile, scale == 0.0f, loss);
    if (scale == 0.0f) continue;
    uly__linear_backward_weight(model, head, tile.rows, work->d_logits, c->vocab, work->n, h);
    uly__linear_backward_sum(model, head, tile.rows, work->d_logits, c->vocab, work->sum, true);
    void *d_x = uly__at(model->d_x, dtype, tile.begin * h);
    uly__clear(model->stream, d_x, tile.rows * h * uly__dtype_bytes(dtype));
    ops->norm_backward(model->stream, &norm, tile.rows, h, dtype, x, work->sum, d_x,
                       uly__grad(model, last, params->norm),
                       uly__grad(model, last, params->norm_bias));
    uly__watch_d_stream(model, (uly__watched_rows){d_x, dtype, tile.rows, h, h, tile.begin});
    uly__model_poll(model);
    if (tile.ends_segment < 0) continue;
    uly__zero_fold(model->zero, last, tile.ends_segment, 0, params->units[last].count);
    if (unit != last)
      uly__zero_fold(model->zero, unit, tile.ends_segment, params->head, c->vocab * h);
  }
}
