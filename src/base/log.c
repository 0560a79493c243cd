/* Passes warnings to the program, or writes them to standard error. */
#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>

#include "ulysses.h"

static void (*warning_handler)(void *user, const char *message);
static void *warning_user;

void uly_warning_set_handler(void (*handler)(void *user, const char *message), void *user) {
  warning_handler = handler;
  warning_user = user;
}

void uly__warn(const char *fmt, ...) {
  char text[1024];
  va_list args;
  va_start(args, fmt);
  vsnprintf(text, sizeof text, fmt, args);
  va_end(args);
  if (warning_handler)
    warning_handler(warning_user, text);
  else
    fprintf(stderr, "ulysses: warning: %s\n", text);
}
