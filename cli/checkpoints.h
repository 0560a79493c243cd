/* How ulysses checkpoint prints what is in a checkpoint. */
#ifndef ULYSSES_CLI_CHECKPOINTS_H
#define ULYSSES_CLI_CHECKPOINTS_H

#include <limits.h>
#include <stdbool.h>

#include "ulysses.h"

typedef struct checkpoint_place {
  char path[PATH_MAX];
  const char *newest_of; /* folder whose newest checkpoint it is; empty: path was given */
} checkpoint_place;

/* As text. all: each tensor on a line of its own, otherwise the same one of all blocks on one line. */
uly_status checkpoint_print(const checkpoint_place *place, const uly_checkpoint_info *info,
                            bool all);
uly_status checkpoint_print_json(const checkpoint_place *place, const uly_checkpoint_info *info,
                                 bool has_tensors);

#endif
