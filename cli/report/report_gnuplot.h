/* gnuplot, as a program that draws. */
#ifndef ULYSSES_CLI_REPORT_GNUPLOT_H
#define ULYSSES_CLI_REPORT_GNUPLOT_H

#include <stddef.h>

#include "ulysses.h"

/* Runs script[length], and puts prefix before every id. ULY_ERR_INTERNAL: there is no gnuplot, or it
 * failed. */
uly_status report_gnuplot(const char *prefix, const char *script, size_t length, char **svg);

#endif
