/* One transformer block, forward and backward, for the Llama family and GPT-2 alike:
 *
 *   n = norm1(x);  q, k, v = n Wq^T, n Wk^T, n Wv^T, rotated;  x_mid = x + attention(q, k, v) Wo^T
 *   m = norm2(x_mid);  y = x_mid + act(m Wgate^T, m Wup^T) Wdown^T
 *
 * The zero-copy exchange: the projection for head group g writes into the send block of the rank
 * that owns g, and the output projection sums over the received blocks, O_g Wo[:, heads of g]^T.
 * These products have the same shapes whatever rank owns a group. Everything between the exchanges
 * runs over token tiles, so nothing of size T x f exists unless it is kept. */
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
  model->ops->norm_forward(&args, rows, model->config.hidden, model->dtype, x, y);
}

/* Adds the gradient through the norm of the tile's sum to d_x. */
static void norm_backward(uly__model *model, int64_t rows, const void *x, int unit, int64_t weight,
                          int64_t bias, void *d_x) {
  uly__norm_args args = uly__model_norm(model, unit, weight, bias);
  model->ops->norm_backward(&args, rows, model->config.hidden, model->dtype, x, model->work.sum,
                            d_x, uly__grad(model, unit, weight), uly__grad(model, unit, bias));
}

/* --- Q, K and V */

/* The projection of the heads of one group. */
typedef struct projection {
  uly__linear linear;
  int64_t bias; /* offset in the unit, or -1 */
  int64_t at;   /* first element in row 0 of qkv_tokens */
  int heads;
  bool rotated;
} projection;

/* Describes the projections into the block of group g: Q, K and V. Key/value heads that the block
 * before also holds are left to that block. */
static void projections(const uly__model *model, int unit, int g, projection out[3]) {
  const uly__block_layout *b = &model->params.block;
  uly__head_block block = uly__attention_block(model->attention, g);
  int64_t h = model->config.hidden, d = model->config.head_dim;
  int kv_heads = block.kv_count - block.kv_shared, kv_first = block.kv_begin + block.kv_shared;
  int heads[3] = {block.q_count, kv_heads, kv_heads};
  int first[3] = {block.q_begin, kv_first, kv_first};
  int column[3] = {0, block.q_count + block.kv_shared,
                   block.q_count + block.kv_count + block.kv_shared};
  int64_t weights[3] = {b->wq, b->wk, b->wv}, biases[3] = {b->bq, b->bk, b->bv};
  for (int i = 0; i < 3; i++) {
    out[i] = (projection){
        .linear = {.in = h,
                   .out = heads[i] * d,
                   .unit = unit,
                   .ldw = h,
                   .weight = weights[i] + first[i] * d * h},
        .bias = biases[i] < 0 ? -1 : biases[i] + first[i] * d,
        .at = block.qkv_offset + column[i] * d,
        .heads = heads[i],
        .rotated = i < 2 && model->config.rope,
    };
  }
}

/* Projects rows of a tile, for one group, into its block. */
static void project_group(uly__model *model, int unit, int g, int64_t t, int64_t rows) {
  const uly__ops *ops = model->ops;
  int d = model->config.head_dim;
  int64_t h = model->config.hidden;
  int64_t stride = uly__attention_block(model->attention, g).qkv_stride;
  projection parts[3];
  projections(model, unit, g, parts);
  for (int part = 0; part < 3; part++) {
    const projection *to = &parts[part];
    if (to->heads == 0) continue;
    void *y = uly__at(model->work.qkv_tokens, model->dtype, to->at + t * stride);
    uly__linear_forward(model, to->linear, rows, model->work.n, h, y, stride);
    if (to->bias >= 0)
      ops->add_bias(rows, to->linear.out, stride, model->dtype, y,
                    uly__weight(model, unit, to->bias));
    if (to->rotated)
      ops->rope(rows, to->heads, d, stride, model->dtype, model->rope + t * d, 1.0f, y);
  }
}

/* Projects rounds [first, first + num): the groups that every rank owns in them. */
static void project_qkv(uly__model *model, int layer, int first, int num) {
  const uly__block_layout *b = &model->params.block;
  int unit = uly__unit_of_block(layer), num_rounds = uly__attention_num_rounds(model->attention);
  int64_t h = model->config.hidden;
  for (int64_t i = 0; i < model->tiles.num; i++) {
    int64_t t = model->tiles.list[i].begin, rows = model->tiles.list[i].rows;
    norm(model, rows, row(model, model->stash.layers[layer].x, t, h), unit, b->norm1, b->norm1_bias,
         model->work.n);
    for (int g = 0; g < uly__attention_num_groups(model->attention); g++)
      if (g % num_rounds >= first && g % num_rounds < first + num)
        project_group(model, unit, g, t, rows);
    uly__model_poll(model);
  }
}

/* Takes the gradients, which have arrived in qkv_tokens, on to the weights and, through norm1, to
 * d_x. */
static void project_qkv_backward(uly__model *model, int layer) {
  const uly__block_layout *b = &model->params.block;
  const uly__ops *ops = model->ops;
  int d = model->config.head_dim, unit = uly__unit_of_block(layer);
  int64_t h = model->config.hidden;
  for (int64_t i = 0; i < model->tiles.num; i++) {
    uly__tile_range tile = model->tiles.list[i];
    int64_t t = tile.begin, rows = tile.rows;
    const void *x = row(model, model->stash.layers[layer].x, t, h);
    norm(model, rows, x, unit, b->norm1, b->norm1_bias, model->work.n);
    bool first = true;
    for (int g = 0; g < uly__attention_num_groups(model->attention); g++) {
      int64_t stride = uly__attention_block(model->attention, g).qkv_stride;
      projection parts[3];
      projections(model, unit, g, parts);
      for (int part = 0; part < 3; part++) {
        const projection *from = &parts[part];
        if (from->heads == 0) continue;
        void *d_y = uly__at(model->work.qkv_tokens, model->dtype, from->at + t * stride);
        if (from->rotated)
          ops->rope(rows, from->heads, d, stride, model->dtype, model->rope + t * d, -1.0f, d_y);
        if (from->bias >= 0)
          ops->bias_backward(rows, from->linear.out, stride, model->dtype, d_y,
                             uly__grad(model, unit, from->bias));
        uly__linear_backward_weight(model, from->linear, rows, d_y, stride, model->work.n, h);
        uly__linear_backward_sum(model, from->linear, rows, d_y, stride, model->work.sum, first);
        first = false;
      }
    }
    norm_backward(model, rows, x, unit, b->norm1, b->norm1_bias, row(model, model->d_x, t, h));
    uly__model_poll(model);
    if (tile.ends_segment >= 0) uly__zero_fold(model->zero, unit, tile.ends_segment, 0, b->wo);
  }
}

/* --- attention and its output projection */

static void *past(const void *buffer, int64_t bytes) { return (char *)(uintptr_t)buffer + bytes; }

static void start(uly__model *model, uly__exchange_step step, uly_traffic kind, int round,
                  const void *from, void *to) {
  uly__model_note(model, uly__attention_start(model->attention, step, kind, round, from, to));
}

static void wait_for(uly__model *model, uly__exchange_step step, int round) {
  uly__model_note(model, uly__attention_wait(model->attention, step, round));
}

static void send_qkv(uly__model *model, const uly__attention_record *record, uly_traffic kind,
                     int round) {
  uly__round at = uly__attention_round(model->attention, round);
  start(model, ULY_QKV_TO_HEADS, kind, round, past(model->work.qkv_tokens, at.qkv_tokens),
        past(record->qkv_heads, at.qkv_heads));
}

/* Attends. The exchange of a round overlaps with the projections of the next and the attention of
 * the one before; outputs go back during the attention of the next. */
static void attend(uly__model *model, int layer, uly_traffic kind) {
  uly__attention_record *record = &model->stash.layers[layer].attention;
  uly_attention *attention = model->attention;
  int num = uly__attention_num_rounds(attention);
  bool at_once = uly__attention_shares_kv(attention);
  project_qkv(model, layer, 0, at_once ? num : 1);
  if (at_once) uly__attention_share_kv(attention, model->work.qkv_tokens);
  send_qkv(model, record, kind, 0);
  for (int round = 0; round < num; round++) {
    uly__round at = uly__attention_round(attention, round);
    void *o_heads = past(record->o_heads, at.o_heads);
    bool is_last = round + 1 == num;
    if (!is_last && !at_once) project_qkv(model, layer, round + 1, 1);
    wait_for(model, ULY_QKV_TO_HEADS, round);
    if (!is_last) send_qkv(model, record, kind, round + 1);
    uly__model_note(model, uly__attention_round_forward(attention, 0, round,
                                                        past(record->qkv_heads, at.qkv_heads),
                                                        o_heads, record->softmax));
    if (round > 0) wait_for(model, ULY_O_TO_TOKENS, round - 1);
    start(model, ULY_O_TO_TOKENS, kind, round, o_heads, past(record->o_tokens, at.o_tokens));
  }
  wait_for(model, ULY_O_TO_TOKENS, num - 1);
  uly__watch_heads(model, ULY_WATCH_QKV, layer, true, model->work.qkv_tokens);
  uly__watch_heads(model, ULY_WATCH_ATTENTION, layer, false, record->o_tokens);
}

/* Returns Wo's columns for the heads of group g. */
static uly__linear output_projection(const uly__model *model, int unit, int g) {
  uly__head_block block = uly__attention_block(model->attention, g);
  int64_t d = model->config.head_dim;
  return (uly__linear){.in = block.q_count * d,
                       .out = model->config.hidden,
                       .unit = unit,
                       .ldw = model->config.num_q_heads * d,
                       .weight = model->params.block.wo + block.q_begin * d};
}

/* Computes x_mid = x + sum over g of O_g Wo[:, g]^T, for the tile at token t; and n =
 * norm2(x_mid). */
static void add_attention(uly__model *model, int layer, int64_t t, int64_t rows, void *mid) {
  const uly__stash_layer *kept = &model->stash.layers[layer];
  int64_t h = model->config.hidden;
  int unit = uly__unit_of_block(layer);
  for (int g = 0; g < uly__attention_num_groups(model->attention); g++) {
    uly__head_block block = uly__attention_block(model->attention, g);
    const void *o =
        uly__at(kept->attention.o_tokens, model->dtype, block.o_offset + t * block.o_stride);
    uly__linear_forward_sum(model, output_projection(model, unit, g), rows, o, block.o_stride,
                            model->work.sum, g == 0);
  }
  const uly__block_layout *b = &model->params.block;
  uly__norm_args norm2 = uly__model_norm(model, unit, b->norm2, b->norm2_bias);
  model->ops->residual_norm(&norm2, rows, h, model->dtype, row(model, kept->x, t, h),
                            model->work.sum, uly__weight(model, unit, b->bo), mid, model->work.n);
}

/* Computes from d_mid [rows, h] the gradient of O, in the send blocks, and that of Wo. */
static void add_attention_backward(uly__model *model, int layer, int64_t t, int64_t rows,
                                   const void *d_mid) {
  int64_t h = model->config.hidden, bias = model->params.block.bo;
  int unit = uly__unit_of_block(layer);
  if (bias >= 0)
    model->ops->bias_backward(rows, h, h, model->dtype, d_mid, uly__grad(model, unit, bias));
  for (int g = 0; g < uly__attention_num_groups(model->attention); g++) {
    uly__head_block block = uly__attention_block(model->attention, g);
    uly__linear linear = output_projection(model, unit, g);
    int64_t at = block.o_offset + t * block.o_stride;
    const void *o = uly__at(model->stash.layers[layer].attention.o_tokens, model->dtype, at);
    uly__linear_backward_weight(model, linear, rows, d_mid, h, o, block.o_stride);
    uly__linear_backward(model, linear, rows, d_mid, h,
                         uly__at(model->work.d_o_tokens, model->dtype, at), block.o_stride);
  }
}

static void send_d_o(uly__model *model, int round) {
  uly__round at = uly__attention_round(model->attention, round);
  start(model, ULY_O_TO_HEADS, ULY_TRAFFIC_ATTENTION_BACKWARD, round,
        past(model->work.d_o_tokens, at.o_tokens), model->work.d_o_heads[round % 2]);
}

/* Mirrors attend. */
static void attend_backward(uly__model *model, int layer) {
  const uly__attention_record *record = &model->stash.layers[layer].attention;
  const uly__workspace *work = &model->work;
  uly_attention *attention = model->attention;
  int num = uly__attention_num_rounds(attention);
  send_d_o(model, 0);
  for (int round = 0; round < num; round++) {
    uly__round at = uly__attention_round(attention, round);
    void *d_qkv_heads = work->d_qkv_heads[round % 2];
    wait_for(model, ULY_O_TO_HEADS, round);
    if (round + 1 < num) send_d_o(model, round + 1);
    uly__model_note(model, uly__attention_round_backward(
                               attention, 0, round, past(record->qkv_heads, at.qkv_heads),
                               past(record->o_heads, at.o_heads), record->softmax,
                               work->d_o_heads[round % 2], d_qkv_heads, work->attention));
    if (round > 0) wait_for(model, ULY_QKV_TO_TOKENS, round - 1);
    start(model, ULY_QKV_TO_TOKENS, ULY_TRAFFIC_ATTENTION_BACKWARD, round, d_qkv_heads,
          past(work->qkv_tokens, at.qkv_tokens));
  }
  wait_for(model, ULY_QKV_TO_TOKENS, num - 1);
  uly__attention_sum_kv(attention, work->qkv_tokens);
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
    model->ops->add_bias(rows, linear.out, linear.out, model->dtype, y,
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
    ops->gelu_forward(rows, f, model->dtype, tile.up,
                      is_kept ? NULL : uly__weight(model, unit, b->b_up), model->work.act);
    return;
  }
  if (!is_kept) {
    linear_with_bias(model, mlp_linear(model, unit, b->w_gate, false), b->b_gate, rows, n,
                     tile.gate);
    linear_with_bias(model, up, b->b_up, rows, n, tile.up);
  }
  ops->swiglu_forward(rows * f, model->dtype, tile.gate, tile.up, model->work.act);
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

  if (b->b_down >= 0) ops->bias_backward(rows, h, h, dtype, d_y, uly__grad(model, unit, b->b_down));
  uly__linear_backward_weight(model, down, rows, d_y, h, work->act, f);
  void *d_act = model->config.gated ? work->d_gate : work->d_up;
  uly__linear_backward(model, down, rows, d_y, h, d_act, f);
  if (model->config.gated)
    ops->swiglu_backward(n, dtype, tile.gate, tile.up, d_act, work->d_gate, work->d_up);
  else
    ops->gelu_backward(n, dtype, tile.up, d_act, work->d_up);

  if (b->b_up >= 0)
    ops->bias_backward(rows, f, f, dtype, work->d_up, uly__grad(model, unit, b->b_up));
  uly__linear_backward_weight(model, up, rows, work->d_up, f, work->n, h);
  uly__linear_backward_sum(model, up, rows, work->d_up, f, work->sum, true);
  if (model->config.gated) {
    uly__linear gate = mlp_linear(model, unit, b->w_gate, false);
    if (b->b_gate >= 0)
      ops->bias_backward(rows, f, f, dtype, work->d_gate, uly__grad(model, unit, b->b_gate));
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
    model->ops->residual(rows, h, model->dtype, mid, model->work.sum,
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
  uly__watch_heads(model, ULY_WATCH_D_QKV, layer, true, model->work.qkv_tokens);
  project_qkv_backward(model, layer);
  watch(model, ULY_WATCH_D_INPUT, layer, (uly__tile_range){.rows = model->num_tokens}, model->d_x,
        h);
}
