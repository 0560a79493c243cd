/* The plot of evaluations by position. */
#ifndef ULYSSES_CLI_REPORT_POSITIONS_H
#define ULYSSES_CLI_REPORT_POSITIONS_H

#include "report/report_drawing.h"

void report_write_positions(const report_plot *plot, const report_set *set, FILE *script);

#endif
