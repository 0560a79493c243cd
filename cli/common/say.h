/* Speaks to whoever runs the program: writes messages on standard error, and makes texts from
 * outside safe for a terminal. */
#ifndef ULYSSES_CLI_SAY_H
#define ULYSSES_CLI_SAY_H

/* Replaces with '?' what would control a terminal: the control characters of ASCII, and those from
 * U+0080 to U+009F, which terminals obey as well. */
void make_printable(char *text);

/* Prints "ulysses: TEXT" to standard error, without characters that would control a terminal. */
void print_message(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Prints "ulysses: error: MESSAGE" to standard error, from the first process. */
void print_failure(const char *message);

#endif
