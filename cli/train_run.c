/* What the files of a training run share. */
#include "train_run.h"

bool any_rank(uly_mesh *mesh, bool here) {
  return uly_mesh_agree(mesh, here ? ULY_ERR_CONFIG : ULY_OK) != ULY_OK;
}
