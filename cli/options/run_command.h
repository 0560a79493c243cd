/* Runs commands. A command reads its options, does its work, prints the message of a failure once,
 * and cleans up. */
#ifndef ULYSSES_CLI_RUN_COMMAND_H
#define ULYSSES_CLI_RUN_COMMAND_H

#include "options/options.h"

/* Runs a command without MPI, and returns its exit code. o: the first member of its options, which
 * need not be initialised. */
int run_alone(options *o, command cmd, int argc, char *const *argv, uly_status (*work)(options *o));

/* Holds the functions that the ranks of a command run together. */
typedef struct ranks_work {
  uly_status (*run)(void *state, int argc, char *const *argv);
  void (*clean_up)(void *state);
  const bool *is_stopped; /* by a signal; NULL: never */
} ranks_work;

/* Starts MPI, runs the command on all ranks, ends MPI, and returns the exit code. */
int run_on_ranks(const ranks_work *work, void *state, int argc, char *const *argv);

#endif
