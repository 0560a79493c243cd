/* The model: planning and layout of its memory, and the order of a forward and a backward pass. */
#include "model/model.h"

#include <stdlib.h>

/* Tokens of a tile: large enough that a matrix product runs at its peak, small enough that the MLP's
 * tile stays in cache. */
enum { TILE = 512, HEAD_TILE = 256, WIDE_VOCAB = 8192 };

/* Slices are whole granules, a function of N alone, so that any number of ranks cuts at multiples of
 * the same granule: at most 128 tokens, and at least 64 granules in a stream, for balance. */
static int64_t granule(int64_t seq_len) {
  int64_t tokens = 1;
  while (tokens < 128 && tokens * 2 * 64 <= seq_len) tokens *= 2;
  return tokens;
}

static uly_status plan(uly__model *model, uly_mesh *mesh, int64_t seq_len,
                       uly_recompute recompute) {
  const uly__model_config *c = &model->config;
  if (!c->rope && seq_len > c->max_positions)
    ULY_FAIL(ULY_ERR_CONFIG,
             "a sequence of %lld tokens, but the model has learned positions for %lld: "
             "shorten --seq-len or use a model with RoPE",
             (long long)seq_len, (long long)c->max_positions);
  /* In f64: what a rank keeps, and more, in bytes; so that no size below overflows. */
  double width = (double)c->hidden + 3.0 * (double)c->ffn +
                 4.0 * ((double)c->num_q_heads + 2.0 * c->num_kv_heads) * c->head_dim;
  if (8.0 * (double)seq_len * width * (c->num_layers + 1.0) > 0x1p60)
    ULY_FAIL(
        ULY_ERR_CONFIG,
        "a sequence of %lld tokens through %d layers of width %lld is more than any memory holds",
        (long long)seq_len, c->num_layers, (long long)c->hidden);
  uly_attention_desc desc = {.num_tokens = seq_len,
                             .num_q_heads = c->num_q_heads,
                             .num_kv_heads = c->num_kv_heads,
                             .head_dim = c->head_dim,
                             .dtype = model->dtype,
                             .mask = {ULY_MASK_CAUSAL},
                             .token_tile = granule(seq_len)};
  ULY_TRY(uly__attention_plan(mesh, &desc, &model->attention));
  uly_attention_tokens(model->attention, &model->token_begin, &model->num_tokens);
  model->tile = TILE;
  model->head_tile = c->vocab > WIDE_VOCAB ? HEAD_TILE : TILE;
  ULY_TRY(uly__params_create(c, &model->params));
  return uly__stash_create(c->num_layers, recompute, &model->stash);
}

uly_status uly__model_create(const uly__model_config *config, uly_mesh *mesh, int64_t seq_len,
                             uly_dtype dtype, uly_recompute recompute, uly__model **out) {
  *out = NULL;
  uly__model *model = calloc(1, sizeof *model);
  if (!model) ULY_FAIL(ULY_ERR_MEMORY, "no memory for a model");
  model->config = *config;
  model->dtype = dtype;
  model->ops = uly__ops_get();
  uly_status status = plan(model, mesh, seq_len, recompute);
  if (status != ULY_OK)
    uly__model_destroy(model);
  else
    *out = model;
  return status;
}

void uly__model_destroy(uly__model *model) {
  if (!model) return;
  uly_attention_destroy(model->attention);
  uly__params_destroy(&model->params);
  uly__stash_destroy(&model->stash);
  free(model);
}

static void carve_tile(uly__model *model, uly__arena *scratch) {
  uly__workspace *work = &model->work;
  int64_t bytes = uly__dtype_bytes(model->dtype);
  int64_t stream = model->tile * model->config.hidden, wide = model->tile * model->config.ffn;
  work->n = uly__arena_carve(scratch, stream * bytes);
  work->mid = uly__arena_carve(scratch, stream * bytes);
  work->sum = uly__arena_carve(scratch, stream * (int64_t)sizeof(float));
  work->act = uly__arena_carve(scratch, wide * bytes);
  work->d_up = uly__arena_carve(scratch, wide * bytes);
  work->gate = model->config.gated ? uly__arena_carve(scratch, wide * bytes) : NULL;
  work->up = uly__arena_carve(scratch, wide * bytes);
  work->d_gate = model->config.gated ? uly__arena_carve(scratch, wide * bytes) : NULL;
}

static void carve_block(uly__model *model, uly_attention_bytes bytes, uly__arena *scratch) {
  uly__workspace *work = &model->work;
  work->qkv_tokens = uly__arena_carve(scratch, bytes.qkv_tokens);
  work->d_o_heads = uly__arena_carve(scratch, bytes.o_heads);
  work->delta = uly__arena_carve(scratch, bytes.workspace);
  /* d_o_tokens has been sent before d_qkv_heads is written. */
  int64_t mark = uly__arena_mark(scratch);
  work->d_o_tokens = uly__arena_carve(scratch, bytes.o_tokens);
  uly__arena_release(scratch, mark);
  work->d_qkv_heads = uly__arena_carve(scratch, bytes.qkv_heads);
}

static void carve_head(uly__model *model, uly__arena *scratch) {
  uly__workspace *work = &model->work;
  int64_t logits = model->head_tile * model->config.vocab;
  work->logits = uly__arena_carve(scratch, logits * (int64_t)sizeof(float));
  work->d_logits = model->dtype == ULY_F32
                       ? work->logits
                       : uly__arena_carve(scratch, logits * uly__dtype_bytes(model->dtype));
  work->row_loss = uly__arena_carve(scratch, model->head_tile * (int64_t)sizeof(double));
}

void uly__model_carve(uly__model *model, uly__arena *arenas) {
  uly__arena *activations = &arenas[ULY_ARENA_ACTIVATIONS], *scratch = &arenas[ULY_ARENA_SCRATCH];
  const uly__model_config *c = &model->config;
  int64_t bytes = uly__dtype_bytes(model->dtype), T = model->num_tokens;
  uly_attention_bytes attention = uly_attention_get_bytes(model->attention);
  model->weights = uly__arena_carve(&arenas[ULY_ARENA_PARAMETERS], model->params.count * bytes);
  model->grads =
      uly__arena_carve(&arenas[ULY_ARENA_GRADIENTS], model->params.count * (int64_t)sizeof(float));
  model->rope =
      c->rope ? uly__arena_carve(activations, T * c->head_dim * (int64_t)sizeof(float)) : NULL;
  model->d_x = uly__arena_carve(activations, T * c->hidden * bytes);
  carve_tile(model, scratch);
  /* The head runs when no block does. */
  int64_t mark = uly__arena_mark(scratch);
  carve_head(model, scratch);
  uly__arena_release(scratch, mark);
  uly__stash_carve(&model->stash, c, model->dtype, T, attention, activations, scratch);
  carve_block(model, attention, scratch);
  if (model->rope) uly__rope_table(model->token_begin, T, c->head_dim, c->rope_theta, model->rope);
}

/* Input of the first block, and the output of block i as the input of block i + 1. */
static void forward(uly__model *model, const int32_t *tokens) {
  const uly__params *params = &model->params;
  int64_t h = model->config.hidden;
  const void *positions =
      params->positions < 0 ? NULL : uly__weight(model, params->positions + model->token_begin * h);
  model->ops->embedding_forward(model->num_tokens, h, model->dtype,
                                uly__weight(model, params->embed), positions, tokens,
                                model->stash.layers[0].x);
  int L = model->config.num_layers;
  for (int i = 0; i < L; i++)
    uly__block_forward(model, i, i + 1 < L ? model->stash.layers[i + 1].x : model->stash.x_final);
}

double uly__model_train(uly__model *model, const int32_t *tokens, const int32_t *labels,
                        float scale) {
  const uly__params *params = &model->params;
  int64_t h = model->config.hidden;
  forward(model, tokens);
  double loss = uly__head(model, labels, scale);
  for (int i = model->config.num_layers - 1; i >= 0; i--) uly__block_backward(model, i);
  float *d_positions =
      params->positions < 0 ? NULL : uly__grad(model, params->positions + model->token_begin * h);
  model->ops->embedding_backward(model->num_tokens, h, model->dtype, tokens, model->d_x,
                                 uly__grad(model, params->embed), d_positions);
  return loss;
}

double uly__model_eval(uly__model *model, const int32_t *tokens, const int32_t *labels) {
  forward(model, tokens);
  return uly__head(model, labels, 0.0f);
}

double uly__model_flops(const uly__model *model) {
  const uly__params *params = &model->params;
  double N = (double)model->attention->desc.num_tokens, weights = 0;
  for (int i = 0; i < params->num; i++)
    if (params->list[i].num_dims == 2) weights += (double)params->list[i].count;
  /* Embedding and positions are looked up, not multiplied; a tied embedding is multiplied once. */
  double embed = (double)(model->config.vocab * model->config.hidden);
  if (!model->config.tied) weights -= embed;
  if (params->positions >= 0)
    weights -= (double)(model->config.max_positions * model->config.hidden);
  double pairs = N * (N + 1) / 2;
  double width = (double)model->config.num_q_heads * model->config.head_dim;
  return 6 * weights * N + 12 * width * pairs * model->config.num_layers;
}
