/* Breaks text into lines of at most 79 columns. */
#include "common/wrap.h"

#include <string.h>

static void print_spaces(FILE *file, int count) { fprintf(file, "%*s", count, ""); }

/* Prints the words of text, which begins at the column, with line breaks between them; line breaks
 * in the text are kept. */
static void print_words(FILE *file, const char *text, int column) {
  int at = column;
  while (*text) {
    int length = (int)strcspn(text, " \n");
    if (at > column && at + 1 + length > WRAP_WIDTH) {
      fputc('\n', file);
      print_spaces(file, column);
      at = column;
    } else if (at > column) {
      fputc(' ', file);
      at++;
    }
    fprintf(file, "%.*s", length, text);
    at += length;
    text += length;
    text += strspn(text, " ");
    for (; *text == '\n'; text++, at = column) fputc('\n', file);
  }
  fputc('\n', file);
}

void wrap_text(FILE *file, const char *text) { print_words(file, text, 0); }

void wrap_entry(FILE *file, const char *name, const char *text, int column) {
  int used = fprintf(file, "  %s", name);
  if (used + 2 > column) {
    fputc('\n', file);
    used = 0;
  }
  print_spaces(file, column - used);
  print_words(file, text, column);
}
