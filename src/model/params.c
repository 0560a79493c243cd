/* Builds the parameter table in checkpoint order, under Hugging Face's Llama names (GPT-2's tensors
 * take the same names, [out, in], with biases). Initial values: GPT-2's scheme, normal with the
 * projections into the residual stream divided by sqrt(2 L). */
#include "model/params.h"

#include <math.h>
#include <stdlib.h>

#include "base/rng.h"

enum { TENSORS_OF_BLOCK = 20, TENSORS_AROUND = 5 };

/* A table under construction. */
typedef struct builder {
  uly__params *params;
  const uly__model_config *config;
  const uly__tensor_share *share;
  char prefix[48]; /* of names */
  /* They say whether this rank holds the tensors that are added next, and whether it owns them. */
  bool holds, owns;
} builder;

/* How a tensor is divided, and the part that this rank holds, which may be empty. Parts are counted
 * in multiples of `each` rows or columns. owned: the rows that this rank owns. */
typedef struct division {
  enum { WHOLE, BY_ROWS, BY_COLS } how;
  uly__part part, owned;
  int64_t each;
} division;

/* Begins a new unit, to which the following tensors belong. */
static void begin_unit(uly__params *params) {
  params->units[params->num_units++] = (uly__unit){.begin = params->count, .first = params->num};
}

static uly__part times(uly__part part, int64_t each) {
  return (uly__part){part.begin * each, part.count * each};
}

/* Sets the part of a tensor that this rank holds. */
static void divide(const builder *b, uly__param *param, division d) {
  if (!b->holds) return;
  int64_t cols = param->num_dims == 2 ? param->dims[1] : 1;
  param->rows = param->owned = (uly__part){0, param->dims[0]};
  param->cols = (uly__part){0, cols};
  switch (d.how) {
    case WHOLE:
      param->is_replicated = true;
      if (b->share->index > 0) param->owned.count = 0; /* the first rank counts it */
      break;
    case BY_ROWS:
      param->rows = times(d.part, d.each);
      param->owned = times(d.owned, d.each);
      break;
    case BY_COLS: param->cols = times(d.part, d.each); break;
  }
  if (!b->owns) param->owned.count = 0;
  param->local_count = param->rows.count * param->cols.count;
}

/* Adds a tensor and returns its local offset. rows 0: the tensor is a vector. */
static int64_t add(builder *b, const char *name, int64_t rows, int64_t cols, uly__init init,
                   double std, division how) {
  uly__params *params = b->params;
  uly__param *param = &params->list[params->num++];
  snprintf(param->name, sizeof param->name, "%s%s", b->prefix, name);
  param->num_dims = rows ? 2 : 1;
  param->dims[0] = rows ? rows : cols;
  param->dims[1] = rows ? cols : 0;
  uly__unit *unit = &params->units[params->num_units - 1];
  param->unit = params->num_units - 1;
  param->offset = unit->count;
  param->count = (rows ? rows : 1) * cols;
  param->init = init;
  param->init_std = (float)std;
  divide(b, param, how);
  param->local_offset = unit->local_count;
  unit->count += param->count;
  unit->local_count += param->local_count;
  unit->num++;
  params->count += param->count;
  return param->local_offset;
}

static int64_t add_matrix(builder *b, const char *name, int64_t rows, int64_t cols, double std,
                          division how) {
  return add(b, name, rows, cols, ULY_INIT_NORMAL, std, how);
}

static int64_t add_vector(builder *b, bool present, const char *name, int64_t count, uly__init init,
                          division how) {
  return present ? add(b, name, 0, count, init, 0, how) : -1;
}

static division by_rows(uly__part part, int64_t each) {
  return (division){.how = BY_ROWS, .part = part, .owned = part, .each = each};
}

static division by_cols(uly__part part, int64_t each) {
  return (division){.how = BY_COLS, .part = part, .each = each};
}

static uly__block_layout add_block(builder *p, int layer) {
  const uly__model_config *c = p->config;
  const uly__tensor_share *share = p->share;
  snprintf(p->prefix, sizeof p->prefix, "model.layers.%d.", layer);
  int64_t h = c->hidden, f = c->ffn, d = c->head_dim;
  int64_t q = c->num_q_heads * d, kv = c->num_kv_heads * d;
  bool norm_bias = c->norm == ULY_NORM_LAYER;
  double std = c->init_std, into_stream = std / sqrt(2.0 * c->num_layers);
  division all = {.how = WHOLE}, of_q = by_rows(share->q_heads, d), of_f = by_rows(share->ffn, 1);
  division of_kv = {.how = BY_ROWS, .part = share->kv_heads, .owned = share->owned_kv, .each = d};
  uly__block_layout b;
  b.norm1 = add_vector(p, true, "input_layernorm.weight", h, ULY_INIT_ONE, all);
  b.norm1_bias = add_vector(p, norm_bias, "input_layernorm.bias", h, ULY_INIT_ZERO, all);
  b.wq = add_matrix(p, "self_attn.q_proj.weight", q, h, std, of_q);
  b.bq = add_vector(p, c->qkv_bias, "self_attn.q_proj.bias", q, ULY_INIT_ZERO, of_q);
  b.wk = add_matrix(p, "self_attn.k_proj.weight", kv, h, std, of_kv);
  b.bk = add_vector(p, c->qkv_bias, "self_attn.k_proj.bias", kv, ULY_INIT_ZERO, of_kv);
  b.wv = add_matrix(p, "self_attn.v_proj.weight", kv, h, std, of_kv);
  b.bv = add_vector(p, c->qkv_bias, "self_attn.v_proj.bias", kv, ULY_INIT_ZERO, of_kv);
  b.q_norm = add_vector(p, c->qk_norm, "self_attn.q_norm.weight", d, ULY_INIT_ONE, all);
  b.k_norm = add_vector(p, c->qk_norm, "self_attn.k_norm.weight", d, ULY_INIT_ONE, all);
  b.wo = add_matrix(p, "self_attn.o_proj.weight", h, q, into_stream, by_cols(share->q_heads, d));
  b.bo = add_vector(p, c->o_bias, "self_attn.o_proj.bias", h, ULY_INIT_ZERO, all);
  b.norm2 = add_vector(p, true, "post_attention_layernorm.weight", h, ULY_INIT_ONE, all);
  b.norm2_bias = add_vector(p, norm_bias, "post_attention_layernorm.bias", h, ULY_INIT_ZERO, all);
  b.w_gate = c->gated ? add_matrix(p, "mlp.gate_proj.weight", f, h, std, of_f) : -1;
  b.b_gate = add_vector(p, c->gated && c->mlp_bias, "mlp.gate_proj.bias", f, ULY_INIT_ZERO, of_f);
  b.w_up = add_matrix(p, "mlp.up_proj.weight", f, h, std, of_f);
  b.b_up = add_vector(p, c->mlp_bias, "mlp.up_proj.bias", f, ULY_INIT_ZERO, of_f);
  b.w_down = add_matrix(p, "mlp.down_proj.weight", h, f, into_stream, by_cols(share->ffn, 1));
  b.b_down = add_vector(p, c->mlp_bias, "mlp.down_proj.bias", h, ULY_INIT_ZERO, all);
  return b;
}

static void add_embedding(builder *b, const uly__stage *stage) {
  const uly__model_config *c = b->config;
  int64_t h = c->hidden;
  b->owns = uly__stage_embeds(stage);
  b->holds = b->owns || (c->tied && uly__stage_has_head(stage, c));
  b->params->embed = add_matrix(b, "model.embed_tokens.weight", c->vocab, h, c->init_std,
                                by_rows(b->share->vocab, 1));
  /* A last stage that holds the embedding has the positions too, which it does not use, so that the
   * unit is cut in the same places on both stages. */
  if (!c->rope)
    b->params->positions = add_matrix(b, "model.embed_positions.weight", c->max_positions, h,
                                      c->init_std, by_rows(b->share->positions, 1));
}

static void add_blocks(builder *b, const uly__stage *stage) {
  for (int layer = 0; layer < b->config->num_layers; layer++) {
    begin_unit(b->params);
    b->holds = b->owns = uly__stage_has(stage, layer);
    uly__block_layout layout = add_block(b, layer);
    if (b->holds) b->params->block = layout; /* the same in all blocks */
  }
}

static void add_head(builder *b) {
  const uly__model_config *c = b->config;
  uly__params *out = b->params;
  division all = {.how = WHOLE};
  int64_t h = c->hidden;
  b->prefix[0] = '\0';
  out->norm = add_vector(b, true, "model.norm.weight", h, ULY_INIT_ONE, all);
  out->norm_bias =
      add_vector(b, c->norm == ULY_NORM_LAYER, "model.norm.bias", h, ULY_INIT_ZERO, all);
  out->head_unit = c->tied ? ULY_UNIT_EMBED : uly__last_unit(out);
  out->head = c->tied ? out->embed
                      : add_matrix(b, "lm_head.weight", c->vocab, h, c->init_std,
                                   by_rows(b->share->vocab, 1));
}

uly_status uly__params_create(const uly__model_config *config, const uly__stage *layers,
                              const uly__tensor_share *share, uly__params *out) {
  *out = (uly__params){.positions = -1};
  size_t num_layers = (size_t)config->num_layers;
  size_t room = num_layers * TENSORS_OF_BLOCK + TENSORS_AROUND;
  out->list = calloc(room, sizeof *out->list);
  out->units = calloc(num_layers + 2, sizeof *out->units);
  if (!out->list || !out->units) {
    uly__params_destroy(out);
    ULY_FAIL(ULY_ERR_MEMORY, "no memory for a table of %zu tensors", room);
  }
  uly__tensor_share all = uly__tensor_share_of(config, 1, 0);
  uly__stage whole = uly__whole_model(config);
  const uly__stage *held = layers ? layers : &whole;
  builder table = {.params = out, .config = config, .share = share ? share : &all};
  begin_unit(out);
  add_embedding(&table, held);
  add_blocks(&table, held);
  begin_unit(out);
  table.holds = table.owns = uly__stage_has_head(held, config);
  add_head(&table);
  return ULY_OK;
}

void uly__params_destroy(uly__params *params) {
  free(params->list);
  free(params->units);
  *params = (uly__params){0};
}

void uly__param_init(const uly__param *param, const uly__ops *ops, uly__stream *stream,
                     uint64_t seed, int64_t begin, int64_t count, float *out) {
  if (param->init == ULY_INIT_NORMAL)
    ops->fill_normal(stream, seed, uly__rng_stream(param->name), begin, count, param->init_std,
                     out);
  else
    ops->fill(stream, count, param->init == ULY_INIT_ONE ? 1.0f : 0.0f, out);
}
