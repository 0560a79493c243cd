/* Loads checkpoints, or the weights of Hugging Face folders: each rank reads what it holds,
 * whatever ranks wrote it. */
#ifndef ULY_CHECKPOINT_LOAD_H
#define ULY_CHECKPOINT_LOAD_H

#include "model/model.h"
#include "store/checkpoint_format.h"

/* A folder that is being read. */
typedef struct uly__loading uly__loading;

/* Opens a checkpoint of this model and reads everything but the tensors. num_states says which
 * states will be read: all, or 1, the master weights alone, which a Hugging Face folder has too.
 * The caller closes what was opened, even after a failure. */
uly_status uly__loading_open(uly__model *model, int num_states, const char *dir,
                             uly__loading **out);
void uly__loading_close(uly__loading *source);

/* Returns where training stood, or NULL if the folder is not a checkpoint. */
const uly__checkpoint_run *uly__loading_run(const uly__loading *source);

/* Checks that all ranks read the same folder, since folders that are not shared between
 * machines may hold different ones. Collective. */
uly_status uly__loading_same(const uly__loading *source, uly_mesh *mesh);

/* Reads the states that this rank holds. The ranks must agree before they finish. Not
 * collective. */
uly_status uly__loading_read(uly__loading *source, const uly_mesh *mesh, const uly__model *model,
                             uly__states *states);
/* Compares the checkpoints that the ranks read, and the checksums over all ranks; then sets the
 * weights. Collective. */
uly_status uly__loading_finish(uly__loading *source, uly_mesh *mesh, uly__model *model,
                               uly__states *states);

/* Reads a whole checkpoint and compares its checksums; the contract is that of ulysses.h. */
uly_status uly__checkpoint_verify(const char *dir, uly_checkpoint_info *info);

#endif
