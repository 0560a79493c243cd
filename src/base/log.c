/* Warnings on standard error. */
#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>

void uly__warn(const char *fmt, ...) {
  char text[1024];
  va_list args;
  va_start(args, fmt);
  vsnprintf(text, sizeof text, fmt, args);
  va_end(args);
  fprintf(stderr, "ulysses: warning: %s\n", text);
}
