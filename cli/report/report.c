/* ulysses report: shows one or several runs as a page with plots. It runs as one process, without
 * MPI.
 *
 *   report_lines    the lines of a file, from the last to the first
 *   report_run      a run's files: report_metrics and report_config
 *   report_metrics  metrics, through the table below
 *   report_table    any number of steps in a bounded number of rows
 *   report_config   config.yaml as keys and values
 *   report_drawing  what a plot is, how it is drawn, and what drawings share
 *   report_plots    the plots: report_curves, report_bars, report_positions
 *   report_findings what they show, in words
 *   report_gnuplot  runs gnuplot, makes its SVG fit for a page
 *   report_page     the page
 *   report_text     text that comes from outside: into messages, HTML and gnuplot */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/format.h"
#include "common/try.h"
#include "job/starter.h"
#include "options/run_command.h"
#include "report/report_options.h"
#include "report/report_page.h"
#include "report/report_text.h"

typedef struct report {
  const report_options *options;
  report_run *runs[REPORT_MAX_RUNS];
  int num_runs;
} report;

/* Makes the names of runs unique: runs with the same name are named by their paths. */
static uly_status make_names_unique(report *r) {
  bool is_shared[REPORT_MAX_RUNS] = {false};
  for (int i = 0; i < r->num_runs; i++)
    for (int j = 0; j < r->num_runs; j++)
      is_shared[i] |= i != j && strcmp(r->runs[i]->name, r->runs[j]->name) == 0;
  for (int i = 0; i < r->num_runs; i++) {
    if (!is_shared[i]) continue;
    free(r->runs[i]->name);
    r->runs[i]->name = strdup(r->options->base.args[i]);
    if (!r->runs[i]->name) return report_fail(ULY_ERR_MEMORY, "no memory for names of runs");
  }
  return ULY_OK;
}

static uly_status read_runs(report *r) {
  int num_runs = r->options->base.num_args;
  if (num_runs > REPORT_MAX_RUNS)
    return report_fail(ULY_ERR_CONFIG, "there are %d runs, but a page shows at most %d", num_runs,
                       REPORT_MAX_RUNS);
  for (int i = 0; i < num_runs; i++) {
    report_run *run = calloc(1, sizeof *run);
    if (!run) return report_fail(ULY_ERR_MEMORY, "no memory for %d runs", num_runs);
    r->runs[r->num_runs++] = run;
    TRY(report_run_read(r->options->base.args[i], run));
  }
  return make_names_unique(r);
}

/* Refuses to overwrite the files of a run, so that a typing error does not cost its metrics. */
static uly_status protect_runs(const report *r, const char *out) {
  struct stat page, metrics;
  if (stat(out, &page) != 0) return ULY_OK;
  for (int i = 0; i < r->num_runs; i++) {
    bool is_same = stat(r->runs[i]->path, &metrics) == 0 && metrics.st_dev == page.st_dev &&
                   metrics.st_ino == page.st_ino;
    if (is_same)
      return report_fail(ULY_ERR_CONFIG,
                         "--out '%s' is the metrics file of a run: give another path", out);
  }
  return ULY_OK;
}

static uly_status write_file(const char *path, const char *text, size_t length) {
  FILE *file = fopen(path, "w");
  bool is_written = file && fwrite(text, 1, length, file) == length;
  if (file && fclose(file) != 0) is_written = false;
  if (is_written) return ULY_OK;
  return report_fail(ULY_ERR_IO, "--out '%s' cannot be written: %s", path, strerror(errno));
}

/* Makes the page in memory, so that what is at --out stays until there is a new page. */
static uly_status make_page(const report *r, char **page, size_t *length) {
  report_set set = {.num_runs = r->num_runs, .runs = r->runs};
  FILE *html = open_memstream(page, length);
  uly_status status = html ? report_page_write(&set, html) : ULY_OK;
  if (html && fclose(html) == 0) return status;
  return report_fail(ULY_ERR_MEMORY, "no memory for the page");
}

static uly_status write_page(const report *r) {
  const char *out = r->options->out ? r->options->out : "report.html";
  char *page = NULL;
  size_t length = 0;
  TRY(protect_runs(r, out));
  uly_status status = make_page(r, &page, &length);
  if (status == ULY_OK) status = write_file(out, page, length);
  if (status == ULY_OK) printf("%s: %d run%s\n", out, r->num_runs, plural(r->num_runs));
  free(page);
  return status;
}

static uly_status make_report(options *base) {
  report r = {.options = (const report_options *)base};
  uly_status status = read_runs(&r);
  if (status == ULY_OK) status = write_page(&r);
  for (int i = 0; i < r.num_runs; i++) {
    report_run_free(r.runs[i]);
    free(r.runs[i]);
  }
  return status;
}

int command_report(int argc, char *const *argv) {
  report_options o;
  if (!is_first_process()) return 0; /* one page, also under mpirun */
  return run_alone(&o.base, REPORT, argc, argv, make_report);
}
