/* Decoding: a block for one token, cut by outputs over the ranks. See decode.h; the steps are those
 * of block.c, and numbers are rounded to the storage type at the same places. */
#include "infer/decode.h"

#include <stdlib.h>

#include "model/passes.h"

/* Each rank's part begins at a multiple of this many elements, a whole vector, so that operations
 * on single elements give the same bits wherever the parts begin. */
enum { UNIT = 16 };

/* ---------------------------------------------------------------------------- creation */

static void note_largest(const uly__decoder *d, uly__shared_vector *vector) {
  for (int p = 0; p < d->num_parts; p++)
    if (vector->parts[p].count > vector->largest) vector->largest = vector->parts[p].count;
}

static void cut(const uly__decoder *d, uly__shared_vector *vector, uly__part *parts,
                int64_t count) {
  vector->parts = parts;
  for (int p = 0; p < d->num_parts; p++) parts[p] = uly__split(count, UNIT, d->num_parts, p);
  note_largest(d, vector);
}

/* Cuts the query heads of each rank. */
static void cut_heads(uly__decoder *d, const uly_attention *attention) {
  int64_t dim = attention->desc.head_dim;
  for (int p = 0; p < d->num_parts; p++) {
    uly__head_range heads = attention->scheme->heads_of(attention, p);
    d->heads.parts[p] = (uly__part){heads.q_begin * dim, heads.q_count * dim};
  }
  note_largest(d, &d->heads);
}

/* Fills the cache after the model has gone through a block of the prompt. */
static void take_block(void *decoder, int layer) {
  uly__decoder *d = decoder;
  uly__cache_fill(&d->cache, d->model->attention, layer, &d->model->stash.layers[layer].attention);
}

static uly_status check(const uly__model_config *c, int64_t capacity) {
  if (!c->rope && capacity > c->max_positions)
    ULY_FAIL(ULY_ERR_CONFIG,
             "the prompt and the text to generate have %lld tokens, but the model has learned "
             "positions for %lld: give a shorter prompt, or generate fewer tokens",
             (long long)capacity, (long long)c->max_positions);
  return ULY_OK;
}

static uly_status make_cache(uly__decoder *d, const uly__model_run *run, int64_t capacity) {
  const uly__model_config *c = &d->model->config;
  uly_block_layout *blocks;
  uly_mask mask;
  ULY_TRY(uly__model_make_mask(c, run, capacity, &mask, &blocks));
  uly_status status =
      uly__cache_create(d->model->attention, &mask, d->model->num_layers, capacity, &d->cache);
  uly_block_layout_destroy(blocks);
  return status;
}

uly_status uly__decoder_create(uly__model *model, const uly__model_run *run, int64_t capacity,
                               uly__decoder **out) {
  const uly__model_config *c = &model->config;
  ULY_TRY(check(c, capacity));
  int num_ranks = uly__group_size(model->attention->group);
  uly__decoder *d = calloc(1, sizeof *d);
  uly__part *parts = calloc(4 * (size_t)num_ranks, sizeof *parts);
  *out = d;
  if (d) d->heads.parts = parts;
  if (!d || !parts) {
    free(d ? NULL : parts);
    ULY_FAIL(ULY_ERR_MEMORY, "no memory for decoding on %d ranks", num_ranks);
  }
  d->model = model;
  d->num_parts = num_ranks;
  d->part = uly__group_rank(model->attention->group);
  cut_heads(d, model->attention);
  cut(d, &d->hidden, parts + num_ranks, c->hidden);
  cut(d, &d->inner, parts + (ptrdiff_t)2 * num_ranks, c->ffn);
  cut(d, &d->logits, parts + (ptrdiff_t)3 * num_ranks, c->vocab);
  model->after_block = take_block;
  model->after_block_context = d;
  return make_cache(d, run, capacity);
}

void uly__decoder_destroy(uly__decoder *decoder) {
  if (!decoder) return;
  uly__cache_destroy(&decoder->cache);
  free(decoder->heads.parts); /* the one allocation behind all four */
  free(decoder);
}

static int64_t most(int64_t a, int64_t b) { return a > b ? a : b; }

void uly__decoder_carve(uly__decoder *d, uly__arena *activations, uly__arena *scratch,
                        uly__arena *host) {
  const uly__model *model = d->model;
  const uly__model_config *c = &model->config;
  int64_t bytes = uly__dtype_bytes(model->dtype), wide = sizeof(float);
  int64_t q_row = (int64_t)c->num_q_heads * c->head_dim;
  int64_t kv = (int64_t)d->cache.heads.kv_count * c->head_dim,
          q = (int64_t)d->cache.heads.q_count * c->head_dim;
  int64_t inner = d->inner.parts[d->part].count;
  uly__cache_carve(&d->cache, activations);
  uly__input_carve(&d->input, model->stream, 1, scratch);
  void **vectors[] = {&d->x, &d->mid, &d->n, &d->q, &d->k, &d->v, &d->o, &d->up, &d->act};
  int64_t counts[] = {c->hidden, c->hidden, c->hidden, q, kv, kv, q_row, inner, c->ffn};
  for (int i = 0; i < 9; i++) *vectors[i] = uly__arena_carve(scratch, counts[i] * bytes);
  d->gate = c->gated ? uly__arena_carve(scratch, inner * bytes) : NULL;
  int64_t inputs = most(most(c->hidden, c->ffn), q_row);
  d->wide = model->dtype == ULY_F32 ? NULL : uly__arena_carve(scratch, inputs * wide);
  d->sum = uly__arena_carve(scratch, c->hidden * wide);
  d->angles = c->rope ? uly__arena_carve(scratch, c->head_dim * wide) : NULL;
  d->attention = uly__arena_carve(scratch, uly__cache_workspace(&d->cache) * wide);
  int64_t part = most(most(d->heads.largest, d->inner.largest), most(q, kv));
  part = most(part, most(d->hidden.largest, d->logits.largest));
  part = most(part, (c->hidden * bytes + wide - 1) / wide); /* the last row of a prompt */
  d->mine = uly__arena_carve(scratch, part * wide);
  d->of_all = uly__arena_carve(scratch, d->num_parts * part * wide);
  d->all_logits = uly__arena_carve(scratch, c->vocab * wide);
  d->host_logits = uly__arena_carve(host, uly__room_bytes(model->stream, c->vocab * wide));
}

/* ---------------------------------------------------------------------------- vectors */

static uly__part my_part(uly__decoder *d, const uly__shared_vector *vector) {
  return vector->parts[d->part];
}

/* Gathers decoder->mine, a part on each rank, into `out` on all ranks. */
static void gather(uly__decoder *d, const uly__shared_vector *vector, uly_dtype dtype, void *out) {
  uly__model *model = d->model;
  int64_t bytes = uly__dtype_bytes(dtype), stride = vector->largest * bytes;
  uly__model_note(
      model, uly__all_gather(model->attention->group, model->stream, ULY_TRAFFIC_ATTENTION_FORWARD,
                             d->mine, stride, d->of_all));
  for (int p = 0; p < d->num_parts; p++)
    uly__copy(model->stream, uly__at(out, dtype, vector->parts[p].begin),
              (const char *)d->of_all + p * stride, vector->parts[p].count * bytes);
}

/* Returns a vector in the form that products read. */
static const float *widened(uly__decoder *d, const void *x, int64_t count) {
  const uly__model *model = d->model;
  if (model->dtype == ULY_F32) return x;
  model->ops->to_f32(model->stream, count, x, d->wide);
  return d->wide;
}

/* Multiplies rows [begin, begin + count) of a matrix by x, in f32. */
static void product(uly__decoder *d, int unit, int64_t weight, int64_t cols, uly__part rows,
                    const float *x, float *y) {
  const uly__model *model = d->model;
  model->ops->matvec(model->stream, rows.count, cols, cols, model->dtype,
                     uly__weight(model, unit, weight + rows.begin * cols), x, y);
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

/* Computes from x the outputs o of all heads. */
static void attend(uly__decoder *d, int layer) {
  uly__model *model = d->model;
  const uly__block_layout *b = &model->params.block;
  int64_t h = model->config.hidden, dim = model->config.head_dim;
  int unit = uly__unit_of_block(layer);
  norm(d, unit, b->norm1, b->norm1_bias, d->x, d->n);
  const float *n = widened(d, d->n, h);
  uly__part q = my_part(d, &d->heads);
  uly__part kv = {d->cache.heads.kv_begin * dim, d->cache.heads.kv_count * dim};
  linear(d, unit, b->wq, b->bq, h, q, n, d->q);
  linear(d, unit, b->wk, b->bk, h, kv, n, d->k);
  linear(d, unit, b->wv, b->bv, h, kv, n, d->v);
  if (d->angles) {
    model->ops->rope(model->stream, 1, d->cache.heads.q_count, (int)dim, q.count, model->dtype,
                     d->angles, 1.0f, d->q);
    model->ops->rope(model->stream, 1, d->cache.heads.kv_count, (int)dim, kv.count, model->dtype,
                     d->angles, 1.0f, d->k);
  }
  uly__cache_add(&d->cache, layer, d->k, d->v);
  uly__attend_one one = uly__cache_attend(&d->cache, layer, model->attention->desc.scale, d->q,
                                          d->mine, d->attention);
  model->ops->attend_one(model->stream, &one);
  gather(d, &d->heads, model->dtype, d->o);
}

/* Computes all h elements of sum = W x. */
static void project(uly__decoder *d, int unit, int64_t weight, int64_t cols, const void *x) {
  product(d, unit, weight, cols, my_part(d, &d->hidden), widened(d, x, cols), d->mine);
  gather(d, &d->hidden, ULY_F32, d->sum);
}

/* Computes all f inner activations from n. */
static void activate(uly__decoder *d, int unit) {
  uly__model *model = d->model;
  const uly__block_layout *b = &model->params.block;
  int64_t h = model->config.hidden;
  uly__part inner = my_part(d, &d->inner);
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
  project(d, unit, b->wo, (int64_t)c->num_q_heads * c->head_dim, d->o);
  uly__norm_args norm2 = uly__model_norm(model, unit, b->norm2, b->norm2_bias);
  model->ops->residual_norm(model->stream, &norm2, 1, c->hidden, model->dtype, d->x, d->sum,
                            uly__weight(model, unit, b->bo), d->mid, d->n);
  activate(d, unit);
  project(d, unit, b->w_down, c->ffn, d->act);
  model->ops->residual(model->stream, 1, c->hidden, model->dtype, d->mid, d->sum,
                       uly__weight(model, unit, b->b_down), d->x);
}

/* ------------------------------------------------------------------------------- a token */

/* Computes the logits from x, after the last block. */
static void finish(uly__decoder *d) {
  uly__model *model = d->model;
  const uly__params *params = &model->params;
  int last = uly__last_unit(params), unit = params->head_unit;
  uly__model_acquire(model, last, -1);
  uly__model_acquire(model, unit, -1);
  norm(d, last, params->norm, params->norm_bias, d->x, d->n);
  product(d, unit, params->head, model->config.hidden, my_part(d, &d->logits),
          widened(d, d->n, model->config.hidden), d->mine);
  gather(d, &d->logits, ULY_F32, d->all_logits);
  d->next_logits = uly__download(model->stream, d->host_logits, d->all_logits,
                                 model->config.vocab * (int64_t)sizeof(float));
  uly__zero_release(model->zero, last);
  uly__zero_release(model->zero, unit);
}

void uly__prefill(uly__decoder *d, const int32_t *tokens) {
  uly__model *model = d->model;
  int64_t h = model->config.hidden, bytes = h * uly__dtype_bytes(model->dtype);
  uly__pass_forward(model, tokens, NULL, false);
  d->cache.num_tokens = model->cut->num_tokens;
  /* The last row comes from the rank that holds the last token. */
  int holder;
  int64_t t;
  uly__token_cut_find(model->cut, model->cut->num_tokens - 1, &holder, &t);
  if (holder == model->cut->rank)
    uly__copy(model->stream, d->mine,
              uly__at(model->stash.layers[model->num_layers].x, model->dtype, t * h), bytes);
  uly__model_note(model, uly__all_gather(model->attention->group, model->stream,
                                         ULY_TRAFFIC_ATTENTION_FORWARD, d->mine, bytes, d->of_all));
  uly__copy(model->stream, d->x, (const char *)d->of_all + holder * bytes, bytes);
  finish(d);
}

void uly__decode(uly__decoder *d, int32_t token) {
  uly__model *model = d->model;
  const uly__params *params = &model->params;
  const uly__model_config *c = &model->config;
  d->token = token;
  d->position = d->cache.num_tokens;
  uly__input_set_tokens(&d->input, &d->token, NULL);
  uly__input_set_positions(&d->input, &d->position);
  if (d->angles)
    model->ops->rope_table(model->stream, 1, d->input.positions, c->head_dim, c->rope_theta,
                           d->angles);
  uly__model_acquire(model, ULY_UNIT_EMBED, uly__unit_of_block(0));
  model->ops->embedding_forward(model->stream, 1, c->hidden, model->dtype,
                                uly__weight(model, ULY_UNIT_EMBED, params->embed),
                                uly__weight(model, ULY_UNIT_EMBED, params->positions), NULL,
                                d->input.tokens, d->input.positions, d->x);
  uly__zero_release(model->zero, ULY_UNIT_EMBED);
  for (int i = 0; i < model->num_layers; i++) {
    /* The unit after the last block is the last unit. */
    int unit = uly__unit_of_block(i);
    uly__model_acquire(model, unit, unit + 1);
    decode_block(d, i);
    uly__zero_release(model->zero, unit);
  }
  finish(d);
  d->cache.num_tokens++;
}
