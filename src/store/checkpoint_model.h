/* The model that a folder holds: a checkpoint, or a Hugging Face folder. */
#ifndef ULY_CHECKPOINT_MODEL_H
#define ULY_CHECKPOINT_MODEL_H

#include "model/config.h"

/* Reads the model in a checkpoint folder. Returns ULY_ERR_DATA if there is none. */
uly_status uly__checkpoint_model(const char *dir, uly__model_config *config);
/* Reads the model in either kind of folder. What is in a folder decides which kind it is, and not
 * its name. A checkpoint that has lost its trainer.json still counts as one, and is refused, if it has
 * optimizer states. */
uly_status uly__folder_model(const char *dir, uly__model_config *config, bool *is_checkpoint);

#endif
