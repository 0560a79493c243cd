/* Plots against the step: a curve for each run, over the faint values that it averages. */
#include "report/report_plots.h"

#include <math.h>

typedef struct range {
  double low, high;
} range;

static void widen(range *r, double value) {
  if (value < r->low) r->low = value;
  if (value > r->high) r->high = value;
}

static void widen_by_column(range *y, const report_run *run, report_column column, double scale) {
  for (int i = 0; i < run->table.num_rows; i++) {
    const report_value *value = &run->table.rows[i].columns[column];
    if (value->count == 0) continue;
    widen(y, value->min * scale);
    widen(y, value->max * scale);
  }
}

/* Returns the range of steps, the same in all plots of a page. */
static range steps_of_all(const report_set *set) {
  range x = {INFINITY, -INFINITY};
  for (int i = 0; i < set->num_runs; i++) {
    widen(&x, (double)set->runs[i]->first_step);
    widen(&x, (double)set->runs[i]->last_step);
  }
  if (x.low <= 0.05 * x.high) x.low = 0;
  double least = fmax(1, 1e-6 * x.high); /* gnuplot treats less as nothing */
  if (x.high - x.low < least) x = (range){x.low - least, x.high + least};
  return x;
}

/* What the numbers on an axis are divided by, so that its tics stay short. */
typedef struct axis_unit {
  double factor;
  const char *name;
} axis_unit;

static axis_unit choose_unit(double largest) {
  if (largest >= 1e9) return (axis_unit){1e9, "billion "};
  if (largest >= 1e6) return (axis_unit){1e6, "million "};
  if (largest >= 1e4) return (axis_unit){1e3, "thousand "};
  return (axis_unit){1, ""};
}

/* Writes tics of a logarithmic axis. gnuplot's own are whole powers of 10, which are too few if the
 * values differ by less. */
static void put_log_tics(range y, FILE *script) {
  static const double fine[] = {1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8}, coarse[] = {1, 2, 5};
  double ratio = y.high / y.low;
  bool is_fine = ratio < 10;
  const double *digits = is_fine ? fine : coarse;
  int num_digits = is_fine ? 10 : ratio < 1000 ? 3 : 1;
  int first = (int)floor(log10(y.low)), last = (int)ceil(log10(y.high));
  int stride = (last - first) / 10 + 1;
  fputs("set ytics (", script);
  for (int power = first; power <= last; power += stride) {
    for (int i = 0; i < num_digits; i++) {
      double tic = digits[i] * pow(10, power);
      fprintf(script, "%s'%g' %g", power > first || i > 0 ? ", " : "", tic, tic);
    }
  }
  fputs(")\n", script);
}

/* Sets a logarithmic axis if values differ much, and otherwise room beyond the values. */
static void put_y_range(const report_plot *plot, range y, FILE *script) {
  if (plot->may_be_log && y.low > 0 && y.high / y.low > 3) {
    range wide = {y.low / 1.05, y.high * 1.05};
    fprintf(script, "set logscale y\nset yrange [%.9g:%.9g]\n", wide.low, wide.high);
    put_log_tics(wide, script);
    return;
  }
  report_put_y_range(y.low, y.high, plot->from_zero, script);
}

/* Writes a block of data: step, mean, min, max, smooth. Returns the number of its rows. */
static int put_data(const char *name, int i, const report_run *run, report_column column,
                    double step_scale, double scale, FILE *script) {
  double smooth[REPORT_MAX_ROWS];
  report_table_smooth(&run->table, column, smooth);
  int num = 0;
  fprintf(script, "$%s%d << END\n", name, i);
  for (int row = 0; row < run->table.num_rows; row++) {
    const report_value *value = &run->table.rows[row].columns[column];
    if (value->count == 0) continue;
    fprintf(script, "%.9g %.6g %.6g %.6g %.6g\n", value->step * step_scale, value->mean * scale,
            value->min * scale, value->max * scale, smooth[row] * scale);
    num++;
  }
  fputs("END\n", script);
  return num;
}

/* Continues the plot command with a column of a block. A single point is not a line. */
static void put_curve(const char *name, int i, int num, const char *columns, const char *alpha,
                      double width, FILE *script) {
  fprintf(script, ", $%s%d using %s with %s linewidth %g dashtype %d linecolor rgb '#%s%06x'", name,
          i, columns, num < 3 ? "linespoints pointtype 7 pointsize 0.4" : "lines", width,
          report_dash(i) + 1, alpha, report_color(i));
}

void report_write_curves(const report_plot *plot, const report_set *set, FILE *script) {
  bool with_eval = plot->column == COLUMN_LOSS;
  range x = steps_of_all(set), y = {INFINITY, -INFINITY};
  for (int i = 0; i < set->num_runs; i++) {
    widen_by_column(&y, set->runs[i], plot->column, plot->scale);
    if (with_eval) widen_by_column(&y, set->runs[i], COLUMN_EVAL_LOSS, plot->scale);
  }
  axis_unit x_unit = choose_unit(x.high), y_unit = {1, ""};
  if (plot->scale == 1 && plot->from_zero) y_unit = choose_unit(y.high);
  double step_scale = 1 / x_unit.factor, scale = plot->scale / y_unit.factor;
  y.low /= y_unit.factor;
  y.high /= y_unit.factor;
  fprintf(script, "set xrange [%.9g:%.9g]\nset xlabel '%sstep%s'\nset ylabel '%s%s'\n",
          x.low * step_scale, x.high * step_scale, x_unit.name, x_unit.name[0] ? "s" : "",
          y_unit.name, plot->unit);
  put_y_range(plot, y, script);

  int num[REPORT_MAX_RUNS], num_evals[REPORT_MAX_RUNS] = {0};
  for (int i = 0; i < set->num_runs; i++) {
    num[i] = put_data("run", i, set->runs[i], plot->column, step_scale, scale, script);
    if (with_eval)
      num_evals[i] = put_data("eval", i, set->runs[i], COLUMN_EVAL_LOSS, step_scale, scale, script);
  }
  /* Everything faint is below everything bold. NaN is something to continue from. */
  fputs("plot NaN", script);
  for (int i = 0; i < set->num_runs; i++) {
    if (num[i] == 0) continue;
    if (set->runs[i]->table.shift > 0)
      fprintf(script, ", $run%d using 1:3:4 with filledcurves linecolor rgb '#d8%06x'", i,
              report_color(i));
    if (plot->is_smoothed) put_curve("run", i, num[i], "1:2", "b0", 1, script);
  }
  for (int i = 0; i < set->num_runs; i++)
    if (num[i] > 0) put_curve("run", i, num[i], plot->is_smoothed ? "1:5" : "1:2", "", 2.2, script);
  for (int i = 0; i < set->num_runs; i++)
    if (num_evals[i] > 0)
      fprintf(
          script,
          ", $eval%d using 1:2 with linespoints pointtype 7 pointsize %g linewidth 1 dashtype %d "
          "linecolor rgb '#%06x'",
          i, num_evals[i] > 60 || set->num_runs > 6 ? 0.35 : 0.6, report_dash(i) + 1,
          report_color(i));
  fputc('\n', script);
}
