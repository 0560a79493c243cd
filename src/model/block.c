/* One transformer block, forward and backward, for the Llama family and GPT-2 alike:
 *
 *   n = norm1(x);  q, k, v = n Wq^T, n Wk^T, n Wv^T, rotated;  x_mid = x + attention(q, k, v) Wo^T
 *   m = norm2(x_mid);  y = x_mid + act(m Wgate^T, m Wup^T) Wdown^T
 *
 * The zero-copy exchange: the projection for the heads of rank p writes into send block p, and the
 * output projection sums over the received blocks, O_p Wo[:, heads of p]^T. Everything between the
 * exchanges runs over token tiles, so nothing of size T x f exists unless it is kept. */
#include "model/linear.h"

/* Parts of a block of parameters in the flat range. */
static int64_t place(const uly__model *model, int layer, int64_t offset) {
  return offset < 0 ? -1 : model->params.blocks + layer * model->params.block_count + offset;
}

/* Rows of a tile that begins at token t. */
static int64_t tile_rows(const uly__model *model, int64_t t) {
  int64_t left = model->num_tokens - t;
  return left < model->tile ? left : model->tile;
}

/* Address of row t of a [T, width] buffer. */
static void *row(const uly__model *model, const void *x, int64_t t, int64_t width) {
  return uly__at(x, model->dtype, t * width);
}

/* --- norms */

static void norm(uly__model *model, int64_t rows, const void *x, int64_t weight, int64_t bias,
                 void *y) {
  const uly__model_config *c = &model->config;
  model->ops->norm_forward(c->norm, rows, c->hidden, c->norm_eps, model->dtype, x,
                           uly__weight(model, weight), uly__weight(model, bias), y);
}

/* d_x += the gradient through the norm of the tile's sum. */
static void norm_backward(uly__model *model, int64_t rows, const void *x, int64_t weight,
                          int64_t bias, void *d_x) {
  const uly__model_config *c = &model->config;
  model->ops->norm_backward(c->norm, rows, c->hidden, c->norm_eps, model->dtype, x,
                            uly__weight(model, weight), model->work.sum, d_x,
                            uly__grad(model, weight), uly__grad(model, bias));
}

/* --- Q, K and V */

/* Projection of some heads into block p. */
typedef struct projection {
  uly__linear linear;
  int64_t bias; /* offset in the flat range, or -1 */
  int64_t at;   /* first element in row 0 of qkv_tokens */
  int heads;
  bool rotated;
} projection;

/* The projections into block p: Q, K and V. Key/value heads that the block before holds too are left
 * to that one. */
static void projections(const uly__model *model, int layer, int p, projection out[3]) {
  const uly__block_layout *b = &model->params.block;
  uly_attention_block block = uly_attention_get_block(model->attention, p);
  int64_t h = model->config.hidden, d = model->config.head_dim;
  int kv_heads = block.kv_count - block.kv_shared, kv_first = block.kv_begin + block.kv_shared;
  int heads[3] = {block.q_count, kv_heads, kv_heads};
  int first[3] = {block.q_begin, kv_first, kv_first};
  int column[3] = {0, block.q_count + block.kv_shared,
                   block.q_count + block.kv_count + block.kv_shared};
  int64_t weights[3] = {b->wq, b->wk, b->wv}, biases[3] = {b->bq, b->bk, b->bv};
  for (int i = 0; i < 3; i++) {
    int64_t bias = place(model, layer, biases[i]);
    out[i] = (projection){
        .linear = {.in = h,
                   .out = heads[i] * d,
                   .ldw = h,
                   .weight = place(model, layer, weights[i]) + first[i] * d * h},
        .bias = bias < 0 ? -1 : bias + first[i] * d,
        .at = block.qkv_offset + column[i] * d,
        .heads = heads[i],
        .rotated = i < 2 && model->config.rope,
    };
  }
}

static void project_qkv(uly__model *model, int layer) {
  const uly__block_layout *b = &model->params.block;
  const uly__ops *ops = model->ops;
  int d = model->config.head_dim;
  int64_t h = model->config.hidden;
  for (int64_t t = 0; t < model->num_tokens; t += model->tile) {
    int64_t rows = tile_rows(model, t);
    norm(model, rows, row(model, model->stash.layers[layer].x, t, h), place(model, layer, b->norm1),
         place(model, layer, b->norm1_bias), model->work.n);
    for (int p = 0; p < model->attention->ulysses.size; p++) {
      int64_t stride = uly_attention_get_block(model->attention, p).qkv_stride;
      projection parts[3];
      projections(model, layer, p, parts);
      for (int i = 0; i < 3; i++) {
        if (parts[i].heads == 0) continue;
        void *y = uly__at(model->work.qkv_tokens, model->dtype, parts[i].at + t * stride);
        uly__linear_forward(model, parts[i].linear, rows, model->work.n, h, y, stride);
        if (parts[i].bias >= 0)
          ops->add_bias(rows, parts[i].linear.out, stride, model->dtype, y,
                        uly__weight(model, parts[i].bias));
        if (parts[i].rotated)
          ops->rope(rows, parts[i].heads, d, stride, model->dtype, model->rope + t * d, 1.0f, y);
      }
    }
  }
}

/* The gradients have arrived in qkv_tokens: on to the weights and, through norm1, to d_x. */
static void project_qkv_backward(uly__model *model, int layer) {
  const uly__block_layout *b = &model->params.block;
  const uly__ops *ops = model->ops;
  int d = model->config.head_dim;
  int64_t h = model->config.hidden;
  for (int64_t t = 0; t < model->num_tokens; t += model->tile) {
    int64_t rows = tile_rows(model, t);
    const void *x = row(model, model->stash.layers[layer].x, t, h);
    int64_t weight = place(model, layer, b->norm1), bias = place(model, layer, b->norm1_bias);
    norm(model, rows, x, weight, bias, model->work.n);
    bool first = true;
    for (int p = 0; p < model->attention->ulysses.size; p++) {
      int64_t stride = uly_attention_get_block(model->attention, p).qkv_stride;
      projection parts[3];
      projections(model, layer, p, parts);
      for (int i = 0; i < 3; i++) {
        if (parts[i].heads == 0) continue;
        void *d_y = uly__at(model->work.qkv_tokens, model->dtype, parts[i].at + t * stride);
        if (parts[i].rotated)
          ops->rope(rows, parts[i].heads, d, stride, model->dtype, model->rope + t * d, -1.0f, d_y);
        if (parts[i].bias >= 0)
          ops->bias_backward(rows, parts[i].linear.out, stride, model->dtype, d_y,
                             uly__grad(model, parts[i].bias));
        uly__linear_backward_weight(model, parts[i].linear, rows, d_y, stride, model->work.n, h);
        uly__linear_backward_sum(model, parts[i].linear, rows, d_y, stride, model->work.sum, first);
        first = false;
      }
    }
    norm_backward(model, rows, x, weight, bias, row(model, model->d_x, t, h));
  }
}

/* --- attention and its output projection */

static void attend(uly__model *model, int layer, uly_traffic kind) {
  uly__attention_record *record = &model->stash.layers[layer].attention;
  uly_attention *attention = model->attention;
  project_qkv(model, layer);
  uly_attention_share_kv(attention, model->work.qkv_tokens);
  uly__model_note(model, uly_attention_qkv_to_heads(attention, kind, model->work.qkv_tokens,
                                                    record->qkv_heads));
  uly__model_note(model, uly_attention_local_forward(attention, record->qkv_heads, record->o_heads,
                                                     record->lse));
  uly__model_note(model,
                  uly_attention_o_to_tokens(attention, kind, record->o_heads, record->o_tokens));
}

/* Wo's columns for the heads of rank p. */
static uly__linear output_projection(const uly__model *model, int layer, int p) {
  uly_attention_block block = uly_attention_get_block(model->attention, p);
  int64_t d = model->config.head_dim;
  return (uly__linear){.in = block.q_count * d,
                       .out = model->config.hidden,
                       .ldw = model->config.num_q_heads * d,
                       .weight = place(model, layer, model->params.block.wo) + block.q_begin * d};
}

/* x_mid = x + sum over p of O_p Wo[:, p]^T, for the tile at token t. */
static void add_attention(uly__model *model, int layer, int64_t t, int64_t rows, void *mid) {
  const uly__stash_layer *kept = &model->stash.layers[layer];
  int64_t h = model->config.hidden;
  for (int p = 0; p < model->attention->ulysses.size; p++) {
    uly_attention_block block = uly_attention_get_block(model->attention, p);
    const void *o =
        uly__at(kept->attention.o_tokens, model->dtype, block.o_offset + t * block.o_stride);
    uly__linear_forward_sum(model, output_projection(model, layer, p), rows, o, block.o_stride,
                            model->work.sum, p == 0);
  }
  int64_t bias = place(model, layer, model->params.block.bo);
  model->ops->residual(rows, h, model->dtype, row(model, kept->x, t, h), model->work.sum,
                       uly__weight(model, bias), mid);
}

/* From d_mid [rows, h] to the gradient of O, in the send blocks, and of Wo. */
static void add_attention_backward(uly__model *model, int layer, int64_t t, int64_t rows,
                                   const void *d_mid) {
  int64_t h = model->config.hidden, bias = place(model, layer, model->params.block.bo);
  if (bias >= 0) model->ops->bias_backward(rows, h, h, model->dtype, d_mid, uly__grad(model, bias));
  for (int p = 0; p < model->attention->ulysses.size; p++) {
    uly_attention_block block = uly_attention_get_block(model->attention, p);
    uly__linear linear = output_projection(model, layer, p);
    int64_t at = block.o_offset + t * block.o_stride;
    const void *o = uly__at(model->stash.layers[layer].attention.o_tokens, model->dtype, at);
    uly__linear_backward_weight(model, linear, rows, d_mid, h, o, block.o_stride);
    uly__linear_backward(model, linear, rows, d_mid, h,
                         uly__at(model->work.d_o_tokens, model->dtype, at), block.o_stride);
  }
}

static void attend_backward(uly__model *model, int layer) {
  const uly__attention_record *record = &model->stash.layers[layer].attention;
  const uly__workspace *work = &model->work;
  uly_attention *attention = model->attention;
  uly_traffic kind = ULY_TRAFFIC_ATTENTION_BACKWARD;
  uly__model_note(model,
                  uly_attention_o_to_heads(attention, kind, work->d_o_tokens, work->d_o_heads));
  uly__model_note(model, uly_attention_local_backward(attention, record->qkv_heads, record->o_heads,
                                                      record->lse, work->d_o_heads,
                                                      work->d_qkv_heads, work->delta));
  uly__model_note(
      model, uly_attention_qkv_to_tokens(attention, kind, work->d_qkv_heads, work->qkv_tokens));
  uly_attention_sum_kv(attention, work->qkv_tokens);
}

/* --- MLP, on one tile */

/* Where gate and up of the tile at token t live: in the stash or in scratch. */
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
    model->ops->add_bias(rows, linear.out, linear.out, model->dtype, y, uly__weight(model, bias));
}

static uly__linear mlp_linear(const uly__model *model, int layer, int64_t weight, bool down) {
  int64_t h = model->config.hidden, f = model->config.ffn;
  return (uly__linear){.in = down ? f : h,
                       .out = down ? h : f,
                       .ldw = down ? f : h,
                       .weight = place(model, layer, weight)};
}

/* gate and up from the normalized rows in work.n. */
static void mlp_in(uly__model *model, int layer, int64_t rows, mlp_tile tile) {
  const uly__block_layout *b = &model->params.block;
  if (model->config.gated)
    linear_with_bias(model, mlp_linear(model, layer, b->w_gate, false),
                     place(model, layer, b->b_gate), rows, model->work.n, tile.gate);
  linear_with_bias(model, mlp_linear(model, layer, b->w_up, false), place(model, layer, b->b_up),
                   rows, model->work.n, tile.up);
}

static void mlp_activate(uly__model *model, int64_t rows, mlp_tile tile) {
  int64_t n = rows * model->config.ffn;
  if (model->config.gated)
    model->ops->swiglu_forward(n, model->dtype, tile.gate, tile.up, model->work.act);
  else
    model->ops->gelu_forward(n, model->dtype, tile.up, model->work.act);
}

/* d_y is d_x's tile: on return it has the gradient of mid added. */
static void mlp_backward(uly__model *model, int layer, int64_t rows, mlp_tile tile, const void *mid,
                         void *d_y) {
  const uly__block_layout *b = &model->params.block;
  const uly__ops *ops = model->ops;
  uly__workspace *work = &model->work;
  int64_t h = model->config.hidden, f = model->config.ffn, n = rows * f;
  uly_dtype dtype = model->dtype;
  int64_t b_down = place(model, layer, b->b_down), b_up = place(model, layer, b->b_up);
  int64_t b_gate = place(model, layer, b->b_gate);
  uly__linear down = mlp_linear(model, layer, b->w_down, true);
  uly__linear up = mlp_linear(model, layer, b->w_up, false);

  if (b_down >= 0) ops->bias_backward(rows, h, h, dtype, d_y, uly__grad(model, b_down));
  uly__linear_backward_weight(model, down, rows, d_y, h, work->act, f);
  void *d_act = model->config.gated ? work->d_gate : work->d_up;
  uly__linear_backward(model, down, rows, d_y, h, d_act, f);
  if (model->config.gated)
    ops->swiglu_backward(n, dtype, tile.gate, tile.up, d_act, work->d_gate, work->d_up);
  else
    ops->gelu_backward(n, dtype, tile.up, d_act, work->d_up);

  if (b_up >= 0) ops->bias_backward(rows, f, f, dtype, work->d_up, uly__grad(model, b_up));
  uly__linear_backward_weight(model, up, rows, work->d_up, f, work->n, h);
  uly__linear_backward_sum(model, up, rows, work->d_up, f, work->sum, true);
  if (model->config.gated) {
    uly__linear gate = mlp_linear(model, layer, b->w_gate, false);
    if (b_gate >= 0) ops->bias_backward(rows, f, f, dtype, work->d_gate, uly__grad(model, b_gate));
    uly__linear_backward_weight(model, gate, rows, work->d_gate, f, work->n, h);
    uly__linear_backward_sum(model, gate, rows, work->d_gate, f, work->sum, false);
  }
  norm_backward(model, rows, mid, place(model, layer, b->norm2), place(model, layer, b->norm2_bias),
                d_y);
}

/* --- the block */

static void *mid_place(const uly__model *model, int layer, int64_t t) {
  return model->stash.keeps_mlp
             ? row(model, model->stash.layers[layer].x_mid, t, model->config.hidden)
             : model->work.mid;
}

void uly__block_forward(uly__model *model, int layer, void *y) {
  const uly__block_layout *b = &model->params.block;
  int64_t h = model->config.hidden;
  attend(model, layer, ULY_TRAFFIC_ATTENTION_FORWARD);
  for (int64_t t = 0; t < model->num_tokens; t += model->tile) {
    int64_t rows = tile_rows(model, t);
    void *mid = mid_place(model, layer, t);
    mlp_tile tile = mlp_place(model, layer, t);
    add_attention(model, layer, t, rows, mid);
    norm(model, rows, mid, place(model, layer, b->norm2), place(model, layer, b->norm2_bias),
         model->work.n);
    mlp_in(model, layer, rows, tile);
    mlp_activate(model, rows, tile);
    uly__linear_forward_sum(model, mlp_linear(model, layer, b->w_down, true), rows, model->work.act,
                            model->config.ffn, model->work.sum, true);
    model->ops->residual(rows, h, model->dtype, mid, model->work.sum,
                         uly__weight(model, place(model, layer, b->b_down)), row(model, y, t, h));
  }
}

void uly__block_backward(uly__model *model, int layer) {
  const uly__block_layout *b = &model->params.block;
  int64_t h = model->config.hidden;
  if (!model->stash.keeps_attention) attend(model, layer, ULY_TRAFFIC_ATTENTION_RECOMPUTE);
  for (int64_t t = 0; t < model->num_tokens; t += model->tile) {
    int64_t rows = tile_rows(model, t);
    void *mid = mid_place(model, layer, t), *d_y = row(model, model->d_x, t, h);
    mlp_tile tile = mlp_place(model, layer, t);
    if (!model->stash.keeps_mlp) add_attention(model, layer, t, rows, mid);
    norm(model, rows, mid, place(model, layer, b->norm2), place(model, layer, b->norm2_bias),
         model->work.n);
    if (!model->stash.keeps_mlp) mlp_in(model, layer, rows, tile);
    mlp_activate(model, rows, tile);
    mlp_backward(model, layer, rows, tile, mid, d_y);
    add_attention_backward(model, layer, t, rows, d_y);
  }
  attend_backward(model, layer);
  project_qkv_backward(model, layer);
}
