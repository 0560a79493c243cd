/* Final norm, LM head and cross-entropy, fused over token tiles: logits exist for one tile at a time,
 * and their gradient is taken in the same pass (arXiv 2506.13996 calls it tiled loss). */
#include "model/linear.h"

double uly__head(uly__model *model, const int32_t *labels, float scale) {
  const uly__model_config *c = &model->config;
  const uly__ops *ops = model->ops;
  uly__workspace *work = &model->work;
  uly_dtype dtype = model->dtype;
  int64_t h = c->hidden;
  const void *gamma = uly__weight(model, model->params.norm);
  const void *beta = uly__weight(model, model->params.norm_bias);
  uly__linear head = {.in = h, .out = c->vocab, .weight = model->params.head, .ldw = h};
  double loss = 0;
  for (int64_t t = 0; t < model->num_tokens; t += model->head_tile) {
    int64_t left = model->num_tokens - t, rows = left < model->head_tile ? left : model->head_tile;
    const void *x = uly__at(model->stash.x_final, dtype, t * h);
    void *d_x = uly__at(model->d_x, dtype, t * h);
    ops->norm_forward(c->norm, rows, h, c->norm_eps, dtype, x, gamma, beta, work->n);
    uly__linear_forward_sum(model, head, rows, work->n, h, work->logits, true);
    ops->cross_entropy(rows, c->vocab, work->logits, labels + t, scale, work->row_loss, dtype,
                       scale != 0.0f ? work->d_logits : NULL);
    for (int64_t r = 0; r < rows; r++) loss += work->row_loss[r];
    if (scale == 0.0f) continue;
    uly__linear_backward_weight(model, head, rows, work->d_logits, c->vocab, work->n, h);
    uly__linear_backward_sum(model, head, rows, work->d_logits, c->vocab, work->sum, true);
    memset(d_x, 0, (size_t)(rows * h * uly__dtype_bytes(dtype)));
    ops->norm_backward(c->norm, rows, h, c->norm_eps, dtype, x, gamma, work->sum, d_x,
                       uly__grad(model, model->params.norm),
                       uly__grad(model, model->params.norm_bias));
  }
  return loss;
}
