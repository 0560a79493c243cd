/* Starts a trainer: makes all checks, then sets up memory, files and weights. */
#ifndef ULY_START_H
#define ULY_START_H

#include "train/trainer.h"

/* Do what uly_trainer_create, uly_trainer_check and uly_plan do. */
uly_status uly__trainer_create(uly_mesh *mesh, const uly_train_config *config, uly_trainer **out);
uly_status uly__trainer_check(uly_mesh *mesh, const uly_train_config *config,
                              const char *checkpoint, uly_start_report *report);
uly_status uly__trainer_plan(const uly_mesh *mesh, const uly_train_config *config,
                             uly_plan_report *report);

#endif
