/* Plans the model before it runs: what fits together, how it is cut, the layout of its memory, its
 * FLOPs. */
#include "model/model_plan.h"

#include <stdlib.h>

#include "base/split.h"
#include "model/grads.h"
#include "model/tensor_grads.h"

/* Returns the tokens of a granule. Slices are whole granules, a function of N alone, so that any
 * number of ranks cuts at multiples of the same granule: at most 128 tokens, and at least 64
 * granules in a stream, for balance. */
static int64_t granule(int64_t seq_len) {
  int64_t tokens = 1;
  while (tokens < 128 && tokens * 2 * 64 <= seq_len) tokens *= 2;
  return tokens;
}

/* Refuses dynamic RoPE where it cannot work. It turns all tokens differently in every longer
 * sequence, so there is no single model to train, and keys that were cached for a shorter text no
 * longer fit. */
static uly_status check_dynamic_rope(const uly__model_config *c, const uly__model_run *run) {
  if (c->scaling.type != ULY_ROPE_DYNAMIC) return ULY_OK;
  if (run->use == ULY_MODEL_TRAINS)
    ULY_FAIL(
        ULY_ERR_CONFIG,
        "the model has dynamic RoPE, whose frequencies change with the length of every "
        "sequence, so it cannot be trained: change \"rope_type\" in its config.json to yarn or "
        "linear");
  bool decodes = run->use == ULY_MODEL_PREFILLS || run->use == ULY_MODEL_DECODES;
  if (decodes && run->num_positions > c->scaling.original_positions)
    ULY_FAIL(ULY_ERR_CONFIG,
             "the prompt and the text to generate have %lld tokens, but dynamic RoPE would change "
             "the cached keys of a model that was trained on %lld: use a shorter prompt, generate "
             "fewer tokens, or change \"rope_type\" in its config.json to yarn",
             (long long)run->num_positions, (long long)c->scaling.original_positions);
  return ULY_OK;
}

static uly_status check(const uly__model_config *c, const uly_mesh *mesh,
                        const uly__model_run *run) {
  if (!c->rope && run->seq_len > c->max_positions)
    ULY_FAIL(ULY_ERR_CONFIG,
             "config.seq_len is %lld, but the model has learned positions for %lld tokens: use "
             "shorter sequences, or a model with RoPE",
             (long long)run->seq_len, (long long)c->max_positions);
  ULY_TRY(check_dynamic_rope(c, run));
  /* In f64, what a rank keeps, and more, in bytes, so that no size below overflows. */
  double width = (double)c->hidden + 3.0 * (double)c->ffn +
                 4.0 * ((double)c->num_q_heads + 2.0 * c->num_kv_heads) * c->head_dim;
  if (8.0 * (double)run->seq_len * width * (c->num_layers + 1.0) > 0x1p60)
    ULY_FAIL(ULY_ERR_CONFIG,
             "%lld tokens in %d layers of width %lld are more than any memory holds: use shorter "
             "sequences or a smaller model",
             (long long)run->seq_len, c->num_layers, (long long)c->hidden);
  int sp = uly_mesh_sp(mesh), ring = uly__mesh_extent(mesh, ULY_AXIS_RING);
  int tp = uly__mesh_extent(mesh, ULY_AXIS_TP);
  ULY_TRY(uly__tensor_share_check(c, tp));
  if (run->leaves == 0) return ULY_OK;
  if (tp > 1)
    ULY_FAIL(ULY_ERR_CONFIG,
             "config.reproducible makes results independent of the number of ranks, but with "
             "mesh.tp = %d products are added up in an order that depends on it: leave "
             "mesh.tp or config.reproducible out",
             tp);
  if (ring > 1)
    ULY_FAIL(ULY_ERR_CONFIG,
             "config.reproducible makes results independent of the number of ranks, but with "
             "mesh.%s = %d softmax and the gradients of keys are summed in an order that depends "
             "on it: use mesh.ulysses alone, or leave config.reproducible out",
             mesh->gathers ? "gather" : "ring", ring);
  if (run->leaves & (run->leaves - 1))
    ULY_FAIL(ULY_ERR_CONFIG, "config.leaves is %d, but it must be a power of two", run->leaves);
  if (run->leaves % sp != 0)
    ULY_FAIL(
        ULY_ERR_CONFIG,
        "config.reproducible cuts a sequence into config.leaves = %d parts, which the ranks of "
        "mesh.sp = %d cannot share: use a power of two of at most %d ranks, or more leaves (which "
        "give other bits)",
        run->leaves, sp, run->leaves);
  if (run->seq_len < run->leaves)
    ULY_FAIL(ULY_ERR_CONFIG,
             "a sequence of %lld tokens cannot be cut into the parts of config.leaves = %d: use "
             "longer sequences or fewer leaves",
             (long long)run->seq_len, run->leaves);
  return ULY_OK;
}

/* Returns the number of head groups of a reproducible run: as many as leaves, if there are enough
 * heads. Elsewhere it is 0, and the scheme chooses. */
static int reproducible_groups(const uly__model_config *c, const uly__model_run *run) {
  int groups = run->leaves;
  while (groups > c->num_q_heads) groups /= 2;
  return groups;
}

/* Plans attention by the first scheme that is applicable. */
static uly_status plan_scheme(uly__model *model, uly_mesh *mesh, int rounds,
                              uly_attention_desc *desc) {
  const uly__seq_scheme *scheme = uly__attention_choose(mesh, desc);
  int tp = uly__mesh_extent(mesh, ULY_AXIS_TP);
  /* Rows would be gathered once for each round. */
  if (tp > 1 && rounds > 1)
    ULY_FAIL(ULY_ERR_CONFIG,
             "config.rounds is %d, but with mesh.tp = %d heads are exchanged in one round: leave "
             "config.rounds out",
             rounds, tp);
  if (tp > 1) rounds = 1;
  if (desc->head_groups == 0) ULY_TRY(scheme->deal_heads(mesh, rounds, desc));
  return uly__attention_plan(mesh, desc, scheme, &model->attention);
}

static uly_status plan_states(uly__model *model, uly_mesh *mesh, const uly__model_run *run) {
  const uly__params *params = &model->params;
  int64_t *counts = calloc((size_t)params->num_units, sizeof *counts);
  if (!counts) ULY_FAIL(ULY_ERR_MEMORY, "no memory for a table of %d units", params->num_units);
  for (int u = 0; u < params->num_units; u++) counts[u] = params->units[u].local_count;
  uly__zero_desc desc = {.stage = run->zero_stage,
                         .dtype = run->dtype,
                         .grad_dtype = run->grad_dtype,
                         .reproducible = run->leaves > 0,
                         .segments = model->tiles.num_segments,
                         .passes = run->passes,
                         .num_units = params->num_units,
                         .counts = counts,
                         .tied = model->config.tied,
                         .has_both_ends = uly__stage_embeds(&model->stage) &&
                                          uly__stage_has_head(&model->stage, &model->config),
                         .forward_only = run->use != ULY_MODEL_TRAINS};
  uly_status status = uly__zero_create(mesh, &desc, &model->zero);
  if (status == ULY_OK && model->tensor.size > 1)
    uly__zero_on_complete(model->zero, uly__tensor_grads_sum, model);
  free(counts);
  return status;
}

uly_status uly__model_make_masks(const uly__model_config *config, const uly__model_run *run,
                                 int64_t num_tokens, uly__model_masks *out) {
  /* If blocks are drawn, each query head draws its own. */
  int num_layouts = run->sparse.pattern == ULY_SPARSE_BIGBIRD ? config->num_q_heads : 1;
  int num_with_window = uly__num_layers_with_window(config);
  *out = (uly__model_masks){.num = 0};
  if (run->sparse.pattern != ULY_SPARSE_NONE)
    ULY_TRY(uly_block_layout_create(&run->sparse, ULY_MASK_CAUSAL, num_tokens, num_layouts,
                                    &out->blocks));
  uly_mask mask = {.kind = ULY_MASK_CAUSAL, .blocks = out->blocks};
  if (num_with_window < config->num_layers) out->list[out->num++] = mask;
  mask.window = config->window;
  if (num_with_window > 0) out->list[out->num++] = mask;
  return ULY_OK;
}

void uly__model_free_masks(uly__model_masks *masks) { uly_block_layout_destroy(masks->blocks); }

int uly__model_mask(const uly__model *model, int layer) {
  return model->attention->num_masks > 1 && uly__layer_has_window(&model->config, layer);
}

/* Returns the number of visible pairs of a layer, over all query heads: the mean of all layers. */
static double count_pairs(const uly__model *model) {
  const uly__model_config *c = &model->config;
  double pairs = uly__attention_pairs(model->attention, 0);
  if (model->attention->num_masks == 1) return pairs;
  double with_window = (double)uly__num_layers_with_window(c) / c->num_layers;
  return pairs + with_window * (uly__attention_pairs(model->attention, 1) - pairs);
}

static void poll(void *model) { uly__model_poll(model); }

static uly_status plan_attention(uly__model *model, uly_mesh *mesh, const uly__model_run *run) {
  const uly__model_config *c = &model->config;
  uly__model_masks masks;
  ULY_TRY(uly__model_make_masks(c, run, run->seq_len, &masks));
  uly_attention_desc desc = {.num_tokens = run->seq_len,
                             .num_q_heads = c->num_q_heads,
                             .num_kv_heads = c->num_kv_heads,
                             .head_dim = c->head_dim,
                             .dtype = model->dtype,
                             .masks = masks.list,
                             .num_masks = masks.num,
                             .token_tile = granule(run->seq_len),
                             .head_groups = reproducible_groups(c, run)};
  uly_status status = plan_scheme(model, mesh, run->rounds, &desc);
  uly__model_free_masks(&masks);
  if (status == ULY_OK && !mesh->is_offline) {
    model->attention->poll = poll;
    model->attention->poll_context = model;
  }
  if (status == ULY_OK) model->pairs = count_pairs(model);
  return status;
}

static uly_status plan_projections(uly__model *model) {
  int num = model->attention->num_blocks;
  model->projections = calloc((size_t)num, sizeof *model->projections);
  if (!model->projections) ULY_FAIL(ULY_ERR_MEMORY, "no memory for the products of %d blocks", num);
  uly__projections_plan(&model->config, &model->share, &model->params.block, model->attention,
                        model->projections);
  return ULY_OK;
}

/* Return the FLOPs of the forward pass of a layer, apart from attention's, and of the head, for one
 * token. */
static double layer_flops(const uly__model_config *c) {
  double heads = c->num_q_heads + c->num_kv_heads, inner = (c->gated ? 3.0 : 2.0) * (double)c->ffn;
  return 2.0 * (double)c->hidden * (2.0 * heads * c->head_dim + inner);
}
static double head_flops(const uly__model_config *c) {
  return 2.0 * (double)c->hidden * (double)c->vocab;
}

uly__model_work uly__model_find_work(const uly__model *model, uly_recompute recompute) {
  const uly__model_config *c = &model->config;
  double tokens = (double)model->attention->desc.num_tokens, products = layer_flops(c);
  double attends = 4.0 * c->head_dim * model->pairs / tokens, repeated = 0;
  if (recompute != ULY_RECOMPUTE_NONE) repeated = products;
  if (recompute == ULY_RECOMPUTE_FULL) repeated += attends;
  /* Backward takes twice as long as forward, and attention's two and a half times. */
  return (uly__model_work){.forward = products + attends,
                           .backward = 2 * products + 2.5 * attends + repeated,
                           .head = 3 * head_flops(c)};
}

uly__deal uly__model_deal(const uly__model *model, const uly_mesh *mesh,
                          const uly__model_run *run) {
  uly__model_work work = uly__model_find_work(model, run->recompute);
  return (uly__deal){.num_layers = model->config.num_layers,
                     .num_stages = uly__mesh_extent(mesh, ULY_AXIS_PP),
                     .num_chunks = run->chunks > 0 ? run->chunks : 1,
                     .head = work.head / (work.forward + work.backward)};
}

/* Finds the layers of this rank. */
static uly_status plan_stage(uly__model *model, const uly_mesh *mesh, const uly__model_run *run) {
  uly__deal deal = uly__model_deal(model, mesh, run);
  model->stage = run->stage;
  if (deal.num_chunks > 1 && deal.num_stages == 1)
    ULY_FAIL(
        ULY_ERR_CONFIG,
        "config.pp_chunks is %d, but only the stages of a pipeline are divided into chunks: set "
        "mesh.pp to 2 or more, or leave config.pp_chunks out",
        deal.num_chunks);
  if (run->ahead > 0 && (deal.num_chunks > 1 || deal.num_stages == 1))
    ULY_FAIL(ULY_ERR_CONFIG,
             "config.pp_ahead is %d, but it is for stages of one chunk (an interleaved schedule is "
             "ahead by itself), on mesh.pp of 2 or more: leave it out",
             run->ahead);
  if (model->stage.num_chunks == 0)
    ULY_TRY(uly__stage_deal(&deal, uly__mesh_index(mesh, ULY_AXIS_PP), &model->stage));
  model->num_layers = uly__stage_layers(&model->stage);
  uly__schedule_desc desc = {.num_stages = deal.num_stages,
                             .stage = uly__mesh_index(mesh, ULY_AXIS_PP),
                             .num_chunks = model->stage.num_chunks,
                             .ahead = run->ahead,
                             .num_micro_batches = run->passes,
                             .forward_only = run->use != ULY_MODEL_TRAINS};
  return uly__schedule_create(&desc, &model->schedule);
}

/* Plans what the passes keep, and what they send to other stages. */
static uly_status plan_passes(uly__model *model, const uly_mesh *mesh, const uly__model_run *run) {
  int64_t in_flight[ULY_MAX_CHUNKS];
  bool forward_only = run->use != ULY_MODEL_TRAINS;
  for (int v = 0; v < model->stage.num_chunks; v++)
    in_flight[v] = uly__schedule_in_flight(&model->schedule, v);
  uly__stash_desc desc = {.stage = &model->stage,
                          .in_flight = in_flight,
                          .recompute = run->recompute,
                          .forward_only = forward_only,
                          .on_disk = run->stash_on_disk,
                          .in_pipeline = uly__mesh_extent(mesh, ULY_AXIS_PP) > 1};
  ULY_TRY(uly__stash_create(&desc, &model->stash));
  int64_t row_bytes = model->config.hidden * uly__dtype_bytes(model->dtype);
  return uly__boundary_create(mesh, &model->stash, model->num_own, row_bytes, forward_only,
                              &model->boundary);
}

static uly_status plan(uly__model *model, uly_mesh *mesh, const uly__model_run *run) {
  const uly__model_config *c = &model->config;
  ULY_TRY(check(c, mesh, run));
  ULY_TRY(uly__tensor_create(mesh, run->dtype, c->hidden, &model->tensor));
  model->share = uly__tensor_share_of(c, model->tensor.size, model->tensor.rank);
  ULY_TRY(plan_attention(model, mesh, run));
  ULY_TRY(plan_stage(model, mesh, run));
  model->cut = &model->attention->cut;
  model->num_tokens = model->cut->count;
  const uly__ops_sizes *sizes = &model->ops->sizes;
  int64_t unit = granule(run->seq_len);
  bool is_wide = model->share.vocab.count > sizes->wide_vocab;
  int64_t head_rows = is_wide ? sizes->head_rows : sizes->tile_rows;
  /* Which rows a rank has of the residual stream must be the same everywhere. */
  int64_t rows = model->tensor.size > 1 ? head_rows : sizes->tile_rows;
  ULY_TRY(uly__tiles_create(model->cut, unit, run->leaves, rows, &model->tiles));
  ULY_TRY(uly__tiles_create(model->cut, unit, run->leaves, head_rows, &model->head_tiles));
  uly__tiles_divide(&model->tiles, &model->tensor);
  uly__tiles_divide(&model->head_tiles, &model->tensor);
  if (model->tensor.size > 1) uly__attention_takes_rows(model->attention, model->tiles.rows);
  model->num_own = model->tiles.num_own;
  ULY_TRY(uly__params_create(c, &model->stage, &model->share, &model->params));
  ULY_TRY(plan_projections(model));
  ULY_TRY(plan_states(model, mesh, run));
  return plan_passes(model, mesh, run);
}

uly_status uly__model_create(const uly__model_config *config, uly_mesh *mesh,
                             const uly__model_run *run, uly__model **out) {
  *out = NULL;
  uly__model *model = calloc(1, sizeof *model);
  if (!model) ULY_FAIL(ULY_ERR_MEMORY, "no memory for a model");
  model->config = *config;
  model->dtype = run->dtype;
  model->threads = run->threads;
  model->use = run->use;
  if (config->rope)
    model->rope =
        uly__rope_plan(config->rope_theta, config->head_dim, &config->scaling, run->num_positions);
  model->ops = uly__ops_get();
  model->stream = uly__stream_get();
  uly_status status = plan(model, mesh, run);
  if (status != ULY_OK)
    uly__model_destroy(model);
  else
    *out = model;
  return status;
}

void uly__model_destroy(uly__model *model) {
  if (!model) return;
  uly__attention_destroy(model->attention);
  free(model->projections);
  uly__zero_destroy(model->zero);
  uly__tensor_destroy(&model->tensor);
  uly__params_destroy(&model->params);
  uly__tiles_destroy(&model->tiles);
  uly__tiles_destroy(&model->head_tiles);
  uly__boundary_destroy(&model->boundary);
  uly__stash_destroy(&model->stash);
  uly__schedule_destroy(&model->schedule);
  free(model);
}

/* Returns the most elements of the queries or of the keys of one token in a block of heads. */
static int64_t heads_width(const uly__model *model) {
  int64_t most = 0;
  for (int g = 0; g < model->attention->num_blocks; g++)
    for (int part = 0; part < 2; part++) {
      int64_t width = model->projections[g].qkv[part].linear.out;
      if (width > most) most = width;
    }
  return most;
}

static void carve_tile(uly__model *model, uly__arena *scratch) {
  uly__workspace *work = &model->work;
  int64_t bytes = uly__dtype_bytes(model->dtype);
  int64_t stream = model->tiles.own_rows * model->config.hidden;
  int64_t wide = model->tiles.rows * model->share.ffn.count;
  bool takes_turns = model->tensor.lag > 0;
  work->matmul = uly__arena_carve(scratch, model->ops->matmul_bytes(model->dtype, model->threads));
  for (int i = 0; i < ULY_TENSOR_SLOTS; i++)
    work->n[i] = i > 0 && !takes_turns ? work->n[0] : uly__arena_carve(scratch, stream * bytes);
  for (int i = 0; i < ULY_MID_SLOTS; i++)
    work->mid[i] = i > 0 && !takes_turns ? work->mid[0] : uly__arena_carve(scratch, stream * bytes);
  uly__tensor_carve(&model->tensor, model->tiles.rows, !uly__model_is_forward_only(model), scratch);
  work->act = uly__arena_carve(scratch, wide * bytes);
  work->gate = model->config.gated ? uly__arena_carve(scratch, wide * bytes) : NULL;
  work->up = uly__arena_carve(scratch, wide * bytes);
  if (uly__model_is_forward_only(model)) return;
  work->heads = model->config.qk_norm
                    ? uly__arena_carve(scratch, model->tiles.rows * heads_width(model) * bytes)
                    : NULL;
  work->d_up = uly__arena_carve(scratch, wide * bytes);
  work->d_gate = model->config.gated ? uly__arena_carve(scratch, wide * bytes) : NULL;
}

static void carve_head(uly__model *model, uly__arena *scratch, uly__arena *host) {
  uly__workspace *work = &model->work;
  int64_t logits = model->head_tiles.rows * model->share.vocab.count;
  int64_t losses = model->head_tiles.rows * (int64_t)sizeof *work->row_loss;
  work->logits = uly__arena_carve(scratch, logits * (int64_t)sizeof(float));
  work->row_loss = uly__arena_carve(scratch, losses);
  work->host_loss = uly__arena_carve(host, uly__room_bytes(model->stream, losses));
  if (model->tensor.size > 1) {
    int64_t bytes = model->head_tiles.rows * (int64_t)sizeof *work->summary;
    work->summary = uly__arena_carve(scratch, bytes);
    work->summaries = uly__arena_carve(scratch, model->tensor.size * bytes);
  }
  if (uly__model_is_forward_only(model)) return;
  work->d_logits = model->dtype == ULY_F32
                       ? work->logits
                       : uly__arena_carve(scratch, logits * uly__dtype_bytes(model->dtype));
}

/* Sets the positions of my tokens, in documents that begin at doc_start[num_docs]; none: in one
 * document. */
static void set_positions(uly__model *model, const int64_t *doc_start, int64_t num_docs) {
  const uly__model_config *c = &model->config;
  const uly_token_run *runs = uly__token_cut_runs(model->cut, model->cut->rank);
  /* The beginning of my token's document, and the index of the one after it. */
  int64_t begin = 0, next = 0, t = 0;
  for (int r = 0; r < model->cut->num_runs; r++)
    for (int64_t at = runs[r].begin; at < runs[r].begin + runs[r].count; at++) {
      while (next < num_docs && doc_start[next] <= at) begin = doc_start[next++];
      model->positions[t++] = at - begin;
    }
  uly__input_set_positions(&model->input, model->positions);
  if (c->rope)
    model->ops->rope_table(model->stream, model->num_tokens, model->input.positions, c->head_dim,
                           &model->rope, model->angles);
}

void uly__model_carve_passes(uly__model *model, uly__arena *arenas, uly__arena *host) {
  if (model->use == ULY_MODEL_DECODES) return;
  uly__arena *activations = &arenas[ULY_ARENA_ACTIVATIONS], *scratch = &arenas[ULY_ARENA_SCRATCH];
  const uly__model_config *c = &model->config;
  int64_t bytes = uly__dtype_bytes(model->dtype), T = model->num_tokens;
  model->positions = uly__arena_carve(host, T * (int64_t)sizeof *model->positions);
  uly__input_carve(&model->input, model->stream, T, activations);
  model->angles =
      c->rope ? uly__arena_carve(activations, T * c->head_dim * (int64_t)sizeof(float)) : NULL;
  uly__boundary_carve(&model->boundary, activations);
  model->d_x = model->boundary.rooms[0];
  carve_tile(model, scratch);
  if (!uly__model_is_forward_only(model)) {
    uly__tensor_grads_carve(model, scratch);
    uly__tied_grads_carve(model, scratch);
  }
  /* The head does not run while a block does. */
  int64_t mark = uly__arena_mark(scratch);
  if (model->use != ULY_MODEL_PREFILLS && uly__stage_has_head(&model->stage, &model->config))
    carve_head(model, scratch, host);
  uly__arena_release(scratch, mark);
  uly__stash_carve(&model->stash, c, model->num_own * c->hidden * bytes,
                   T * model->share.ffn.count * bytes, model->attention, activations, scratch);
  model->attention->scheme->carve_work(
      model->attention, uly__model_is_forward_only(model) ? 0 : ULY_SEQ_BACKWARD, scratch);
  if (model->positions) set_positions(model, NULL, 0);
}

uly_status uly__model_set_documents(uly__model *model, const int64_t *doc_start, int64_t num_docs) {
  ULY_TRY(uly__attention_use_documents(model->attention, doc_start, num_docs));
  model->pairs = count_pairs(model);
  set_positions(model, doc_start, num_docs);
  return ULY_OK;
}

void uly__model_carve_states(uly__model *model, uly__arena *arenas) {
  uly__zero_carve(model->zero, arenas);
}

double uly__model_flops(const uly__model *model, int64_t num_sequences, double pairs) {
  const uly__params *params = &model->params;
  double tokens = (double)model->attention->desc.num_tokens * (double)num_sequences, weights = 0;
  for (int i = 0; i < params->num; i++)
    if (params->list[i].num_dims == 2) weights += (double)params->list[i].count;
  /* Embedding and positions are looked up, not multiplied; a tied embedding is multiplied once. */
  double embed = (double)(model->config.vocab * model->config.hidden);
  if (!model->config.tied) weights -= embed;
  if (params->positions >= 0)
    weights -= (double)(model->config.max_positions * model->config.hidden);
  double products = 12.0 * model->config.head_dim * model->config.num_layers;
  return (6 * weights * tokens + products * pairs) / (uly__model_is_forward_only(model) ? 3 : 1);
}
