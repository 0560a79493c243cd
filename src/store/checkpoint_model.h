/* The model that a checkpoint holds. */
#ifndef ULY_CHECKPOINT_MODEL_H
#define ULY_CHECKPOINT_MODEL_H

#include "model/config.h"

/* Reads the model in a checkpoint folder. Returns ULY_ERR_DATA if there is none. */
uly_status uly__checkpoint_model(const char *dir, uly__model_config *config);

#endif
