/* A line of progress that is rewritten in place on a terminal. */
#ifndef ULYSSES_CLI_LIVE_LINE_H
#define ULYSSES_CLI_LIVE_LINE_H

#include <stdbool.h>

/* The values of --progress. */
typedef enum progress_kind { PROGRESS_AUTO = 0, PROGRESS_LIVE, PROGRESS_PLAIN } progress_kind;

typedef struct live_line {
  bool is_live; /* false: plain lines */
  int width;    /* of the terminal */
  int length;   /* of the line on screen */
} live_line;

/* Decides, by the option and the terminal, whether one line is rewritten in place or plain lines
 * are printed. */
live_line live_line_open(progress_kind kind);
/* Replaces the line on the screen by this one, cut off at the terminal's width. */
void live_line_show(live_line *line, const char *text);
/* Clears the line on the screen, so that another one can be printed there. */
void live_line_clear(live_line *line);
/* Leaves the line on the screen, and ends it. */
void live_line_end(live_line *line);

#endif
