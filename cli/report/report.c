/* ulysses report: one or several runs as a page with plots. One process, without MPI.
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

#include "commands/commands.h"
#include "common/say.h"
#include "job/starter.h"
#include "options/messages.h"
#include "options/options.h"
#include "report/report_page.h"
#include "report/report_text.h"

typedef struct report {
  options options;
  report_run *runs[REPORT_MAX_RUNS];
  int num_runs;
} report;

static uly_status read_arguments(report *r, int argc, char *const *argv) {
  options *o = &r->options;
  uly_status status = options_init(o);
  if (status == ULY_OK) status = options_parse(o, REPORT, argc, argv);
  if (status != ULY_OK) return uly_fail(status, "%s", o->error);
  if (o->num_args > REPORT_MAX_RUNS) {
    return report_fail(ULY_ERR_CONFIG, "%d runs: a page shows at most %d", o->num_args,
                       REPORT_MAX_RUNS);
  }
  r->num_runs = o->num_args;
  return ULY_OK;
}

/* Makes the names of runs unique: runs with the same name are named by their paths. */
static uly_status make_names_unique(report *r) {
  bool is_shared[REPORT_MAX_RUNS] = {false};
  for (int i = 0; i < r->num_runs; i++)
    for (int j = 0; j < r->num_runs; j++)
      is_shared[i] |= i != j && strcmp(r->runs[i]->name, r->runs[j]->name) == 0;
  for (int i = 0; i < r->num_runs; i++) {
    if (!is_shared[i]) continue;
    free(r->runs[i]->name);
    r->runs[i]->name = strdup(r->options.args[i]);
    if (!r->runs[i]->name) return report_fail(ULY_ERR_MEMORY, "no memory for names of runs");
  }
  return ULY_OK;
}

static uly_status read_runs(report *r) {
  for (int i = 0; i < r->num_runs; i++) {
    r->runs[i] = calloc(1, sizeof *r->runs[i]);
    if (!r->runs[i]) return report_fail(ULY_ERR_MEMORY, "no memory for %d runs", r->num_runs);
    uly_status status = report_run_read(r->options.args[i], r->runs[i]);
    if (status != ULY_OK) return status;
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
    if (is_same) {
      return report_fail(ULY_ERR_CONFIG, "--out '%s': these are the metrics of a run", out);
    }
  }
  return ULY_OK;
}

static uly_status write_file(const char *path, const char *text, size_t length) {
  FILE *file = fopen(path, "w");
  bool is_written = file && fwrite(text, 1, length, file) == length;
  if (file && fclose(file) != 0) is_written = false;
  if (is_written) return ULY_OK;
  return report_fail(ULY_ERR_IO, "--out '%s': cannot be written: %s", path, strerror(errno));
}

static uly_status write_page(const report *r) {
  const char *out = r->options.out ? r->options.out : "report.html";
  report_set set = {.num_runs = r->num_runs, .runs = r->runs};
  char *page = NULL;
  size_t length = 0;
  uly_status status = protect_runs(r, out);
  if (status != ULY_OK) return status;
  FILE *html = open_memstream(&page, &length);
  if (html) status = report_page_write(&set, html);
  if (!html || fclose(html) != 0) status = report_fail(ULY_ERR_MEMORY, "no memory for the page");
  if (status == ULY_OK) status = write_file(out, page, length);
  if (status == ULY_OK) printf("%s: %d run%s\n", out, r->num_runs, r->num_runs == 1 ? "" : "s");
  free(page);
  return status;
}

int command_report(int argc, char *const *argv) {
  if (!is_first_process()) return 0; /* one page, also under mpirun */
  report r = {.num_runs = 0};
  uly_status status = read_arguments(&r, argc, argv);
  if (status == ULY_OK) status = read_runs(&r);
  if (status == ULY_OK) status = write_page(&r);
  if (status != ULY_OK) print_failure(last_failure());
  for (int i = 0; i < r.num_runs; i++) {
    if (r.runs[i]) report_run_free(r.runs[i]);
    free(r.runs[i]);
  }
  options_free(&r.options);
  return uly_status_exit_code(status);
}
