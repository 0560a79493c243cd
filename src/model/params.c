/* Builds the parameter table in checkpoint order, under Hugging Face's Llama names (GPT-2's tensors
 * take the same names, [out, in], with biases). Initial values: GPT-2's scheme, normal with the
 * projections into the residual stream divided by sqrt(2 L). */
#include "model/params.h"

#include <math.h>
#include <stdlib.h>

#include "base/rng.h"

enum { TENSORS_OF_BLOCK = 18, TENSORS_AROUND = 5 };

/* Begins a new unit, to which the following tensors belong. */
static void begin_unit(uly__params *params) {
  params->units[params->num_units++] = (uly__unit){.begin = params->count, .first = params->num};
}

/* Adds a tensor and returns its offset in the unit. rows 0: a vector. */
static int64_t add(uly__params *params, const char *prefix, const char *name, int64_t rows,
                   int64_t cols, uly__init init, double std) {
  uly__param *param = &params->list[params->num++];
  snprintf(param->name, sizeof param->name, "%s%s", prefix, name);
  param->num_dims = rows ? 2 : 1;
  param->dims[0] = rows ? rows : cols;
  param->dims[1] = rows ? cols : 0;
  uly__unit *unit = &params->units[params->num_units - 1];
  param->unit = params->num_units - 1;
  param->offset = unit->count;
  param->count = (rows ? rows : 1) * cols;
  param->init = init;
  param->init_std = (float)std;
  unit->count += param->count;
  unit->num++;
  params->count += param->count;
  return param->offset;
}

static int64_t add_matrix(uly__params *params, const char *prefix, const char *name, int64_t rows,
                          int64_t cols, double std) {
  return add(params, prefix, name, rows, cols, ULY_INIT_NORMAL, std);
}

static int64_t add_vector(uly__params *params, bool present, const char *prefix, const char *name,
                          int64_t cols, uly__init init) {
  return present ? add(params, prefix, name, 0, cols, init, 0) : -1;
}

static uly__block_layout add_block(uly__params *p, const uly__model_config *c, int layer) {
  char at[48];
  snprintf(at, sizeof at, "model.layers.%d.", layer);
  int64_t h = c->hidden, f = c->ffn, q = (int64_t)c->num_q_heads * c->head_dim;
  int64_t kv = (int64_t)c->num_kv_heads * c->head_dim;
  bool norm_bias = c->norm == ULY_NORM_LAYER;
  double std = c->init_std, into_stream = std / sqrt(2.0 * c->num_layers);
  uly__block_layout b;
  b.norm1 = add_vector(p, true, at, "input_layernorm.weight", h, ULY_INIT_ONE);
  b.norm1_bias = add_vector(p, norm_bias, at, "input_layernorm.bias", h, ULY_INIT_ZERO);
  b.wq = add_matrix(p, at, "self_attn.q_proj.weight", q, h, std);
  b.bq = add_vector(p, c->qkv_bias, at, "self_attn.q_proj.bias", q, ULY_INIT_ZERO);
  b.wk = add_matrix(p, at, "self_attn.k_proj.weight", kv, h, std);
  b.bk = add_vector(p, c->qkv_bias, at, "self_attn.k_proj.bias", kv, ULY_INIT_ZERO);
  b.wv = add_matrix(p, at, "self_attn.v_proj.weight", kv, h, std);
  b.bv = add_vector(p, c->qkv_bias, at, "self_attn.v_proj.bias", kv, ULY_INIT_ZERO);
  b.wo = add_matrix(p, at, "self_attn.o_proj.weight", h, q, into_stream);
  b.bo = add_vector(p, c->o_bias, at, "self_attn.o_proj.bias", h, ULY_INIT_ZERO);
  b.norm2 = add_vector(p, true, at, "post_attention_layernorm.weight", h, ULY_INIT_ONE);
  b.norm2_bias = add_vector(p, norm_bias, at, "post_attention_layernorm.bias", h, ULY_INIT_ZERO);
  b.w_gate = c->gated ? add_matrix(p, at, "mlp.gate_proj.weight", f, h, std) : -1;
  b.b_gate = add_vector(p, c->gated && c->mlp_bias, at, "mlp.gate_proj.bias", f, ULY_INIT_ZERO);
  b.w_up = add_matrix(p, at, "mlp.up_proj.weight", f, h, std);
  b.b_up = add_vector(p, c->mlp_bias, at, "mlp.up_proj.bias", f, ULY_INIT_ZERO);
  b.w_down = add_matrix(p, at, "mlp.down_proj.weight", h, f, into_stream);
  b.b_down = add_vector(p, c->mlp_bias, at, "mlp.down_proj.bias", h, ULY_INIT_ZERO);
  return b;
}

static void add_embedding(uly__params *out, const uly__model_config *c, bool with_positions) {
  int64_t h = c->hidden;
  out->embed = add_matrix(out, "", "model.embed_tokens.weight", c->vocab, h, c->init_std);
  if (with_positions && !c->rope)
    out->positions =
        add_matrix(out, "", "model.embed_positions.weight", c->max_positions, h, c->init_std);
}

static void add_head(uly__params *out, const uly__model_config *c) {
  int64_t h = c->hidden;
  out->norm = add_vector(out, true, "", "model.norm.weight", h, ULY_INIT_ONE);
  out->norm_bias =
      add_vector(out, c->norm == ULY_NORM_LAYER, "", "model.norm.bias", h, ULY_INIT_ZERO);
  out->head_unit = c->tied ? ULY_UNIT_EMBED : uly__last_unit(out);
  out->head =
      c->tied ? out->embed : add_matrix(out, "", "lm_head.weight", c->vocab, h, c->init_std);
}

uly_status uly__params_create(const uly__model_config *config, uly__stage stage, uly__params *out) {
  *out = (uly__params){.positions = -1};
  size_t num_layers = (size_t)uly__stage_layers(stage);
  bool embeds = uly__stage_embeds(stage), has_head = uly__stage_has_head(stage, config);
  size_t room = num_layers * TENSORS_OF_BLOCK + TENSORS_AROUND;
  out->list = calloc(room, sizeof *out->list);
  out->units = calloc(num_layers + 2, sizeof *out->units);
  if (!out->list || !out->units) {
    uly__params_destroy(out);
    ULY_FAIL(ULY_ERR_MEMORY, "no memory for a table of %zu tensors", room);
  }
  begin_unit(out);
  if (embeds || (has_head && config->tied)) add_embedding(out, config, embeds);
  for (int layer = stage.first; layer < stage.last; layer++) {
    begin_unit(out);
    out->block = add_block(out, config, layer); /* the same in all blocks */
  }
  begin_unit(out);
  if (has_head) add_head(out, config);
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
