/* Saves checkpoints while training goes on: a thread on each rank writes what the rank owns, until
 * the states are about to change. */
#ifndef ULY_CHECKPOINT_SAVE_H
#define ULY_CHECKPOINT_SAVE_H

#include "data/companions.h"
#include "model/model.h"
#include "store/checkpoint_format.h"

typedef struct uly__save uly__save;

/* Starts a save. `run` says where training stands; rank 0 adds the companions. The strings of the
 * run and the companions must stay as they are until the save has ended, and nothing may change the
 * states before then. Collective. */
uly_status uly__save_start(uly_mesh *mesh, const uly__model *model, const uly__states *states,
                           const uly__checkpoint_run *run, const uly__companions *companions,
                           const char *out_dir, uly__save **out);
/* Waits for the save, completes it, and frees it in any case. Collective. */
uly_status uly__save_end(uly__save *save);
/* Stops a save, if any, wherever this rank is in it. What was written has no final name, and the
 * next run clears it. */
void uly__save_abandon(uly__save *save);

#endif
