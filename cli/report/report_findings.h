/* Say in one sentence of HTML what a plot shows. */
#ifndef ULYSSES_CLI_REPORT_FINDINGS_H
#define ULYSSES_CLI_REPORT_FINDINGS_H

#include "report/report_drawing.h"

void report_find_loss(const report_plot *plot, const report_set *set, FILE *html);
void report_find_mean(const report_plot *plot, const report_set *set, FILE *html);
void report_find_largest(const report_plot *plot, const report_set *set, FILE *html);
void report_find_memory(const report_plot *plot, const report_set *set, FILE *html);
void report_find_traffic(const report_plot *plot, const report_set *set, FILE *html);
void report_find_positions(const report_plot *plot, const report_set *set, FILE *html);

#endif
