/* The plan of training, and of evaluation: its memory, its traffic and its FLOPs, before it
 * runs. */
#ifndef ULY_TRAINING_PLAN_H
#define ULY_TRAINING_PLAN_H

#include "plan/fit.h"

/* Plan a run that trains or, with config.forward_only, evaluates, and all that it carves; and carve
 * the same once more, when its memory is committed. */
uly_status uly__training_create(uly_mesh *mesh, const uly_train_config *config, uly__run *out);
void uly__training_carve(uly__run *run);

/* Describe a plan, and return ULY_ERR_CONFIG if it needs more memory than config.memory_limit
 * allows, or than is free. */
uly_status uly__training_describe(const uly__run *run, uly_plan_report *report);
uly_status uly__training_check_limit(const uly__run *run);
uly_status uly__training_check_fit(const uly__run *run);

#endif
