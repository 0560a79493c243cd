/* See watch.h. */
#include "model/watch.h"

#include <math.h>

/* Places in the passes over a micro-batch, ascending in the order of the computation:
 *
 *   embedding | block 0, its tensors of forward | ... | block L-1 | logits, gradient of the
 *   stream | last unit's gradients | block L-1, its tensors of backward, its weights' gradients |
 *   ... | block 0 | gradients of the embedding */
enum { PER_BLOCK = ULY_NUM_WATCHED + 1 };

static int64_t place_of(const uly__model *model, uly__watched tensor, int layer) {
  int L = model->config.num_layers;
  bool is_backward = tensor >= ULY_WATCH_D_MID;
  int turn = is_backward ? L + 1 + (L - 1 - layer) : layer;
  return 1 + (int64_t)turn * PER_BLOCK + tensor;
}

static int64_t place_of_head(const uly__model *model, int nth) {
  return 1 + (int64_t)model->config.num_layers * PER_BLOCK + nth;
}

static int64_t place_of_grads(const uly__model *model, int unit) {
  int L = model->config.num_layers;
  if (unit == ULY_UNIT_EMBED) return place_of_head(model, 0) + (int64_t)(L + 1) * PER_BLOCK;
  if (unit == uly__last_unit(&model->params)) return place_of_head(model, 2);
  return place_of(model, ULY_WATCH_D_INPUT, unit - 1) + 1;
}

/* Returns the order of a place: those of a micro-batch come after all of the micro-batch before. */
static int64_t order_of(const uly__model *model, int64_t place) {
  int64_t num_places = 1 + place_of_grads(model, ULY_UNIT_EMBED);
  return model->micro_batch * num_places + place;
}

void uly__watch_begin(uly__watch *watch) {
  watch->order = INT64_MAX;
  watch->what[0] = '\0';
}

/* Returns the row of the first number that is not finite; -1 if there is none. */
static int64_t find_row(const uly__model *model, const uly__watched_rows *rows, float *value) {
  int64_t at = model->ops->find_nonfinite(model->stream, rows->rows, rows->cols, rows->ld,
                                          rows->dtype, rows->x, value);
  return at < 0 ? -1 : at / rows->cols;
}

static const char *word(float value) { return isnan(value) ? "not a number" : "infinite"; }

/* Looks at a tensor. layer -1: it belongs to no block. */
static void look(uly__model *model, int64_t place, const char *what, int layer,
                 uly__watched_rows rows) {
  uly__watch *watch = model->watch;
  float value = 0;
  int64_t order = order_of(model, place);
  if (order >= watch->order) return;
  int64_t row = find_row(model, &rows, &value);
  if (row < 0) return;
  char where[32] = "";
  if (layer >= 0) snprintf(where, sizeof where, " of block %d", layer);
  watch->order = order;
  watch->stage = model->boundary.index;
  snprintf(watch->what, sizeof watch->what, "%s%s, of token %lld of the sequence, is %s", what,
           where, (long long)uly__token_cut_at(model->cut, rows.t + row), word(value));
}

void uly__watch_block(uly__model *model, uly__watched tensor, int layer, uly__watched_rows rows) {
  static const char *const names[ULY_NUM_WATCHED] = {
      [ULY_WATCH_QKV] = "query, key or value",
      [ULY_WATCH_ATTENTION] = "the output of attention",
      [ULY_WATCH_MID] = "the residual stream after attention",
      [ULY_WATCH_INNER] = "the inner activation of the MLP",
      [ULY_WATCH_OUTPUT] = "the output",
      [ULY_WATCH_D_MID] = "the gradient of the residual stream after attention",
      [ULY_WATCH_D_QKV] = "the gradient of query, key or value",
      [ULY_WATCH_D_INPUT] = "the gradient of the input",
  };
  if (model->watch) look(model, place_of(model, tensor, layer), names[tensor], layer, rows);
}

void uly__watch_heads(uly__model *model, uly__watched tensor, int layer, uly__part tokens,
                      const void *x) {
  int64_t d = model->config.head_dim;
  bool is_qkv = tensor != ULY_WATCH_ATTENTION;
  for (int g = 0; model->watch && g < model->attention->num_blocks; g++) {
    const uly__head_block *block = &model->attention->blocks[g];
    int64_t heads = is_qkv ? block->q_count + 2 * (int64_t)block->kv_count : block->q_count;
    int64_t at = is_qkv ? block->qkv_offset : block->o_offset;
    int64_t ld = is_qkv ? block->qkv_stride : block->o_stride;
    uly__watched_rows rows = {.x = uly__at(x, model->dtype, at + tokens.begin * ld),
                              .dtype = model->dtype,
                              .rows = tokens.count,
                              .cols = heads * d,
                              .ld = ld,
                              .t = tokens.begin};
    uly__watch_block(model, tensor, layer, rows);
  }
}

void uly__watch_embedding(uly__model *model) {
  if (!model->watch) return;
  int64_t h = model->config.hidden;
  for (int64_t i = 0; i < model->tiles.num; i++) {
    uly__tile_range tile = model->tiles.list[i];
    const void *x = uly__at(uly__stash_at(&model->stash, 0)->x, model->dtype, tile.own_begin * h);
    look(model, 0, "the embedding", -1,
         (uly__watched_rows){x, model->dtype, tile.own_rows, h, h, tile.begin + tile.first_own});
  }
}

void uly__watch_logits(uly__model *model, const float *logits, int64_t rows, int64_t t) {
  if (!model->watch) return;
  int64_t V = model->share.vocab.count;
  look(model, place_of_head(model, 0), "a logit", -1,
       (uly__watched_rows){logits, ULY_F32, rows, V, V, t});
}

void uly__watch_d_stream(uly__model *model, uly__watched_rows rows) {
  if (model->watch)
    look(model, place_of_head(model, 1), "the gradient of the last block's output", -1, rows);
}

void uly__watch_grads(uly__model *model, int unit) {
  uly__watch *watch = model->watch;
  int64_t order = order_of(model, place_of_grads(model, unit));
  if (!watch || order >= watch->order) return;
  const uly__unit *range = &model->params.units[unit];
  const float *grads = model->zero->units[unit].grads;
  for (int i = range->first; i < range->first + range->num; i++) {
    const uly__param *param = &model->params.list[i];
    uly__watched_rows all = {grads + param->local_offset, ULY_F32, 1, param->local_count, 0, 0};
    float value = 0;
    if (find_row(model, &all, &value) < 0) continue;
    watch->order = order;
    watch->stage = model->boundary.index;
    snprintf(watch->what, sizeof watch->what, "the gradient of %s is %s", param->name, word(value));
    return;
  }
}
