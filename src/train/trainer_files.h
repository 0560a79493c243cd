/* Handles the checkpoints of a trainer: what it saves to them and takes from them, and when. */
#ifndef ULY_TRAINER_FILES_H
#define ULY_TRAINER_FILES_H

#include "train/trainer.h"

/* Returns ULY_ERR_CONFIG, the same on all ranks, if the states may belong to no step or the run
 * does not train. */
uly_status uly__check_whole(const uly_trainer *trainer);

/* Ends the save that is under way, if any, before anything changes the states. Collective. */
void uly__trainer_end_save(uly_trainer *trainer);

/* Checks whether uly_trainer_load could take the checkpoint, from the formats and shapes of its
 * files and the model: tensors are not read, and the trainer needs no memory. Sets steps_done.
 * Collective. */
uly_status uly__trainer_check_checkpoint(uly_trainer *trainer, const char *dir);

/* Check, in the same way, and take the weights of config.init, with which the run begins; nothing
 * has been trained then. Collective. */
uly_status uly__trainer_check_init(const uly_trainer *trainer);
uly_status uly__trainer_load_init(uly_trainer *trainer);

/* Do what the calls of ulysses.h with these names do. */
uly_status uly__trainer_load(uly_trainer *trainer, const char *dir);
uly_status uly__trainer_save(uly_trainer *trainer, const char *out_dir);
uly_status uly__trainer_save_start(uly_trainer *trainer, const char *out_dir);
uly_status uly__trainer_save_finish(uly_trainer *trainer);

#endif
