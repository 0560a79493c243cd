/* Text in lines of at most 79 columns. */
#ifndef ULYSSES_CLI_WRAP_H
#define ULYSSES_CLI_WRAP_H

#include <stdio.h>

/* Columns where the text of an entry begins: of a list of options, and of a short list. */
enum { WRAP_WIDTH = 79, WRAP_OPTIONS = 28, WRAP_SHORT = 14 };

/* Paragraphs, with an empty line between them: from column 0. */
void wrap_text(FILE *file, const char *text);

/* "  name     text", with the text from that column on; below the name where that is long. */
void wrap_entry(FILE *file, const char *name, const char *text, int column);

#endif
