/* The attention half of a block: Q, K and V, attention, and the output projection. See
 * block_attention.h. */
#include "model/block_attention.h"

#include "model/linear.h"
#include "model/model_plan.h"
#include "model/stages.h"

/* --- Q, K and V */

/* Computes the queries, keys or values of some heads from normalized rows n, before the norm of
 * each head, as rows of y that are ld apart. */
static void project(uly__model *model, const uly__projection *to, int unit, int64_t rows,
                    const void *n, void *y, int64_t ld) {
  uly__linear linear = uly__linear_in(to->linear, unit);
  uly__linear_forward(model, linear, rows, n, model->config.hidden, y, ld);
  if (to->bias >= 0)
    model->ops->add_bias(model->stream, rows, linear.out, ld, model->dtype, y,
                         uly__weight(model, unit, to->bias));
}

/* Projects the normalized rows n of a tile to Q, K and V of one block of heads, at their places in
 * qkv. */
static void project_block(uly__model *model, int layer, int g, uly__tile_range tile, const void *n,
                          void *qkv) {
  const uly__ops *ops = model->ops;
  int d = model->config.head_dim, unit = uly__unit_of_block(layer);
  int64_t stride = model->attention->blocks[g].qkv_stride, t = tile.begin, rows = tile.rows;
  for (int part = 0; part < 3; part++) {
    const uly__projection *to = &model->projections[g].qkv[part];
    if (to->heads == 0) continue;
    void *y = uly__at(qkv, model->dtype, to->at + t * stride);
    uly__norm_args norm = uly__model_norm(model, unit, to->norm, -1);
    project(model, to, unit, rows, n, y, stride);
    if (to->norm >= 0)
      ops->norm_heads(model->stream, &norm, rows, to->heads, d, stride, model->dtype, y);
    if (to->rotated && uly__layer_has_rope(&model->config, layer))
      ops->rope(model->stream, rows, to->heads, d, stride, model->dtype, model->angles + t * d,
                1.0f, y);
  }
}

/* The layer for whose Q, K and V the scheme asks. */
typedef struct layer_place {
  uly__model *model;
  int layer;
  void *qkv;
  uly_traffic kind; /* of the rows that are gathered */
} layer_place;

/* Normalizes and gathers the input rows of tile i. */
static void gather_input(uly__model *model, int layer, uly_traffic kind, int64_t i) {
  const uly__block_layout *b = &model->params.block;
  uly__tile_range tile;
  if (!find_tile(&model->tiles, i, &tile)) return;
  gather_normed(model, kind, i, tile, own(model, uly__stash_at(&model->stash, layer)->x, tile),
                uly__unit_of_block(layer), b->norm1, b->norm1_bias);
}

/* Projects tile i for the blocks of heads first, first + step, ... */
static void project_tile(const layer_place *at, int64_t i, int first, int step) {
  uly__model *model = at->model;
  uly__tile_range tile;
  if (!find_tile(&model->tiles, i, &tile)) return;
  const void *n = uly__model_gathered(model, ULY_GATHER_NORMED, i);
  for (int g = first; g < model->attention->num_blocks; g += step)
    project_block(model, at->layer, g, tile, n, at->qkv);
}

/* Projects all tiles for the blocks of heads first, first + step, ... */
static void project_qkv(void *context, int first, int step) {
  const layer_place *at = context;
  uly__model *model = at->model;
  for (int64_t i = 0; i < num_turns(model, &model->tiles, 1); i++) {
    gather_input(model, at->layer, at->kind, i);
    project_tile(at, i - model->tensor.lag, first, step);
  }
}

/* Takes the gradients d_y of queries or keys back through the norm of each head. Their values
 * before the norm are projected again: what is kept after it may be on another rank. */
static void norm_heads_backward(uly__model *model, const uly__projection *from, int unit,
                                int64_t rows, const void *n, void *d_y, int64_t stride) {
  uly__norm_args norm = uly__model_norm(model, unit, from->norm, -1);
  project(model, from, unit, rows, n, model->work.heads, from->linear.out);
  model->ops->norm_heads_backward(model->stream, &norm, rows, from->heads, model->config.head_dim,
                                  model->dtype, model->work.heads, stride, d_y,
                                  uly__grad(model, unit, from->norm));
}

/* Takes the gradients of Q, K and V of one block of heads, for the rows of a tile, back to the
 * weights, and adds those of the normalized rows n to d_n. */
static void project_block_backward(uly__model *model, int layer, int g, uly__tile_range tile,
                                   const void *n, float *d_n) {
  const uly__ops *ops = model->ops;
  int d = model->config.head_dim, unit = uly__unit_of_block(layer);
  int64_t h = model->config.hidden, stride = model->attention->blocks[g].qkv_stride;
  int64_t t = tile.begin, rows = tile.rows;
  for (int part = 0; part < 3; part++) {
    const uly__projection *from = &model->projections[g].qkv[part];
    uly__linear linear = uly__linear_in(from->linear, unit);
    if (from->heads == 0) continue;
    void *d_y = uly__at(model->attention->work.d_qkv, model->dtype, from->at + t * stride);
    if (from->rotated && uly__layer_has_rope(&model->config, layer))
      ops->rope(model->stream, rows, from->heads, d, stride, model->dtype, model->angles + t * d,
                -1.0f, d_y);
    if (from->norm >= 0) norm_heads_backward(model, from, unit, rows, n, d_y, stride);
    if (from->bias >= 0)
      ops->bias_backward(model->stream, rows, linear.out, stride, model->dtype, d_y,
                         uly__grad(model, unit, from->bias));
    uly__linear_backward_weight(model, linear, rows, d_y, stride, n, h);
    uly__linear_backward_sum(model, linear, rows, d_y, stride, d_n, g == 0 && part == 0);
  }
}

/* Takes the gradients of Q, K and V of tile i back to the weights, and starts to add up those of
 * its normalized rows. */
static void project_tile_backward(uly__model *model, int layer, int64_t i) {
  uly__tile_range tile;
  if (!find_tile(&model->tiles, i, &tile)) return;
  const void *n = uly__model_gathered(model, ULY_GATHER_NORMED, i);
  float *d_n = uly__model_partial(model, ULY_SUM_OTHER, i);
  for (int g = 0; g < model->attention->num_blocks; g++)
    project_block_backward(model, layer, g, tile, n, d_n);
  uly__model_sum(model, ULY_SUM_OTHER, ULY_TRAFFIC_TENSOR_BACKWARD, i, tile.rows);
}

/* Takes the gradient of tile i back through norm1, and adds it to d_x. */
static void input_backward(uly__model *model, int layer, int64_t i) {
  const uly__block_layout *b = &model->params.block;
  int unit = uly__unit_of_block(layer);
  uly__tile_range tile;
  if (!find_tile(&model->tiles, i, &tile)) return;
  norm_backward(model, i, tile, own(model, uly__stash_at(&model->stash, layer)->x, tile), unit,
                b->norm1, b->norm1_bias, own(model, model->d_x, tile));
  watch(model, ULY_WATCH_D_INPUT, layer, own_rows(tile), own(model, model->d_x, tile),
        model->config.hidden);
  if (tile.ends_segment >= 0) uly__zero_fold(model->zero, unit, tile.ends_segment, 0, b->wo);
}

static void project_qkv_backward(uly__model *model, int layer) {
  int64_t lag = model->tensor.lag;
  for (int64_t i = 0; i < num_turns(model, &model->tiles, 2); i++) {
    gather_input(model, layer, ULY_TRAFFIC_TENSOR_BACKWARD, i);
    project_tile_backward(model, layer, i - lag);
    input_backward(model, layer, i - 2 * lag);
  }
}

/* --- attention */

/* Describes a pass through the attention of a layer. */
static uly__seq_call call_of(const uly__model *model, int layer, uly_traffic kind) {
  return (uly__seq_call){.mask = uly__model_mask(model, layer),
                         .kind = kind,
                         .kept = &uly__stash_at(&model->stash, layer)->attention};
}

static uly__part all_tokens(const uly__model *model) { return (uly__part){0, model->num_tokens}; }

/* Attends: the scheme asks for Q, K and V, and leaves the outputs in the stash. */
void uly__block_attend(uly__model *model, int layer, uly_traffic kind) {
  uly_attention *attention = model->attention;
  uly__seq_call call = call_of(model, layer, kind);
  layer_place place = {model, layer, uly__attention_qkv(attention, call.kept),
                       kind == ULY_TRAFFIC_ATTENTION_FORWARD ? ULY_TRAFFIC_TENSOR_FORWARD
                                                             : ULY_TRAFFIC_TENSOR_RECOMPUTE};
  call.project = project_qkv;
  call.context = &place;
  if (attention->rows_at_once > 0)
    project_qkv(&place, 0, 1);
  else
    uly__model_note(model, attention->scheme->forward(attention, &call));
  uly__watch_heads(model, ULY_WATCH_QKV, layer, all_tokens(model), place.qkv);
  if (attention->rows_at_once == 0)
    uly__watch_heads(model, ULY_WATCH_ATTENTION, layer, all_tokens(model), call.kept->outputs);
}

void uly__block_attend_tile(uly__model *model, int layer, uly_traffic kind, int64_t i) {
  uly_attention *attention = model->attention;
  uly__seq_call call = call_of(model, layer, kind);
  uly__tile_range tile;
  if (attention->rows_at_once == 0 || !find_tile(&model->tiles, i, &tile)) return;
  uly__part rows = {tile.begin, tile.rows};
  uly__model_note(model, attention->scheme->forward_rows(attention, &call, rows));
  uly__watch_heads(model, ULY_WATCH_ATTENTION, layer, rows, call.kept->outputs);
}

void uly__block_attend_tile_backward(uly__model *model, int layer, int64_t i) {
  uly_attention *attention = model->attention;
  uly__seq_call call = call_of(model, layer, ULY_TRAFFIC_ATTENTION_BACKWARD);
  uly__tile_range tile;
  if (attention->rows_at_once == 0 || !find_tile(&model->tiles, i, &tile)) return;
  uly__part rows = {tile.begin, tile.rows};
  uly__model_note(model, attention->scheme->backward_rows(attention, &call, rows));
}

void uly__block_attend_backward(uly__model *model, int layer) {
  uly_attention *attention = model->attention;
  uly__seq_call call = call_of(model, layer, ULY_TRAFFIC_ATTENTION_BACKWARD);
  if (attention->rows_at_once == 0)
    uly__model_note(model, attention->scheme->backward(attention, &call));
  uly__watch_heads(model, ULY_WATCH_D_QKV, layer, all_tokens(model), attention->work.d_qkv);
  project_qkv_backward(model, layer);
}

/* --- the output projection */

/* Computes the sum over g of O_g Wo[:, g]^T for tile i, where g runs over the blocks of heads that
 * this rank has, and starts to add it up over the ranks. */
void uly__block_outputs(uly__model *model, int layer, uly_traffic kind, int64_t i) {
  const uly__stash_layer *kept = uly__stash_at(&model->stash, layer);
  int unit = uly__unit_of_block(layer);
  uly__tile_range tile;
  if (!find_tile(&model->tiles, i, &tile)) return;
  float *sum = uly__model_partial(model, ULY_SUM_ATTENDED, i);
  for (int g = 0; g < model->attention->num_blocks; g++) {
    const uly__head_block *block = &model->attention->blocks[g];
    const void *o = uly__at(kept->attention.outputs, model->dtype,
                            block->o_offset + tile.begin * block->o_stride);
    uly__linear_forward_sum(model, uly__linear_in(model->projections[g].o, unit), tile.rows, o,
                            block->o_stride, sum, g == 0);
  }
  uly__model_sum(model, ULY_SUM_ATTENDED, kind, i, tile.rows);
}

/* Computes the gradients of O, in the scheme's blocks, and of Wo from d_mid, the gradients of x_mid
 * for all rows of tile i. */
void uly__block_outputs_backward(uly__model *model, int layer, int64_t i) {
  const uly__block_layout *b = &model->params.block;
  int64_t h = model->config.hidden;
  int unit = uly__unit_of_block(layer);
  uly__tile_range tile;
  if (!find_tile(&model->tiles, i, &tile)) return;
  const void *d_mid = uly__model_gathered(model, ULY_GATHER_D_ATTENDED, i);
  for (int g = 0; g < model->attention->num_blocks; g++) {
    const uly__head_block *block = &model->attention->blocks[g];
    uly__linear linear = uly__linear_in(model->projections[g].o, unit);
    int64_t at = block->o_offset + tile.begin * block->o_stride;
    const void *o =
        uly__at(uly__stash_at(&model->stash, layer)->attention.outputs, model->dtype, at);
    uly__linear_backward_weight(model, linear, tile.rows, d_mid, h, o, block->o_stride);
    uly__linear_backward(model, linear, tile.rows, d_mid, h,
                         uly__at(model->attention->work.d_o, model->dtype, at), block->o_stride);
  }
  if (tile.ends_segment >= 0)
    uly__zero_fold(model->zero, unit, tile.ends_segment, b->wo,
                   model->params.units[unit].local_count - b->wo);
}

uly_status uly__block_prepare_attention(const uly__model *model, int64_t rows) {
  for (int g = 0; g < model->attention->num_blocks; g++) {
    const uly__head_block *block = &model->attention->blocks[g];
    const uly__block_projections *to = &model->projections[g];
    uly__linear_use qkv = {.ldx = model->config.hidden, .ldy = block->qkv_stride, .sums_d_x = true};
    uly__linear_use o = {.ldx = block->o_stride, .ldy = model->config.hidden, .sums_y = true};
    for (int part = 0; part < 3; part++) {
      uly__linear linear = to->qkv[part].linear;
      uly__linear_use dense = {.ldx = qkv.ldx, .ldy = linear.out};
      ULY_TRY(uly__linear_prepare(model, linear, rows, qkv));
      if (to->qkv[part].norm >= 0 && !uly__model_is_forward_only(model))
        ULY_TRY(uly__linear_prepare_forward(model, linear, rows, dense));
    }
    ULY_TRY(uly__linear_prepare(model, to->o, rows, o));
  }
  return ULY_OK;
}
