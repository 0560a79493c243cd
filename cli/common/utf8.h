/* Shows text that may be cut or damaged: tokens may be parts of characters. */
#ifndef ULYSSES_CLI_UTF8_H
#define ULYSSES_CLI_UTF8_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "ulysses.h"

/* Returns the number of bytes of the character at `text`; 0 if the text of n bytes, at least 1,
 * ends within one; and minus the number of bytes that one U+FFFD replaces if there is none. */
int utf8_character(const char *text, int64_t n);

/* Fails with `code` if the text is not UTF-8. The message begins with what the text is. */
uly_status utf8_check(uly_status code, const char *what, const char *text, int64_t n);

/* Prints whole characters, and returns their number of bytes. The bytes of an incomplete last
 * character are left for the next call, unless `is_end`. What is not UTF-8 is printed as U+FFFD. */
int64_t utf8_print(FILE *file, const char *text, int64_t n, bool is_end);

/* Prints a text on one line so that all of it can be seen: a space is printed as U+2423, control
 * characters as \n, \t or \x1b, a backslash as two, and bytes that are not UTF-8 as \xff. */
void utf8_print_visible(FILE *file, const char *text, int64_t n);

/* Return a text as a JSON string, with U+FFFD for what is not UTF-8; or as it is printed by
 * utf8_print_visible. NULL: there is no memory. */
json_t *utf8_json(const char *text, int64_t n);
json_t *utf8_json_visible(const char *text, int64_t n);

#endif
