/* See live_line.h. */
#include "common/live_line.h"

#include <stdio.h>
#include <string.h>

#include "job/terminal.h"

live_line live_line_open(progress_kind kind) {
  live_line line = {.width = 0};
  line.is_live = kind != PROGRESS_PLAIN &&
                 ((terminal_is_live(&line.width) && terminal_moves()) || kind == PROGRESS_LIVE);
  if (line.width == 0) line.width = 80;
  return line;
}

/* Clears with spaces, since a terminal may not support escape codes. */
void live_line_clear(live_line *line) {
  if (line->length > 0) printf("\r%*s\r", line->length, "");
  line->length = 0;
}

void live_line_show(live_line *line, const char *text) {
  int length = (int)strlen(text);
  live_line_clear(line);
  line->length = length < line->width ? length : line->width - 1;
  printf("%.*s", line->length, text);
  fflush(stdout);
}

void live_line_end(live_line *line) {
  if (line->length > 0) putchar('\n');
  line->length = 0;
}
