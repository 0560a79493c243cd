/* Lets the ranks agree on a condition. */
#ifndef ULYSSES_CLI_ANY_RANK_H
#define ULYSSES_CLI_ANY_RANK_H

#include <stdbool.h>

#include "ulysses.h"

/* Returns true on all ranks if it is true on any. Collective. */
static inline bool any_rank(uly_mesh *mesh, bool here) {
  return uly_mesh_agree(mesh, here ? ULY_ERR_CONFIG : ULY_OK) != ULY_OK;
}

#endif
