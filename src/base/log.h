/* Notes to the person who runs the program, on standard error. Libraries stay silent otherwise: errors
 * are returned. */
#ifndef ULY_LOG_H
#define ULY_LOG_H

/* "ulysses: warning: ..."; call it on one rank only. */
void uly__warn(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#endif
