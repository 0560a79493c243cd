/* Defines what the files of a training run share: see train_run.h. */
#include "train/train_run.h"

bool any_rank(uly_mesh *mesh, bool here) {
  return uly_mesh_agree(mesh, here ? ULY_ERR_CONFIG : ULY_OK) != ULY_OK;
}
