/* The commands. Each prints its own error, once for all ranks, and returns its status. */
#ifndef ULYSSES_CLI_COMMANDS_H
#define ULYSSES_CLI_COMMANDS_H

#include "ulysses.h"

/* argc, argv: what follows the name of the command. */
uly_status command_train(int argc, char *const *argv);
uly_status command_plan(int argc, char *const *argv);

#endif
