/* Reads the model of a folder: see checkpoint_model.h. */
#include "store/checkpoint_model.h"

#include <errno.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>

#include "base/folder.h"
#include "store/checkpoint_format.h"

/* Returns whether the folder has an entry of that name, or may have one that cannot be seen. */
static bool may_have(const char *dir, const char *name) {
  char path[PATH_MAX];
  if (uly__path_join(path, sizeof path, dir, name) != ULY_OK) return false;
  return access(path, F_OK) == 0 || errno != ENOENT;
}

/* Refuses a folder that has a model's configuration, but was not written by a save. */
static uly_status check_saved(const char *dir) {
  if (may_have(dir, uly__trainer_file)) return ULY_OK;
  ULY_FAIL(ULY_ERR_DATA,
           "'%s' is not a checkpoint: it has no '%s/%s', which every save writes. A Hugging "
           "Face folder has none: a run can start from its weights with config.init = '%s'",
           dir, dir, uly__trainer_file, dir);
}

static uly_status find_config(const char *dir, char path[PATH_MAX]) {
  ULY_TRY(uly__path_join(path, PATH_MAX, dir, uly__config_file));
  if (access(path, R_OK) == 0) return ULY_OK;
  ULY_FAIL(ULY_ERR_DATA, "'%s' is not a checkpoint: '%s' in it cannot be read (%s)", dir,
           uly__config_file, strerror(errno));
}

/* Reads the model. A configuration that is wrong here counts as wrong data, since the user did not
 * choose it. */
static uly_status load(const char *path, const char *what, uly__model_config *config) {
  if (uly__model_config_load(path, config) == ULY_OK) return ULY_OK;
  char why[1024];
  snprintf(why, sizeof why, "%s", uly_last_error());
  ULY_FAIL(ULY_ERR_DATA, "the configuration of a %s cannot be used: %s", what, why);
}

uly_status uly__checkpoint_model(const char *dir, uly__model_config *config) {
  char path[PATH_MAX];
  ULY_TRY(find_config(dir, path));
  ULY_TRY(check_saved(dir));
  return load(path, "checkpoint", config);
}

uly_status uly__folder_model(const char *dir, uly__model_config *config, bool *is_checkpoint) {
  char path[PATH_MAX];
  ULY_TRY(find_config(dir, path));
  *is_checkpoint = may_have(dir, uly__trainer_file) || may_have(dir, uly__optimizer_file);
  if (*is_checkpoint) return uly__checkpoint_model(dir, config);
  return load(path, "Hugging Face folder", config);
}
