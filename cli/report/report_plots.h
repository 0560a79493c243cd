/* The plots of a report, in the order of the page, and the functions that write what each shows. */
#ifndef ULYSSES_CLI_REPORT_PLOTS_H
#define ULYSSES_CLI_REPORT_PLOTS_H

#include "report/report_drawing.h"

extern const report_plot report_plots[];
extern const int report_num_plots;

/* Write the script of a plot: against the step (report_curves.c), with a bar for each run
 * (report_bars.c), and of evaluations by position (report_positions.c). */
void report_write_curves(const report_plot *plot, const report_set *set, FILE *script);
void report_write_bars(const report_plot *plot, const report_set *set, FILE *script);
void report_write_positions(const report_plot *plot, const report_set *set, FILE *script);

/* Say in one sentence of HTML what a plot shows (report_findings.c). */
void report_find_loss(const report_plot *plot, const report_set *set, FILE *html);
void report_find_mean(const report_plot *plot, const report_set *set, FILE *html);
void report_find_largest(const report_plot *plot, const report_set *set, FILE *html);
void report_find_most(const report_plot *plot, const report_set *set, FILE *html);
void report_find_positions(const report_plot *plot, const report_set *set, FILE *html);

#endif
