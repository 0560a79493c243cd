/* The terminal that a person may be looking at. */
#ifndef ULYSSES_CLI_TERMINAL_H
#define ULYSSES_CLI_TERMINAL_H

#include <stdbool.h>

/* Whether what this process writes to standard output appears on a terminal, and how many columns that has. */
bool terminal_is_live(int *width);

#endif
