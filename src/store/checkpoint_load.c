/* Reads the states of checkpoints: see checkpoint_load.h. */
#include "store/checkpoint_load.h"

#include <assert.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/folder.h"
#include "device/device.h"
#include "model/weights.h"
#include "store/checkpoint_info.h"
#include "store/checkpoint_model.h"
#include "store/hf_load.h"

struct uly__loading {
  const uly__params *params;
  uly__hf_weights *hf; /* of a Hugging Face folder; NULL: a checkpoint */
  /* States that are read: all, or the master weights alone. */
  int num_states;
  char paths[2][PATH_MAX];
  uly__safetensors *files[2];
  uly__checkpoint_run run;
  /* [ULY_NUM_STATES][params->num]: checksums that trainer.json names. */
  uint64_t *expected;
  uint64_t *found; /* the checksums of what was read */
  uint64_t file_hash;
  /* [ULY_LARGEST_RANGE]: room for a range that is not read into its place. */
  float *buffer;
};

static void close_source(uly__loading *source) {
  uly__hf_weights_close(source->hf);
  for (int file = 0; file < 2; file++) uly__safetensors_close(source->files[file]);
  free(source->expected);
  free(source->found);
  free(source->buffer);
}

/* Finds the tensor of a state, with the shape that it must have. */
static uly_status find_tensor(const uly__loading *source, int which, const uly__param *param,
                              const uly__tensor_info **out) {
  const uly__safetensors *file = source->files[uly__state_file(which)];
  char name[ULY_TENSOR_NAME];
  uly__state_name(which, param, name);
  const uly__tensor_info *info = uly__safetensors_find(file, name);
  if (!info || info->dtype != ULY_F32 || info->num_dims != param->num_dims ||
      memcmp(info->dims, param->dims, (size_t)param->num_dims * sizeof(int64_t)) != 0)
    ULY_FAIL(ULY_ERR_DATA, "'%s': tensor %s is missing or does not have the model's shape",
             source->paths[uly__state_file(which)], name);
  *out = info;
  return ULY_OK;
}

static uly_status open_source(uly__loading *source, const char *dir,
                              const uly__model_config *config) {
  const uly__params *params = source->params;
  size_t num = (size_t)ULY_NUM_STATES * (size_t)params->num;
  const char *names[2] = {uly__model_file, uly__optimizer_file};
  source->expected = calloc(num, sizeof *source->expected);
  source->found = calloc(num, sizeof *source->found);
  source->buffer = malloc(ULY_LARGEST_RANGE * sizeof *source->buffer);
  if (!source->expected || !source->found || !source->buffer)
    ULY_FAIL(ULY_ERR_MEMORY, "no memory for the checksums of all tensors and a window of one");
  ULY_TRY(
      uly__checkpoint_read_json(dir, params, &source->run, source->expected, &source->file_hash));
  ULY_TRY(uly__checkpoint_check_model(dir, config, &source->run));
  for (int file = 0; file <= uly__state_file(source->num_states - 1); file++) {
    ULY_TRY(uly__path_join(source->paths[file], PATH_MAX, dir, names[file]));
    ULY_TRY(uly__safetensors_open(source->paths[file], &source->files[file]));
  }
  for (int which = 0; which < source->num_states; which++)
    for (int i = 0; i < params->num; i++) {
      const uly__tensor_info *unused;
      ULY_TRY(find_tensor(source, which, &params->list[i], &unused));
    }
  for (int file = 0; file <= uly__state_file(source->num_states - 1); file++)
    ULY_TRY(uly__checkpoint_check_header(source->files[file], source->paths[file], params, file));
  return ULY_OK;
}

static uly_status read_range(const uly__loading *source, int which, const uly__range *range,
                             float *out) {
  const uly__tensor_info *info;
  ULY_TRY(find_tensor(source, which, range->param, &info));
  return uly__safetensors_read(source->files[uly__state_file(which)], info,
                               range->global * (int64_t)sizeof(float),
                               range->count * (int64_t)sizeof(float), out);
}

static void add_checksum(uly__loading *source, int which, const uly__range *range,
                         const float *data) {
  source->found[uly__state_number(source->params, which, range->param)] +=
      uly__checkpoint_sum(&source->run, range, data);
}

/* Reads one rank's share of all states, which `size` ranks share, and adds up its checksums. */
static uly_status sum_share(uly__loading *source, int rank, int size) {
  int64_t turn = 0;
  for (int which = 0; which < source->num_states; which++) {
    uly__range range;
    uly__range_walk walk = uly__param_ranges(source->params, NULL, ULY_ALL_UNITS);
    while (uly__range_next(&walk, &range)) {
      if (turn++ % size != rank) continue;
      ULY_TRY(read_range(source, which, &range, source->buffer));
      add_checksum(source, which, &range, source->buffer);
    }
  }
  return ULY_OK;
}

static uly_status compare_hashes(const uly__loading *source) {
  assert(source->expected && source->found); /* open_source has succeeded */
  for (int which = 0; which < source->num_states; which++)
    for (int i = 0; i < source->params->num; i++) {
      int at = which * source->params->num + i;
      char name[ULY_TENSOR_NAME];
      uly__state_name(which, &source->params->list[i], name);
      if (source->found[at] != source->expected[at])
        ULY_FAIL(ULY_ERR_DATA,
                 "'%s': tensor %s does not match its checksum: the file is damaged, so use another "
                 "checkpoint",
                 source->paths[uly__state_file(which)], name);
    }
  return ULY_OK;
}

/* ------------------------------------------------------------------------ into a model */

/* Fails for a checkpoint of another model, which differs only in its RoPE. */
static uly_status refuse_rope(const uly__model_config *own, const char *dir,
                              const uly__model_config *saved) {
  const uly__model_config *const both[] = {saved, own};
  char texts[2][96];
  for (int i = 0; i < 2; i++) {
    const uly__rope_scaling *scaling = &both[i]->scaling;
    int used = snprintf(texts[i], sizeof texts[i], "theta %g", both[i]->rope_theta);
    if (scaling->type != ULY_ROPE_DEFAULT)
      snprintf(texts[i] + used, sizeof texts[i] - (size_t)used, ", scaled by %s, factor %g",
               uly__rope_names[scaling->type], scaling->factor);
  }
  ULY_FAIL(ULY_ERR_DATA,
           "'%s' is a checkpoint of another model: its RoPE has %s, and that of this run has %s: "
           "give config.rope_scaling and config.rope_factor as before, or config.model = '%s/%s' "
           "without them; a new run with another RoPE begins with config.init = '%s'",
           dir, texts[0], texts[1], dir, uly__config_file, dir);
}

/* Refuses a checkpoint of another model, and says what differs if that is RoPE. */
static uly_status refuse_model(const uly__model_config *own, const char *dir,
                               const uly__model_config *saved) {
  uly__model_config alike = *own;
  bool is_same = false;
  alike.rope_theta = saved->rope_theta;
  alike.scaling = saved->scaling;
  if (own->rope && saved->rope) ULY_TRY(uly__model_config_is_same(saved, &alike, &is_same));
  if (is_same) return refuse_rope(own, dir, saved);
  ULY_FAIL(ULY_ERR_DATA,
           "'%s' is a checkpoint of another model: continue it with config.model = '%s/%s'", dir,
           dir, uly__config_file);
}

/* Checks that a checkpoint is one of this model. A run that takes only the weights may compute
 * something else from them: it may scale RoPE, for instance. */
static uly_status check_model(const uly__model *model, const char *dir, int num_states,
                              const uly__model_config *saved) {
  bool is_good = uly__model_config_fits(saved, &model->config);
  if (num_states > 1) ULY_TRY(uly__model_config_is_same(saved, &model->config, &is_good));
  return is_good ? ULY_OK : refuse_model(&model->config, dir, saved);
}

/* Opens a Hugging Face folder. A run may differ from the folder's configuration, for instance in
 * the frequencies of RoPE, as long as its parameters have the same shapes. */
static uly_status open_hf(const uly__model *model, const char *dir, uly__loading *source) {
  ULY_TRY(uly__hf_weights_open(dir, &model->config, &model->params, &source->hf));
  source->file_hash = uly__hf_folder_hash(uly__hf_weights_folder(source->hf));
  return ULY_OK;
}

/* Opens either kind of folder. If its model was trained for more positions than the run's, the
 * run's model takes over their number. */
static uly_status open_for(uly__model *model, const char *dir, uly__loading *source) {
  uly__model_config saved, *config = &model->config;
  bool is_checkpoint = true;
  ULY_TRY(source->num_states > 1 ? uly__checkpoint_model(dir, &saved)
                                 : uly__folder_model(dir, &saved, &is_checkpoint));
  if (is_checkpoint) {
    ULY_TRY(check_model(model, dir, source->num_states, &saved));
    ULY_TRY(open_source(source, dir, &saved));
  } else {
    ULY_TRY(open_hf(model, dir, source));
  }
  if (config->rope && config->max_positions < saved.max_positions)
    config->max_positions = saved.max_positions;
  return ULY_OK;
}

uly_status uly__loading_open(uly__model *model, int num_states, const char *dir,
                             uly__loading **out) {
  uly__loading *source = calloc(1, sizeof *source);
  *out = source;
  if (!source) ULY_FAIL(ULY_ERR_MEMORY, "no memory for reading a checkpoint");
  source->params = &model->params;
  source->num_states = num_states;
  return open_for(model, dir, source);
}

void uly__loading_close(uly__loading *source) {
  if (source) close_source(source);
  free(source);
}

const uly__checkpoint_run *uly__loading_run(const uly__loading *source) {
  return source->hf ? NULL : &source->run;
}

static uly_status load_range(uly__loading *source, uly__states *states, int which,
                             const uly__range *range) {
  uly__stream *stream = states->zero->stream;
  float *window;
  ULY_TRY(uly__states_map(states, (uly__state)which, range, &window));
  float *data = uly__host_place(stream, source->buffer, window);
  ULY_TRY(read_range(source, which, range, data));
  if (range->is_owner && !uly__checkpoint_has_pieces(&source->run))
    add_checksum(source, which, range, data);
  (void)uly__upload(stream, window, data, range->count * (int64_t)sizeof(float));
  return uly__states_unmap(states, (uly__state)which, range);
}

uly_status uly__loading_read(uly__loading *source, const uly_mesh *mesh, const uly__model *model,
                             uly__states *states) {
  if (source->hf) return uly__hf_weights_read(source->hf, model, states);
  for (int which = 0; which < source->num_states; which++) {
    uly__range range;
    uly__range_walk walk = uly__param_ranges(&model->params, model->zero, ULY_ALL_UNITS);
    while (uly__range_next(&walk, &range)) ULY_TRY(load_range(source, states, which, &range));
  }
  if (!uly__checkpoint_has_pieces(&source->run)) return ULY_OK;
  if (uly__mesh_extent(mesh, ULY_AXIS_TP | ULY_AXIS_PP) > 1)
    ULY_FAIL(ULY_ERR_CONFIG,
             "'%s' has checksums of an older format, which a mesh with tensor or pipeline "
             "parallelism cannot check: continue it without mesh.tp and mesh.pp until the next "
             "checkpoint",
             source->paths[0]);
  /* Ranks may hold parts of a piece: the file is read once more, in whole pieces. */
  return sum_share(source, mesh->rank, uly_mesh_size(mesh));
}

/* Adds up over all ranks the checksums of what each has read, and checks them. */
static uly_status check_hashes(uly__loading *source, uly_mesh *mesh) {
  int64_t num = source->num_states * (int64_t)source->params->num;
  for (int64_t at = 0; at < num; at += ULY_MAX_SUM)
    ULY_TRY(uly__sum_i64(uly__mesh_world(mesh), ULY_TRAFFIC_CONTROL, (int64_t *)source->found + at,
                         (int)(num - at < ULY_MAX_SUM ? num - at : ULY_MAX_SUM)));
  return compare_hashes(source);
}

uly_status uly__loading_same(const uly__loading *source, uly_mesh *mesh) {
  return uly_mesh_same(mesh, &source->file_hash, sizeof source->file_hash,
                       source->hf ? "set of weights" : "checkpoint");
}

uly_status uly__loading_finish(uly__loading *source, uly_mesh *mesh, uly__model *model,
                               uly__states *states) {
  uly__group *world = uly__mesh_world(mesh);
  ULY_TRY(uly__loading_same(source, mesh));
  if (!source->hf) ULY_TRY(uly__agree(world, check_hashes(source, mesh)));
  return uly__agree(world, uly__weights_from_master(model, states));
}

/* -------------------------------------------------------------------- without a model */

static uly_status verify(const char *dir, uly__params *params, uly__loading *source,
                         uly_checkpoint_info *info) {
  uly__model_config config;
  ULY_TRY(uly__checkpoint_model(dir, &config));
  ULY_TRY(uly__params_create(&config, NULL, NULL, params));
  ULY_TRY(open_source(source, dir, &config));
  ULY_TRY(sum_share(source, 0, 1));
  ULY_TRY(compare_hashes(source));
  uly__checkpoint_describe(&config, params, &source->run, info);
  return ULY_OK;
}

uly_status uly__checkpoint_verify(const char *dir, uly_checkpoint_info *info) {
  uly__params params = {0};
  uly__loading from = {.params = &params, .num_states = ULY_NUM_STATES};
  uly_status status = verify(dir, &params, &from, info);
  close_source(&from);
  uly__params_destroy(&params);
  return status;
}
