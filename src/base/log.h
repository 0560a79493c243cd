/* Warns the user of the program. Otherwise the library prints nothing, and returns errors. */
#ifndef ULY_LOG_H
#define ULY_LOG_H

/* Warns, through uly_warning_set_handler. Call it on one rank only. */
void uly__warn(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#endif
