/* Starts trainers: see start.h. */
#include "train/start.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "device/device.h"
#include "device/process.h"
#include "model/weights.h"
#include "ops/mask.h"
#include "plan/run_model.h"
#include "plan/training_plan.h"
#include "store/settings.h"
#include "train/batch.h"
#include "train/data_tokenizer.h"
#include "train/survey.h"
#include "train/trainer_files.h"

/* Checks whether the data are what the model reads. */
static uly_status check_kind(const uly_trainer *trainer, const char *path,
                             const uly__tokens *tokens) {
  int64_t vocab = trainer->run.model->config.vocab;
  if (!trainer->run.config.any_bytes) ULY_TRY(uly__tokens_check_text(tokens, "config.any_bytes"));
  if (uly__tokens_kind(tokens) == ULY_TOKENS_TEXT && vocab != ULY_TEXT_VOCAB)
    ULY_FAIL(ULY_ERR_CONFIG,
             "'%s' is text, whose tokens are bytes, but the vocabulary of the model has %lld "
             "tokens, which are not those of bytes (%d): give token shards made with the model's "
             "tokenizer, or a model of bytes (config.model)",
             path, (long long)vocab, ULY_TEXT_VOCAB);
  if (uly__tokens_vocab(tokens) > vocab)
    ULY_FAIL(
        ULY_ERR_CONFIG,
        "the tokenizer that made '%s' has tokens up to %lld, but the vocabulary of the model has "
        "only %lld tokens: give token shards made with the model's tokenizer, or another model",
        path, (long long)uly__tokens_vocab(tokens) - 1, (long long)vocab);
  return ULY_OK;
}

static uly_status open_data(const uly_trainer *trainer, const char *path, uly__tokens **tokens,
                            int64_t *num_windows) {
  const uly_train_config *config = &trainer->run.config;
  int64_t N = config->seq_len;
  ULY_TRY(uly__tokens_open(path, tokens));
  ULY_TRY(check_kind(trainer, path, *tokens));
  *num_windows = (uly__tokens_count(*tokens) - 1) / N;
  if (*num_windows < 1)
    ULY_FAIL(ULY_ERR_DATA,
             "'%s' has %lld tokens, but one sequence of config.seq_len = %lld needs %lld: use more "
             "data or shorter sequences",
             path, (long long)uly__tokens_count(*tokens), (long long)N, (long long)N + 1);
  int64_t end = uly__tokens_end(*tokens), vocab = trainer->run.model->config.vocab;
  if (config->pack && config->doc_end < 0 && end >= vocab)
    ULY_FAIL(ULY_ERR_CONFIG,
             "token %lld ends the documents of '%s', which config.pack needs, but the vocabulary "
             "of the model has only %lld tokens: give another one as config.doc_end",
             (long long)end, path, (long long)vocab);
  if (config->pack && uly__batch_end(trainer, *tokens) < 0)
    ULY_FAIL(ULY_ERR_CONFIG,
             "the header of '%s' does not say which token ends its documents, which config.pack "
             "needs: give it as config.doc_end",
             path);
  return ULY_OK;
}

/* Refuses held-out data that were made with a different tokenizer than the data. */
static uly_status check_pair(const uly_trainer *trainer) {
  uint64_t hash = uly__tokens_tokenizer(trainer->data);
  uint64_t eval_hash = uly__tokens_tokenizer(trainer->eval_data);
  if (hash == 0 || eval_hash == 0 || hash == eval_hash) return ULY_OK;
  ULY_FAIL(
      ULY_ERR_CONFIG,
      "'%s' was made with a different tokenizer than '%s': prepare both with that of the model",
      trainer->run.config.eval_data, trainer->run.config.data);
}

/* Opens what a run needs and a plan does not, unless something must be allocated or written for
 * it. */
static uly_status open_input(uly_trainer *trainer) {
  const uly_train_config *config = &trainer->run.config;
  if (!config->data && !config->forward_only)
    ULY_FAIL(ULY_ERR_CONFIG,
             "config.data is missing: give a file, or a folder of files, to train on");
  if (config->data)
    ULY_TRY(open_data(trainer, config->data, &trainer->data, &trainer->num_windows));
  if (config->eval_data)
    ULY_TRY(open_data(trainer, config->eval_data, &trainer->eval_data, &trainer->num_eval_windows));
  if (trainer->data && trainer->eval_data) ULY_TRY(check_pair(trainer));
  return uly__training_check_fit(&trainer->run);
}

/* Starts memory and files. */
static uly_status start(uly_trainer *trainer) {
  uly__run *run = &trainer->run;
  ULY_TRY(uly__run_commit(run));
  uly__training_carve(run);
  return uly__run_open_scratch(run);
}

/* Sets the weights that the run begins with. Collective. */
static uly_status set_weights(uly_trainer *trainer) {
  uly__run *run = &trainer->run;
  uly__group *world = uly__mesh_world(trainer->mesh);
  if (run->config.init) return uly__trainer_load_init(trainer);
  trainer->is_mixed = run->config.forward_only != 0; /* until a checkpoint is loaded */
  ULY_TRY(uly__agree(world, uly__take_companions(trainer, NULL)));
  if (!run->config.forward_only)
    ULY_TRY(uly__agree(world, uly__weights_init(run->model, &run->states, run->config.seed)));
  return uly__agree(world, uly__weights_from_master(run->model, &run->states));
}

/* Checks that ranks have the same files and settings. If these differed between machines, ranks
 * would wait for each other, or train models that drift apart. */
static uly_status check_same(const uly_trainer *trainer) {
  uly_mesh *mesh = trainer->mesh;
  const uly__tokens *files = trainer->data, *held_out = trainer->eval_data;
  ULY_TRY(uly__settings_same(mesh, &trainer->run.config, ~0U));
  uint64_t data[4] = {files ? uly__tokens_hash(files) : 0,
                      held_out ? uly__tokens_hash(held_out) : 0,
                      files ? (uint64_t)uly__batch_end(trainer, files) : 0,
                      held_out ? (uint64_t)uly__batch_end(trainer, held_out) : 0};
  ULY_TRY(uly_mesh_same(mesh, data, sizeof data, "set of data files (their contents)"));
  char *model = uly__model_config_json(&trainer->run.model->config);
  const char *isa = trainer->run.model->ops->name;
  if (trainer->run.config.reproducible)
    ULY_TRY(uly_mesh_same(mesh, isa, strlen(isa) + 1, "instruction set"));
  uly_status status =
      uly__agree(uly__mesh_world(mesh), uly__check_memory(model, "a model's description"));
  if (status == ULY_OK && model) status = uly_mesh_same(mesh, model, strlen(model), "model");
  free(model);
  return status;
}

/* Warns if training does something other than what the model's file asks for. */
static void warn_of_model(const uly_trainer *trainer) {
  const uly__run *run = &trainer->run;
  const uly_train_config *config = &run->config;
  const char *dropout = run->model->config.dropout;
  if (trainer->mesh->rank != 0 || config->forward_only) return;
  if (dropout)
    uly__warn("'%s' asks for dropout (\"%s\" is not 0), but the run trains without it",
              config->model, dropout);
  if (run->model_window > 0 && run->model_window != config->window)
    uly__warn("'%s' has a window of %lld tokens: config.window, %lld (0: none), is used instead",
              config->model, (long long)run->model_window, (long long)config->window);
  if (run->model_sparse != ULY_SPARSE_NONE && run->model_sparse != config->sparse.pattern)
    uly__warn("'%s' has sparse blocks (%s): config.sparse.pattern, %s, is used instead",
              config->model, uly__sparse_names[run->model_sparse],
              uly__sparse_names[config->sparse.pattern]);
}

/* Plans a run that keeps copies of the configuration's texts, which are freed with it. */
static uly_status plan(uly_mesh *mesh, const uly_train_config *config, uly__run *run) {
  uly_train_config own = *config;
  uly_status status = uly__settings_copy_texts(&own);
  if (status == ULY_OK) status = uly__run_find_model(&own, &own.model);
  if (status == ULY_OK) status = uly__settings_check(&own, ~0U);
  if (status == ULY_OK) status = uly__training_create(mesh, &own, run);
  if (status != ULY_OK) uly__settings_free_texts(&own);
  return status;
}

static void destroy_run(uly__run *run) {
  uly__run_destroy(run);
  uly__settings_free_texts(&run->config);
}

static uly_status make(uly_mesh *mesh, const uly_train_config *config, uly_trainer **out) {
  uly_trainer *trainer = calloc(1, sizeof *trainer);
  if (!trainer) ULY_FAIL(ULY_ERR_MEMORY, "no memory for a trainer");
  uly_status status = plan(mesh, config, &trainer->run);
  if (status != ULY_OK) {
    free(trainer);
    return status;
  }
  trainer->mesh = uly__mesh_use(mesh);
  trainer->scan.largest = trainer->eval_scan.largest = -1;
  *out = trainer;
  return open_input(trainer);
}

/* Makes all checks of a start before it allocates memory. All ranks have seen how much is free
 * before any of them allocates some. */
static uly_status check_start(uly_mesh *mesh, const uly_train_config *config,
                              uly_trainer **trainer) {
  uly_status status = uly__agree(uly__mesh_world(mesh), make(mesh, config, trainer));
  if (status == ULY_OK && *trainer) status = check_same(*trainer);
  if (status == ULY_OK && *trainer) status = uly__survey_data(*trainer);
  return status;
}

uly_status uly__trainer_create(uly_mesh *mesh, const uly_train_config *config, uly_trainer **out) {
  *out = NULL;
  uly__device_use_threads(uly__run_threads(mesh, config));
  uly_trainer *trainer = NULL;
  uly_status status = check_start(mesh, config, &trainer);
  if (status == ULY_OK && trainer) status = uly__agree(uly__mesh_world(mesh), start(trainer));
  if (status == ULY_OK && trainer) status = set_weights(trainer);
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
  uly_status status = check_start(mesh, config, &trainer);
  if (status == ULY_OK && trainer && trainer->run.config.init)
    status = uly__trainer_check_init(trainer);
  if (status == ULY_OK && trainer && checkpoint)
    status = uly__trainer_check_checkpoint(trainer, checkpoint);
  if (status == ULY_OK && trainer) warn_of_model(trainer);
  if (status == ULY_OK && trainer)
    *report = (uly_start_report){.num_params = trainer->run.model->params.count,
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
  uly__save_abandon(trainer->save);
  destroy_run(&trainer->run);
  uly__tokens_close(trainer->data);
  uly__tokens_close(trainer->eval_data);
  uly__companions_free(&trainer->companions);
  uly__scan_free(&trainer->scan);
  uly__scan_free(&trainer->eval_scan);
  uly__mesh_leave(trainer->mesh);
  free(trainer);
}

uly_status uly__trainer_plan(const uly_mesh *mesh, const uly_train_config *config,
                             uly_plan_report *report) {
  /* A plan does not change the mesh that it is made on. */
  uly_mesh copy = *mesh;
  uly__run run;
  ULY_TRY(plan(&copy, config, &run));
  uly_status status = uly__training_describe(&run, report);
  if (status == ULY_OK) status = uly__training_check_limit(&run);
  destroy_run(&run);
  return status;
}
