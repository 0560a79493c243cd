/* Plots against the step. */
#ifndef ULYSSES_CLI_REPORT_CURVES_H
#define ULYSSES_CLI_REPORT_CURVES_H

#include "report/report_drawing.h"

void report_write_curves(const report_plot *plot, const report_set *set, FILE *script);

#endif
