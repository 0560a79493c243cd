/* Prints the texts that are made from the tables of commands and options. */
#ifndef ULYSSES_CLI_HELP_H
#define ULYSSES_CLI_HELP_H

#include <stdio.h>

#include "ulysses.h"

void help_print_usage(FILE *file);

/* Prints the help of a command on one topic, or on all topics if that is NULL. Returns
 * ULY_ERR_CONFIG, with last_failure, if there is no such command or topic. */
uly_status help_print(FILE *file, const char *name, const char *topic);

void man_print(FILE *file);             /* man.c */
void completion_print_bash(FILE *file); /* completion.c */

#endif
