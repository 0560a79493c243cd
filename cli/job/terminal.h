/* Finds out where the output appears. */
#ifndef ULYSSES_CLI_TERMINAL_H
#define ULYSSES_CLI_TERMINAL_H

#include <stdbool.h>

/* Returns whether what this process writes to standard output appears on a terminal, and how many
 * columns that has. */
bool terminal_is_live(int *width);

/* Returns whether the environment describes a terminal that can write over a line: TERM is set, and
 * is not "dumb". */
bool terminal_moves(void);

/* Returns whether standard output is a pipe or a socket whose reader has ended. The output of other
 * processes of a job goes where that of the first one goes, so only the first one is asked. */
bool terminal_is_deserted(void);

#endif
