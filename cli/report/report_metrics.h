/* The metrics of a run. */
#ifndef ULYSSES_CLI_REPORT_METRICS_H
#define ULYSSES_CLI_REPORT_METRICS_H

#include "report/report_run.h"

/* Return the sum of a run's arenas, and the sum of what it sent. */
double report_arenas_total(const report_run *run);
double report_sent_total(const report_run *run);

/* Reads the metrics at run->path into a run that is otherwise zero. */
uly_status report_metrics_read(report_run *run);

/* Picks the first, middle and last evaluation by position: evals[3], NULL if there are fewer. */
void report_pick_evals(const report_run *run, const report_eval *evals[3]);

/* Return what a part of an array by arena, or by kind of traffic, is called. */
const char *report_arena_name(int i);
const char *report_traffic_name(int i);

#endif
