/* Writes messages on standard error, and makes text safe for a terminal. */
#include "common/say.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>

#include "job/starter.h"

void make_printable(char *text) {
  for (unsigned char *at = (unsigned char *)text; *at; at++) {
    bool wide = at[0] == 0xc2 && at[1] >= 0x80 && at[1] < 0xa0;
    if (*at < 0x20 || *at == 0x7f || wide) *at = '?';
    if (wide) *++at = '?';
  }
}

void print_message(const char *format, ...) {
  char text[4096];
  va_list args;
  va_start(args, format);
  vsnprintf(text, sizeof text, format, args);
  va_end(args);
  make_printable(text); /* file names may hold anything */
  /* The message must come last if both streams go to one place. */
  fflush(stdout);
  fprintf(stderr, "ulysses: %s\n", text);
}

void print_failure(const char *message) {
  if (is_first_process()) print_message("error: %s", message);
}
