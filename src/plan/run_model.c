/* The model of a run: see run_model.h. */
#include "plan/run_model.h"

#include <errno.h>
#include <limits.h>
#include <math.h>
#include <string.h>
#include <unistd.h>

#include "base/folder.h"
#include "store/run_folder.h"

/* Writes the path of the configuration of the weights that a run begins with. */
static uly_status find_in_init(const char *init, char path[PATH_MAX]) {
  ULY_TRY(uly__path_join(path, PATH_MAX, init, uly__config_file));
  if (access(path, F_OK) == 0) return ULY_OK;
  int error = errno;
  if (error == ENOENT && access(init, F_OK) == 0)
    ULY_FAIL(ULY_ERR_CONFIG,
             "config.init '%s' has no '%s': give a Hugging Face folder, a checkpoint or the folder "
             "of a run",
             init, uly__config_file);
  if (error == ENOENT)
    ULY_FAIL(ULY_ERR_CONFIG,
             "config.init '%s' does not exist: give a Hugging Face folder, a checkpoint or the "
             "folder of a run",
             init);
  ULY_FAIL(ULY_ERR_CONFIG, "config.init '%s' cannot be used: '%s': %s", init, path,
           strerror(error));
}

uly_status uly__run_find_model(const uly_train_config *config, const char **model) {
  char path[PATH_MAX] = "llama-4m";
  if (*model) return ULY_OK;
  if (config->init) ULY_TRY(find_in_init(config->init, path));
  *model = strdup(path);
  if (!*model) ULY_FAIL(ULY_ERR_MEMORY, "no memory for the name of a model");
  return ULY_OK;
}

/* Scales RoPE as the run says. */
static uly_status scale_rope(const uly_train_config *config, int64_t num_positions,
                             uly__model_config *model) {
  static const uly__rope_type types[] = {[ULY_ROPE_SCALING_LINEAR] = ULY_ROPE_LINEAR,
                                         [ULY_ROPE_SCALING_LLAMA3] = ULY_ROPE_LLAMA3,
                                         [ULY_ROPE_SCALING_YARN] = ULY_ROPE_YARN};
  if (config->rope_scaling == ULY_ROPE_SCALING_AUTO) return ULY_OK;
  double factor = config->rope_factor;
  int64_t trained = uly__rope_trained_positions(model);
  if (factor == 0) factor = ceil((double)num_positions / (double)trained);
  if (factor <= 1)
    ULY_FAIL(ULY_ERR_CONFIG,
             "config.rope_scaling is %s by a factor of %g, but only a factor above 1 extends the "
             "%lld positions that the model was trained with: give another config.rope_factor, or "
             "leave both out",
             uly__rope_names[types[config->rope_scaling]], factor, (long long)trained);
  return uly__model_config_scale_rope(model, types[config->rope_scaling], factor);
}

/* Overrides what the model's file says with what the run says. */
static uly_status settle(const uly_train_config *config, int64_t num_positions,
                         uly__model_config *model) {
  ULY_TRY(scale_rope(config, num_positions, model));
  if (config->window >= 0) uly__model_config_set_window(model, config->window);
  model->sparse = config->sparse.pattern;
  /* Other types of RoPE depend on this number. */
  uly__rope_type type = model->scaling.type;
  bool can_grow = type == ULY_ROPE_DEFAULT || type == ULY_ROPE_LINEAR || type == ULY_ROPE_LLAMA3;
  if (model->rope && can_grow && model->max_positions < config->seq_len)
    model->max_positions = config->seq_len;
  return ULY_OK;
}

uly_status uly__run_load_model(const uly_train_config *config, int64_t num_positions,
                               uly__model_config *in_file, uly__model_config *model) {
  ULY_TRY(uly__model_config_load(config->model, in_file));
  *model = *in_file;
  return settle(config, num_positions, model);
}
