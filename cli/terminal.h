/* Who gets to see what is printed. */
#ifndef ULYSSES_CLI_TERMINAL_H
#define ULYSSES_CLI_TERMINAL_H

#include <stdbool.h>

/* Returns whether what this process writes to standard output appears on a terminal, and how many
 * columns that has. */
bool terminal_is_live(int *width);

/* Returns whether the environment speaks of a terminal that can write over a line: TERM is set,
 * and not to "dumb". */
bool terminal_moves(void);

/* Returns whether standard output is a pipe or a socket whose reader has gone. What other
 * processes of a job write goes wherever that of the first one goes, which alone is asked. */
bool terminal_is_deserted(void);

#endif
