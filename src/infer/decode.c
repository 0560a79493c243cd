/* Decoding: a block for one token, cut by outputs over the ranks. See decode.h; the steps are those
 * of block.c, and numbers are rounded to the storage type at the same places. */
#include "infer/decode.h"

#include <stdlib.h>

#include "base/integers.h"
#include "model/passes.h"
#include "model/pipeline.h"

/* ---------------------------------------------------------------------------- creation */

/* Divides the heads, inner features and vocabulary of this rank's share of tensor parallelism, and
 * the hidden features, over the ranks that share the sequence; and the whole vocabulary over the
 * shares. */
static void divide(uly__decoder *d, uly__part *parts) {
  const uly__model *model = d->model;
  const uly_attention *attention = model->attention;
  const uly__tensor_share *share = &model->share;
  uly__group *sequence = attention->group, *shares = model->tensor.group;
  int num = uly__group_size(sequence);
  int64_t dim = attention->desc.head_dim;
  for (int p = 0; p < num; p++) {
    uly__head_range heads = attention->scheme->heads_of(attention, p);
    parts[p] = (uly__part){(heads.q_begin - share->q_heads.begin) * dim, heads.q_count * dim};
  }
  uly_traffic kind = ULY_TRAFFIC_ATTENTION_FORWARD;
  d->parts = parts;
  d->heads = uly__shared_of(sequence, kind, parts);
  d->hidden = uly__shared_cut(sequence, kind, parts += num, model->config.hidden);
  d->inner = uly__shared_cut(sequence, kind, parts += num, share->ffn.count);
  d->logits = uly__shared_cut(sequence, kind, parts += num, share->vocab.count);
  parts += num;
  for (int t = 0; t < share->size; t++)
    parts[t] = uly__tensor_share_of(&model->config, share->size, t).vocab;
  d->vocab = uly__shared_of(shares, ULY_TRAFFIC_TENSOR_FORWARD, parts);
}

/* Fills the cache after the model has gone through a block of the prompt. */
static void take_block(void *decoder, int layer) {
  uly__decoder *d = decoder;
  uly__cache_fill(&d->cache, d->model->attention, layer,
                  &uly__stash_at(&d->model->stash, layer)->attention);
}

static uly_status check(const uly__model_config *c, int64_t capacity) {
  if (!c->rope && capacity > c->max_positions)
    ULY_FAIL(ULY_ERR_CONFIG,
             "the prompt and the text to generate have %lld tokens, but the model has learned "
             "positions for %lld: give a shorter prompt, or generate fewer tokens",
             (long long)capacity, (long long)c->max_positions);
  return ULY_OK;
}

/* Returns the layers of this stage, which are one chunk. */
static uly__chunk layers_of(const uly__decoder *d) { return d->model->stage.chunks[0]; }

static bool is_last_stage(const uly__decoder *d) {
  return uly__chunk_has_head(layers_of(d), &d->model->config);
}

static uly_status make_cache(uly__decoder *d, const uly__model_run *run, int64_t capacity) {
  const uly__model_config *c = &d->model->config;
  uly__model_masks masks;
  ULY_TRY(uly__model_make_masks(c, run, capacity, &masks));
  uly_status status = uly__cache_create(d->model->attention, masks.list, masks.num, layers_of(d),
                                        capacity, &d->cache);
  uly__model_free_masks(&masks);
  return status;
}

uly_status uly__decoder_create(uly__model *model, const uly__model_run *run, int64_t capacity,
                               uly__decoder **out) {
  const uly__model_config *c = &model->config;
  ULY_TRY(check(c, capacity));
  int num_ranks = uly__group_size(model->attention->group);
  uly__decoder *d = calloc(1, sizeof *d);
  uly__part *parts = calloc(4 * (size_t)num_ranks + (size_t)model->share.size, sizeof *parts);
  if (!d || !parts) {
    free(d);
    free(parts);
    ULY_FAIL(ULY_ERR_MEMORY, "no memory for decoding on %d ranks", num_ranks);
  }
  *out = d;
  d->model = model;
  divide(d, parts);
  model->after_block = take_block;
  model->after_block_context = d;
  return make_cache(d, run, capacity);
}

void uly__decoder_destroy(uly__decoder *decoder) {
  if (!decoder) return;
  uly__cache_destroy(&decoder->cache);
  free(decoder->parts);
  free(decoder);
}

void uly__decoder_carve(uly__decoder *d, uly__arena *activations, uly__arena *scratch,
                        uly__arena *host) {
  const uly__model *model = d->model;
  const uly__model_config *c = &model->config;
  int64_t bytes = uly__dtype_bytes(model->dtype), wide = sizeof(float);
  const uly__tensor_share *share = &model->share;
  int64_t q_row = share->q_heads.count * c->head_dim;
  int64_t kv = (int64_t)d->cache.heads.kv_count * c->head_dim,
          q = (int64_t)d->cache.heads.q_count * c->head_dim;
  int64_t inner = uly__shared_mine(&d->inner).count;
  uly__cache_carve(&d->cache, activations);
  uly__input_carve(&d->input, model->stream, 1, scratch);
  void **vectors[] = {&d->x, &d->mid, &d->n, &d->q, &d->k, &d->v, &d->o, &d->up, &d->act};
  int64_t counts[] = {c->hidden, c->hidden, c->hidden, q, kv, kv, q_row, inner, share->ffn.count};
  for (int i = 0; i < 9; i++) *vectors[i] = uly__arena_carve(scratch, counts[i] * bytes);
  d->gate = c->gated ? uly__arena_carve(scratch, inner * bytes) : NULL;
  int64_t inputs = uly__max(uly__max(c->hidden, share->ffn.count), q_row);
  d->wide = model->dtype == ULY_F32 ? NULL : uly__arena_carve(scratch, inputs * wide);
  d->sum = uly__arena_carve(scratch, c->hidden * wide);
  d->angles = c->rope ? uly__arena_carve(scratch, c->head_dim * wide) : NULL;
  d->attention = uly__arena_carve(scratch, uly__cache_workspace(&d->cache) * wide);
  int64_t part = uly__max(uly__max(d->heads.largest, d->inner.largest), uly__max(q, kv));
  part = uly__max(part, uly__max(d->hidden.largest, d->logits.largest));
  part = uly__max(part, (c->hidden * bytes + wide - 1) / wide); /* the last row of a prompt */
  if (share->size > 1) part = uly__max(part, uly__max(c->hidden, d->vocab.largest));
  d->mine = uly__arena_carve(scratch, part * wide);
  int num_ranks = uly__group_size(d->heads.group);
  d->of_all = uly__arena_carve(scratch, uly__max(num_ranks, share->size) * part * wide);
  d->all_logits = uly__arena_carve(scratch, c->vocab * wide);
  d->host_logits = uly__arena_carve(host, uly__room_bytes(model->stream, c->vocab * wide));
}

/* ---------------------------------------------------------------------------- vectors */

/* Gathers decoder->mine, a part on each rank, into `out` on all ranks. */
static void gather(uly__decoder *d, const uly__shared_vector *vector, uly_dtype dtype, void *out) {
  uly__model_note(d->model,
                  uly__shared_gather(vector, d->model->stream, dtype, d->mine, d->of_all, out));
}

/* Adds up h elements, of which each rank of tensor parallelism has a term. */
static void sum(uly__decoder *d, uly_dtype dtype, void *x) {
  uly__model *model = d->model;
  uly__model_note(model, uly__shared_sum(model->tensor.group, model->ops, model->stream, dtype,
                                         model->config.hidden, x, d->of_all));
}

/* Returns a vector in the form that products read. */
static const float *widened(uly__decoder *d, const void *x, int64_t count) {
  const uly__model *model = d->model;
  if (model->dtype == ULY_F32) return x;
  model->ops->to_f32(model->stream, count, x, d->wide);
  return d->wide;
}

/* Multiplies rows [begin, begin + count) of a matrix by x, in f32, and lets the gather of the next
 * weights go on. */
static void product(uly__decoder *d, int unit, int64_t weight, int64_t cols, uly__part rows,
                    const float *x, float *y) {
  uly__model *model = d->model;
  model->ops->matvec(model->stream, rows.count, cols, cols, model->dtype,
                     uly__weight(model, unit, weight + rows.begin * cols), x, y);
  uly__model_poll(model);
}

/* Does the same, rounds to the storage type, then adds a bias unless that is -1. */
static void linear(uly__decoder *d, int unit, int64_t weight, int64_t bias, int64_t cols,
                   uly__part rows, const float *x, void *y) {
  const uly__model *model = d->model;
  float *sums = model->dtype == ULY_F32 ? y : d->mine;
  product(d, unit, weight, cols, rows, x, sums);
  if (model->dtype == ULY_BF16) model->ops->to_bf16(model->stream, rows.count, sums, y);
  if (bias >= 0)
    model->ops->add_bias(model->stream, 1, rows.count, rows.count, model->dtype, y,
                         uly__weight(model, unit, bias + rows.begin));
}

static void norm(uly__decoder *d, int unit, int64_t weight, int64_t bias, const void *x, void *y) {
  const uly__model *model = d->model;
  uly__norm_args args = uly__model_norm(model, unit, weight, bias);
  model->ops->norm_forward(model->stream, &args, 1, model->config.hidden, model->dtype, x, y);
}

/* ------------------------------------------------------------------------------ a block */

/* Computes from x the outputs o of all heads of this rank's share. */
static void attend(uly__decoder *d, int layer) {
  uly__model *model = d->model;
  const uly__block_layout *b = &model->params.block;
  int64_t h = model->config.hidden, dim = model->config.head_dim;
  int unit = uly__unit_of_block(layer);
  norm(d, unit, b->norm1, b->norm1_bias, d->x, d->n);
  const float *n = widened(d, d->n, h);
  uly__part q = uly__shared_mine(&d->heads);
  uly__part kv = {(d->cache.heads.kv_begin - model->share.kv_heads.begin) * dim,
                  d->cache.heads.kv_count * dim};
  linear(d, unit, b->wq, b->bq, h, q, n, d->q);
  linear(d, unit, b->wk, b->bk, h, kv, n, d->k);
  linear(d, unit, b->wv, b->bv, h, kv, n, d->v);
  if (b->q_norm >= 0) {
    uly__norm_args q_norm = uly__model_norm(model, unit, b->q_norm, -1);
    uly__norm_args k_norm = uly__model_norm(model, unit, b->k_norm, -1);
    model->ops->norm_heads(model->stream, &q_norm, 1, d->cache.heads.q_count, (int)dim, q.count,
                           model->dtype, d->q);
    model->ops->norm_heads(model->stream, &k_norm, 1, d->cache.heads.kv_count, (int)dim, kv.count,
                           model->dtype, d->k);
  }
  if (uly__layer_has_rope(&model->config, layer)) {
    model->ops->rope(model->stream, 1, d->cache.heads.q_count, (int)dim, q.count, model->dtype,
                     d->angles, 1.0f, d->q);
    model->ops->rope(model->stream, 1, d->cache.heads.kv_count, (int)dim, kv.count, model->dtype,
                     d->angles, 1.0f, d->k);
  }
  uly__cache_add(&d->cache, layer, d->k, d->v);
  uly__attend_one one =
      uly__cache_attend(&d->cache, layer, uly__model_mask(model, layer),
                        model->attention->desc.scale, d->q, d->mine, d->attention);
  model->ops->attend_one(model->stream, &one);
  gather(d, &d->heads, model->dtype, d->o);
}

/* Computes all h elements of sum = W x; x: the inputs of this rank's share. */
static void project(uly__decoder *d, int unit, int64_t weight, int64_t cols, const void *x) {
  product(d, unit, weight, cols, uly__shared_mine(&d->hidden), widened(d, x, cols), d->mine);
  gather(d, &d->hidden, ULY_F32, d->sum);
  sum(d, ULY_F32, d->sum);
}

/* Computes all inner activations of this rank's share from n. */
static void activate(uly__decoder *d, int unit) {
  uly__model *model = d->model;
  const uly__block_layout *b = &model->params.block;
  int64_t h = model->config.hidden;
  uly__part inner = uly__shared_mine(&d->inner);
  const float *n = widened(d, d->n, h);
  if (model->config.gated) {
    linear(d, unit, b->w_gate, b->b_gate, h, inner, n, d->gate);
    linear(d, unit, b->w_up, b->b_up, h, inner, n, d->up);
    model->ops->swiglu_forward(model->stream, inner.count, model->dtype, d->gate, d->up, d->mine);
  } else {
    linear(d, unit, b->w_up, -1, h, inner, n, d->up);
    const void *bias = b->b_up < 0 ? NULL : uly__weight(model, unit, b->b_up + inner.begin);
    model->ops->gelu_forward(model->stream, 1, inner.count, model->dtype, d->up, bias, d->mine);
  }
  gather(d, &d->inner, model->dtype, d->act);
}

static void decode_block(uly__decoder *d, int layer) {
  uly__model *model = d->model;
  const uly__block_layout *b = &model->params.block;
  const uly__model_config *c = &model->config;
  int unit = uly__unit_of_block(layer);
  attend(d, layer);
  project(d, unit, b->wo, model->share.q_heads.count * c->head_dim, d->o);
  uly__norm_args norm2 = uly__model_norm(model, unit, b->norm2, b->norm2_bias);
  model->ops->residual_norm(model->stream, &norm2, 1, c->hidden, model->dtype, d->x, d->sum,
                            uly__weight(model, unit, b->bo), d->mid, d->n);
  activate(d, unit);
  project(d, unit, b->w_down, model->share.ffn.count, d->act);
  model->ops->residual(model->stream, 1, c->hidden, model->dtype, d->mid, d->sum,
                       uly__weight(model, unit, b->b_down), d->x);
}

/* ------------------------------------------------------------------------------- a token */

/* Computes all logits from x, after the last block. */
static void compute_logits(uly__decoder *d) {
  uly__model *model = d->model;
  const uly__params *params = &model->params;
  int last = uly__last_unit(params), unit = params->head_unit;
  uly__model_acquire(model, last, -1);
  uly__model_acquire(model, unit, -1);
  norm(d, last, params->norm, params->norm_bias, d->x, d->n);
  product(d, unit, params->head, model->config.hidden, uly__shared_mine(&d->logits),
          widened(d, d->n, model->config.hidden), d->mine);
  if (model->share.size == 1) {
    gather(d, &d->logits, ULY_F32, d->all_logits);
  } else {
    gather(d, &d->logits, ULY_F32, d->mine);
    gather(d, &d->vocab, ULY_F32, d->all_logits);
  }
  uly__zero_release(model->zero, last);
  uly__zero_release(model->zero, unit);
}

/* Computes the logits on the last stage, and sends them to all stages and to the host. */
static void finish(uly__decoder *d) {
  uly__model *model = d->model;
  int64_t bytes = model->config.vocab * (int64_t)sizeof(float);
  if (is_last_stage(d)) compute_logits(d);
  uly__model_note(model, uly__boundary_share_last(&model->boundary, bytes, d->all_logits));
  d->next_logits = uly__download(model->stream, d->host_logits, d->all_logits, bytes);
}

/* Copies the output of this rank's token t to x. If tensor parallelism divides the rows of the
 * tile, only the rank that has the row copies it. */
static void take_row(uly__decoder *d, int64_t t) {
  uly__model *model = d->model;
  int64_t h = model->config.hidden, i = 0;
  while (t >= model->tiles.list[i].begin + model->tiles.list[i].rows) i++;
  uly__tile_range tile = model->tiles.list[i];
  int64_t row = t - tile.begin - tile.first_own, bytes = h * uly__dtype_bytes(model->dtype);
  if (row < 0 || row >= tile.own_rows) return;
  uly__copy(model->stream, d->x,
            uly__at(uly__stash_at(&model->stash, model->config.num_layers)->x, model->dtype,
                    (tile.own_begin + row) * h),
            bytes);
}

/* Leaves in x, on all ranks of the last stage, the output of the last token. */
static void share_last_row(uly__decoder *d) {
  uly__model *model = d->model;
  uly__group *sequence = model->attention->group;
  int64_t bytes = model->config.hidden * uly__dtype_bytes(model->dtype), t;
  int holder; /* of the last token */
  uly__token_cut_find(model->cut, model->cut->num_tokens - 1, &holder, &t);
  uly__clear(model->stream, d->x, bytes);
  if (holder == model->cut->rank) take_row(d, t);
  sum(d, model->dtype, d->x);
  uly__model_note(model, uly__all_gather(sequence, model->stream, ULY_TRAFFIC_ATTENTION_FORWARD,
                                         d->x, bytes, d->of_all));
  uly__copy(model->stream, d->x, (const char *)d->of_all + holder * bytes, bytes);
}

static uly__micro_batch take_prompt(void *decoder, int64_t micro_batch) {
  (void)micro_batch;
  const uly__decoder *d = decoder;
  return (uly__micro_batch){.tokens = d->prompt};
}

void uly__prefill(uly__decoder *d, const int32_t *tokens) {
  uly__pipeline_run run = {.schedule = &d->model->schedule, .prepare = take_prompt, .context = d};
  d->prompt = tokens;
  uly__pipeline_run_schedule(d->model, &run);
  d->cache.num_tokens = d->model->cut->num_tokens;
  if (is_last_stage(d)) share_last_row(d);
  finish(d);
}

/* Computes the token's embedding in x. */
static void embed(uly__decoder *d) {
  uly__model *model = d->model;
  const uly__params *params = &model->params;
  uly__rows_held held = {model->share.vocab, model->share.positions};
  uly__model_acquire(model, ULY_UNIT_EMBED, uly__unit_of_block(0));
  model->ops->embedding_forward(model->stream, 1, model->config.hidden, model->dtype,
                                uly__weight(model, ULY_UNIT_EMBED, params->embed),
                                uly__weight(model, ULY_UNIT_EMBED, params->positions),
                                model->share.size > 1 ? &held : NULL, d->input.tokens,
                                d->input.positions, d->x);
  uly__zero_release(model->zero, ULY_UNIT_EMBED);
  sum(d, model->dtype, d->x);
}

void uly__decode(uly__decoder *d, int32_t token) {
  uly__model *model = d->model;
  const uly__model_config *c = &model->config;
  uly__chunk layers = layers_of(d);
  uly__schedule_item pass = {.operation = ULY_FORWARD};
  d->token = token;
  d->position = d->cache.num_tokens;
  uly__input_set_tokens(&d->input, &d->token, NULL);
  uly__input_set_positions(&d->input, &d->position);
  if (d->angles)
    model->ops->rope_table(model->stream, 1, d->input.positions, c->head_dim, &model->rope,
                           d->angles);
  uly__model_note(model, uly__boundary_begin(&model->boundary));
  if (uly__chunk_embeds(layers)) embed(d);
  uly__model_note(model, uly__boundary_receive_row(&model->boundary, pass, d->x));
  for (int i = layers.first; i < layers.last; i++) {
    int unit = uly__unit_of_block(i);
    uly__model_acquire(model, unit, uly__pass_unit_after(model, layers, i));
    decode_block(d, i);
    uly__zero_release(model->zero, unit);
  }
  uly__model_note(model, uly__boundary_send_row(&model->boundary, pass, d->x));
  finish(d);
  d->cache.num_tokens++;
}
