/* The plots of a report, in the order of the page. */
#ifndef ULYSSES_CLI_REPORT_PLOTS_H
#define ULYSSES_CLI_REPORT_PLOTS_H

#include "report/report_drawing.h"

extern const report_plot report_plots[];
extern const int report_num_plots;

#endif
