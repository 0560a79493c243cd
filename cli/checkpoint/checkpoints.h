/* Prints what is in a checkpoint, for ulysses checkpoint. */
#ifndef ULYSSES_CLI_CHECKPOINTS_H
#define ULYSSES_CLI_CHECKPOINTS_H

#include <limits.h>
#include <stdbool.h>

#include "ulysses.h"

typedef struct checkpoint_place {
  char path[PATH_MAX];
  /* The folder that this is the newest checkpoint of; empty if its own path was given. */
  const char *newest_of;
} checkpoint_place;

/* Prints a checkpoint as text. If `all` is set, each tensor has a line of its own; otherwise the
 * same tensor of all blocks shares one. */
uly_status checkpoint_print(const checkpoint_place *place, const uly_checkpoint_info *info,
                            bool all);
uly_status checkpoint_print_json(const checkpoint_place *place, const uly_checkpoint_info *info,
                                 bool has_tensors);

#endif
