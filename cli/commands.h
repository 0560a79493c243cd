/* The commands. Each prints its own error, once for all ranks, and returns its exit code: that of
 * uly_status_exit_code, or EXIT_STOPPED. */
#ifndef ULYSSES_CLI_COMMANDS_H
#define ULYSSES_CLI_COMMANDS_H

#include <stdio.h>

#include "ulysses.h"

/* A training run was stopped by a signal and can go on where it was. EX_TEMPFAIL of sysexits.h: the
 * same command may succeed later. */
enum { EXIT_STOPPED = 75 };

/* argc, argv: what follows the name of the command. */
int command_train(int argc, char *const *argv);
int command_plan(int argc, char *const *argv);
int command_bench(int argc, char *const *argv);
int command_checkpoint(int argc, char *const *argv);

void checkpoint_print_help(FILE *file);

#endif
