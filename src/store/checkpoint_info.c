/* Describes checkpoints: see checkpoint_info.h. */
#include "store/checkpoint_info.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "data/folder.h"
#include "store/checkpoint_model.h"
#include "store/settings.h"

static int num_layers_without_rope(const uly__model_config *config) {
  int num = 0;
  for (int i = 0; config->rope && i < config->num_layers; i++)
    num += !uly__layer_has_rope(config, i);
  return num;
}

static uly_model_info describe_model(const uly__model_config *config) {
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
      .model = describe_model(config),
  };
  for (int i = 0; i < uly__num_settings; i++) {
    const uly_setting *s = &uly__settings[i];
    if (s->record)
      memcpy((char *)info + s->info_offset, (const char *)&run->config + s->offset, s->bytes);
  }
  if (info->sparse.pattern != ULY_SPARSE_NONE) info->sparse.seed = info->seed;
}

static uly_status read_run(const char *dir, const uly__params *params, uly__checkpoint_run *run) {
  uint64_t file_hash;
  uint64_t *hashes = calloc((size_t)ULY_NUM_STATES * (size_t)params->num, sizeof *hashes);
  if (!hashes) ULY_FAIL(ULY_ERR_MEMORY, "no memory for the checksums of all tensors");
  uly_status status = uly__checkpoint_read_json(dir, params, run, hashes, &file_hash);
  free(hashes);
  return status;
}

uly_status uly__checkpoint_read(const char *dir, uly_checkpoint_info *info) {
  uly__model_config config;
  uly__params params;
  uly__checkpoint_run run;
  ULY_TRY(uly__checkpoint_model(dir, &config));
  ULY_TRY(uly__params_create(&config, NULL, NULL, &params));
  uly_status status = read_run(dir, &params, &run);
  if (status == ULY_OK) status = uly__checkpoint_check_model(dir, &config, &run);
  if (status == ULY_OK) uly__checkpoint_describe(&config, &params, &run, info);
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

static void visit_file(const uly__safetensors *file, const char *name,
                       void (*visit)(void *user, const uly_tensor_info *tensor), void *user) {
  for (int i = 0; i < uly__safetensors_num(file); i++) {
    const uly__tensor_info *tensor = uly__safetensors_get(file, i);
    uly_tensor_info info = {.size = sizeof info,
                            .file = name,
                            .name = tensor->name,
                            .dtype = tensor->dtype,
                            .num_dims = tensor->num_dims,
                            .bytes = tensor->bytes};
    memcpy(info.dims, tensor->dims, sizeof info.dims);
    visit(user, &info);
  }
}

uly_status uly__checkpoint_list(const char *dir,
                                void (*visit)(void *user, const uly_tensor_info *tensor),
                                void *user) {
  const char *const names[] = {uly__model_file, uly__optimizer_file};
  uly__model_config config;
  uly__params params;
  ULY_TRY(uly__checkpoint_model(dir, &config));
  ULY_TRY(uly__params_create(&config, NULL, NULL, &params));
  uly_status status = ULY_OK;
  for (int i = 0; i < 2 && status == ULY_OK; i++) {
    char path[PATH_MAX];
    uly__safetensors *file = NULL;
    status = uly__path_join(path, sizeof path, dir, names[i]);
    if (status == ULY_OK) status = uly__safetensors_open(path, &file);
    if (status == ULY_OK) status = uly__checkpoint_check_header(file, path, &params, i);
    if (status == ULY_OK) visit_file(file, names[i], visit, user);
    uly__safetensors_close(file);
  }
  uly__params_destroy(&params);
  return status;
}
