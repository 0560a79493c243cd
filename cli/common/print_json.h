/* Prints JSON on standard output. */
#ifndef ULYSSES_CLI_PRINT_JSON_H
#define ULYSSES_CLI_PRINT_JSON_H

#include <jansson.h>

#include "ulysses.h"

/* Prints a line, with members in the order in which they were set, and frees the value. */
uly_status print_json_line(json_t *json);

#endif
