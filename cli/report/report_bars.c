/* Plots with a bar for each run, made of parts: memory by arena, bytes sent by kind. */
#include "report/report_plots.h"

#include <math.h>

#include "report/report_text.h"

/* The bars of the runs that have what the plot shows. */
typedef struct bars {
  int num;
  const report_run *runs[REPORT_MAX_RUNS];
  report_kind kind;
  bool has_marks; /* of the resident set */
} bars;

static const report_bytes *bytes_of(const bars *b, int bar) {
  return &b->runs[bar]->bytes[b->kind];
}

/* Returns where the mark of a bar is, or 0 if it has none. */
static double mark_of(const bars *b, int bar) {
  return b->kind == REPORT_HELD ? (double)b->runs[bar]->resident_bytes : 0;
}

/* Returns a power of 1024 that makes the largest value a small number. */
static double choose_unit(double largest, const char **name) {
  static const char *const names[] = {"bytes", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
  double factor = 1;
  int i = 0;
  for (; i < 6 && largest / factor >= 1024; i++) factor *= 1024;
  *name = names[i];
  return factor;
}

/* Writes the label after its bar, or after the mark if that is further; that of the longest bar in
 * the margin. */
static void put_label(const bars *b, int bar, double factor, FILE *script) {
  double total = report_total(bytes_of(b, bar)), mark = mark_of(b, bar);
  fprintf(script, "%.6g %d \"", fmax(total, mark) / factor, bar);
  report_put_bytes(script, total);
  if (mark > 0) {
    fputs(", resident ", script);
    report_put_bytes(script, mark);
  }
  fputs("\"\n", script);
}

static void put_parts(const bars *b, int bar, double factor, FILE *script) {
  double at = 0;
  for (int part = 0; part < report_num_parts(b->kind); part++) {
    double bytes = bytes_of(b, bar)->parts[part] / factor;
    if (bytes > 0)
      fprintf(script, "%.6g %.6g %g %g %u\n", at, at + bytes, bar - 0.32, bar + 0.32,
              report_color(part));
    at += bytes;
  }
}

static void put_bars(const bars *b, const char *per, FILE *script) {
  double largest = 0;
  for (int bar = 0; bar < b->num; bar++)
    largest = fmax(largest, fmax(report_total(bytes_of(b, bar)), mark_of(b, bar)));
  const char *unit;
  double factor = choose_unit(largest, &unit);
  report_put_size(90 + 38 * b->num, script);
  fprintf(
      script,
      "set border 0\nset grid noytics xtics linetype 1 linewidth 0.6 linecolor rgb '#a0888888'\n"
      "set rmargin %d\nset xlabel '%s %s'\nset xrange [0:%.6g]\nset yrange [%g:-0.5]\nset ytics (",
      b->has_marks ? 30 : 14, unit, per, largest / factor, b->num - 0.5);
  for (int bar = 0; bar < b->num; bar++) {
    if (bar > 0) fputs(", ", script);
    report_put_gnuplot(script, b->runs[bar]->name);
    fprintf(script, " %d", bar);
  }
  fputs(")\n$parts << END\n", script);
  for (int bar = 0; bar < b->num; bar++) put_parts(b, bar, factor, script);
  fputs("END\n$labels << END\n", script);
  for (int bar = 0; bar < b->num; bar++) put_label(b, bar, factor, script);
  fputs("END\n$marks << END\n", script);
  for (int bar = 0; bar < b->num; bar++)
    if (mark_of(b, bar) > 0) fprintf(script, "%.6g %g\n", mark_of(b, bar) / factor, bar - 0.42);
  fputs(
      "END\n"
      "plot $parts using 1:3:1:2:3:4:5 with boxxyerror fillstyle solid noborder linecolor rgb "
      "variable, $labels using 1:2:3 with labels left offset 0.8,0",
      script);
  if (b->has_marks)
    fputs(", $marks using 1:2:(0):(0.84) with vectors nohead linewidth 3 linecolor rgb '#848b95'",
          script);
  fputc('\n', script);
}

void report_write_bars(const report_plot *plot, const report_set *set, FILE *script) {
  bars b = {.kind = plot->kind};
  for (int i = 0; i < set->num_runs; i++) {
    if (!plot->has(plot, set->runs[i])) continue;
    b.runs[b.num++] = set->runs[i];
    b.has_marks |= mark_of(&b, b.num - 1) > 0;
  }
  put_bars(&b, plot->per, script);
}
