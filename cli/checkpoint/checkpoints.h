/* How ulysses checkpoint prints what is in a checkpoint. */
#ifndef ULYSSES_CLI_CHECKPOINTS_H
#define ULYSSES_CLI_CHECKPOINTS_H

#include <limits.h>
#include <stdbool.h>

#include "ulysses.h"

typedef struct checkpoint_place {
  char path[PATH_MAX];
  /* The folder whose newest checkpoint it is; empty: its path was given. */
  const char *newest_of;
} checkpoint_place;

/* Prints a checkpoint as text. all: each tensor has a line of its own; otherwise the same tensor of
 * all blocks shares one. */
uly_status checkpoint_print(const checkpoint_place *place, const uly_checkpoint_info *info,
                            bool all);
uly_status checkpoint_print_json(const checkpoint_place *place, const uly_checkpoint_info *info,
                                 bool has_tensors);

#endif
