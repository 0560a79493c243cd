/* The order of a forward and a backward pass: see passes.h. */
#include "model/passes.h"

#include "base/spans.h"
#include "model/block.h"
#include "model/watch.h"

static void release(uly__model *model, int unit) { uly__zero_release(model->zero, unit); }

static void begin_grads(uly__model *model, int unit) {
  uly__model_note(model, uly__zero_begin_grads(model->zero, unit));
}

static void end_grads(uly__model *model, int unit) {
  uly__watch_grads(model, unit);
  uly__model_note(model, uly__zero_end_grads(model->zero, unit));
}

/* Looks up the rows of the stream that this rank has. */
static void look_up(uly__model *model) {
  const uly__params *params = &model->params;
  model->ops->embedding_forward(model->stream, model->num_tokens, model->config.hidden,
                                model->dtype, uly__weight(model, ULY_UNIT_EMBED, params->embed),
                                uly__weight(model, ULY_UNIT_EMBED, params->positions), NULL,
                                model->input.tokens, model->input.positions,
                                uly__stash_at(&model->stash, 0)->x);
}

static uly__rows_held rows_held(const uly__model *model) {
  return (uly__rows_held){model->share.vocab, model->share.positions};
}

/* Looks up what this rank has of the embeddings of tile i, and starts to add up what all have. */
static void look_up_part(uly__model *model, int64_t i) {
  const uly__params *params = &model->params;
  uly__rows_held held = rows_held(model);
  if (i >= model->tiles.num) return;
  uly__tile_range tile = model->tiles.list[i];
  model->ops->embedding_forward(model->stream, tile.rows, model->config.hidden, model->dtype,
                                uly__weight(model, ULY_UNIT_EMBED, params->embed),
                                uly__weight(model, ULY_UNIT_EMBED, params->positions), &held,
                                model->input.tokens + tile.begin,
                                model->input.positions + tile.begin,
                                uly__model_partial(model, ULY_SUM_ATTENDED, i));
  uly__model_note(model, uly__tensor_sum(&model->tensor, ULY_SUM_ATTENDED,
                                         ULY_TRAFFIC_TENSOR_FORWARD, i, tile.rows, true));
}

/* Stores this rank's rows of tile i. */
static void store_embeddings(uly__model *model, int64_t i) {
  if (i < 0) return;
  uly__tile_range tile = model->tiles.list[i];
  int64_t h = model->config.hidden;
  const float *sum = uly__model_summed(model, ULY_SUM_ATTENDED, i);
  void *x = uly__at(uly__stash_at(&model->stash, 0)->x, model->dtype, tile.own_begin * h);
  model->ops->keep_sum(model->stream, tile.own_rows * h, model->dtype, sum, true, x);
}

static void embed(uly__model *model) {
  uly__model_acquire(model, ULY_UNIT_EMBED, uly__unit_of_block(0));
  if (model->tensor.size == 1) look_up(model);
  for (int64_t i = 0; model->tensor.size > 1 && i <= model->tiles.num; i++) {
    look_up_part(model, i);
    store_embeddings(model, i - 1);
    uly__model_poll(model);
  }
  uly__watch_embedding(model);
  release(model, ULY_UNIT_EMBED);
}

static uly__chunk chunk_of(const uly__model *model, int chunk) {
  return model->stage.chunks[chunk];
}

int uly__pass_unit_after(const uly__model *model, uly__chunk chunk, int layer) {
  /* The unit after the last block is that of the head. */
  bool has_next = layer + 1 < chunk.last || uly__chunk_has_head(chunk, &model->config);
  return has_next ? uly__unit_of_block(layer) + 1 : -1;
}

/* Returns the unit that is used after a block in backward; -1: none is prefetched. */
static int unit_before(uly__chunk chunk, int layer) {
  return layer > chunk.first ? uly__unit_of_block(layer - 1) : -1;
}

void uly__pass_forward(uly__model *model, int chunk, bool keeps) {
  uly__chunk layers = chunk_of(model, chunk);
  if (uly__chunk_embeds(layers)) embed(model);
  for (int i = layers.first; i < layers.last; i++) {
    int unit = uly__unit_of_block(i);
    uly__model_acquire(model, unit, uly__pass_unit_after(model, layers, i));
    uly__model_note(model, uly__stash_reserve(&model->stash, i));
    double begin = uly__now();
    uly__block_forward(model, i, uly__stash_at(&model->stash, i + 1)->x);
    uly__span_end("forward block", i, ULY_LANE_COMPUTE, begin);
    if (model->after_block) model->after_block(model->after_block_context, i);
    if (keeps) uly__stash_keep(&model->stash, i);
    release(model, unit);
  }
}

/* Computes final norm, head and loss; with scale != 0 also backward. */
static void head(uly__model *model, float scale, uly__exact_sum *loss) {
  int last = uly__last_unit(&model->params), unit = model->params.head_unit;
  bool trains = scale != 0.0f;
  uly__model_acquire(model, last, -1);
  uly__model_acquire(model, unit, trains ? uly__unit_of_block(model->config.num_layers - 1) : -1);
  if (trains) begin_grads(model, last);
  if (trains && unit != last) begin_grads(model, unit);
  double begin = uly__now();
  uly__head(model, scale, loss);
  uly__span_end("head", -1, ULY_LANE_COMPUTE, begin);
  release(model, last);
  release(model, unit);
  if (trains) end_grads(model, last);
  if (trains && unit != last) end_grads(model, unit);
}

/* Adds the gradients of tile i to those of the embeddings that this rank has. */
static void tile_backward(uly__model *model, int64_t i) {
  const uly__params *params = &model->params;
  uly__rows_held held = rows_held(model);
  if (i < 0) return;
  uly__tile_range tile = model->tiles.list[i];
  const void *d_x = uly__model_gathered(model, ULY_GATHER_D_OUTPUT, i);
  model->ops->embedding_backward(
      model->stream, tile.rows, model->config.hidden, model->dtype,
      model->tensor.size > 1 ? &held : NULL, model->input.tokens + tile.begin,
      model->input.positions + tile.begin, d_x, uly__grad(model, ULY_UNIT_EMBED, params->embed),
      uly__grad(model, ULY_UNIT_EMBED, params->positions));
  if (tile.ends_segment >= 0)
    uly__zero_fold(model->zero, ULY_UNIT_EMBED, tile.ends_segment, 0,
                   params->units[ULY_UNIT_EMBED].local_count);
}

static void embedding_backward(uly__model *model) {
  int64_t h = model->config.hidden, lag = model->tensor.lag;
  double begin = uly__now();
  begin_grads(model, ULY_UNIT_EMBED);
  for (int64_t i = 0; i < model->tiles.num + lag; i++) {
    if (i < model->tiles.num) {
      uly__tile_range tile = model->tiles.list[i];
      uly__model_gather(model, ULY_GATHER_D_OUTPUT, ULY_TRAFFIC_TENSOR_BACKWARD, i, tile.rows,
                        uly__at(model->d_x, model->dtype, tile.own_begin * h));
    }
    tile_backward(model, i - lag);
  }
  uly__span_end("embedding", -1, ULY_LANE_COMPUTE, begin);
  end_grads(model, ULY_UNIT_EMBED);
}

void uly__pass_backward(uly__model *model, int chunk, float scale, uly__exact_sum *loss) {
  uly__chunk layers = chunk_of(model, chunk);
  if (uly__chunk_has_head(layers, &model->config)) head(model, scale, loss);
  for (int i = layers.last - 1; i >= layers.first; i--) {
    int unit = uly__unit_of_block(i);
    uly__model_acquire(model, unit, unit_before(layers, i));
    uly__model_note(model, uly__stash_acquire(&model->stash, i));
    begin_grads(model, unit);
    double begin = uly__now();
    uly__block_backward(model, i);
    uly__span_end("backward block", i, ULY_LANE_COMPUTE, begin);
    uly__stash_release(&model->stash, i);
    end_grads(model, unit);
    release(model, unit);
  }
  if (uly__chunk_embeds(layers)) embedding_backward(model);
}

void uly__pass_losses(uly__model *model, uly__exact_sum *losses) { head(model, 0.0f, losses); }

/* Counts what uly__model_acquire gathers. */
static void count_acquire(uly__zero_gathers *count, int unit, int next) {
  uly__zero_gathers_use(count, unit);
  if (next >= 0) uly__zero_gathers_use(count, next);
}

static void count_head(const uly__model *model, bool trains, uly__zero_gathers *count) {
  int last_block = uly__unit_of_block(model->config.num_layers - 1);
  count_acquire(count, uly__last_unit(&model->params), -1);
  count_acquire(count, model->params.head_unit, trains ? last_block : -1);
}

void uly__pass_count_gathers(const uly__model *model, uly__schedule_item item,
                             uly__zero_gathers *count) {
  uly__chunk layers = chunk_of(model, item.chunk);
  bool trains = !uly__model_is_forward_only(model);
  bool has_head = uly__chunk_has_head(layers, &model->config);
  if (item.operation == ULY_FORWARD) {
    if (uly__chunk_embeds(layers)) count_acquire(count, ULY_UNIT_EMBED, uly__unit_of_block(0));
    for (int i = layers.first; i < layers.last; i++)
      count_acquire(count, uly__unit_of_block(i), uly__pass_unit_after(model, layers, i));
    if (has_head && !trains) count_head(model, false, count);
  } else {
    if (has_head) count_head(model, true, count);
    for (int i = layers.last - 1; i >= layers.first; i--)
      count_acquire(count, uly__unit_of_block(i), unit_before(layers, i));
  }
}

/* Prepares the products of tiles, which have few different numbers of rows. */
static uly_status prepare_tiles(const uly__model *model, const uly__tiles *tiles,
                                uly_status (*prepare)(const uly__model *model, int64_t rows)) {
  for (int64_t i = 0; i < tiles->num; i++)
    if (i == 0 || tiles->list[i].rows != tiles->list[i - 1].rows)
      ULY_TRY(prepare(model, tiles->list[i].rows));
  return ULY_OK;
}

uly_status uly__pass_prepare(const uly__model *model) {
  if (model->use == ULY_MODEL_DECODES) return ULY_OK;
  ULY_TRY(prepare_tiles(model, &model->tiles, uly__block_prepare));
  if (model->use == ULY_MODEL_PREFILLS || !uly__stage_has_head(&model->stage, &model->config))
    return ULY_OK;
  return prepare_tiles(model, &model->head_tiles, uly__head_prepare);
}
