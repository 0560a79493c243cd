/* Plots with a bar for each run, made of parts: memory by arena, bytes sent by kind. */
#include "report/report_bars.h"

#include <string.h>

#include "report/report_text.h"

enum { MAX_PARTS = 16 };
_Static_assert((int)REPORT_NUM_ARENAS <= MAX_PARTS && (int)REPORT_NUM_TRAFFIC <= MAX_PARTS,
               "parts of a bar");

/* In bytes. */
typedef struct bars {
  int num_runs, num_parts;
  const char *names[REPORT_MAX_RUNS];
  double bytes[REPORT_MAX_RUNS][MAX_PARTS]; /* [num_runs][num_parts] */
  double marks[REPORT_MAX_RUNS];            /* 0: none */
  bool has_marks;
  const char *what; /* bytes are counted: "per step" */
} bars;

static double bar_total(const bars *b, int run) {
  double total = 0;
  for (int part = 0; part < b->num_parts; part++) total += b->bytes[run][part];
  return total;
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
static void put_label(const bars *b, int run, double factor, FILE *script) {
  double total = bar_total(b, run), at = total > b->marks[run] ? total : b->marks[run];
  fprintf(script, "%.6g %d \"", at / factor, run);
  report_put_bytes(script, total);
  if (b->marks[run] > 0) {
    fputs(", resident ", script);
    report_put_bytes(script, b->marks[run]);
  }
  fputs("\"\n", script);
}

static void put_bars(const bars *b, FILE *script) {
  double largest = 0;
  for (int run = 0; run < b->num_runs; run++) {
    double total = bar_total(b, run);
    if (total > largest) largest = total;
    if (b->marks[run] > largest) largest = b->marks[run];
  }
  const char *unit;
  double factor = choose_unit(largest, &unit);
  report_put_size(90 + 38 * b->num_runs, script);
  fprintf(
      script,
      "set border 0\nset grid noytics xtics linetype 1 linewidth 0.6 linecolor rgb '#a0888888'\n"
      "set rmargin %d\nset xlabel '%s %s'\nset xrange [0:%.6g]\nset yrange [%g:-0.5]\nset ytics (",
      b->has_marks ? 30 : 14, unit, b->what, largest / factor, b->num_runs - 0.5);
  for (int run = 0; run < b->num_runs; run++) {
    if (run > 0) fputs(", ", script);
    report_put_gnuplot(script, b->names[run]);
    fprintf(script, " %d", run);
  }
  fputs(")\n$parts << END\n", script);
  for (int run = 0; run < b->num_runs; run++) {
    double at = 0;
    for (int part = 0; part < b->num_parts; part++) {
      double bytes = b->bytes[run][part] / factor;
      if (bytes > 0)
        fprintf(script, "%.6g %.6g %g %g %u\n", at, at + bytes, run - 0.32, run + 0.32,
                report_color(part));
      at += bytes;
    }
  }
  fputs("END\n$labels << END\n", script);
  for (int run = 0; run < b->num_runs; run++) put_label(b, run, factor, script);
  fputs("END\n$marks << END\n", script);
  for (int run = 0; run < b->num_runs; run++)
    if (b->marks[run] > 0) fprintf(script, "%.6g %g\n", b->marks[run] / factor, run - 0.42);
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

void report_write_memory(const report_plot *plot, const report_set *set, FILE *script) {
  bars b = {.num_parts = REPORT_NUM_ARENAS, .what = "per rank"};
  for (int i = 0; i < set->num_runs; i++) {
    const report_run *run = set->runs[i];
    if (!plot->has(plot, run)) continue;
    for (int part = 0; part < b.num_parts; part++)
      b.bytes[b.num_runs][part] = (double)run->arena_bytes[part];
    b.marks[b.num_runs] = (double)run->resident_bytes;
    b.has_marks |= run->resident_bytes > 0;
    b.names[b.num_runs++] = run->name;
  }
  put_bars(&b, script);
}

void report_write_traffic(const report_plot *plot, const report_set *set, FILE *script) {
  bars b = {.num_parts = REPORT_NUM_TRAFFIC, .what = "per step"};
  for (int i = 0; i < set->num_runs; i++) {
    const report_run *run = set->runs[i];
    if (!plot->has(plot, run)) continue;
    memcpy(b.bytes[b.num_runs], run->sent_bytes, sizeof run->sent_bytes);
    b.names[b.num_runs++] = run->name;
  }
  put_bars(&b, script);
}
