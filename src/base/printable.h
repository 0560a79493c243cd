/* Makes text from files safe for messages, so that a file cannot control the user's terminal. */
#ifndef ULY_PRINTABLE_H
#define ULY_PRINTABLE_H

#include <stdbool.h>

/* A text, shortened if it is long, with '?' for control characters. */
typedef struct uly__printable {
  char text[97];
} uly__printable;

uly__printable uly__make_printable(const char *s);

/* Returns whether a text has control characters: those of ASCII, or those from U+0080 to U+009F in
 * UTF-8, which terminals obey too. */
bool uly__has_control_characters(const char *s);

#endif
