/* Puts any number of steps into a bounded number of rows: a row for every 2^shift steps, with what
 * each column held over them. When there are too many rows, the shift grows and neighbours are
 * merged. */
#include "report/report_table.h"

/* Returns a weighted mean without (a * n + b * m) / (n + m), which overflows. */
static double mix(double a, int64_t n, double b, int64_t m) {
  double part = (double)m / (double)(n + m);
  return a * (1 - part) + b * part;
}

static void value_merge(report_value *into, const report_value *other) {
  if (other->count == 0) return;
  if (into->count == 0) {
    *into = *other;
    return;
  }
  into->step = mix(into->step, into->count, other->step, other->count);
  into->mean = mix(into->mean, into->count, other->mean, other->count);
  if (other->min < into->min) into->min = other->min;
  if (other->max > into->max) into->max = other->max;
  into->count += other->count;
}

static void coarsen(report_table *table) {
  table->shift++;
  int num = 0;
  for (int i = 0; i < table->num_rows; i++) {
    report_row *row = &table->rows[i];
    row->bucket >>= 1;
    if (num > 0 && table->rows[num - 1].bucket == row->bucket) {
      for (int c = 0; c < NUM_REPORT_COLUMNS; c++)
        value_merge(&table->rows[num - 1].columns[c], &row->columns[c]);
    } else {
      table->rows[num++] = *row;
    }
  }
  table->num_rows = num;
}

void report_table_add(report_table *table, int64_t step, report_column column, double value) {
  int last = table->num_rows - 1;
  if (last < 0 || table->rows[last].bucket != step >> table->shift) {
    /* The rows are halved, so that this happens rarely: steps may be far apart. */
    if (table->num_rows == REPORT_MAX_ROWS)
      while (table->num_rows > REPORT_MAX_ROWS / 2) coarsen(table);
    last = table->num_rows - 1;
  }
  if (last < 0 || table->rows[last].bucket != step >> table->shift) {
    last = table->num_rows++;
    table->rows[last] = (report_row){.bucket = step >> table->shift};
  }
  report_value single = {
      .count = 1, .step = (double)step, .mean = value, .min = value, .max = value};
  value_merge(&table->rows[last].columns[column], &single);
}

void report_table_finish(report_table *table) {
  for (int i = 0, j = table->num_rows - 1; i < j; i++, j--) {
    report_row row = table->rows[i];
    table->rows[i] = table->rows[j];
    table->rows[j] = row;
  }
}

/* Averages over a window that extends equally to both sides, so that a slope stays where it is. The
 * window shrinks towards the start, where losses fall fast; near the end, which is flat, single
 * steps are not a trend. */
void report_table_smooth(const report_table *table, report_column column, double *smooth) {
  int num = table->num_rows;
  for (int i = 0; i < num; i++) {
    if (table->rows[i].columns[column].count == 0) continue;
    int reach = num / 50;
    if (reach > i) reach = i;
    report_value window = {0};
    for (int j = i - reach; j <= i + reach && j < num; j++)
      value_merge(&window, &table->rows[j].columns[column]);
    smooth[i] = window.mean;
  }
}
