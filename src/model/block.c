/* One transformer block, forward and backward, for the Llama family and GPT-2 alike:
 *
 *   n = norm1(x);  q, k, v = n Wq^T, n Wk^T, n Wv^T, rotated;  x_mid = x + attention(q, k, v) Wo^T
 *   m = norm2(x_mid);  y = x_mid + act(m Wgate^T, m Wup^T) Wdown^T
 *
 * Nothing is copied for attention: the projection of a block of heads writes where the scheme wants
 * it, and the output projection sums over the blocks of outputs that the scheme leaves, O_g Wo[:,
 * heads of g]^T. These products have the same shapes whatever rank attends with a block. Everything
 * around attention runs over token tiles, so nothing of size T x f exists unless it is kept.
 *
 * A pass over the tiles consists of stages. Where tensor parallelism divides the layers, rows and sums
 * travel between one stage and the next, so each stage is a tile behind the stage before it; without
 * it, a tile goes through all stages at once. */
#include "model/block.h"

#include "model/linear.h"
#include "model/watch.h"

/* Returns the address of row t of a [T, width] buffer. */
static void *row(const uly__model *model, const void *x, int64_t t, int64_t width) {
  return uly__at(x, model->dtype, t * width);
}

/* --- tiles, which stages of the computation go through one behind the other */

/* Finds tile i, if there is one. */
static bool find_tile(const uly__model *model, int64_t i, uly__tile_range *tile) {
  if (i < 0 || i >= model->tiles.num) return false;
  *tile = model->tiles.list[i];
  return true;
}

/* Returns how many turns the tiles take through so many stages behind the first. */
static int64_t num_turns(const uly__model *model, int64_t stages) {
  return model->tiles.num + stages * model->tensor.lag;
}

/* Returns this rank's rows of a tile, in a buffer of the residual stream. */
static void *own(const uly__model *model, const void *x, uly__tile_range tile) {
  return row(model, x, tile.own_begin, model->config.hidden);
}

static void *normed(const uly__model *model, int64_t i) {
  return model->work.n[i % ULY_TENSOR_SLOTS];
}

/* The rows of a tile that are watched: all of them, or this rank's. */
typedef struct watched_tile {
  int64_t t, rows;
} watched_tile;

static watched_tile all_rows(uly__tile_range tile) { return (watched_tile){tile.begin, tile.rows}; }

static watched_tile own_rows(uly__tile_range tile) {
  return (watched_tile){tile.begin + tile.first_own, tile.own_rows};
}

static void watch(uly__model *model, uly__watched tensor, int layer, watched_tile tile,
                  const void *x, int64_t width) {
  uly__watched_rows rows = {x, model->dtype, tile.rows, width, width, tile.t};
  uly__watch_block(model, tensor, layer, rows);
}

/* --- norms */

/* Gathers the normalized rows of tile i, x being this rank's. */
static void gather_normed(uly__model *model, uly_traffic kind, int64_t i, uly__tile_range tile,
                          const void *x, int unit, int64_t weight, int64_t bias) {
  uly__norm_args args = uly__model_norm(model, unit, weight, bias);
  model->ops->norm_forward(model->stream, &args, tile.own_rows, model->config.hidden, model->dtype,
                           x, normed(model, i));
  uly__model_gather(model, ULY_GATHER_NORMED, kind, i, tile.rows, normed(model, i));
}

/* Adds the gradient through the norm of tile i, once that is added up, to d_x. */
static void norm_backward(uly__model *model, int64_t i, uly__tile_range tile, const void *x,
                          int unit, int64_t weight, int64_t bias, void *d_x) {
  uly__norm_args args = uly__model_norm(model, unit, weight, bias);
  const float *d_normed = uly__model_summed(model, ULY_SUM_OTHER, i);
  model->ops->norm_backward(model->stream, &args, tile.own_rows, model->config.hidden, model->dtype,
                            x, d_normed, d_x, uly__grad(model, unit, weight),
                            uly__grad(model, unit, bias));
}

/* --- Q, K and V */

/* Projects rows of a tile, for one block of heads, into its place. */
static void project_block(uly__model *model, int unit, int g, uly__tile_range tile, const void *n,
                          void *qkv) {
  const uly__ops *ops = model->ops;
  int d = model->config.head_dim;
  int64_t h = model->config.hidden, stride = model->attention->blocks[g].qkv_stride;
  int64_t t = tile.begin, rows = tile.rows;
  for (int part = 0; part < 3; part++) {
    const uly__projection *to = &model->projections[g].qkv[part];
    uly__linear linear = uly__linear_in(to->linear, unit);
    if (to->heads == 0) continue;
    void *y = uly__at(qkv, model->dtype, to->at + t * stride);
    uly__linear_forward(model, linear, rows, n, h, y, stride);
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
  uly_traffic kind; /* of the rows that are gathered */
} layer_place;

/* Normalizes and gathers the input rows of tile i. */
static void gather_input(uly__model *model, int layer, uly_traffic kind, int64_t i) {
  const uly__block_layout *b = &model->params.block;
  uly__tile_range tile;
  if (!find_tile(model, i, &tile)) return;
  gather_normed(model, kind, i, tile, own(model, model->stash.layers[layer].x, tile),
                uly__unit_of_block(layer), b->norm1, b->norm1_bias);
}

/* Projects tile i for blocks first, first + step, ... */
static void project_tile(const layer_place *at, int64_t i, int first, int step) {
  uly__model *model = at->model;
  uly__tile_range tile;
  if (!find_tile(model, i, &tile)) return;
  const void *n = uly__model_gathered(model, ULY_GATHER_NORMED, i);
  for (int g = first; g < model->attention->num_blocks; g += step)
    project_block(model, uly__unit_of_block(at->layer), g, tile, n, at->qkv);
}

/* Projects blocks first, first + step, ... */
static void project_qkv(void *context, int first, int step) {
  const layer_place *at = context;
  uly__model *model = at->model;
  for (int64_t i = 0; i < num_turns(model, 1); i++) {
    gather_input(model, at->layer, at->kind, i);
    project_tile(at, i - model->tensor.lag, first, step);
    uly__model_poll(model);
  }
}

/* Takes the gradients of a tile of one block of heads back to the weights, and adds those of the
 * normalized rows n to d_n. */
static void project_block_backward(uly__model *model, int unit, int g, uly__tile_range tile,
                                   const void *n, float *d_n) {
  const uly__ops *ops = model->ops;
  int d = model->config.head_dim;
  int64_t h = model->config.hidden, stride = model->attention->blocks[g].qkv_stride;
  int64_t t = tile.begin, rows = tile.rows;
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
    uly__linear_backward_weight(model, linear, rows, d_y, stride, n, h);
    uly__linear_backward_sum(model, linear, rows, d_y, stride, d_n, g == 0 && part == 0);
  }
}

/* Takes the gradients of Q, K and V of tile i back to the weights. */
static void project_tile_backward(uly__model *model, int layer, int64_t i) {
  uly__tile_range tile;
  if (!find_tile(model, i, &tile)) return;
  const void *n = uly__model_gathered(model, ULY_GATHER_NORMED, i);
  float *d_n = uly__model_partial(model, ULY_SUM_OTHER, i);
  for (int g = 0; g < model->attention->num_blocks; g++)
    project_block_backward(model, uly__unit_of_block(layer), g, tile, n, d_n);
  uly__model_sum(model, ULY_SUM_OTHER, ULY_TRAFFIC_TENSOR_BACKWARD, i, tile.rows);
}

/* Takes the gradient of tile i through norm1, to d_x. */
static void input_backward(uly__model *model, int layer, int64_t i) {
  const uly__block_layout *b = &model->params.block;
  int unit = uly__unit_of_block(layer);
  uly__tile_range tile;
  if (!find_tile(model, i, &tile)) return;
  norm_backward(model, i, tile, own(model, model->stash.layers[layer].x, tile), unit, b->norm1,
                b->norm1_bias, own(model, model->d_x, tile));
  watch(model, ULY_WATCH_D_INPUT, layer, own_rows(tile), own(model, model->d_x, tile),
        model->config.hidden);
  if (tile.ends_segment >= 0) uly__zero_fold(model->zero, unit, tile.ends_segment, 0, b->wo);
}

static void project_qkv_backward(uly__model *model, int layer) {
  int64_t lag = model->tensor.lag;
  for (int64_t i = 0; i < num_turns(model, 2); i++) {
    gather_input(model, layer, ULY_TRAFFIC_TENSOR_BACKWARD, i);
    project_tile_backward(model, layer, i - lag);
    input_backward(model, layer, i - 2 * lag);
    uly__model_poll(model);
  }
}

/* --- attention and its output projection */

/* Attends: the scheme asks for Q, K and V, and leaves outputs in the stash. */
static void attend(uly__model *model, int layer, uly_traffic kind) {
  uly_attention *attention = model->attention;
  const uly__seq_kept *kept = &model->stash.layers[layer].attention;
  layer_place place = {model, layer, uly__attention_qkv(attention, kept),
                       kind == ULY_TRAFFIC_ATTENTION_FORWARD ? ULY_TRAFFIC_TENSOR_FORWARD
                                                             : ULY_TRAFFIC_TENSOR_RECOMPUTE};
  uly__seq_call call = {.kind = kind, .kept = kept, .project = project_qkv, .context = &place};
  uly__model_note(model, attention->scheme->forward(attention, &call));
  uly__watch_heads(model, ULY_WATCH_QKV, layer, true, place.qkv);
  uly__watch_heads(model, ULY_WATCH_ATTENTION, layer, false, kept->outputs);
}

/* Where x_mid of a tile is: in the stash or in scratch. */
static void *mid_place(const uly__model *model, int layer, int64_t i, uly__tile_range tile) {
  return model->stash.keeps_mlp ? own(model, model->stash.layers[layer].x_mid, tile)
                                : model->work.mid[i % ULY_MID_SLOTS];
}

/* Computes sum over g of O_g Wo[:, g]^T of tile i, as far as this rank has the heads. */
static void project_outputs(uly__model *model, int layer, uly_traffic kind, int64_t i) {
  const uly__stash_layer *kept = &model->stash.layers[layer];
  int unit = uly__unit_of_block(layer);
  uly__tile_range tile;
  if (!find_tile(model, i, &tile)) return;
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

/* Computes x_mid = x + that sum, and gathers norm2(x_mid), of tile i. */
static void add_attention(uly__model *model, int layer, uly_traffic kind, int64_t i) {
  const uly__block_layout *b = &model->params.block;
  int64_t h = model->config.hidden;
  int unit = uly__unit_of_block(layer);
  uly__tile_range tile;
  if (!find_tile(model, i, &tile)) return;
  uly__norm_args norm2 = uly__model_norm(model, unit, b->norm2, b->norm2_bias);
  const float *sum = uly__model_summed(model, ULY_SUM_ATTENDED, i);
  model->ops->residual_norm(model->stream, &norm2, tile.own_rows, h, model->dtype,
                            own(model, model->stash.layers[layer].x, tile), sum,
                            uly__weight(model, unit, b->bo), mid_place(model, layer, i, tile),
                            normed(model, i));
  uly__model_gather(model, ULY_GATHER_NORMED, kind, i, tile.rows, normed(model, i));
}

/* Computes from d_mid, the gradients of all rows of tile i, the gradient of O, in the scheme's
 * blocks, and that of Wo. */
static void project_outputs_backward(uly__model *model, int layer, int64_t i) {
  const uly__block_layout *b = &model->params.block;
  int64_t h = model->config.hidden;
  int unit = uly__unit_of_block(layer);
  uly__tile_range tile;
  if (!find_tile(model, i, &tile)) return;
  const void *d_mid = uly__model_gathered(model, ULY_GATHER_D_ATTENDED, i);
  for (int g = 0; g < model->attention->num_blocks; g++) {
    const uly__head_block *block = &model->attention->blocks[g];
    uly__linear linear = uly__linear_in(model->projections[g].o, unit);
    int64_t at = block->o_offset + tile.begin * block->o_stride;
    const void *o = uly__at(model->stash.layers[layer].attention.outputs, model->dtype, at);
    uly__linear_backward_weight(model, linear, tile.rows, d_mid, h, o, block->o_stride);
    uly__linear_backward(model, linear, tile.rows, d_mid, h,
                         uly__at(model->attention->work.d_o, model->dtype, at), block->o_stride);
  }
  if (tile.ends_segment >= 0)
    uly__zero_fold(model->zero, unit, tile.ends_segment, b->wo,
                   model->params.units[unit].local_count - b->wo);
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
  if (!find_tile(model, i, &tile)) return;
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
  if (!find_tile(model, i, &tile)) return;
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
  attend(model, layer, ULY_TRAFFIC_ATTENTION_FORWARD);
  for (int64_t i = 0; i < num_turns(model, 3); i++) {
    project_outputs(model, layer, ULY_TRAFFIC_TENSOR_FORWARD, i);
    add_attention(model, layer, ULY_TRAFFIC_TENSOR_FORWARD, i - lag);
    run_mlp(model, layer, i - 2 * lag);
    add_mlp(model, layer, i - 3 * lag, y);
    uly__model_poll(model);
  }
}

/* Gathers the normalized rows and the gradients of the output of tile i. */
static void gather_mlp(uly__model *model, int layer, int64_t i) {
  const uly__block_layout *b = &model->params.block;
  uly_traffic kind = ULY_TRAFFIC_TENSOR_BACKWARD;
  uly__tile_range tile;
  if (!find_tile(model, i, &tile)) return;
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
  if (!find_tile(model, i, &tile)) return;
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
  if (!find_tile(model, i, &tile)) return;
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
  if (!model->stash.keeps_attention) attend(model, layer, ULY_TRAFFIC_ATTENTION_RECOMPUTE);
  for (int64_t i = 0; i < num_turns(model, 4); i++) {
    if (!model->stash.keeps_mlp) project_outputs(model, layer, ULY_TRAFFIC_TENSOR_RECOMPUTE, i);
    gather_mlp(model, layer, i - lag);
    run_mlp_backward(model, layer, i - 2 * lag);
    mid_backward(model, layer, i - 3 * lag);
    project_outputs_backward(model, layer, i - 4 * lag);
    uly__model_poll(model);
  }
  attend_backward(model, layer);
  project_qkv_backward(model, layer);
}

/* --- preparation */

uly_status uly__block_prepare(const uly__model *model, int64_t rows) {
  int64_t h = model->config.hidden, f = model->share.ffn.count;
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
