/* Breaks text into lines of at most 79 columns. */
#ifndef ULYSSES_CLI_WRAP_H
#define ULYSSES_CLI_WRAP_H

#include <stdio.h>

/* Columns where the text of an entry begins, for a list of options and for a short list. */
enum { WRAP_WIDTH = 79, WRAP_OPTIONS = 28, WRAP_SHORT = 14 };

/* Prints paragraphs, with an empty line between them, from column 0. */
void wrap_text(FILE *file, const char *text);

/* Prints "  name     text", with the text from that column on, or below the name if that is
 * long. */
void wrap_entry(FILE *file, const char *name, const char *text, int column);

#endif
