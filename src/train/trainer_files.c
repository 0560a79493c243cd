/* Saves and loads trainers: see trainer_files.h. */
#include "train/trainer_files.h"

#include <stdio.h>

#include "base/log.h"
#include "store/attends_alike.h"
#include "store/checkpoint_load.h"
#include "train/batch.h"
#include "train/data_tokenizer.h"

uly_status uly__check_whole(const uly_trainer *trainer) {
  if (trainer->run.config.forward_only)
    ULY_FAIL(ULY_ERR_CONFIG,
             "a run that does not train (config.forward_only) has no optimizer: it can neither "
             "train nor save");
  if (trainer->is_mixed)
    ULY_FAIL(ULY_ERR_CONFIG,
             "an update or a load failed halfway: load a checkpoint before going on");
  return ULY_OK;
}

/* Returns the token that ends documents in the data of this run. */
static int64_t end_of_documents(const uly_trainer *trainer) {
  const uly__tokens *data = trainer->data ? trainer->data : trainer->eval_data;
  return data ? uly__batch_end(trainer, data) : trainer->run.config.doc_end;
}

/* ------------------------------------------------------------------------------ loading */

/* Checks the data, since what a run has seen of its data says nothing about others. */
static uly_status check_data(const uly_trainer *trainer, const uly__checkpoint_run *run,
                             const char *dir, bool *same) {
  uint64_t hash = run->is_hash_of_names ? uly__tokens_name_hash(trainer->data)
                                        : uly__tokens_hash(trainer->data);
  *same = hash == run->data_hash;
  if (*same || trainer->run.config.new_data) return ULY_OK;
  ULY_FAIL(ULY_ERR_CONFIG,
           "'%s' does not hold the data that '%s' was trained on: their %s differ. Give those "
           "data, or set config.new_data to continue with these from their beginning",
           trainer->run.config.data, dir, run->is_hash_of_names ? "names or sizes" : "contents");
}

/* Where a run continues: the steps and sequences that are done. */
typedef struct run_place {
  int64_t steps, sequences;
} run_place;

/* Finds the step and the place in the data, and checks the seed. A run that does not train has no
 * place; its seed matters if blocks are drawn with it. */
static uly_status find_place(const uly_trainer *trainer, const uly__checkpoint_run *run,
                             const char *dir, run_place *out) {
  *out = (run_place){0};
  if (!run) return ULY_OK; /* it is not a checkpoint */
  int64_t sequences = run->sequences;
  const uly_train_config *config = &trainer->run.config;
  /* When a run goes back after a step that was not finite, there is nothing new to warn about. */
  bool warns = trainer->mesh->rank == 0 && !trainer->is_nonfinite;
  uly_train_config own = *config;
  own.sparse = uly__run_sparse(config);
  if (warns) uly__warn_if_it_attends_otherwise(&own, end_of_documents(trainer), dir, run);
  out->steps = run->step;
  if (config->forward_only) return uly__check_same_blocks(config, dir, run);
  if (run->config.seed != config->seed)
    ULY_FAIL(
        ULY_ERR_CONFIG,
        "'%s' was made with config.seed = %llu, not %llu: the order of the data would not continue",
        dir, (unsigned long long)run->config.seed, (unsigned long long)config->seed);
  if (run->config.seq_len != config->seq_len) {
    /* Sequences have a different length, so the run continues after about as many tokens. */
    __int128 tokens = (__int128)sequences * run->config.seq_len;
    sequences = (int64_t)(tokens / config->seq_len);
    if (warns)
      uly__warn(
          "the checkpoint was trained with config.seq_len = %lld, and now it is %lld: the data "
          "continue after about as many tokens, in a different order",
          (long long)run->config.seq_len, (long long)config->seq_len);
  }
  bool same;
  ULY_TRY(check_data(trainer, run, dir, &same));
  if (!same) sequences = 0;
  if (!same && warns)
    uly__warn("config.data is not what '%s' was trained on: it is read from its beginning", dir);
  out->sequences = sequences;
  return ULY_OK;
}

/* Opens a checkpoint, and finds its place in the data. The trainer stays as it is. */
static uly_status open_checkpoint(const uly_trainer *trainer, const char *dir, uly__loading **from,
                                  run_place *out) {
  ULY_TRY(uly__loading_open(trainer->run.model, trainer->run.states.num, dir, from));
  ULY_TRY(uly__check_tokenizer(trainer, dir));
  return find_place(trainer, uly__loading_run(*from), dir, out);
}

uly_status uly__trainer_check_checkpoint(uly_trainer *trainer, const char *dir) {
  uly__loading *from = NULL;
  run_place at = {0};
  uly_status status =
      uly__agree(uly__mesh_world(trainer->mesh), open_checkpoint(trainer, dir, &from, &at));
  if (status == ULY_OK) status = uly__loading_same(from, trainer->mesh);
  if (status == ULY_OK) trainer->steps_done = at.steps;
  uly__loading_close(from);
  return status;
}

/* Replaces the trainer's states. If that fails, they belong to no step. */
static uly_status take_states(uly_trainer *trainer, const char *dir, uly__loading *from,
                              run_place at) {
  uly__run *run = &trainer->run;
  trainer->is_mixed = true;
  uly_status status = uly__loading_read(from, trainer->mesh, run->model, &run->states);
  if (status == ULY_OK) status = uly__take_companions(trainer, dir);
  ULY_TRY(uly__agree(uly__mesh_world(trainer->mesh), status));
  ULY_TRY(uly__loading_finish(from, trainer->mesh, run->model, &run->states));
  trainer->steps_done = at.steps;
  trainer->windows_done = at.sequences;
  trainer->is_mixed = false;
  trainer->is_nonfinite = false;
  return ULY_OK;
}

uly_status uly__trainer_load(uly_trainer *trainer, const char *dir) {
  uly__loading *from = NULL;
  run_place at = {0};
  uly__trainer_end_save(trainer);
  uly_status status =
      uly__agree(uly__mesh_world(trainer->mesh), open_checkpoint(trainer, dir, &from, &at));
  if (status == ULY_OK) status = take_states(trainer, dir, from, at);
  uly__loading_close(from);
  return status;
}

/* ----------------------------------------------------------------------- initial weights */

static uly_status open_init(const uly_trainer *trainer, uly__loading **from) {
  const char *dir = trainer->run.config.init;
  uly_status status = uly__loading_open(trainer->run.model, 1, dir, from);
  if (status == ULY_OK) status = uly__check_tokenizer(trainer, dir);
  return uly__agree(uly__mesh_world(trainer->mesh), status);
}

uly_status uly__trainer_check_init(const uly_trainer *trainer) {
  uly__loading *from = NULL;
  uly_status status = open_init(trainer, &from);
  if (status == ULY_OK) status = uly__loading_same(from, trainer->mesh);
  uly__loading_close(from);
  return status;
}

uly_status uly__trainer_load_init(uly_trainer *trainer) {
  uly__loading *from = NULL;
  uly_status status = open_init(trainer, &from);
  if (status == ULY_OK)
    status = take_states(trainer, trainer->run.config.init, from, (run_place){0});
  uly__loading_close(from);
  return status;
}

/* ------------------------------------------------------------------------------- saving */

uly_status uly__trainer_save_start(uly_trainer *trainer, const char *out_dir) {
  uly__trainer_end_save(trainer);
  ULY_TRY(uly__check_whole(trainer));
  uly__checkpoint_run place = {.step = trainer->steps_done,
                               .sequences = trainer->windows_done,
                               .data_hash = uly__tokens_hash(trainer->data),
                               .config = trainer->run.config};
  place.config.doc_end = uly__batch_end(trainer, trainer->data);
  place.config.sparse = uly__run_sparse(&trainer->run.config);
  return uly__save_start(trainer->mesh, trainer->run.model, &trainer->run.states, &place,
                         &trainer->companions, out_dir, &trainer->save);
}

void uly__trainer_end_save(uly_trainer *trainer) {
  if (!trainer->save) return;
  trainer->saved = uly__save_end(trainer->save);
  trainer->save = NULL;
  if (trainer->saved != ULY_OK)
    snprintf(trainer->save_failure, sizeof trainer->save_failure, "%s", uly_last_error());
}

uly_status uly__trainer_save_finish(uly_trainer *trainer) {
  uly__trainer_end_save(trainer);
  uly_status status = trainer->saved;
  trainer->saved = ULY_OK;
  if (status != ULY_OK) uly__set_last_error(trainer->save_failure);
  return status;
}

uly_status uly__trainer_save(uly_trainer *trainer, const char *out_dir) {
  ULY_TRY(uly__trainer_save_start(trainer, out_dir));
  return uly__trainer_save_finish(trainer);
}
