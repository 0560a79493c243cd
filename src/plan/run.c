/* Plans runs: see run.h. */
#include "plan/run.h"

#include <limits.h>
#include <unistd.h>

#include "base/folder.h"
#include "model/passes.h"
#include "plan/run_model.h"

/* The sequences per stage that an evaluation takes at a time, so that stages seldom wait. */
enum { SEQUENCES_OF_STAGE = 4 };

/* The advice of a message if there is not enough memory. */
static const char advice[] =
    "use more ranks, a smaller model, a shorter config.seq_len, or config.recompute = "
    "ULY_RECOMPUTE_FULL";

int uly__run_threads(const uly_mesh *mesh, const uly_train_config *config) {
  return config->threads > 0 ? config->threads : uly_mesh_threads(mesh);
}

uly_sparse uly__run_sparse(const uly_train_config *config) {
  uly_sparse sparse = config->sparse;
  if (sparse.pattern == ULY_SPARSE_NONE) return (uly_sparse){0};
  sparse.local = uly_sparse_local(&config->sparse, config->seq_len);
  sparse.seed = config->seed;
  return sparse;
}

static uly_status check(const uly_mesh *mesh, const uly_train_config *c) {
  int dp = uly_mesh_dp(mesh);
  if (c->forward_only && (c->offload || c->stash))
    ULY_FAIL(ULY_ERR_CONFIG,
             "a run that does not train (config.forward_only) keeps neither optimizer states nor "
             "activations for backward: leave out config.offload and config.stash");
  if (!c->forward_only && c->batch % dp != 0)
    ULY_FAIL(ULY_ERR_CONFIG,
             "config.batch is %lld, which the groups of mesh.dp = %d cannot share equally: use a "
             "multiple",
             (long long)c->batch, dp);
  return ULY_OK;
}

static uly__model_run describe(const uly__run *run, uly__model_use use, int64_t num_positions) {
  const uly_train_config *config = &run->config;
  return (uly__model_run){.use = use,
                          .chunks = config->pp_chunks,
                          .ahead = config->pp_ahead,
                          .seq_len = config->seq_len,
                          .num_positions = num_positions,
                          .sparse = uly__run_sparse(config),
                          .dtype = config->dtype,
                          .grad_dtype = config->grad_dtype,
                          .recompute = config->recompute,
                          .threads = uly__run_threads(run->mesh, config),
                          .stash_on_disk = config->stash != NULL,
                          .zero_stage = config->zero_stage,
                          .leaves = config->reproducible ? config->leaves : 0,
                          .rounds = config->reproducible ? 0 : config->rounds,
                          .passes = run->passes};
}

static uly_status fill(uly__run *run, uly__model_use use, int64_t num_positions) {
  const uly_train_config *config = &run->config;
  uly__model_config in_file, model;
  ULY_TRY(check(run->mesh, config));
  run->passes = config->batch && !config->forward_only ? config->batch / uly_mesh_dp(run->mesh) : 1;
  ULY_TRY(uly__run_load_model(config, num_positions, &in_file, &model));
  run->model_window = in_file.window;
  run->model_sparse = in_file.sparse;
  run->config.window = model.window;
  if (config->pack && config->doc_end >= model.vocab)
    ULY_FAIL(ULY_ERR_CONFIG,
             "config.doc_end is %lld, but the vocabulary of the model has only %lld tokens",
             (long long)config->doc_end, (long long)model.vocab);
  run->model_run = describe(run, use, num_positions);
  ULY_TRY(uly__model_create(&model, run->mesh, &run->model_run, &run->model));
  uly__states_init(&run->states, run->model->zero, config->dtype, use != ULY_MODEL_TRAINS,
                   config->offload != NULL);
  return ULY_OK;
}

uly_status uly__run_create(uly_mesh *mesh, const uly_train_config *config, uly__model_use use,
                           int64_t num_positions, uly__run *out) {
  *out = (uly__run){.mesh = mesh, .config = *config, .states.fd = -1};
  for (int i = 0; i < ULY_NUM_ARENAS; i++)
    uly__arena_init(&out->arenas[i], uly_arena_name((uly_arena)i), advice, false);
  uly__arena_init(&out->host, "tokens and positions", advice, true);
  uly_status status = fill(out, use, num_positions);
  if (status != ULY_OK) uly__run_destroy(out);
  return status;
}

void uly__run_destroy(uly__run *run) {
  uly__states_close(&run->states);
  uly__model_destroy(run->model);
  run->model = NULL;
  for (int i = 0; i < ULY_NUM_ARENAS; i++) uly__arena_destroy(&run->arenas[i]);
  uly__arena_destroy(&run->host);
}

/* ----------------------------------------------------------------------------- memory */

void uly__run_carve_states(uly__run *run) {
  uly__states_carve(&run->states, run->arenas);
  uly__model_carve_states(run->model, run->arenas);
}

void uly__run_carve_passes(uly__run *run) {
  uly__model_carve_passes(run->model, run->arenas, &run->host);
}

int64_t uly__run_window_room(const uly__run *run) {
  return run->model->cut->count + run->model->cut->num_runs;
}

int64_t uly__run_eval_sequences(const uly__run *run) {
  int stages = uly_mesh_pp(run->mesh);
  return stages > 1 ? SEQUENCES_OF_STAGE * (int64_t)stages : 1;
}

void uly__run_carve_sequences(uly__run *run) {
  int64_t N = run->config.seq_len, num = uly__run_eval_sequences(run);
  if (run->passes > num) num = run->passes;
  int64_t windows = num * uly__run_window_room(run);
  run->windows = uly__arena_carve(&run->host, windows * (int64_t)sizeof *run->windows);
  if (!run->config.forward_only)
    run->order = uly__arena_carve(&run->host, run->passes * (int64_t)sizeof *run->order);
  if (run->config.pack)
    run->doc_start = uly__arena_carve(&run->host, N * (int64_t)sizeof *run->doc_start);
  if (run->config.pack || run->model->cut->num_runs > 1)
    run->labels =
        uly__arena_carve(&run->host, run->model->num_tokens * (int64_t)sizeof *run->labels);
}

uly_status uly__run_commit(uly__run *run) {
  for (int i = 0; i < ULY_NUM_ARENAS; i++) ULY_TRY(uly__arena_commit(&run->arenas[i]));
  ULY_TRY(uly__arena_commit(&run->host));
  return uly__pass_prepare(run->model);
}

/* Names a file of this rank in a folder on local disk, which is created. */
static uly_status name_scratch(const uly__run *run, const char *folder, const char *what,
                               char path[PATH_MAX]) {
  char name[64];
  snprintf(name, sizeof name, "ulysses-%s-%d-%ld", what, run->mesh->rank, (long)getpid());
  ULY_TRY(uly__folder_make(folder));
  return uly__path_join(path, PATH_MAX, folder, name);
}

uly_status uly__run_open_scratch(uly__run *run) {
  const uly_train_config *config = &run->config;
  char path[PATH_MAX];
  if (config->offload) {
    ULY_TRY(name_scratch(run, config->offload, "states", path));
    ULY_TRY(uly__states_open(&run->states, path));
  }
  if (config->stash) {
    ULY_TRY(name_scratch(run, config->stash, "stash", path));
    ULY_TRY(uly__stash_open(&run->model->stash, run->model->stream, path));
  }
  return ULY_OK;
}

int64_t uly__run_arena_bytes(const uly__run *run, uly_arena arena) {
  return run->arenas[arena].peak + (arena == ULY_ARENA_ACTIVATIONS ? run->host.peak : 0);
}

int64_t uly__run_bytes(const uly__run *run) {
  int64_t total = 0;
  for (int i = 0; i < ULY_NUM_ARENAS; i++) total += uly__run_arena_bytes(run, (uly_arena)i);
  return total;
}
