/* The lines of a file, from the last to the first. The size of the file is the one that it had when
 * it was opened. */
#ifndef ULYSSES_CLI_REPORT_LINES_H
#define ULYSSES_CLI_REPORT_LINES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "ulysses.h"

enum { REPORT_MAX_LINE = 1 << 20 }; /* bytes */

typedef struct report_lines {
  int fd;
  const char *path;
  off_t at; /* of buffer[0] in the file */
  /* Lines that are not yet returned end with buffer[used - 1]. */
  char *buffer;
  size_t used;
  off_t offset;      /* of the line returned last */
  bool is_last_open; /* the last line does not end with a newline */
} report_lines;

uly_status report_lines_open(const char *path, report_lines *lines);
void report_lines_close(report_lines *lines);
/* Returns the line before the one that was returned last: text[length], without its newline, valid
 * until the next call. text is NULL if there is none. */
uly_status report_lines_previous(report_lines *lines, const char **text, size_t *length);
/* Returns the number of the line that was returned last, 1 for the first of the file. */
int64_t report_lines_number(report_lines *lines);

#endif
