/* Notes to the person who runs the program. Libraries stay silent otherwise: errors are returned. */
#ifndef ULY_LOG_H
#define ULY_LOG_H

/* Warns, by uly_warning_set_handler; call it on one rank only. */
void uly__warn(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#endif
