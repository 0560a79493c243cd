/* Reads what a checkpoint says about itself, without a run and without reading its tensors. The
 * contracts are those of ulysses.h. */
#ifndef ULY_CHECKPOINT_INFO_H
#define ULY_CHECKPOINT_INFO_H

#include "store/checkpoint_format.h"

/* Returns what the public header says about a model. */
uly_model_info uly__model_describe(const uly__model_config *config);

/* Fills in what the public header says about a checkpoint of a run. */
void uly__checkpoint_describe(const uly__model_config *config, const uly__params *params,
                              const uly__checkpoint_run *run, uly_checkpoint_info *info);

uly_status uly__checkpoint_read(const char *dir, uly_checkpoint_info *info);
void uly__checkpoint_apply(const uly_checkpoint_info *info, uly_train_config *config);
uly_status uly__checkpoint_list(const char *dir,
                                void (*visit)(void *user, const uly_tensor_info *tensor),
                                void *user);

#endif
