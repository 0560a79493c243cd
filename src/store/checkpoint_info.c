/* Describes checkpoints: see checkpoint_info.h. */
#include "store/checkpoint_info.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/folder.h"
#include "store/checkpoint_model.h"
#include "store/hf_load.h"
#include "store/settings.h"

static int num_layers_without_rope(const uly__model_config *config) {
  int num = 0;
  for (int i = 0; config->rope && i < config->num_layers; i++)
    num += !uly__layer_has_rope(config, i);
  return num;
}

uly_model_info uly__model_describe(const uly__model_config *config) {
  uly_model_info info = {
      .hidden = config->hidden,
      .ffn = config->ffn,
      .vocab = config->vocab,
      .max_positions = config->max_positions,
      .num_layers = config->num_layers,
      .num_q_heads = config->num_q_heads,
      .num_kv_heads = config->num_kv_heads,
      .head_dim = config->head_dim,
      .has_layer_norm = config->norm == ULY_NORM_LAYER,
      .norm_eps = config->norm_eps,
      .rope_theta = config->rope ? config->rope_theta : 0,
      .is_gated = config->gated,
      .is_tied = config->tied,
      .has_qkv_bias = config->qkv_bias,
      .has_o_bias = config->o_bias,
      .has_mlp_bias = config->mlp_bias,
      .has_qk_norm = config->qk_norm,
      .rope_factor = config->scaling.factor,
      .window = uly__num_layers_with_window(config) > 0 ? config->window : 0,
      .num_window_layers = uly__num_layers_with_window(config),
      .num_no_rope_layers = num_layers_without_rope(config),
  };
  memcpy(info.type, config->family, sizeof info.type);
  snprintf(info.rope_type, sizeof info.rope_type, "%s", uly__rope_names[config->scaling.type]);
  return info;
}

void uly__checkpoint_describe(const uly__model_config *config, const uly__params *params,
                              const uly__checkpoint_run *run, uly_checkpoint_info *info) {
  *info = (uly_checkpoint_info){
      .step = run->step,
      .num_params = params->count,
      .num_tensors = ULY_NUM_STATES * (int64_t)params->num,
      .bytes = ULY_NUM_STATES * params->count * (int64_t)sizeof(float),
      .sequences_done = run->sequences,
      .model = uly__model_describe(config),
  };
  for (int i = 0; i < uly__num_settings; i++) {
    const uly_setting *s = &uly__settings[i];
    if (s->record)
      memcpy((char *)info + s->info_offset, (const char *)&run->config + s->offset, s->bytes);
  }
  if (info->sparse.pattern != ULY_SPARSE_NONE) info->sparse.seed = info->seed;
  info->num_files = 2;
}

/* Describes the weights of a Hugging Face folder: a run with them has the default settings, but its
 * sequences are no longer than the model was made for. */
static void describe_weights(const uly__model_config *config, const uly__params *params,
                             const uly__hf_folder *folder, uly_checkpoint_info *info) {
  uly__checkpoint_run run = {.config = uly__train_config_default()};
  if (run.config.seq_len > config->max_positions) run.config.seq_len = config->max_positions;
  uly__checkpoint_describe(config, params, &run, info);
  info->is_weights_only = 1;
  info->num_files = folder->num_files;
  info->num_tensors = folder->num_tensors;
  info->bytes = 0;
  for (int i = 0; i < folder->num_tensors; i++) info->bytes += folder->tensors[i].info->bytes;
}

static uly_status read_run(const char *dir, const uly__params *params, uly__checkpoint_run *run) {
  uint64_t file_hash;
  uint64_t *hashes = calloc((size_t)ULY_NUM_STATES * (size_t)params->num, sizeof *hashes);
  if (!hashes) ULY_FAIL(ULY_ERR_MEMORY, "no memory for the checksums of all tensors");
  uly_status status = uly__checkpoint_read_json(dir, params, run, hashes, &file_hash);
  free(hashes);
  return status;
}

static uly_status read_checkpoint(const char *dir, const uly__model_config *config,
                                  const uly__params *params, uly_checkpoint_info *info) {
  uly__checkpoint_run run;
  ULY_TRY(read_run(dir, params, &run));
  ULY_TRY(uly__checkpoint_check_model(dir, config, &run));
  uly__checkpoint_describe(config, params, &run, info);
  return ULY_OK;
}

static uly_status read_weights(const char *dir, const uly__model_config *config,
                               const uly__params *params, uly_checkpoint_info *info) {
  uly__hf_weights *weights;
  uly_status status = uly__hf_weights_open(dir, config, params, &weights);
  if (status == ULY_OK) describe_weights(config, params, uly__hf_weights_folder(weights), info);
  uly__hf_weights_close(weights);
  return status;
}

uly_status uly__checkpoint_read(const char *dir, uly_checkpoint_info *info) {
  uly__model_config config;
  uly__params params;
  bool is_checkpoint;
  ULY_TRY(uly__folder_model(dir, &config, &is_checkpoint));
  ULY_TRY(uly__params_create(&config, NULL, NULL, &params));
  uly_status status = (is_checkpoint ? read_checkpoint : read_weights)(dir, &config, &params, info);
  uly__params_destroy(&params);
  return status;
}

void uly__checkpoint_apply(const uly_checkpoint_info *info, uly_train_config *config) {
  for (int i = 0; i < uly__num_settings; i++) {
    const uly_setting *s = &uly__settings[i];
    if (!s->record) continue;
    memcpy((char *)config + s->offset, (const char *)info + s->info_offset, s->bytes);
    if (!uly__setting_has_effect(s, config)) uly__setting_put(s, config, s->initial);
  }
}

/* The function that is called for each tensor, with its first argument. */
typedef struct visitor {
  void (*visit)(void *user, const uly_tensor_info *tensor);
  void *user;
} visitor;

static void visit_tensor(const visitor *v, const char *file, const uly__tensor_info *tensor) {
  uly_tensor_info info = {.size = sizeof info,
                          .file = file,
                          .name = tensor->name,
                          .dtype = tensor->dtype,
                          .num_dims = tensor->num_dims,
                          .bytes = tensor->bytes};
  memcpy(info.dims, tensor->dims, sizeof info.dims);
  v->visit(v->user, &info);
}

static uly_status list_checkpoint(const char *dir, const uly__model_config *config,
                                  const visitor *v) {
  const char *const names[] = {uly__model_file, uly__optimizer_file};
  uly__params params;
  ULY_TRY(uly__params_create(config, NULL, NULL, &params));
  uly_status status = ULY_OK;
  for (int i = 0; i < 2 && status == ULY_OK; i++) {
    char path[PATH_MAX];
    uly__safetensors *file = NULL;
    status = uly__path_join(path, sizeof path, dir, names[i]);
    if (status == ULY_OK) status = uly__safetensors_open(path, &file);
    if (status == ULY_OK) status = uly__checkpoint_check_header(file, path, &params, i);
    for (int j = 0; status == ULY_OK && j < uly__safetensors_num(file); j++)
      visit_tensor(v, names[i], uly__safetensors_get(file, j));
    uly__safetensors_close(file);
  }
  uly__params_destroy(&params);
  return status;
}

static uly_status list_weights(const char *dir, const visitor *v) {
  uly__hf_folder *folder;
  ULY_TRY(uly__hf_folder_open(dir, &folder));
  for (int i = 0; i < folder->num_tensors; i++) {
    const uly__hf_tensor *tensor = &folder->tensors[i];
    if (!tensor->info->other) visit_tensor(v, folder->files[tensor->file].name, tensor->info);
  }
  uly__hf_folder_close(folder);
  return ULY_OK;
}

uly_status uly__checkpoint_list(const char *dir,
                                void (*visit)(void *user, const uly_tensor_info *tensor),
                                void *user) {
  const visitor v = {visit, user};
  uly__model_config config;
  bool is_checkpoint;
  ULY_TRY(uly__folder_model(dir, &config, &is_checkpoint));
  return is_checkpoint ? list_checkpoint(dir, &config, &v) : list_weights(dir, &v);
}
