/* Prints the plan of a run, for several commands. */
#ifndef ULYSSES_CLI_PLAN_H
#define ULYSSES_CLI_PLAN_H

#include "ulysses.h"

/* Prints the memory and the bytes of the ranks of a mesh that need most. Not collective. */
uly_status plan_print(const uly_train_config *config, const uly_mesh *mesh);

#endif
