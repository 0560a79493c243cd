/* Writes a step as one line of JSON. */
#ifndef ULY_METRICS_H
#define ULY_METRICS_H

#include <stdio.h>

#include "ulysses.h"

uly_status uly__report_write(FILE *file, const uly_step_report *report, const uly_eval_report *eval,
                             double peak_flops);

#endif
