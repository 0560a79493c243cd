/* One transformer block, forward and backward, for the Llama family and GPT-2 alike:
 *
 *   n = norm1(x);  q, k, v = n Wq^T, n Wk^T, n Wv^T, rotated;  x_mid = x + attention(q, k, v) Wo^T
 *   m = norm2(x_mid);  y = x_mid + act(m Wgate^T, m Wup^T) Wdown^T
 *
 * Nothing is copied for attention: the projection of a block of heads writes where the scheme wants
 * it, and the output projection sums over the blocks of outputs that the scheme leaves, O_g Wo[:,
 * heads of g]^T. These products have the same shapes whatever rank attends with a block. Everything
 * around attention runs over token tiles, so nothing of size T x f exists unless it is kept.
 * stages.h says how the tiles go through the stages of a pass. */
#include "model/block.h"

#include "model/block_attention.h"
#include "model/linear.h"
#include "model/stages.h"

/* Where x_mid of a tile is: in the stash or in scratch. */
static void *mid_place(const uly__model *model, int layer, int64_t i, uly__tile_range tile) {
  return model->stash.keeps_mlp ? own(model, uly__stash_at(&model->stash, layer)->x_mid, tile)
                                : model->work.mid[i % ULY_MID_SLOTS];
}

/* Computes x_mid = x + what attention adds, and gathers norm2(x_mid), of tile i. */
static void add_attention(uly__model *model, int layer, uly_traffic kind, int64_t i) {
  const uly__block_layout *b = &model->params.block;
  int64_t h = model->config.hidden;
  int unit = uly__unit_of_block(layer);
  uly__tile_range tile;
  if (!find_tile(&model->tiles, i, &tile)) return;
  uly__norm_args norm2 = uly__model_norm(model, unit, b->norm2, b->norm2_bias);
  const float *sum = uly__model_summed(model, ULY_SUM_ATTENDED, i);
  model->ops->residual_norm(model->stream, &norm2, tile.own_rows, h, model->dtype,
                            own(model, uly__stash_at(&model->stash, layer)->x, tile), sum,
                            uly__weight(model, unit, b->bo), mid_place(model, layer, i, tile),
                            normed(model, i));
  uly__model_gather(model, ULY_GATHER_NORMED, kind, i, tile.rows, normed(model, i));
}

/* --- MLP, on one tile */

/* Where gate and up of the tile at token t are: in the stash or in scratch. */
typedef struct mlp_tile {
  void *gate, *up;
} mlp_tile;

static mlp_tile mlp_place(const uly__model *model, int layer, int64_t t) {
  const uly__stash_layer *kept = uly__stash_at(&model->stash, layer);
  int64_t f = model->share.ffn.count;
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
  int64_t h = model->config.hidden, f = model->share.ffn.count;
  return (uly__linear){
      .in = down ? f : h, .out = down ? h : f, .unit = unit, .ldw = down ? f : h, .weight = weight};
}

/* Computes from the normalized rows n the inner activations in work.act; is_kept: gate and up are
 * already computed. */
static void mlp_inner(uly__model *model, int unit, int64_t rows, const void *n, mlp_tile tile,
                      bool is_kept) {
  const uly__block_layout *b = &model->params.block;
  const uly__ops *ops = model->ops;
  int64_t h = model->config.hidden, f = model->share.ffn.count;
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

/* Computes backward, from the gradients d_y of all rows, those of the weights and d_n, of n. */
static void mlp_backward(uly__model *model, int unit, int64_t rows, const void *n, mlp_tile tile,
                         const void *d_y, float *d_n) {
  const uly__block_layout *b = &model->params.block;
  const uly__ops *ops = model->ops;
  uly__workspace *work = &model->work;
  int64_t h = model->config.hidden, f = model->share.ffn.count;
  uly_dtype dtype = model->dtype;
  uly__linear down = mlp_linear(model, unit, b->w_down, true);
  uly__linear up = mlp_linear(model, unit, b->w_up, false);

  uly__linear_backward_weight(model, down, rows, d_y, h, work->act, f);
  void *d_act = model->config.gated ? work->d_gate : work->d_up;
  uly__linear_backward(model, down, rows, d_y, h, d_act, f);
  if (model->config.gated)
    ops->swiglu_backward(model->stream, rows * f, dtype, tile.gate, tile.up, d_act, work->d_gate,
                         work->d_up);
  else
    ops->gelu_backward(model->stream, rows * f, dtype, tile.up, d_act, work->d_up);

  if (b->b_up >= 0)
    ops->bias_backward(model->stream, rows, f, f, dtype, work->d_up,
                       uly__grad(model, unit, b->b_up));
  uly__linear_backward_weight(model, up, rows, work->d_up, f, n, h);
  uly__linear_backward_sum(model, up, rows, work->d_up, f, d_n, true);
  if (model->config.gated) {
    uly__linear gate = mlp_linear(model, unit, b->w_gate, false);
    if (b->b_gate >= 0)
      ops->bias_backward(model->stream, rows, f, f, dtype, work->d_gate,
                         uly__grad(model, unit, b->b_gate));
    uly__linear_backward_weight(model, gate, rows, work->d_gate, f, n, h);
    uly__linear_backward_sum(model, gate, rows, work->d_gate, f, d_n, false);
  }
}

/* --- the block: stages that the tiles go through one behind the other */

/* Computes what the MLP adds to tile i, as far as this rank has its features. */
static void run_mlp(uly__model *model, int layer, int64_t i) {
  int unit = uly__unit_of_block(layer);
  int64_t f = model->share.ffn.count;
  uly__tile_range tile;
  if (!find_tile(&model->tiles, i, &tile)) return;
  const void *n = uly__model_gathered(model, ULY_GATHER_NORMED, i);
  mlp_inner(model, unit, tile.rows, n, mlp_place(model, layer, tile.begin), false);
  uly__linear_forward_sum(model, mlp_linear(model, unit, model->params.block.w_down, true),
                          tile.rows, model->work.act, f,
                          uly__model_partial(model, ULY_SUM_OTHER, i), true);
  uly__model_sum(model, ULY_SUM_OTHER, ULY_TRAFFIC_TENSOR_FORWARD, i, tile.rows);
  watch(model, ULY_WATCH_INNER, layer, all_rows(tile), model->work.act, f);
}

/* Adds it to x_mid, which gives the block's output. */
static void add_mlp(uly__model *model, int layer, int64_t i, void *y) {
  int64_t h = model->config.hidden;
  uly__tile_range tile;
  if (!find_tile(&model->tiles, i, &tile)) return;
  const void *mid = mid_place(model, layer, i, tile);
  const float *sum = uly__model_summed(model, ULY_SUM_OTHER, i);
  model->ops->residual(model->stream, tile.own_rows, h, model->dtype, mid, sum,
                       uly__weight(model, uly__unit_of_block(layer), model->params.block.b_down),
                       own(model, y, tile));
  watch(model, ULY_WATCH_MID, layer, own_rows(tile), mid, h);
  watch(model, ULY_WATCH_OUTPUT, layer, own_rows(tile), own(model, y, tile), h);
}

void uly__block_forward(uly__model *model, int layer, void *y) {
  int64_t lag = model->tensor.lag;
  uly__block_attend(model, layer, ULY_TRAFFIC_ATTENTION_FORWARD);
  for (int64_t i = 0; i < num_turns(model, &model->tiles, 3); i++) {
    uly__block_attend_tile(model, layer, ULY_TRAFFIC_ATTENTION_FORWARD, i);
    uly__block_outputs(model, layer, ULY_TRAFFIC_TENSOR_FORWARD, i);
    add_attention(model, layer, ULY_TRAFFIC_TENSOR_FORWARD, i - lag);
    run_mlp(model, layer, i - 2 * lag);
    add_mlp(model, layer, i - 3 * lag, y);
  }
}

/* Gathers the normalized rows and the gradients of the output of tile i. */
static void gather_mlp(uly__model *model, int layer, int64_t i) {
  const uly__block_layout *b = &model->params.block;
  uly_traffic kind = ULY_TRAFFIC_TENSOR_BACKWARD;
  uly__tile_range tile;
  if (!find_tile(&model->tiles, i, &tile)) return;
  if (model->stash.keeps_mlp)
    gather_normed(model, kind, i, tile, mid_place(model, layer, i, tile), uly__unit_of_block(layer),
                  b->norm2, b->norm2_bias);
  else
    add_attention(model, layer, kind, i);
  uly__model_gather(model, ULY_GATHER_D_OUTPUT, kind, i, tile.rows, own(model, model->d_x, tile));
}

/* Takes the gradient of tile i back through the MLP. */
static void run_mlp_backward(uly__model *model, int layer, int64_t i) {
  const uly__block_layout *b = &model->params.block;
  int unit = uly__unit_of_block(layer);
  int64_t h = model->config.hidden;
  uly__tile_range tile;
  if (!find_tile(&model->tiles, i, &tile)) return;
  const void *n = uly__model_gathered(model, ULY_GATHER_NORMED, i);
  const void *d_y = uly__model_gathered(model, ULY_GATHER_D_OUTPUT, i);
  mlp_tile place = mlp_place(model, layer, tile.begin);
  mlp_inner(model, unit, tile.rows, n, place, model->stash.keeps_mlp);
  if (b->b_down >= 0)
    model->ops->bias_backward(model->stream, tile.own_rows, h, h, model->dtype,
                              own(model, model->d_x, tile), uly__grad(model, unit, b->b_down));
  mlp_backward(model, unit, tile.rows, n, place, d_y, uly__model_partial(model, ULY_SUM_OTHER, i));
  uly__model_sum(model, ULY_SUM_OTHER, ULY_TRAFFIC_TENSOR_BACKWARD, i, tile.rows);
}

/* Adds the gradient through norm2 of tile i to d_x, which is then that of x_mid, and gathers it. */
static void mid_backward(uly__model *model, int layer, int64_t i) {
  const uly__block_layout *b = &model->params.block;
  int unit = uly__unit_of_block(layer);
  int64_t h = model->config.hidden;
  uly__tile_range tile;
  if (!find_tile(&model->tiles, i, &tile)) return;
  void *d_mid = own(model, model->d_x, tile);
  norm_backward(model, i, tile, mid_place(model, layer, i, tile), unit, b->norm2, b->norm2_bias,
                d_mid);
  watch(model, ULY_WATCH_D_MID, layer, own_rows(tile), d_mid, h);
  if (b->bo >= 0)
    model->ops->bias_backward(model->stream, tile.own_rows, h, h, model->dtype, d_mid,
                              uly__grad(model, unit, b->bo));
  uly__model_gather(model, ULY_GATHER_D_ATTENDED, ULY_TRAFFIC_TENSOR_BACKWARD, i, tile.rows, d_mid);
}

void uly__block_backward(uly__model *model, int layer) {
  int64_t lag = model->tensor.lag;
  bool attends = !model->stash.keeps_attention;
  if (attends) uly__block_attend(model, layer, ULY_TRAFFIC_ATTENTION_RECOMPUTE);
  for (int64_t i = 0; i < num_turns(model, &model->tiles, 4); i++) {
    if (attends) uly__block_attend_tile(model, layer, ULY_TRAFFIC_ATTENTION_RECOMPUTE, i);
    if (!model->stash.keeps_mlp) uly__block_outputs(model, layer, ULY_TRAFFIC_TENSOR_RECOMPUTE, i);
    gather_mlp(model, layer, i - lag);
    run_mlp_backward(model, layer, i - 2 * lag);
    mid_backward(model, layer, i - 3 * lag);
    uly__block_outputs_backward(model, layer, i - 4 * lag);
    uly__block_attend_tile_backward(model, layer, i - 4 * lag);
  }
  uly__block_attend_backward(model, layer);
}

/* --- preparation */

uly_status uly__block_prepare(const uly__model *model, int64_t rows) {
  int64_t h = model->config.hidden, f = model->share.ffn.count;
  ULY_TRY(uly__block_prepare_attention(model, rows));
  /* Gate and up have one shape. */
  uly__linear up = mlp_linear(model, 0, 0, false), down = mlp_linear(model, 0, 0, true);
  ULY_TRY(uly__linear_prepare(model, up, rows,
                              (uly__linear_use){.ldx = h, .ldy = f, .sums_d_x = true}));
  return uly__linear_prepare(model, down, rows,
                             (uly__linear_use){.ldx = f, .ldy = h, .sums_y = true});
}
