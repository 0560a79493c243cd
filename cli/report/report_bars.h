/* Plots with a bar for each run. */
#ifndef ULYSSES_CLI_REPORT_BARS_H
#define ULYSSES_CLI_REPORT_BARS_H

#include "report/report_drawing.h"

void report_write_memory(const report_plot *plot, const report_set *set, FILE *script);
void report_write_traffic(const report_plot *plot, const report_set *set, FILE *script);

#endif
