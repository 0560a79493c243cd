/* A stage of a pipeline: which layers of a model a rank holds. Blocks, units and places in the
 * stash are counted from the stage's first layer; only names of tensors and messages count from the
 * model's. */
#ifndef ULY_STAGE_H
#define ULY_STAGE_H

#include <stdbool.h>

#include "model/config.h"

typedef struct uly__stage {
  int first, last; /* layers [first, last) */
} uly__stage;

/* Returns the stage of a rank that has all layers. */
static inline uly__stage uly__whole_model(const uly__model_config *config) {
  return (uly__stage){0, config->num_layers};
}

static inline int uly__stage_layers(uly__stage stage) { return stage.last - stage.first; }

/* Return whether a stage begins with the embedding, as the first does; and whether it ends with
 * final norm, head and loss, as the last does. */
static inline bool uly__stage_embeds(uly__stage stage) { return stage.first == 0; }
static inline bool uly__stage_has_head(uly__stage stage, const uly__model_config *config) {
  return stage.last == config->num_layers;
}

#endif
