/* A training run: creation, planning, and the queries. */
#include "train/calls.h"

#include <limits.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/log.h"
#include "data/folder.h"
#include "device/device.h"
#include "device/process.h"
#include "ops/mask.h"
#include "train/settings.h"

/* Checks what rows of the table of settings do not say. */
static uly_status check(const uly_train_config *c) {
  if (!c->model)
    ULY_FAIL(ULY_ERR_CONFIG, "config.model is missing: give a preset or the path of a config.json");
  ULY_TRY(uly__settings_check(c, ~0U));
  if (c->forward_only && (c->offload || c->stash))
    ULY_FAIL(ULY_ERR_CONFIG,
             "a run that does not train (config.forward_only) keeps neither optimizer states nor "
             "what backward needs: leave out config.offload and config.stash");
  return ULY_OK;
}

uly_sparse uly__trainer_sparse(const uly_train_config *config) {
  uly_sparse sparse = config->sparse;
  if (sparse.pattern == ULY_SPARSE_NONE) return (uly_sparse){0};
  sparse.local = uly_sparse_local(&config->sparse, config->seq_len);
  sparse.seed = config->seed;
  return sparse;
}

/* Overrides what the model's file says with what the run says about the model. */
static void settle_model(uly_trainer *trainer, uly__model_config *model) {
  uly_train_config *config = &trainer->config;
  trainer->model_window = model->window;
  trainer->model_sparse = model->sparse;
  if (config->window < 0) config->window = model->window;
  model->window = config->window;
  model->sparse = config->sparse.pattern;
  if (model->rope && model->max_positions < config->seq_len) model->max_positions = config->seq_len;
}

/* What can be done where there is not enough memory. */
static const char advice[] =
    "use more ranks, a smaller model, a shorter config.seq_len, or config.recompute = "
    "ULY_RECOMPUTE_FULL";

static int num_threads(const uly_mesh *mesh, const uly_train_config *config) {
  return config->threads > 0 ? config->threads : uly_mesh_threads(mesh);
}

static uly__model_use choose_use(const uly_train_config *config, uly__decode_run decode) {
  if (decode.capacity > 0) return decode.prefills ? ULY_MODEL_PREFILLS : ULY_MODEL_DECODES;
  return config->forward_only ? ULY_MODEL_EVALUATES : ULY_MODEL_TRAINS;
}

static uly_status plan(uly_trainer *trainer, const uly_train_config *config,
                       uly__decode_run decode) {
  uly__model_config model_config;
  int dp = uly_mesh_dp(trainer->mesh);
  trainer->config = *config;
  trainer->decode = decode;
  ULY_TRY(uly__settings_copy_texts(&trainer->config));
  ULY_TRY(check(config));
  if (!config->forward_only && config->batch % dp != 0)
    ULY_FAIL(ULY_ERR_CONFIG,
             "config.batch is %lld, which the groups of mesh.dp = %d cannot share equally: use a "
             "multiple",
             (long long)config->batch, dp);
  trainer->passes = config->batch && !config->forward_only ? config->batch / dp : 1;
  ULY_TRY(uly__schedule_create(trainer->passes, &trainer->schedule));
  ULY_TRY(uly__model_config_load(config->model, &model_config));
  settle_model(trainer, &model_config);
  if (config->pack && config->doc_end >= model_config.vocab)
    ULY_FAIL(ULY_ERR_CONFIG,
             "config.doc_end is %lld, but the vocabulary of the model has only %lld tokens",
             (long long)config->doc_end, (long long)model_config.vocab);
  uly__model_run run = {.seq_len = config->seq_len,
                        .window = trainer->config.window,
                        .sparse = uly__trainer_sparse(config),
                        .dtype = config->dtype,
                        .grad_dtype = config->grad_dtype,
                        .recompute = config->recompute,
                        .threads = num_threads(trainer->mesh, config),
                        .use = choose_use(config, decode),
                        .stash_on_disk = config->stash != NULL,
                        .stage = uly__whole_model(&model_config),
                        .zero_stage = config->zero_stage,
                        .leaves = config->reproducible ? config->leaves : 0,
                        .rounds = config->reproducible ? 0 : config->rounds,
                        .passes = trainer->passes};
  ULY_TRY(uly__model_create(&model_config, trainer->mesh, &run, &trainer->model));
  if (decode.capacity > 0)
    ULY_TRY(uly__decoder_create(trainer->model, &run, decode.capacity, &trainer->decoder));
  uly__states_init(&trainer->states, trainer->model->zero, config->dtype,
                   run.use != ULY_MODEL_TRAINS, config->offload != NULL);
  for (int i = 0; i < ULY_NUM_ARENAS; i++)
    uly__arena_init(&trainer->arenas[i], uly_arena_name((uly_arena)i), advice, false);
  uly__arena_init(&trainer->host, "tokens and positions", advice, true);
  uly__trainer_carve(trainer); /* measures */
  return ULY_OK;
}

uly_status uly__trainer_plan(uly_mesh *mesh, const uly_train_config *config, uly__decode_run decode,
                             uly_trainer **out) {
  *out = NULL;
  uly_trainer *trainer = calloc(1, sizeof *trainer);
  if (!trainer) ULY_FAIL(ULY_ERR_MEMORY, "no memory for a trainer");
  trainer->mesh = uly__mesh_use(mesh);
  trainer->states.fd = -1;
  trainer->scan.largest = trainer->eval_scan.largest = -1;
  uly_status status = plan(trainer, config, decode);
  if (status != ULY_OK)
    uly_trainer_destroy(trainer);
  else
    *out = trainer;
  return status;
}

void uly__trainer_carve(uly_trainer *trainer) {
  uly__model *model = trainer->model;
  uly__arena *host = &trainer->host;
  int64_t windows = trainer->passes * uly__batch_room(trainer);
  uly__states_carve(&trainer->states, trainer->arenas);
  uly__model_carve_states(model, trainer->arenas);
  uly__arena *scratch = &trainer->arenas[ULY_ARENA_SCRATCH];
  int64_t mark = uly__arena_mark(scratch);
  if (trainer->decoder)
    uly__decoder_carve(trainer->decoder, &trainer->arenas[ULY_ARENA_ACTIVATIONS], scratch);
  /* The prompt has been processed before the first token is decoded. */
  uly__arena_release(scratch, mark);
  uly__model_carve_passes(model, trainer->arenas, host);
  if (model->use == ULY_MODEL_DECODES) return;
  trainer->windows = uly__arena_carve(host, windows * (int64_t)sizeof(int32_t));
  if (!trainer->config.forward_only)
    trainer->order = uly__arena_carve(host, trainer->passes * (int64_t)sizeof *trainer->order);
  if (trainer->decode.capacity > 0) return; /* the generator cuts documents, and has no labels */
  int64_t starts = trainer->config.seq_len * (int64_t)sizeof *trainer->doc_start;
  if (trainer->config.pack) trainer->doc_start = uly__arena_carve(host, starts);
  if (trainer->config.pack || model->cut->num_runs > 1)
    trainer->labels = uly__arena_carve(host, model->num_tokens * (int64_t)sizeof *trainer->labels);
}

int64_t uly__trainer_bytes(const uly_trainer *trainer, uly_arena arena) {
  int64_t of_host = arena == ULY_ARENA_ACTIVATIONS ? trainer->host.peak : 0;
  return trainer->arenas[arena].peak + of_host;
}

/* Checks whether the data are what the model reads. */
static uly_status check_kind(const uly_trainer *trainer, const char *path,
                             const uly__tokens *tokens) {
  int64_t vocab = trainer->model->config.vocab;
  if (!trainer->config.any_bytes) ULY_TRY(uly__tokens_check_text(tokens, "config.any_bytes"));
  if (uly__tokens_kind(tokens) == ULY_TOKENS_TEXT && vocab != ULY_TEXT_VOCAB)
    ULY_FAIL(ULY_ERR_CONFIG,
             "'%s' is text, whose tokens are bytes, but the vocabulary of the model has %lld "
             "tokens, which are not those of bytes (%d): give token shards made with the model's "
             "tokenizer, or a model of bytes (config.model)",
             path, (long long)vocab, ULY_TEXT_VOCAB);
  return ULY_OK;
}

static uly_status open_data(const uly_trainer *trainer, const char *path, uly__tokens **tokens,
                            int64_t *num_windows) {
  int64_t N = trainer->config.seq_len;
  ULY_TRY(uly__tokens_open(path, tokens));
  ULY_TRY(check_kind(trainer, path, *tokens));
  *num_windows = (uly__tokens_count(*tokens) - 1) / N;
  if (*num_windows < 1)
    ULY_FAIL(ULY_ERR_DATA,
             "'%s' has %lld tokens, but one sequence of config.seq_len = %lld needs %lld: use more "
             "data or shorter sequences",
             path, (long long)uly__tokens_count(*tokens), (long long)N, (long long)N + 1);
  int64_t end = uly__tokens_end(*tokens), vocab = trainer->model->config.vocab;
  if (trainer->config.pack && trainer->config.doc_end < 0 && end >= vocab)
    ULY_FAIL(ULY_ERR_CONFIG,
             "token %lld ends the documents of '%s', which config.pack needs, but the vocabulary "
             "of the model has only %lld tokens: give another one as config.doc_end",
             (long long)end, path, (long long)vocab);
  if (trainer->config.pack && uly__batch_end(trainer, *tokens) < 0)
    ULY_FAIL(ULY_ERR_CONFIG,
             "the header of '%s' does not say which token ends its documents, which config.pack "
             "needs: give it as config.doc_end",
             path);
  return ULY_OK;
}

/* Initializes what each rank updates; moments are zero already. */
static uly_status init_weights(uly_trainer *trainer) {
  const uly__model *model = trainer->model;
  uly__range range;
  uly__range_walk walk = uly__param_ranges(&model->params, model->zero, ULY_ALL_UNITS);
  while (uly__range_next(&walk, &range)) {
    float *window;
    ULY_TRY(uly__states_map(&trainer->states, ULY_STATE_MASTER, &range, &window));
    uly__param_init(range.param, model->ops, model->stream, trainer->config.seed, range.global,
                    range.count, window);
    ULY_TRY(uly__states_unmap(&trainer->states, ULY_STATE_MASTER, &range));
  }
  return ULY_OK;
}

/* Names a file of this rank in a folder on local disk, which is created. */
static uly_status name_scratch(const uly_trainer *trainer, const char *folder, const char *what,
                               char path[PATH_MAX]) {
  char name[64];
  snprintf(name, sizeof name, "ulysses-%s-%d-%ld", what, trainer->mesh->rank, (long)getpid());
  ULY_TRY(uly__folder_make(folder));
  return uly__path_join(path, PATH_MAX, folder, name);
}

static uly_status open_scratch(uly_trainer *trainer) {
  const uly_train_config *config = &trainer->config;
  char path[PATH_MAX];
  if (config->offload) {
    ULY_TRY(name_scratch(trainer, config->offload, "states", path));
    ULY_TRY(uly__states_open(&trainer->states, path));
  }
  if (config->stash) {
    ULY_TRY(name_scratch(trainer, config->stash, "stash", path));
    ULY_TRY(uly__stash_open(&trainer->model->stash, path));
  }
  return ULY_OK;
}

/* Opens what a run needs and a plan does not, as far as nothing is allocated or written for it. */
static uly_status open_input(uly_trainer *trainer) {
  const uly_train_config *config = &trainer->config;
  if (!config->data && !config->forward_only)
    ULY_FAIL(ULY_ERR_CONFIG,
             "config.data is missing: give a file, or a folder of files, to train on");
  if (config->data)
    ULY_TRY(open_data(trainer, config->data, &trainer->data, &trainer->num_windows));
  if (config->eval_data)
    ULY_TRY(open_data(trainer, config->eval_data, &trainer->eval_data, &trainer->num_eval_windows));
  return uly__check_fit(trainer, uly__group_node_size(uly__mesh_world(trainer->mesh)));
}

/* Starts the rest: memory, files and weights. */
static uly_status start(uly_trainer *trainer) {
  for (int i = 0; i < ULY_NUM_ARENAS; i++) ULY_TRY(uly__arena_commit(&trainer->arenas[i]));
  ULY_TRY(uly__arena_commit(&trainer->host));
  uly__trainer_carve(trainer);
  ULY_TRY(open_scratch(trainer));
  trainer->is_mixed = trainer->config.forward_only != 0; /* until a checkpoint is loaded */
  return trainer->config.forward_only ? ULY_OK : init_weights(trainer);
}

/* Checks that ranks have the same files and settings. On different machines these may differ: then
 * ranks would wait for each other, or train models that drift apart. */
static uly_status check_same(const uly_trainer *trainer) {
  uly_mesh *mesh = trainer->mesh;
  const uly__tokens *files = trainer->data, *held_out = trainer->eval_data;
  ULY_TRY(uly__settings_same(mesh, &trainer->config, ~0U));
  uint64_t data[4] = {files ? uly__tokens_hash(files) : 0,
                      held_out ? uly__tokens_hash(held_out) : 0,
                      files ? (uint64_t)uly__batch_end(trainer, files) : 0,
                      held_out ? (uint64_t)uly__batch_end(trainer, held_out) : 0};
  ULY_TRY(uly_mesh_same(mesh, data, sizeof data, "set of data files (their contents)"));
  char *model = uly__model_config_json(&trainer->model->config);
  const char *isa = trainer->model->ops->name;
  if (trainer->config.reproducible)
    ULY_TRY(uly_mesh_same(mesh, isa, strlen(isa) + 1, "instruction set"));
  uly_status status =
      uly__agree(uly__mesh_world(mesh), uly__check_memory(model, "a model's description"));
  if (status == ULY_OK && model) status = uly_mesh_same(mesh, model, strlen(model), "model");
  free(model);
  return status;
}

/* Warns about what training does differently from what the model's file asks. */
static void warn_of_model(const uly_trainer *trainer) {
  const uly_train_config *config = &trainer->config;
  const char *dropout = trainer->model->config.dropout;
  if (trainer->mesh->rank != 0 || config->forward_only) return;
  if (dropout)
    uly__warn("'%s' asks for dropout (\"%s\" is not 0): it is not used, the run trains without",
              config->model, dropout);
  if (trainer->model_window > 0 && trainer->model_window != config->window)
    uly__warn("'%s' has a window of %lld tokens: config.window, %lld (0: none), is used instead",
              config->model, (long long)trainer->model_window, (long long)config->window);
  if (trainer->model_sparse != ULY_SPARSE_NONE && trainer->model_sparse != config->sparse.pattern)
    uly__warn("'%s' has sparse blocks (%s): config.sparse.pattern, %s, is used instead",
              config->model, uly__sparse_names[trainer->model_sparse],
              uly__sparse_names[config->sparse.pattern]);
}

/* Makes all checks of a start before it allocates memory. All ranks have seen how much is free
 * before any of them allocates some. */
static uly_status check_start(uly_mesh *mesh, const uly_train_config *config,
                              uly__decode_run decode, uly_trainer **trainer) {
  uly_status status = uly__trainer_plan(mesh, config, decode, trainer);
  if (status == ULY_OK) status = open_input(*trainer);
  status = uly__agree(uly__mesh_world(mesh), status);
  if (status == ULY_OK && *trainer) status = check_same(*trainer);
  if (status == ULY_OK && *trainer) status = uly__survey_data(*trainer);
  return status;
}

uly_status uly__trainer_make(uly_mesh *mesh, const uly_train_config *config, uly__decode_run decode,
                             uly_trainer **out) {
  *out = NULL;
  uly__device_use_threads(num_threads(mesh, config));
  uly_trainer *trainer = NULL;
  uly_status status = check_start(mesh, config, decode, &trainer);
  if (status == ULY_OK && trainer) status = uly__agree(uly__mesh_world(mesh), start(trainer));
  if (status == ULY_OK && trainer)
    status = uly__agree(uly__mesh_world(mesh), uly__weights_from_master(trainer));
  if (status == ULY_OK && trainer) warn_of_model(trainer);
  if (status != ULY_OK)
    uly_trainer_destroy(trainer);
  else
    *out = trainer;
  return status;
}

uly_status uly__trainer_check(uly_mesh *mesh, const uly_train_config *config,
                              const char *checkpoint, uly_start_report *report) {
  uly_trainer *trainer = NULL;
  uly_status status = check_start(mesh, config, (uly__decode_run){0}, &trainer);
  if (status == ULY_OK && trainer && checkpoint)
    status = uly__checkpoint_check(trainer, checkpoint);
  if (status == ULY_OK && trainer) warn_of_model(trainer);
  if (status == ULY_OK && trainer)
    *report = (uly_start_report){.num_params = trainer->model->params.count,
                                 .num_windows = trainer->num_windows,
                                 .num_eval_windows = trainer->num_eval_windows,
                                 .data = trainer->data_info,
                                 .eval_data = trainer->eval_info,
                                 .steps_done = trainer->steps_done};
  uly_trainer_destroy(trainer);
  return status;
}

void uly_trainer_destroy(uly_trainer *trainer) {
  if (!trainer) return;
  uly__save_abandon(trainer);
  uly__states_close(&trainer->states);
  uly__schedule_destroy(&trainer->schedule);
  uly__decoder_destroy(trainer->decoder);
  uly__model_destroy(trainer->model);
  uly__tokens_close(trainer->data);
  uly__tokens_close(trainer->eval_data);
  for (int i = 0; i < ULY_NUM_ARENAS; i++) uly__arena_destroy(&trainer->arenas[i]);
  uly__arena_destroy(&trainer->host);
  uly__settings_free_texts(&trainer->config);
  uly__scan_free(&trainer->scan);
  uly__scan_free(&trainer->eval_scan);
  uly__mesh_leave(trainer->mesh);
  free(trainer);
}

uly_status uly__run_plan(const uly_mesh *mesh, const uly_train_config *config,
                         uly_plan_report *report) {
  /* A plan changes nothing, so it may be made on any mesh. */
  uly_mesh copy = *mesh;
  uly_trainer *trainer = NULL;
  ULY_TRY(uly__trainer_plan(&copy, config, (uly__decode_run){0}, &trainer));
  memset(report, 0, sizeof *report);
  report->num_params = trainer->model->params.count;
  report->tokens = trainer->model->num_tokens;
  for (int i = 0; i < ULY_NUM_ARENAS; i++)
    report->arena_bytes[i] = uly__trainer_bytes(trainer, (uly_arena)i);
  report->stash_bytes = uly__stash_file_bytes(&trainer->model->stash);
  uly__step_traffic(trainer, report->sent_bytes);
  int64_t num_sequences = trainer->passes * uly_mesh_dp(trainer->mesh);
  report->flops = uly__model_flops(trainer->model, num_sequences,
                                   trainer->model->pairs * (double)num_sequences);
  uly_status status = uly__check_limit(trainer);
  uly_trainer_destroy(trainer);
  return status;
}
