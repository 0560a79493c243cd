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
  /* Rows of a table: more than a plot has columns of pixels. */
  REPORT_MAX_ROWS = 1024,
  REPORT_MAX_EVALS = 32, /* evaluations kept of a run */
  REPORT_MAX_BINS = 64   /* of one evaluation */
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
  char problem[512]; /* why some are missing; or empty */
} report_config;

/* Names of the library's enums have their place in arrays; all other names are summed in the last
 * place. */
enum { REPORT_NUM_ARENAS = ULY_NUM_ARENAS + 1, REPORT_NUM_TRAFFIC = ULY_NUM_TRAFFIC + 1 };
const char *report_arena_name(int i);
const char *report_traffic_name(int i);

typedef struct report_run {
  char *path; /* of the metrics */
  char *name; /* unique within a report */
  report_table table;

  int64_t first_step, last_step, num_steps;
  /* Lines that a later line of the same or an earlier step replaces. */
  int64_t num_repeated;
  int64_t num_skipped; /* steps that were skipped */
  /* Steps whose loss is null, or a number that training cannot have. */
  int64_t num_not_finite;
  bool is_cut; /* the last line is not whole */

  int64_t num_ranks;                  /* of the last step with it */
  bool has_other_ranks;               /* some step had another number */
  double tokens, seconds;             /* of all steps */
  double timed_tokens, timed_seconds; /* of steps that have both */
  int64_t final_step, best_eval_step; /* 0: there is none */
  double final_loss, best_eval_loss;

  /* Arenas of the step that held most. */
  bool has_arenas;
  int64_t arena_bytes[REPORT_NUM_ARENAS];
  int64_t resident_bytes; /* largest of any step; 0: unknown */

  int64_t num_sent;                      /* steps with sent bytes */
  double sent_bytes[REPORT_NUM_TRAFFIC]; /* mean over these */

  /* evals[num_evals], from the last to the first: each eval_stride-th of them, and the first
   * one. */
  int num_evals;
  int64_t eval_stride, num_evals_seen;
  report_eval evals[REPORT_MAX_EVALS];
  report_eval first_eval;

  report_config config;
  int num_checkpoints; /* folders step-* beside the metrics */
  int64_t newest_checkpoint;
} report_run;

/* Return the sum of a run's arenas, and the sum of what it sent. */
double report_arenas_total(const report_run *run);
double report_sent_total(const report_run *run);

/* Reads the metrics at run->path into a run that is otherwise zero. */
uly_status report_metrics_read(report_run *run);

/* Picks the first, middle and last evaluation by position: evals[3], NULL if there are fewer. */
void report_pick_evals(const report_run *run, const report_eval *evals[3]);

/* Reads a run. path: a run's folder, or a file of metrics. Messages name file and line. ULY_ERR_IO:
 * it cannot be read; ULY_ERR_DATA: it is not metrics, or is damaged before the last line. The run
 * must be zeroed, and freed also after a failure. */
uly_status report_run_read(const char *path, report_run *run);
void report_run_free(report_run *run);

/* --- config.yaml (report_config.c). Reads any mapping of YAML, whose keys are joined by dots.
 * config->problem says what cannot be read. A file that does not exist has no settings and no
 * problem. */
void report_config_read(const char *path, report_config *config);
void report_config_free(report_config *config);
/* Returns the value of a key, in any section; NULL: none. */
const char *report_config_get(const report_config *config, const char *key);

/* --- Lines (report_lines.c). The size of the file is the one that it had when it was opened. */

typedef struct report_lines {
  int fd;
  const char *path;
  off_t at; /* of buffer[0] in the file */
  /* Lines that are not yet returned end with buffer[used - 1]. */
  char *buffer;
  size_t used;
  off_t offset;      /* of the line returned last */
  bool is_last_open; /* the last line does not end with a newline */
} report_lines;

uly_status report_lines_open(const char *path, report_lines *lines);
void report_lines_close(report_lines *lines);
/* Returns the line before the one that was returned last: text[length], without its newline, valid
 * until the next call. text is NULL if there is none. */
uly_status report_lines_previous(report_lines *lines, const char **text, size_t *length);
/* Returns the number of the line that was returned last, 1 for the first of the file. */
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
  const char *needs;              /* needed metrics, as HTML */
  report_legend legend;
  bool (*has)(const report_plot *plot, const report_run *run);
  /* Writes the script, without the style. At least one run has what it needs. */
  void (*write_script)(const report_plot *plot, const report_set *set, FILE *script);
  /* Writes one sentence about these runs, as HTML (report_findings.c). */
  void (*write_finding)(const report_plot *plot, const report_set *set, FILE *html);
  /* The remaining members are those of a plot against the step. */
  report_column column;
  const char *unit; /* of the vertical axis */
  double scale;     /* from the column to the unit */
  bool from_zero, may_be_log, is_smoothed;
};

extern const report_plot report_plots[];
extern const int report_num_plots;

/* Draws the plot. svg is an <svg> element whose ids begin with that of the plot; the caller frees
 * it. */
uly_status report_plot_draw(const report_plot *plot, const report_set *set, char **svg);

/* Returns line i's color, 0xrrggbb. Lines beyond the number of colors use them again with another
 * dash: 0, 1, ... */
unsigned report_color(int i);
int report_dash(int i);

/* Sets the height of the picture; all pictures have the same width. */
void report_put_size(int height, FILE *script);

/* Sets the vertical axis to the range of the values, with some room beyond them. */
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

/* --- gnuplot (report_gnuplot.c). Runs script[length], and puts prefix before every id.
 * ULY_ERR_INTERNAL: there is no gnuplot, or it failed. */
uly_status report_gnuplot(const char *prefix, const char *script, size_t length, char **svg);

/* --- The page (report_page.c). */

uly_status report_page_write(const report_set *set, FILE *html);

/* --- Text (report_text.c). */

/* Copies text[length] as whole UTF-8 without control characters, with '?' in place of anything
 * else. A text that does not fit ends in "...". size >= 8. */
void report_clean(const char *text, size_t length, char *out, size_t size);
/* Calls uly_fail with a message that is safe for a terminal. */
uly_status report_fail(uly_status status, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* Writes text between tags, or in an attribute's double quotes. */
void report_put_html(FILE *html, const char *text);
/* Writes a string constant of gnuplot, short enough for an axis. */
void report_put_gnuplot(FILE *script, const char *text);
/* Writes "12,345,678". */
void report_put_count(FILE *file, double count);
/* Writes "1 h 02 min" or "3.4 s". */
void report_put_duration(FILE *file, double seconds);
/* Writes "1.5 MiB". */
void report_put_bytes(FILE *file, double bytes);

#endif
