/* Text that comes from outside, and numbers for readers. */
#ifndef ULYSSES_CLI_REPORT_TEXT_H
#define ULYSSES_CLI_REPORT_TEXT_H

#include <stddef.h>
#include <stdio.h>

#include "ulysses.h"

/* Copies text[length] as whole UTF-8 without control characters, with '?' in place of anything
 * else. A text that does not fit ends in "...". size >= 8. */
void report_clean(const char *text, size_t length, char *out, size_t size);
/* Calls uly_fail with a message that is safe for a terminal. */
uly_status report_fail(uly_status status, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* Writes text between tags, or in an attribute's double quotes. */
void report_put_html(FILE *html, const char *text);
/* Writes a string constant of gnuplot, short enough for an axis. */
void report_put_gnuplot(FILE *script, const char *text);
/* Writes "12,345,678". */
void report_put_count(FILE *file, double count);
/* Writes "1 h 02 min" or "3.4 s". */
void report_put_duration(FILE *file, double seconds);
/* Writes "1.5 MiB". */
void report_put_bytes(FILE *file, double bytes);

#endif
