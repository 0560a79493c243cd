/* Reads the model of a checkpoint: see checkpoint_model.h. */
#include "store/checkpoint_model.h"

#include <errno.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>

#include "data/folder.h"
#include "store/checkpoint_format.h"

/* Refuses a folder that has a model's configuration, but was not written by a save. */
static uly_status check_saved(const char *dir) {
  char path[PATH_MAX];
  ULY_TRY(uly__path_join(path, sizeof path, dir, uly__trainer_file));
  if (access(path, F_OK) == 0 || errno != ENOENT) return ULY_OK;
  ULY_FAIL(ULY_ERR_DATA,
           "'%s' is not a checkpoint: it has no '%s', which every save writes. A folder from "
           "Hugging Face has none: its weights cannot be read, but with config.model '%s/%s' such "
           "a model can be trained from scratch",
           dir, path, dir, uly__config_file);
}

/* Reads the model. A configuration that is wrong here counts as wrong data, since the user did not
 * choose it. */
uly_status uly__checkpoint_model(const char *dir, uly__model_config *config) {
  char path[PATH_MAX];
  ULY_TRY(uly__path_join(path, sizeof path, dir, uly__config_file));
  if (access(path, R_OK) != 0)
    ULY_FAIL(ULY_ERR_DATA, "'%s' is not a checkpoint: '%s' in it cannot be read (%s)", dir,
             uly__config_file, strerror(errno));
  ULY_TRY(check_saved(dir));
  if (uly__model_config_load(path, config) == ULY_OK) return ULY_OK;
  char why[1024];
  snprintf(why, sizeof why, "%s", uly_last_error());
  ULY_FAIL(ULY_ERR_DATA, "the configuration of a checkpoint cannot be used: %s", why);
}
