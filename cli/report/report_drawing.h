/* A plot: what it needs and says, how it is drawn, and what drawings share. */
#ifndef ULYSSES_CLI_REPORT_DRAWING_H
#define ULYSSES_CLI_REPORT_DRAWING_H

#include <stdbool.h>
#include <stdio.h>

#include "report/report_run.h"

typedef struct report_set {
  int num_runs;
  report_run *const *runs; /* [num_runs] */
} report_set;

typedef enum report_legend { LEGEND_RUNS, LEGEND_PARTS } report_legend;

typedef struct report_plot report_plot;
struct report_plot {
  const char *id, *title, *about; /* about: how to read it */
  const char *needs;              /* needed metrics, as HTML */
  report_legend legend;
  bool (*has)(const report_plot *plot, const report_run *run);
  bool is_optional; /* the page does without it if no run has what it needs */
  /* Writes the script, without the style. At least one run has what it needs. */
  void (*write_script)(const report_plot *plot, const report_set *set, FILE *script);
  /* Writes one sentence about these runs, as HTML (report_findings.c). */
  void (*write_finding)(const report_plot *plot, const report_set *set, FILE *html);
  /* A plot with a bar for each run: what it shows, what the bytes are counted by, and what its
   * finding says before and after the bytes of the run with most. */
  report_kind kind;
  const char *per, *most, *of_which, *share_is;
  /* The remaining members are those of a plot against the step. */
  report_column column;
  const char *unit; /* of the vertical axis */
  double scale;     /* from the column to the unit */
  bool from_zero, may_be_log, is_smoothed;
};

/* Draws the plot. svg is an <svg> element whose ids begin with that of the plot; the caller frees
 * it. */
uly_status report_plot_draw(const report_plot *plot, const report_set *set, char **svg);

/* Runs gnuplot on script[length], and puts prefix before every id of its SVG (report_gnuplot.c).
 * ULY_ERR_INTERNAL: there is no gnuplot, or it failed. */
uly_status report_gnuplot(const char *prefix, const char *script, size_t length, char **svg);

/* Returns line i's color, 0xrrggbb. Lines beyond the number of colors use them again with another
 * dash: 0, 1, ... */
unsigned report_color(int i);
int report_dash(int i);

/* Sets the height of the picture; all pictures have the same width. */
void report_put_size(int height, FILE *script);

/* Sets the vertical axis to the range of the values, with some room beyond them. */
void report_put_y_range(double low, double high, bool from_zero, FILE *script);

#endif
