/* The texts that are made from the tables of commands and options. */
#ifndef ULYSSES_CLI_HELP_H
#define ULYSSES_CLI_HELP_H

#include <stdio.h>

#include "ulysses.h"

void help_print_usage(FILE *file);

/* Prints the help of a command. topic NULL: all topics. ULY_ERR_CONFIG, with last_failure: there is
 * no such command or topic. */
uly_status help_print(FILE *file, const char *name, const char *topic);

void man_print(FILE *file);             /* man.c */
void completion_print_bash(FILE *file); /* completion.c */

#endif
