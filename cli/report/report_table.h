/* Tables: values of any number of steps in a bounded number of rows. */
#ifndef ULYSSES_CLI_REPORT_TABLE_H
#define ULYSSES_CLI_REPORT_TABLE_H

#include <stdint.h>

/* More than a plot has columns of pixels. */
enum { REPORT_MAX_ROWS = 1024 };

typedef enum report_column {
  COLUMN_LOSS,
  COLUMN_EVAL_LOSS,
  COLUMN_GRAD_NORM,
  COLUMN_LR,
  COLUMN_TOKENS_PER_S,
  COLUMN_PEAK_SHARE, /* FLOP/s of the step over peak_flops, 0 to 1 */
  COLUMN_WAIT_SHARE, /* wait_s over step_s, 0 to 1                 */
  COLUMN_BUBBLE,     /* bubble, 0 to 1                             */
  NUM_REPORT_COLUMNS
} report_column;

/* Sums up the values of a column over the steps of a row. */
typedef struct report_value {
  int64_t count; /* steps with a value; 0: the rest means nothing */
  double step;   /* mean of their steps */
  double mean, min, max;
} report_value;

/* The steps from bucket << shift to below (bucket + 1) << shift of the table. */
typedef struct report_row {
  int64_t bucket;
  report_value columns[NUM_REPORT_COLUMNS];
} report_row;

/* rows[num_rows], one for each bucket that has a step: in descending order while the table grows,
 * in ascending order after report_table_finish. */
typedef struct report_table {
  int shift, num_rows;
  report_row rows[REPORT_MAX_ROWS];
} report_table;

/* Adds a value of a step. Steps come in descending order; a step may have several values. */
void report_table_add(report_table *table, int64_t step, report_column column, double value);
void report_table_finish(report_table *table);

/* Writes to smooth[num_rows] the mean of a column over neighbouring rows; rows without a value are
 * left unwritten. */
void report_table_smooth(const report_table *table, report_column column, double *smooth);

#endif
