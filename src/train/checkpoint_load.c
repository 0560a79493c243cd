/* Loads checkpoints: each rank reads what it owns, whatever ranks wrote it. */
#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "data/folder.h"
#include "device/device.h"
#include "train/calls.h"
#include "train/checkpoint.h"

/* A checkpoint that is being read. */
typedef struct source {
  const uly__params *params;
  /* States that are read: all, or the master weights alone. */
  int num_states;
  char paths[2][PATH_MAX];
  uly__safetensors *files[2];
  uly__checkpoint_run run;
  /* [ULY_NUM_STATES][params->num]: checksums that trainer.json names. */
  uint64_t *expected;
  uint64_t *found; /* the checksums of what was read */
  uint64_t file_hash;
} source;

static void close_source(source *from) {
  for (int file = 0; file < 2; file++) uly__safetensors_close(from->files[file]);
  free(from->expected);
  free(from->found);
}

/* Tells a folder that has a model's configuration, but was not written by a save. */
static uly_status check_saved(const char *dir) {
  char path[PATH_MAX];
  ULY_TRY(uly__path_join(path, sizeof path, dir, uly__trainer_file));
  if (access(path, F_OK) == 0 || errno != ENOENT) return ULY_OK;
  ULY_FAIL(ULY_ERR_DATA,
           "'%s' is no checkpoint: there is no '%s', which every save writes. A folder of Hugging "
           "Face's has none: its weights cannot be read, but with config.model '%s/%s' such a "
           "model is trained from its start",
           dir, path, dir, uly__config_file);
}

/* Reads the model. A configuration that is wrong here is wrong data, since nobody chose it. */
uly_status uly__checkpoint_model(const char *dir, uly__model_config *config) {
  char path[PATH_MAX];
  ULY_TRY(uly__path_join(path, sizeof path, dir, uly__config_file));
  if (access(path, R_OK) != 0)
    ULY_FAIL(ULY_ERR_DATA, "'%s' is no checkpoint: '%s' in it cannot be read (%s)", dir,
             uly__config_file, strerror(errno));
  ULY_TRY(check_saved(dir));
  if (uly__model_config_load(path, config) == ULY_OK) return ULY_OK;
  char why[1024];
  snprintf(why, sizeof why, "%s", uly_last_error());
  ULY_FAIL(ULY_ERR_DATA, "the configuration of a checkpoint cannot be used: %s", why);
}

/* Finds the tensor of a state, with the shape that it must have. */
static uly_status find_tensor(const source *from, int which, const uly__param *param,
                              const uly__tensor_info **out) {
  const uly__safetensors *file = from->files[uly__state_file(which)];
  char name[ULY_TENSOR_NAME];
  uly__state_name(which, param, name);
  const uly__tensor_info *info = uly__safetensors_find(file, name);
  if (!info || info->dtype != ULY_F32 || info->num_dims != param->num_dims ||
      memcmp(info->dims, param->dims, (size_t)param->num_dims * sizeof(int64_t)) != 0)
    ULY_FAIL(ULY_ERR_DATA, "'%s': tensor %s is missing or has another shape than the model's",
             from->paths[uly__state_file(which)], name);
  *out = info;
  return ULY_OK;
}

static uly_status open_source(source *from, const char *dir, const uly__model_config *config) {
  const uly__params *params = from->params;
  size_t num = (size_t)ULY_NUM_STATES * (size_t)params->num;
  const char *names[2] = {uly__model_file, uly__optimizer_file};
  from->expected = calloc(num, sizeof *from->expected);
  from->found = calloc(num, sizeof *from->found);
  if (!from->expected || !from->found)
    ULY_FAIL(ULY_ERR_MEMORY, "no memory for the checksums of all tensors");
  ULY_TRY(uly__checkpoint_read_json(dir, params, &from->run, from->expected, &from->file_hash));
  ULY_TRY(uly__checkpoint_check_model(dir, config, &from->run));
  for (int file = 0; file <= uly__state_file(from->num_states - 1); file++) {
    ULY_TRY(uly__path_join(from->paths[file], PATH_MAX, dir, names[file]));
    ULY_TRY(uly__safetensors_open(from->paths[file], &from->files[file]));
  }
  for (int which = 0; which < from->num_states; which++)
    for (int i = 0; i < params->num; i++) {
      const uly__tensor_info *unused;
      ULY_TRY(find_tensor(from, which, &params->list[i], &unused));
    }
  for (int file = 0; file <= uly__state_file(from->num_states - 1); file++)
    ULY_TRY(uly__checkpoint_check_header(from->files[file], from->paths[file], params, file));
  return ULY_OK;
}

static uly_status read_range(const source *from, int which, const uly__range *range, float *out) {
  const uly__tensor_info *info;
  ULY_TRY(find_tensor(from, which, range->param, &info));
  return uly__safetensors_read(from->files[uly__state_file(which)], info,
                               range->global * (int64_t)sizeof(float),
                               range->count * (int64_t)sizeof(float), out);
}

static void add_checksum(source *from, int which, const uly__range *range, const float *data) {
  from->found[uly__state_number(from->params, which, range->param)] +=
      uly__checkpoint_sum(&from->run, range, data);
}

static uly_status sum_through(source *from, int rank, int size, float *window) {
  int64_t turn = 0;
  for (int which = 0; which < from->num_states; which++) {
    uly__range range;
    uly__range_walk walk = uly__param_ranges(from->params, NULL, ULY_ALL_UNITS);
    while (uly__range_next(&walk, &range)) {
      if (turn++ % size != rank) continue;
      ULY_TRY(read_range(from, which, &range, window));
      add_checksum(from, which, &range, window);
    }
  }
  return ULY_OK;
}

/* Reads the share of rank `rank` of `size` ranks of all states, and adds up its checksums. */
static uly_status sum_share(source *from, int rank, int size) {
  float *window = calloc(ULY_LARGEST_RANGE, sizeof *window);
  uly_status status = uly__check_memory(window, "a window of a checkpoint");
  if (status == ULY_OK && window) status = sum_through(from, rank, size, window);
  free(window);
  return status;
}

static uly_status compare_hashes(const source *from) {
  assert(from->expected && from->found); /* open_source has succeeded */
  for (int which = 0; which < from->num_states; which++)
    for (int i = 0; i < from->params->num; i++) {
      int at = which * from->params->num + i;
      char name[ULY_TENSOR_NAME];
      uly__state_name(which, &from->params->list[i], name);
      if (from->found[at] != from->expected[at])
        ULY_FAIL(ULY_ERR_DATA,
                 "'%s': tensor %s does not match its checksum: the file is damaged, use another "
                 "checkpoint",
                 from->paths[uly__state_file(which)], name);
    }
  return ULY_OK;
}

/* -------------------------------------------------------------------------- into a run */

/* Checks the model. The positions that it was trained for are those of the longer sequences. */
static uly_status check_model(uly_trainer *trainer, const char *dir, uly__model_config *saved) {
  uly__model_config *config = &trainer->model->config;
  bool is_same;
  ULY_TRY(uly__checkpoint_model(dir, saved));
  ULY_TRY(uly__model_config_is_same(saved, config, &is_same));
  if (!is_same)
    ULY_FAIL(ULY_ERR_DATA,
             "'%s' is a checkpoint of another model: continue it with config.model = '%s/%s'", dir,
             dir, uly__config_file);
  if (config->max_positions < saved->max_positions) config->max_positions = saved->max_positions;
  return ULY_OK;
}

static uly_status load_range(uly_trainer *trainer, source *from, int which,
                             const uly__range *range) {
  float *window;
  ULY_TRY(uly__states_map(&trainer->states, (uly__state)which, range, &window));
  ULY_TRY(read_range(from, which, range, window));
  if (range->is_owner && !uly__checkpoint_has_pieces(&from->run))
    add_checksum(from, which, range, window);
  return uly__states_unmap(&trainer->states, (uly__state)which, range);
}

/* Compares what the pattern uses. */
static bool is_same_sparse(uly_sparse a, uly_sparse b) {
  if (a.pattern != b.pattern || a.pattern == ULY_SPARSE_NONE) return a.pattern == b.pattern;
  return a.block == b.block && a.local == b.local &&
         (a.pattern == ULY_SPARSE_STRIDED || a.global == b.global) &&
         (a.pattern != ULY_SPARSE_BIGBIRD || a.random == b.random);
}

/* Warns if the run attends in another way than the checkpoint, which may be intended but should not
 * go unnoticed. */
static void warn_if_it_attends_otherwise(const uly_trainer *trainer, const char *dir,
                                         const uly__checkpoint_run *run) {
  const uly_train_config *config = &trainer->config;
  const uly__tokens *data = trainer->data ? trainer->data : trainer->eval_data;
  bool packs = config->pack != 0;
  int64_t end = data ? uly__batch_end(trainer, data) : config->doc_end;
  if (config->window != run->config.window)
    uly__warn("'%s' was trained with config.window = %lld, and now it is %lld (0: none)", dir,
              (long long)run->config.window, (long long)config->window);
  if (!is_same_sparse(uly__trainer_sparse(config), run->config.sparse))
    uly__warn("'%s' was trained with another config.sparse.pattern, or other blocks of it", dir);
  if (packs != run->config.pack)
    uly__warn("'%s' was trained %s, and now %s (config.pack)", dir,
              run->config.pack ? "on packed documents" : "without packed documents",
              run->config.pack ? "documents are not packed" : "they are");
  if (packs && run->config.pack && end != run->config.doc_end)
    uly__warn(
        "'%s' was trained on documents that token %lld ends, and now token %lld ends them "
        "(config.doc_end; -1: none)",
        dir, (long long)run->config.doc_end, (long long)end);
}

/* Checks the data: what a run has seen of its data says nothing about others. */
static uly_status check_data(const uly_trainer *trainer, const uly__checkpoint_run *run,
                             const char *dir, bool *same) {
  uint64_t hash = run->is_hash_of_names ? uly__tokens_name_hash(trainer->data)
                                        : uly__tokens_hash(trainer->data);
  *same = hash == run->data_hash;
  if (*same || trainer->config.new_data) return ULY_OK;
  ULY_FAIL(ULY_ERR_CONFIG,
           "'%s' are not the data that '%s' was trained on: their %s differ. Give those, or set "
           "config.new_data to go on with these from their beginning",
           trainer->config.data, dir, run->is_hash_of_names ? "names or sizes" : "contents");
}

/* Takes step, seed and place in the data. A run that does not train takes no place; its seed
 * matters if blocks are drawn with it. */
static uly_status take_place(uly_trainer *trainer, const uly__checkpoint_run *run,
                             const char *dir) {
  int64_t sequences = run->sequences;
  const uly_train_config *config = &trainer->config;
  /* After a step that was not finite, going back brings no news to warn about. */
  bool warns = trainer->mesh->rank == 0 && !trainer->is_nonfinite;
  if (warns) warn_if_it_attends_otherwise(trainer, dir, run);
  if (config->forward_only && run->config.seed != config->seed &&
      config->sparse.pattern == ULY_SPARSE_BIGBIRD &&
      run->config.sparse.pattern == ULY_SPARSE_BIGBIRD)
    ULY_FAIL(ULY_ERR_CONFIG,
             "'%s' was trained with blocks drawn from config.seed = %llu, not %llu: it would "
             "attend to others",
             dir, (unsigned long long)run->config.seed, (unsigned long long)config->seed);
  if (config->forward_only) {
    trainer->steps_done = run->step;
    return ULY_OK;
  }
  if (run->config.seed != trainer->config.seed)
    ULY_FAIL(
        ULY_ERR_CONFIG,
        "'%s' was made with config.seed = %llu, not %llu: the order of the data would not continue",
        dir, (unsigned long long)run->config.seed, (unsigned long long)trainer->config.seed);
  if (run->config.seq_len != trainer->config.seq_len) {
    /* Sequences have another length: continue after about as many tokens. */
    __int128 tokens = (__int128)sequences * run->config.seq_len;
    sequences = (int64_t)(tokens / trainer->config.seq_len);
    if (warns)
      uly__warn(
          "the checkpoint was trained with config.seq_len = %lld, and now it is %lld: the data go "
          "on after about as many tokens, in another order",
          (long long)run->config.seq_len, (long long)trainer->config.seq_len);
  }
  bool same;
  ULY_TRY(check_data(trainer, run, dir, &same));
  if (!same) sequences = 0;
  if (!same && warns)
    uly__warn("config.data is not what '%s' was trained on: it is read from its beginning", dir);
  trainer->steps_done = run->step;
  trainer->windows_done = sequences;
  return ULY_OK;
}

/* Reads everything but the tensors. */
static uly_status begin(uly_trainer *trainer, const char *dir, source *from) {
  uly__model_config saved;
  ULY_TRY(check_model(trainer, dir, &saved));
  ULY_TRY(open_source(from, dir, &saved));
  return take_place(trainer, &from->run, dir);
}

static uly_status load(uly_trainer *trainer, const char *dir, source *from) {
  const uly__model *model = trainer->model;
  ULY_TRY(begin(trainer, dir, from));
  for (int which = 0; which < from->num_states; which++) {
    uly__range range;
    uly__range_walk walk = uly__param_ranges(&model->params, model->zero, ULY_ALL_UNITS);
    while (uly__range_next(&walk, &range)) ULY_TRY(load_range(trainer, from, which, &range));
  }
  if (!uly__checkpoint_has_pieces(&from->run)) return ULY_OK;
  /* Ranks may hold parts of a piece: the file is read once more, in whole pieces. */
  const uly_mesh *mesh = trainer->mesh;
  return sum_share(from, mesh->rank, uly_mesh_size(mesh));
}

/* Checks the sums over all ranks of what each has read. */
static uly_status check_hashes(uly_trainer *trainer, source *from) {
  int64_t num = from->num_states * (int64_t)from->params->num;
  for (int64_t at = 0; at < num; at += ULY_MAX_SUM)
    ULY_TRY(uly__sum_i64(uly__mesh_world(trainer->mesh), ULY_TRAFFIC_CONTROL,
                         (int64_t *)from->found + at,
                         (int)(num - at < ULY_MAX_SUM ? num - at : ULY_MAX_SUM)));
  return compare_hashes(from);
}

/* Checks that all ranks read the same checkpoint: folders that are not shared between machines may
 * hold different ones. */
static uly_status check_same(uly_trainer *trainer, const source *from) {
  return uly_mesh_same(trainer->mesh, &from->file_hash, sizeof from->file_hash, "checkpoint");
}

uly_status uly__checkpoint_check(uly_trainer *trainer, const char *dir) {
  source from = {.params = &trainer->model->params, .num_states = trainer->states.num};
  uly_status status = uly__agree(uly__mesh_world(trainer->mesh), begin(trainer, dir, &from));
  if (status == ULY_OK) status = check_same(trainer, &from);
  close_source(&from);
  return status;
}

uly_status uly__trainer_load(uly_trainer *trainer, const char *dir) {
  uly__group *world = uly__mesh_world(trainer->mesh);
  source from = {.params = &trainer->model->params, .num_states = trainer->states.num};
  uly__save_end(trainer);
  uly_status status = uly__agree(world, load(trainer, dir, &from));
  if (status == ULY_OK) status = check_same(trainer, &from);
  if (status == ULY_OK) status = uly__agree(world, check_hashes(trainer, &from));
  if (status == ULY_OK) status = uly__agree(world, uly__weights_from_master(trainer));
  trainer->is_mixed = status != ULY_OK;
  trainer->is_nonfinite = false;
  close_source(&from);
  return status;
}

/* ------------------------------------------------------------------------ without a run */

static uly_status verify(const char *dir, uly__params *params, source *from,
                         uly_checkpoint_info *info) {
  uly__model_config config;
  ULY_TRY(uly__checkpoint_model(dir, &config));
  ULY_TRY(uly__params_create(&config, uly__whole_model(&config), params));
  ULY_TRY(open_source(from, dir, &config));
  ULY_TRY(sum_share(from, 0, 1));
  ULY_TRY(compare_hashes(from));
  uly__checkpoint_describe(&config, params, &from->run, info);
  return ULY_OK;
}

uly_status uly__checkpoint_verify(const char *dir, uly_checkpoint_info *info) {
  uly__params params = {0};
  source from = {.params = &params, .num_states = ULY_NUM_STATES};
  uly_status status = verify(dir, &params, &from, info);
  close_source(&from);
  uly__params_destroy(&params);
  return status;
}
