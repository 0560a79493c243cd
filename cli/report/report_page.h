/* The page of a report. */
#ifndef ULYSSES_CLI_REPORT_PAGE_H
#define ULYSSES_CLI_REPORT_PAGE_H

#include "report/report_drawing.h"

uly_status report_page_write(const report_set *set, FILE *html);

#endif
