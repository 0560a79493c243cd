/* A report: what the files of runs say, as plain arrays, and how it becomes a page.
 *
 *   report_lines   the lines of a file, from the last to the first
 *   report_read    a run's files: report_metrics and report_config
 *   report_metrics metrics, through the table below
 *   report_table   any number of steps in a bounded number of rows
 *   report_config  config.yaml as keys and values
 *   report_plots   the plots, as scripts of gnuplot: report_curves, report_bars, report_positions
 *   report_findings what they show, in words
 *   report_gnuplot runs gnuplot, makes its SVG fit for a page
 *   report_page    the page
 *   report_text    text that comes from outside: into messages, HTML and gnuplot */
#ifndef ULYSSES_CLI_REPORT_H
#define ULYSSES_CLI_REPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

#include "ulysses.h"

enum {
  REPORT_MAX_RUNS = 24,
  REPORT_MAX_LINE = 1 << 20, /* bytes of a line of metrics */
  REPORT_MAX_ROWS = 1024,    /* of a table: more than a plot has columns of pixels */
  REPORT_MAX_EVALS = 32,     /* evaluations by position that are kept of a run */
  REPORT_MAX_BINS = 64       /* of one evaluation */
};

/* --- Tables: values of steps, thinned (report_table.c). */

typedef enum report_column {
  COLUMN_LOSS,
  COLUMN_EVAL_LOSS,
  COLUMN_GRAD_NORM,
  COLUMN_LR,
  COLUMN_TOKENS_PER_S,
  COLUMN_PEAK_SHARE, /* FLOP/s of the step over peak_flops, 0 to 1 */
  COLUMN_WAIT_SHARE, /* wait_s over step_s, 0 to 1                 */
  NUM_REPORT_COLUMNS
} report_column;

/* What a column held over the steps of a row. */
typedef struct report_value {
  int64_t count; /* steps with a value; 0: the rest means nothing */
  double step;   /* mean of their steps */
  double mean, min, max;
} report_value;

/* Steps bucket << shift up to (bucket + 1) << shift of the table. */
typedef struct report_row {
  int64_t bucket;
  report_value columns[NUM_REPORT_COLUMNS];
} report_row;

/* rows[num_rows], a row for each bucket that has a step: in descending order while it grows, in ascending
 * order after report_table_finish. */
typedef struct report_table {
  int shift, num_rows;
  report_row rows[REPORT_MAX_ROWS];
} report_table;

/* Steps come in descending order; several values of one step may come. */
void report_table_add(report_table *table, int64_t step, report_column column, double value);
void report_table_finish(report_table *table);

/* Writes to smooth[num_rows] the mean of a column over neighbouring rows; where the row has no value it
 * is not written. */
void report_table_smooth(const report_table *table, report_column column, double *smooth);

/* --- Runs (report_read.c, report_metrics.c). */

typedef struct report_bin {
  int64_t begin, end, tokens; /* positions [begin, end) */
  double loss;
} report_bin;

typedef struct report_eval {
  int64_t step;
  int num_bins;
  report_bin bins[REPORT_MAX_BINS];
} report_eval;

typedef struct report_setting {
  char *key, *value; /* "section.key", "value" */
} report_setting;

/* settings[num], in the order of the file. */
typedef struct report_config {
  int num;
  report_setting *settings;
  char problem[512]; /* why they are not all; empty: they are */
} report_config;

/* Names of the library's enums have their place in arrays; whatever else a file names is summed
 * behind them. */
enum { REPORT_NUM_ARENAS = ULY_NUM_ARENAS + 1, REPORT_NUM_TRAFFIC = ULY_NUM_TRAFFIC + 1 };
const char *report_arena_name(int i);
const char *report_traffic_name(int i);

typedef struct report_run {
  char *path; /* of the metrics */
  char *name; /* for the reader of the page: unique among the runs of a report */
  report_table table;

  int64_t first_step, last_step, num_steps;
  int64_t num_repeated;   /* lines that a later line of the same or an earlier step replaces */
  int64_t num_skipped;    /* steps whose update was skipped */
  int64_t num_not_finite; /* steps whose loss is null, or not a number that training can have */
  bool is_cut;            /* the last line is not whole */

  int64_t num_ranks;                  /* of the last step that says it; 0: none does */
  bool has_other_ranks;               /* some step ran on another number */
  double tokens, seconds;             /* of all steps */
  double timed_tokens, timed_seconds; /* of those that have both */
  int64_t final_step, best_eval_step; /* 0: there is none */
  double final_loss, best_eval_loss;

  /* Of the step that held most. */
  bool has_arenas;
  int64_t arena_bytes[REPORT_NUM_ARENAS];
  int64_t resident_bytes; /* largest of any step; 0: not said */

  int64_t num_sent;                      /* steps that say what was sent */
  double sent_bytes[REPORT_NUM_TRAFFIC]; /* mean over these */

  /* evals[num_evals], from the last to the first, each eval_stride-th; and the first one. */
  int num_evals;
  int64_t eval_stride, num_evals_seen;
  report_eval evals[REPORT_MAX_EVALS];
  report_eval first_eval;

  report_config config;
  int num_checkpoints; /* folders step-* beside the metrics */
  int64_t newest_checkpoint;
} report_run;

/* Sum of a run's arenas, and of what it sent. */
double report_arenas_total(const report_run *run);
double report_sent_total(const report_run *run);

/* Reads the metrics at run->path into a run that is zero but for it. */
uly_status report_metrics_read(report_run *run);

/* First, middle and last evaluation by position: evals[3], NULL where there are fewer. */
void report_pick_evals(const report_run *run, const report_eval *evals[3]);

/* path: a run's folder, or a file of metrics. Messages name file and line. ULY_ERR_IO: cannot be read; ULY_ERR_DATA:
 * not metrics, or damaged before the last line. The run must be zeroed, and freed also after a failure. */
uly_status report_run_read(const char *path, report_run *run);
void report_run_free(report_run *run);

/* --- config.yaml (report_config.c). Any mapping of YAML, whose keys are joined by dots. What cannot be
 * read is config->problem. A file that is not there has no settings and no problem. */
void report_config_read(const char *path, report_config *config);
void report_config_free(report_config *config);
/* The value of a key, in whatever section; NULL: none. */
const char *report_config_get(const report_config *config, const char *key);

/* --- Lines (report_lines.c). The size of the file is that at the time it was opened. */

typedef struct report_lines {
  int fd;
  const char *path;
  off_t at;     /* of buffer[0] in the file */
  char *buffer; /* what is still to be handed out ends with buffer[used - 1] */
  size_t used;
  off_t offset;      /* of the line that was handed out last */
  bool is_last_open; /* the last line does not end with a newline */
} report_lines;

uly_status report_lines_open(const char *path, report_lines *lines);
void report_lines_close(report_lines *lines);
/* The line before the one handed out last: text[length], without its newline, valid until the next call. text is
 * NULL where there is none. */
uly_status report_lines_previous(report_lines *lines, const char **text, size_t *length);
/* The number of the line handed out last, 1 for the first of the file. */
int64_t report_lines_number(report_lines *lines);

/* --- Plots (report_plots.c). */

typedef struct report_set {
  int num_runs;
  report_run *const *runs; /* [num_runs] */
} report_set;

typedef enum report_legend { LEGEND_RUNS, LEGEND_ARENAS, LEGEND_TRAFFIC } report_legend;

typedef struct report_plot report_plot;
struct report_plot {
  const char *id, *title, *about; /* about: how to read it */
  const char *needs;              /* of the metrics of a run, as HTML */
  report_legend legend;
  bool (*has)(const report_plot *plot, const report_run *run);
  /* The script, but for the style. At least one run has what it needs. */
  void (*write_script)(const report_plot *plot, const report_set *set, FILE *script);
  /* One sentence about these runs, as HTML (report_findings.c). */
  void (*write_finding)(const report_plot *plot, const report_set *set, FILE *html);
  /* Of a plot against the step only. */
  report_column column;
  const char *unit; /* of the vertical axis */
  double scale;     /* from the column to the unit */
  bool from_zero, may_be_log, is_smoothed;
};

extern const report_plot report_plots[];
extern const int report_num_plots;

/* Draws the plot: svg is an <svg> element whose ids begin with that of the plot; to be freed. */
uly_status report_plot_draw(const report_plot *plot, const report_set *set, char **svg);

/* Line i's color, 0xrrggbb. Lines beyond the colors begin again with another dash: 0, 1, ... */
unsigned report_color(int i);
int report_dash(int i);

/* Sets the picture's height; widths are the same. */
void report_put_size(int height, FILE *script);

/* Sets the vertical axis: the values, with some room beyond them. */
void report_put_y_range(double low, double high, bool from_zero, FILE *script);

/* Parts of write_script: report_curves.c (against the step), report_bars.c (a bar for each run),
 * report_positions.c (evaluations by position). */
void report_write_curves(const report_plot *plot, const report_set *set, FILE *script);
void report_write_memory(const report_plot *plot, const report_set *set, FILE *script);
void report_write_traffic(const report_plot *plot, const report_set *set, FILE *script);
void report_write_positions(const report_plot *plot, const report_set *set, FILE *script);

void report_find_loss(const report_plot *plot, const report_set *set, FILE *html);
void report_find_mean(const report_plot *plot, const report_set *set, FILE *html);
void report_find_largest(const report_plot *plot, const report_set *set, FILE *html);
void report_find_memory(const report_plot *plot, const report_set *set, FILE *html);
void report_find_traffic(const report_plot *plot, const report_set *set, FILE *html);
void report_find_positions(const report_plot *plot, const report_set *set, FILE *html);

/* --- gnuplot (report_gnuplot.c). Runs script[length]; prefix is put before every id. ULY_ERR_INTERNAL:
 * there is no gnuplot, or it failed. */
uly_status report_gnuplot(const char *prefix, const char *script, size_t length, char **svg);

/* --- The page (report_page.c). */

uly_status report_page_write(const report_set *set, FILE *html);

/* --- Text (report_text.c). */

/* Copies text[length] so that it is whole UTF-8 without control characters: '?' for what is not. A text that
 * does not fit ends in "...". size >= 8. */
void report_clean(const char *text, size_t length, char *out, size_t size);
/* uly_fail, with a message fit for a terminal. */
uly_status report_fail(uly_status status, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* Between tags, or in an attribute's double quotes. */
void report_put_html(FILE *html, const char *text);
/* A string constant of gnuplot, short enough for an axis. */
void report_put_gnuplot(FILE *script, const char *text);
/* "12,345,678" */
void report_put_count(FILE *file, double count);
/* "1 h 02 min", "3.4 s" */
void report_put_duration(FILE *file, double seconds);
/* "1.5 MiB" */
void report_put_bytes(FILE *file, double bytes);

#endif
