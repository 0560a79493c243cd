/* Shared by the tests of checkpoints: a small run, its folder, and what is saved there. */
#ifndef ULY_CHECKPOINT_TESTING_H
#define ULY_CHECKPOINT_TESTING_H

#include "testing.h"

extern uly_mesh *mesh; /* all ranks */
extern int rank;       /* in it */
/* The data of the run, its folder, and one for optimizer states. They are the same on all ranks. */
extern char text_path[256], out_dir[256], offload_dir[300];

/* Begin and end a test of checkpoints, as begin_ranks and end_ranks do. */
void begin_checkpoints(int *argc, char ***argv);
int end_checkpoints(int num_failed);

/* Returns the configuration of the run. */
uly_train_config base_config(uly_dtype dtype);

uly_trainer *make(uly_mesh *on, const uly_train_config *config);

/* Makes so many steps, and returns the loss of the last. */
double steps(uly_trainer *trainer, int count);

void barrier(void);

/* Finds the newest checkpoint, once all ranks see it. */
void latest(char path[512]);

#endif
