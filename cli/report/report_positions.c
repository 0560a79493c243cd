/* The plot of evaluations by position: loss against the place in the sequence, on a logarithmic
 * axis, of each run's first, middle and last evaluation in shades. */
#include "report/report_plots.h"

#include <math.h>

#include "report/report_run.h"

/* Returns where a bin is drawn: in its middle, on the logarithmic axis. */
static double middle(const report_bin *bin) {
  double begin = bin->begin > 0 ? (double)bin->begin : (double)bin->end / 4;
  return sqrt(begin * (double)bin->end);
}

/* Writes a tic: 16 ... 512, 1k, 2k, ... 1M, the powers of two, divided by 1024 if possible. */
static void put_tic(double position, FILE *script) {
  const char *unit = "";
  double shown = position;
  for (const char *units = "kMGTP"; *units && shown >= 1024; units++) {
    shown /= 1024;
    unit = units;
  }
  fprintf(script, "'%.0f%.1s' %.0f", shown, unit, position);
}

/* Writes tics at powers of two, at most 16. */
static void put_x_axis(double low, double high, FILE *script) {
  int first = (int)floor(log2(low)), last = (int)ceil(log2(high));
  int stride = (last - first) / 16 + 1;
  fprintf(script, "set logscale x 2\nset xrange [%.9g:%.9g]\nset xtics (", exp2(first), exp2(last));
  for (int i = first; i <= last; i += stride) {
    if (i > first) fputs(", ", script);
    put_tic(exp2(i), script);
  }
  fputs(")\nset xlabel 'position in the sequence (k: 1024)'\nset ylabel 'nats per token'\n",
        script);
}

void report_write_positions(const report_plot *plot, const report_set *set, FILE *script) {
  (void)plot;
  static const char *const alphas[] = {"b8", "70", ""};
  static const double widths[] = {1.2, 1.5, 2.4};
  double low = INFINITY, high = 0, lowest_loss = INFINITY, highest_loss = -INFINITY;
  for (int i = 0; i < set->num_runs; i++) {
    const report_eval *evals[3];
    report_pick_evals(set->runs[i], evals);
    for (int j = 0; j < 3; j++) {
      if (!evals[j]) continue;
      fprintf(script, "$eval%d_%d << END\n", i, j);
      for (int k = 0; k < evals[j]->num_bins; k++) {
        const report_bin *bin = &evals[j]->bins[k];
        low = fmin(low, bin->begin > 0 ? (double)bin->begin : (double)bin->end / 4);
        high = fmax(high, (double)bin->end);
        lowest_loss = fmin(lowest_loss, bin->loss);
        highest_loss = fmax(highest_loss, bin->loss);
        fprintf(script, "%.9g %.6g\n", middle(bin), bin->loss);
      }
      fputs("END\n", script);
    }
  }
  put_x_axis(low, high, script);
  report_put_y_range(lowest_loss, highest_loss, false, script);
  fputs("plot NaN", script);
  for (int i = 0; i < set->num_runs; i++) {
    const report_eval *evals[3];
    report_pick_evals(set->runs[i], evals);
    for (int j = 0; j < 3; j++) {
      if (!evals[j]) continue;
      fprintf(script,
              ", $eval%d_%d with linespoints pointtype 7 pointsize 0.5 linewidth %g dashtype %d "
              "linecolor rgb '#%s%06x'",
              i, j, widths[j], report_dash(i) + 1, alphas[j], report_color(i));
    }
  }
  fputc('\n', script);
}
