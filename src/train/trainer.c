/* A training run: creation, planning, and the queries. */
#include "train/trainer.h"

#include <math.h>
#include <omp.h>
#include <stdlib.h>

#include "device/device.h"

uly_train_config uly_train_config_default(void) {
  return (uly_train_config){
      .model = "llama-4m",
      .seq_len = 4096,
      .steps = 100,
      .accumulate = 1,
      .eval_windows = 8,
      .seed = 1,
      .dtype = ULY_F32,
      .recompute = ULY_RECOMPUTE_KEEP_ATTENTION,
      .schedule = ULY_SCHEDULE_COSINE,
      .lr = 1e-3,
      .min_lr_ratio = 0.1,
      .warmup = 10,
      .beta1 = 0.9,
      .beta2 = 0.95,
      .eps = 1e-8,
      .weight_decay = 0.1,
      .clip = 1.0,
  };
}

static uly_status check(const uly_train_config *c) {
  if (!c->model) ULY_FAIL(ULY_ERR_CONFIG, "no model given: use --model");
  if (c->seq_len < 1 || c->seq_len > (int64_t)1 << 40)
    ULY_FAIL(ULY_ERR_CONFIG, "--seq-len %lld: must be from 1 to 2^40", (long long)c->seq_len);
  if (c->accumulate > 0 && c->seq_len > ((int64_t)1 << 50) / c->accumulate)
    ULY_FAIL(ULY_ERR_CONFIG, "--seq-len %lld times --accumulate %lld is more than 2^50",
             (long long)c->seq_len, (long long)c->accumulate);
  if (c->steps < 0 || c->warmup < 0 || c->accumulate < 1 || c->accumulate > 1 << 20)
    ULY_FAIL(ULY_ERR_CONFIG,
             "--steps %lld, --warmup %lld, --accumulate %lld: the first two may not be "
             "negative, the last must be from 1 to 2^20",
             (long long)c->steps, (long long)c->warmup, (long long)c->accumulate);
  if ((unsigned)c->recompute > ULY_RECOMPUTE_FULL || (unsigned)c->schedule > ULY_SCHEDULE_CONSTANT)
    ULY_FAIL(ULY_ERR_CONFIG, "unknown recompute policy %d or schedule %d", (int)c->recompute,
             (int)c->schedule);
  if (c->dtype != ULY_F32 && c->dtype != ULY_BF16)
    ULY_FAIL(ULY_ERR_CONFIG, "unknown dtype %d: use ULY_F32 or ULY_BF16", (int)c->dtype);
  if (c->eval_windows < 1) ULY_FAIL(ULY_ERR_CONFIG, "--eval-windows must be at least 1");
  if (!(c->lr >= 0) || !(c->min_lr_ratio >= 0) || !(c->weight_decay >= 0) || !(c->clip >= 0) ||
      !(c->eps >= 1e-30) || !(c->lr <= 1e30) || !(c->beta1 >= 0 && c->beta1 < 1) ||
      !(c->beta2 >= 0 && c->beta2 < 1) ||
      !isfinite(c->lr + c->min_lr_ratio + c->weight_decay + c->clip + c->eps))
    ULY_FAIL(ULY_ERR_CONFIG,
             "lr, min_lr_ratio, weight_decay and clip must be finite and not negative, eps at "
             "least 1e-30 (it is an f32), beta1 and beta2 from 0 to below 1");
  return ULY_OK;
}

static char *copy_text(const char *text) { return text ? strdup(text) : NULL; }

static uly_status plan(uly_trainer *trainer, const uly_train_config *config) {
  uly__model_config model_config;
  trainer->config = *config;
  trainer->config.model = copy_text(config->model);
  trainer->config.data = copy_text(config->data);
  trainer->config.eval_data = copy_text(config->eval_data);
  ULY_TRY(check(config));
  ULY_TRY(uly__model_config_load(config->model, &model_config));
  ULY_TRY(uly__model_create(&model_config, trainer->mesh, config->seq_len, config->dtype,
                            config->recompute, &trainer->model));
  int64_t size = uly_mesh_size(trainer->mesh), count = trainer->model->params.count;
  trainer->sum_workspace_count = count < 1 << 20 ? count : 1 << 20;
  if (trainer->sum_workspace_count < size) trainer->sum_workspace_count = size;
  for (int i = 0; i < ULY_NUM_ARENAS; i++)
    uly__arena_init(&trainer->arenas[i], uly_arena_name((uly_arena)i));
  uly__trainer_carve(trainer); /* measures */
  return ULY_OK;
}

uly_status uly__trainer_plan(uly_mesh *mesh, const uly_train_config *config, uly_trainer **out) {
  *out = NULL;
  uly_trainer *trainer = calloc(1, sizeof *trainer);
  if (!trainer) ULY_FAIL(ULY_ERR_MEMORY, "no memory for a trainer");
  trainer->mesh = mesh;
  uly_status status = plan(trainer, config);
  if (status != ULY_OK)
    uly_trainer_destroy(trainer);
  else
    *out = trainer;
  return status;
}

void uly__trainer_carve(uly_trainer *trainer) {
  uly__arena *optimizer = &trainer->arenas[ULY_ARENA_OPTIMIZER];
  uly__arena *scratch = &trainer->arenas[ULY_ARENA_SCRATCH];
  uly__model *model = trainer->model;
  int64_t bytes = model->params.count * (int64_t)sizeof(float);
  int64_t windows = trainer->config.accumulate * (model->num_tokens + 1);
  /* Gradients are summed when no block runs. */
  int64_t mark = uly__arena_mark(scratch);
  trainer->sum_workspace =
      uly__arena_carve(scratch, trainer->sum_workspace_count * (int64_t)sizeof(float));
  uly__arena_release(scratch, mark);
  uly__model_carve(model, trainer->arenas);
  trainer->m = uly__arena_carve(optimizer, bytes);
  trainer->v = uly__arena_carve(optimizer, bytes);
  trainer->master = model->dtype == ULY_F32 ? model->weights : uly__arena_carve(optimizer, bytes);
  trainer->windows =
      uly__arena_carve(&trainer->arenas[ULY_ARENA_ACTIVATIONS], windows * (int64_t)sizeof(int32_t));
}

static uly_status open_data(const uly_trainer *trainer, const char *path, uly__tokens **tokens,
                            int64_t *num_windows) {
  int64_t N = trainer->config.seq_len;
  ULY_TRY(uly__tokens_open(path, tokens));
  *num_windows = (uly__tokens_count(*tokens) - 1) / N;
  if (*num_windows < 1)
    ULY_FAIL(ULY_ERR_DATA,
             "'%s' has %lld tokens, but one sequence of --seq-len %lld needs %lld: use "
             "more data or shorter sequences",
             path, (long long)uly__tokens_count(*tokens), (long long)N, (long long)N + 1);
  return ULY_OK;
}

/* What a run has and a plan has not: memory, weights and data. */
static uly_status start(uly_trainer *trainer) {
  const uly_train_config *config = &trainer->config;
  if (!config->data) ULY_FAIL(ULY_ERR_CONFIG, "no training data given: use --data");
  ULY_TRY(open_data(trainer, config->data, &trainer->data, &trainer->num_windows));
  if (config->eval_data) {
    ULY_TRY(open_data(trainer, config->eval_data, &trainer->eval_data, &trainer->num_eval_windows));
    if (trainer->num_eval_windows > config->eval_windows)
      trainer->num_eval_windows = config->eval_windows;
  }
  for (int i = 0; i < ULY_NUM_ARENAS; i++) ULY_TRY(uly__arena_commit(&trainer->arenas[i]));
  uly__trainer_carve(trainer);
  const uly__params *params = &trainer->model->params;
  uly__params_init(params, config->seed, 0, params->count, trainer->master);
  uly__weights_from_master(trainer);
  return ULY_OK;
}

/* Ranks on different machines may see different files or be started with different settings: then they
 * would wait for each other, or train models that drift apart. */
static uly_status check_same(const uly_trainer *trainer) {
  const uly_train_config *c = &trainer->config;
  uly_mesh *mesh = trainer->mesh;
  uint64_t data[2] = {uly__tokens_hash(trainer->data),
                      trainer->eval_data ? uly__tokens_hash(trainer->eval_data) : 0};
  ULY_TRY(uly_mesh_same(mesh, data, sizeof data, "set of data files (names and sizes)"));
  int64_t counts[] = {c->seq_len, c->steps,     c->accumulate, c->eval_windows, (int64_t)c->seed,
                      c->dtype,   c->recompute, c->schedule,   c->warmup};
  ULY_TRY(uly_mesh_same(mesh, counts, sizeof counts, "configuration"));
  double reals[] = {c->lr, c->min_lr_ratio, c->beta1, c->beta2, c->eps, c->weight_decay, c->clip};
  ULY_TRY(uly_mesh_same(mesh, reals, sizeof reals, "configuration"));
  char *model = uly__model_config_json(&trainer->model->config);
  uly_status status = uly__agree(mesh->world, uly__check_memory(model, "a model's description"));
  if (status == ULY_OK && model) status = uly_mesh_same(mesh, model, strlen(model), "model");
  free(model);
  return status;
}

uly_status uly_trainer_create(uly_mesh *mesh, const uly_train_config *config, uly_trainer **out) {
  *out = NULL;
  if (!mesh->world)
    ULY_FAIL(ULY_ERR_CONFIG, "an offline mesh cannot train: use uly_plan, or uly_mesh_create");
  omp_set_num_threads(uly__device_threads(config->threads, uly__comm_node_size(mesh->world)));
  uly_trainer *trainer = NULL;
  uly_status status = uly__trainer_plan(mesh, config, &trainer);
  if (status == ULY_OK) status = start(trainer);
  status = uly__agree(mesh->world, status);
  if (status == ULY_OK && trainer) status = check_same(trainer);
  if (status != ULY_OK)
    uly_trainer_destroy(trainer);
  else
    *out = trainer;
  return status;
}

void uly_trainer_destroy(uly_trainer *trainer) {
  if (!trainer) return;
  uly__model_destroy(trainer->model);
  uly__tokens_close(trainer->data);
  uly__tokens_close(trainer->eval_data);
  for (int i = 0; i < ULY_NUM_ARENAS; i++) uly__arena_destroy(&trainer->arenas[i]);
  free((char *)(uintptr_t)trainer->config.model);
  free((char *)(uintptr_t)trainer->config.data);
  free((char *)(uintptr_t)trainer->config.eval_data);
  free(trainer);
}

int64_t uly_trainer_steps_done(const uly_trainer *trainer) { return trainer->steps_done; }
int64_t uly_trainer_num_params(const uly_trainer *trainer) { return trainer->model->params.count; }
int64_t uly_trainer_num_windows(const uly_trainer *trainer) { return trainer->num_windows; }

uly_status uly_plan(const uly_mesh *mesh, const uly_train_config *config, uly_plan_report *report) {
  uly_mesh copy = *mesh; /* a plan changes nothing, so it may be made on any mesh */
  uly_trainer *trainer = NULL;
  ULY_TRY(uly__trainer_plan(&copy, config, &trainer));
  memset(report, 0, sizeof *report);
  report->num_params = trainer->model->params.count;
  report->tokens = trainer->model->num_tokens;
  for (int i = 0; i < ULY_NUM_ARENAS; i++) report->arena_bytes[i] = trainer->arenas[i].peak;
  uly__step_traffic(trainer, report->sent_bytes);
  report->flops =
      uly__model_flops(trainer->model) * (double)(trainer->config.accumulate * trainer->mesh->dp);
  uly_trainer_destroy(trainer);
  return ULY_OK;
}
