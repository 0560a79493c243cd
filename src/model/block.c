/* One transformer block, forward and backward, for the Llama family and GPT-2 alike:
 *
 *   n = norm1(x);  q, k, v = n Wq^T, n Wk^T, n Wv^T, rotated;  x_mid = x + attention(q, k, v) Wo^T
 *   m = norm2(x_mid);  y = x_mid + act(m Wgate^T, m Wup^T) Wdown^T
 *
 * Nothing is copied for attention: the projection of a block of heads writes where the scheme wants
 * it, and the output projection sums over the blocks of outputs that the scheme leaves, O_g Wo[:,
 * heads of g]^T. These products have the same shapes whatever rank attends with a block. Everything
 * around attention runs over token tiles, so nothing of size T x f exists unless it is kept. */
#include "model/block.h"

#include "model/linear.h"
#include "model/watch.h"

/* Returns the address of row t of a [T, width] buffer. */
static void *row(const uly__model *model, const void *x, int64_t t, int64_t width) {
  return uly__at(x, model->dtype, t * width);
}

/* --- norms */

static void norm(uly__model *model, int64_t rows, const void *x, int unit, int64_t weight,
                 int64_t bias, void *y) {
  uly__norm_args args = uly__model_norm(model, unit, weight, bias);
  model->ops->norm_forward(model->stream, &args, rows, model->config.hidden, model->dtype, x, y);
}

/* Adds the gradient through the norm of the tile's sum to d_x. */
static void norm_backward(uly__model *model, int64_t rows, const void *x, int unit, int64_t weight,
                          int64_t bias, void *d_x) {
  uly__norm_args args = uly__model_norm(model, unit, weight, bias);
  model->ops->norm_backward(model->stream, &args, rows, model->config.hidden, model->dtype, x,
                            model->work.sum, d_x, uly__grad(model, unit, weight),
                            uly__grad(model, unit, bias));
}

/* --- Q, K and V */

/* Projects rows of a tile, for one block of heads, into its place. */
static void project_block(uly__model *model, int unit, int g, int64_t t, int64_t rows, void *qkv) {
  const uly__ops *ops = model->ops;
  int d = model->config.head_dim;
  int64_t h = model->config.hidden, stride = model->attention->blocks[g].qkv_stride;
  for (int part = 0; part < 3; part++) {
    const uly__projection *to = &model->projections[g].qkv[part];
    uly__linear linear = uly__linear_in(to->linear, unit);
    if (to->heads == 0) continue;
    void *y = uly__at(qkv, model->dtype, to->at + t * stride);
    uly__linear_forward(model, linear, rows, model->work.n, h, y, stride);
    if (to->bias >= 0)
      ops->add_bias(model->stream, rows, linear.out, stride, model->dtype, y,
                    uly__weight(model, unit, to->bias));
    if (to->rotated)
      ops->rope(model->stream, rows, to->heads, d, stride, model->dtype, model->rope + t * d, 1.0f,
                y);
  }
}

/* The layer whose heads the scheme asks for. */
typedef struct layer_place {
  uly__model *model;
  int layer;
  void *qkv;
} layer_place;

/* Projects blocks first, first + step, ... */
static void project_qkv(void *context, int first, int step) {
  const layer_place *at = context;
  uly__model *model = at->model;
  const uly__block_layout *b = &model->params.block;
  int unit = uly__unit_of_block(at->layer);
  int64_t h = model->config.hidden;
  for (int64_t i = 0; i < model->tiles.num; i++) {
    int64_t t = model->tiles.list[i].begin, rows = model->tiles.list[i].rows;
    norm(model, rows, row(model, model->stash.layers[at->layer].x, t, h), unit, b->norm1,
         b->norm1_bias, model->work.n);
    for (int g = first; g < model->attention->num_blocks; g += step)
      project_block(model, unit, g, t, rows, at->qkv);
    uly__model_poll(model);
  }
}

/* Takes the gradients of a tile of one block of heads back to the weights, and adds
 * those of norm1's rows to work.sum. */
static void project_block_backward(uly__model *model, int unit, int g, int64_t t, int64_t rows) {
  const uly__ops *ops = model->ops;
  int d = model->config.head_dim;
  int64_t h = model->config.hidden, stride = model->attention->blocks[g].qkv_stride;
  for (int part = 0; part < 3; part++) {
    const uly__projection *from = &model->projections[g].qkv[part];
    uly__linear linear = uly__linear_in(from->linear, unit);
    if (from->heads == 0) continue;
    void *d_y = uly__at(model->attention->work.d_qkv, model->dtype, from->at + t * stride);
    if (from->rotated)
      ops->rope(model->stream, rows, from->heads, d, stride, model->dtype, model->rope + t * d,
                -1.0f, d_y);
    if (from->bias >= 0)
      ops->bias_backward(model->stream, rows, linear.out, stride, model->dtype, d_y,
                         uly__grad(model, unit, from->bias));
    uly__linear_backward_weight(model, linear, rows, d_y, stride, model->work.n, h);
    uly__linear_backward_sum(model, linear, rows, d_y, stride, model->work.sum,
                             g == 0 && part == 0);
  }
}

/* Takes the gradients of Q, K and V back to the weights and, through norm1, to d_x. */
static void project_qkv_backward(uly__model *model, int layer) {
  const uly__block_layout *b = &model->params.block;
  int unit = uly__unit_of_block(layer);
  int64_t h = model->config.hidden;
  for (int64_t i = 0; i < model->tiles.num; i++) {
    uly__tile_range tile = model->tiles.list[i];
    int64_t t = tile.begin, rows = tile.rows;
    const void *x = row(model, model->stash.layers[layer].x, t, h);
    norm(model, rows, x, unit, b->norm1, b->norm1_bias, model->work.n);
    for (int g = 0; g < model->attention->num_blocks; g++)
      project_block_backward(model, unit, g, t, rows);
    norm_backward(model, rows, x, unit, b->norm1, b->norm1_bias, row(model, model->d_x, t, h));
    uly__model_poll(model);
    if (tile.ends_segment >= 0) uly__zero_fold(model->zero, unit, tile.ends_segment, 0, b->wo);
  }
}

/* --- attention and its output projection */

/* Attends: the scheme asks for Q, K and V, and leaves outputs in the stash. */
static void attend(uly__model *model, int layer, uly_traffic kind) {
  uly_attention *attention = model->attention;
  const uly__seq_kept *kept = &model->stash.layers[layer].attention;
  layer_place place = {model, layer, uly__attention_qkv(attention, kept)};
  uly__seq_call call = {.kind = kind, .kept = kept, .project = project_qkv, .context = &place};
  uly__model_note(model, attention->scheme->forward(attention, &call));
  uly__watch_heads(model, ULY_WATCH_QKV, layer, true, place.qkv);
  uly__watch_heads(model, ULY_WATCH_ATTENTION, layer, false, kept->outputs);
}

/* Computes x_mid = x + sum over g of O_g Wo[:, g]^T, for the tile at token t; and n =
 * norm2(x_mid). */
static void add_attention(uly__model *model, int layer, int64_t t, int64_t rows, void *mid) {
  const uly__stash_layer *kept = &model->stash.layers[layer];
  int64_t h = model->config.hidden;
  int unit = uly__unit_of_block(layer);
  for (int g = 0; g < model->attention->num_blocks; g++) {
    const uly__head_block *block = &model->attention->blocks[g];
    const void *o =
        uly__at(kept->attention.outputs, model->dtype, block->o_offset + t * block->o_stride);
    uly__linear_forward_sum(model, uly__linear_in(model->projections[g].o, unit), rows, o,
                            block->o_stride, model->work.sum, g == 0);
  }
  const uly__block_layout *b = &model->params.block;
  uly__norm_args norm2 = uly__model_norm(model, unit, b->norm2, b->norm2_bias);
  model->ops->residual_norm(model->stream, &norm2, rows, h, model->dtype, row(model, kept->x, t, h),
                            model->work.sum, uly__weight(model, unit, b->bo), mid, model->work.n);
}

/* Computes from d_mid [rows, h] the gradient of O, in the scheme's blocks, and that of Wo. */
static void add_attention_backward(uly__model *model, int layer, int64_t t, int64_t rows,
                                   const void *d_mid) {
  int64_t h = model->config.hidden, bias = model->params.block.bo;
  int unit = uly__unit_of_block(layer);
  if (bias >= 0)
    model->ops->bias_backward(model->stream, rows, h, h, model->dtype, d_mid,
                              uly__grad(model, unit, bias));
  for (int g = 0; g < model->attention->num_blocks; g++) {
    const uly__head_block *block = &model->attention->blocks[g];
    uly__linear linear = uly__linear_in(model->projections[g].o, unit);
    int64_t at = block->o_offset + t * block->o_stride;
    const void *o = uly__at(model->stash.layers[layer].attention.outputs, model->dtype, at);
    uly__linear_backward_weight(model, linear, rows, d_mid, h, o, block->o_stride);
    uly__linear_backward(model, linear, rows, d_mid, h,
                         uly__at(model->attention->work.d_o, model->dtype, at), block->o_stride);
  }
}

static void attend_backward(uly__model *model, int layer) {
  uly_attention *attention = model->attention;
  uly__seq_call call = {.kind = ULY_TRAFFIC_ATTENTION_BACKWARD,
                        .kept = &model->stash.layers[layer].attention};
  uly__model_note(model, attention->scheme->backward(attention, &call));
  uly__watch_heads(model, ULY_WATCH_D_QKV, layer, true, attention->work.d_qkv);
}

/* --- MLP, on one tile */

/* Where gate and up of the tile at token t are: in the stash or in scratch. */
typedef struct mlp_tile {
  void *gate, *up;
} mlp_tile;

static mlp_tile mlp_place(const uly__model *model, int layer, int64_t t) {
  const uly__stash_layer *kept = &model->stash.layers[layer];
  int64_t f = model->config.ffn;
  if (!model->stash.keeps_mlp) return (mlp_tile){model->work.gate, model->work.up};
  return (mlp_tile){model->config.gated ? row(model, kept->gate, t, f) : NULL,
                    row(model, kept->up, t, f)};
}

static void linear_with_bias(uly__model *model, uly__linear linear, int64_t bias, int64_t rows,
                             const void *x, void *y) {
  uly__linear_forward(model, linear, rows, x, linear.in, y, linear.out);
  if (bias >= 0)
    model->ops->add_bias(model->stream, rows, linear.out, linear.out, model->dtype, y,
                         uly__weight(model, linear.unit, bias));
}

static uly__linear mlp_linear(const uly__model *model, int unit, int64_t weight, bool down) {
  int64_t h = model->config.hidden, f = model->config.ffn;
  return (uly__linear){
      .in = down ? f : h, .out = down ? h : f, .unit = unit, .ldw = down ? f : h, .weight = weight};
}

/* Computes from the normalized rows in work.n the inner activations in work.act; is_kept: gate and
 * up are already computed. */
static void mlp_inner(uly__model *model, int unit, int64_t rows, mlp_tile tile, bool is_kept) {
  const uly__block_layout *b = &model->params.block;
  const uly__ops *ops = model->ops;
  const void *n = model->work.n;
  int64_t h = model->config.hidden, f = model->config.ffn;
  uly__linear up = mlp_linear(model, unit, b->w_up, false);
  if (!model->config.gated) {
    if (!is_kept) uly__linear_forward(model, up, rows, n, h, tile.up, f);
    ops->gelu_forward(model->stream, rows, f, model->dtype, tile.up,
                      is_kept ? NULL : uly__weight(model, unit, b->b_up), model->work.act);
    return;
  }
  if (!is_kept) {
    linear_with_bias(model, mlp_linear(model, unit, b->w_gate, false), b->b_gate, rows, n,
                     tile.gate);
    linear_with_bias(model, up, b->b_up, rows, n, tile.up);
  }
  ops->swiglu_forward(model->stream, rows * f, model->dtype, tile.gate, tile.up, model->work.act);
}

/* Computes backward. d_y is d_x's tile: on return, the gradient of mid has been added to it. */
static void mlp_backward(uly__model *model, int unit, int64_t rows, mlp_tile tile, const void *mid,
                         void *d_y) {
  const uly__block_layout *b = &model->params.block;
  const uly__ops *ops = model->ops;
  uly__workspace *work = &model->work;
  int64_t h = model->config.hidden, f = model->config.ffn, n = rows * f;
  uly_dtype dtype = model->dtype;
  uly__linear down = mlp_linear(model, unit, b->w_down, true);
  uly__linear up = mlp_linear(model, unit, b->w_up, false);

  if (b->b_down >= 0)
    ops->bias_backward(model->stream, rows, h, h, dtype, d_y, uly__grad(model, unit, b->b_down));
  uly__linear_backward_weight(model, down, rows, d_y, h, work->act, f);
  void *d_act = model->config.gated ? work->d_gate : work->d_up;
  uly__linear_backward(model, down, rows, d_y, h, d_act, f);
  if (model->config.gated)
    ops->swiglu_backward(model->stream, n, dtype, tile.gate, tile.up, d_act, work->d_gate,
                         work->d_up);
  else
    ops->gelu_backward(model->stream, n, dtype, tile.up, d_act, work->d_up);

  if (b->b_up >= 0)
    ops->bias_backward(model->stream, rows, f, f, dtype, work->d_up,
                       uly__grad(model, unit, b->b_up));
  uly__linear_backward_weight(model, up, rows, work->d_up, f, work->n, h);
  uly__linear_backward_sum(model, up, rows, work->d_up, f, work->sum, true);
  if (model->config.gated) {
    uly__linear gate = mlp_linear(model, unit, b->w_gate, false);
    if (b->b_gate >= 0)
      ops->bias_backward(model->stream, rows, f, f, dtype, work->d_gate,
                         uly__grad(model, unit, b->b_gate));
    uly__linear_backward_weight(model, gate, rows, work->d_gate, f, work->n, h);
    uly__linear_backward_sum(model, gate, rows, work->d_gate, f, work->sum, false);
  }
  norm_backward(model, rows, mid, unit, b->norm2, b->norm2_bias, d_y);
}

/* --- the block */

/* Watches a tile of a tensor that is kept or shared. */
static void watch(uly__model *model, uly__watched tensor, int layer, uly__tile_range tile,
                  const void *x, int64_t width) {
  uly__watched_rows rows = {x, model->dtype, tile.rows, width, width, tile.begin};
  uly__watch_block(model, tensor, layer, rows);
}

static void *mid_place(const uly__model *model, int layer, int64_t t) {
  return model->stash.keeps_mlp
             ? row(model, model->stash.layers[layer].x_mid, t, model->config.hidden)
             : model->work.mid;
}

void uly__block_forward(uly__model *model, int layer, void *y) {
  const uly__block_layout *b = &model->params.block;
  int64_t h = model->config.hidden;
  int unit = uly__unit_of_block(layer);
  attend(model, layer, ULY_TRAFFIC_ATTENTION_FORWARD);
  for (int64_t i = 0; i < model->tiles.num; i++) {
    int64_t t = model->tiles.list[i].begin, rows = model->tiles.list[i].rows;
    void *mid = mid_place(model, layer, t);
    mlp_tile tile = mlp_place(model, layer, t);
    add_attention(model, layer, t, rows, mid);
    mlp_inner(model, unit, rows, tile, false);
    uly__linear_forward_sum(model, mlp_linear(model, unit, b->w_down, true), rows, model->work.act,
                            model->config.ffn, model->work.sum, true);
    model->ops->residual(model->stream, rows, h, model->dtype, mid, model->work.sum,
                         uly__weight(model, unit, b->b_down), row(model, y, t, h));
    watch(model, ULY_WATCH_MID, layer, model->tiles.list[i], mid, h);
    watch(model, ULY_WATCH_INNER, layer, model->tiles.list[i], model->work.act, model->config.ffn);
    watch(model, ULY_WATCH_OUTPUT, layer, model->tiles.list[i], row(model, y, t, h), h);
    uly__model_poll(model);
  }
}

void uly__block_backward(uly__model *model, int layer) {
  const uly__block_layout *b = &model->params.block;
  int64_t h = model->config.hidden;
  int unit = uly__unit_of_block(layer);
  if (!model->stash.keeps_attention) attend(model, layer, ULY_TRAFFIC_ATTENTION_RECOMPUTE);
  for (int64_t i = 0; i < model->tiles.num; i++) {
    uly__tile_range range = model->tiles.list[i];
    int64_t t = range.begin, rows = range.rows;
    void *mid = mid_place(model, layer, t), *d_y = row(model, model->d_x, t, h);
    mlp_tile tile = mlp_place(model, layer, t);
    if (model->stash.keeps_mlp)
      norm(model, rows, mid, unit, b->norm2, b->norm2_bias, model->work.n);
    else
      add_attention(model, layer, t, rows, mid);
    mlp_inner(model, unit, rows, tile, model->stash.keeps_mlp);
    mlp_backward(model, unit, rows, tile, mid, d_y);
    watch(model, ULY_WATCH_D_MID, layer, range, d_y, h);
    add_attention_backward(model, layer, t, rows, d_y);
    uly__model_poll(model);
    if (range.ends_segment >= 0)
      uly__zero_fold(model->zero, unit, range.ends_segment, b->wo,
                     model->params.units[unit].count - b->wo);
  }
  attend_backward(model, layer);
  project_qkv_backward(model, layer);
  watch(model, ULY_WATCH_D_INPUT, layer, (uly__tile_range){.rows = model->num_tokens}, model->d_x,
        h);
}

/* --- preparation */

uly_status uly__block_prepare(const uly__model *model, int64_t rows) {
  int64_t h = model->config.hidden, f = model->config.ffn;
  for (int g = 0; g < model->attention->num_blocks; g++) {
    const uly__head_block *block = &model->attention->blocks[g];
    const uly__block_projections *to = &model->projections[g];
    uly__linear_use qkv = {.ldx = h, .ldy = block->qkv_stride, .sums_d_x = true};
    uly__linear_use o = {.ldx = block->o_stride, .ldy = h, .sums_y = true};
    for (int part = 0; part < 3; part++)
      ULY_TRY(uly__linear_prepare(model, to->qkv[part].linear, rows, qkv));
    ULY_TRY(uly__linear_prepare(model, to->o, rows, o));
  }
  /* Gate and up have one shape. */
  uly__linear up = mlp_linear(model, 0, 0, false), down = mlp_linear(model, 0, 0, true);
  ULY_TRY(uly__linear_prepare(model, up, rows,
                              (uly__linear_use){.ldx = h, .ldy = f, .sums_d_x = true}));
  return uly__linear_prepare(model, down, rows,
                             (uly__linear_use){.ldx = f, .ldy = h, .sums_y = true});
}
