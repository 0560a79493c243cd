/* Says what each plot shows, in one sentence. */
#include "report/report_plots.h"

#include <math.h>

#include "report/report_run.h"
#include "report/report_text.h"

static void put_name(FILE *html, const report_run *run) {
  fputs("<b>", html);
  report_put_html(html, run->name);
  fputs("</b>", html);
}

/* Returns all steps of a run as one value. */
static report_value summarize(const report_run *run, report_column column) {
  report_value all = {0};
  for (int i = 0; i < run->table.num_rows; i++) {
    const report_value *value = &run->table.rows[i].columns[column];
    if (value->count == 0) continue;
    double before = (double)all.count, here = (double)value->count;
    all.mean = all.mean * (before / (before + here)) + value->mean * (here / (before + here));
    if (all.count == 0 || value->min < all.min) all.min = value->min;
    if (all.count == 0 || value->max > all.max) all.max = value->max;
    all.count += value->count;
  }
  return all;
}

void report_find_loss(const report_plot *plot, const report_set *set, FILE *html) {
  (void)plot;
  const report_run *best = NULL;
  for (int i = 0; i < set->num_runs; i++) {
    const report_run *run = set->runs[i];
    if (run->best_eval_step == 0) continue;
    if (!best || run->best_eval_loss < best->best_eval_loss) best = run;
  }
  if (best) {
    fprintf(html, "Lowest loss on held-out data: %.4g nats per token (perplexity %.4g), ",
            best->best_eval_loss, exp(best->best_eval_loss));
    put_name(html, best);
    fputs(" at step ", html);
    report_put_count(html, (double)best->best_eval_step);
    fputs(".", html);
    return;
  }
  for (int i = 0; i < set->num_runs; i++) {
    const report_run *run = set->runs[i];
    if (run->final_step > 0 && (!best || run->final_loss < best->final_loss)) best = run;
  }
  if (!best) return;
  fputs("No run was evaluated. Lowest training loss at the end: ", html);
  fprintf(html, "%.4g nats per token, ", best->final_loss);
  put_name(html, best);
  fputs(".", html);
}

/* Returns the mean of a run; for throughput, all tokens over all time, as in the table of runs. */
static double mean_of(const report_plot *plot, const report_run *run, report_value all) {
  bool is_speed = plot->column == COLUMN_TOKENS_PER_S && run->timed_seconds > 0;
  return is_speed ? run->timed_tokens / run->timed_seconds : all.mean * plot->scale;
}

/* Writes each run's mean over its steps or, if there are many runs, the highest and the lowest. */
void report_find_mean(const report_plot *plot, const report_set *set, FILE *html) {
  int low = -1, high = -1;
  double means[REPORT_MAX_RUNS];
  for (int i = 0; i < set->num_runs; i++) {
    report_value all = summarize(set->runs[i], plot->column);
    if (all.count == 0) continue;
    means[i] = mean_of(plot, set->runs[i], all);
    if (low < 0 || means[i] < means[low]) low = i;
    if (high < 0 || means[i] > means[high]) high = i;
  }
  if (high < 0) return;
  fputs("Mean over the steps: ", html);
  for (int i = high;; i = low) {
    put_name(html, set->runs[i]);
    fputc(' ', html);
    if (plot->scale == 1 && means[i] >= 100)
      report_put_count(html, means[i]);
    else
      fprintf(html, "%.3g", means[i]);
    fprintf(html, "%s%s", plot->unit[0] == '%' ? "" : " ", plot->unit);
    if (i == low) break;
    fputs(" (highest), ", html);
  }
  fputs(low == high ? "." : " (lowest).", html);
}

void report_find_largest(const report_plot *plot, const report_set *set, FILE *html) {
  const report_run *best = NULL;
  report_value largest = {0};
  for (int i = 0; i < set->num_runs; i++) {
    report_value all = summarize(set->runs[i], plot->column);
    if (all.count == 0 || (best && all.max <= largest.max)) continue;
    best = set->runs[i];
    largest = all;
  }
  if (!best) return;
  fprintf(html, "Largest: %.4g, ", largest.max);
  put_name(html, best);
  fprintf(html, "; its mean over the steps is %.4g.", largest.mean);
}

void report_find_most(const report_plot *plot, const report_set *set, FILE *html) {
  const report_run *best = NULL;
  double most = 0;
  for (int i = 0; i < set->num_runs; i++) {
    double total = report_total(&set->runs[i]->bytes[plot->kind]);
    if (total > most) best = set->runs[i];
    most = fmax(most, total);
  }
  if (!best) return;
  const double *parts = best->bytes[plot->kind].parts;
  int largest = 0;
  for (int i = 1; i < report_num_parts(plot->kind); i++)
    if (parts[i] > parts[largest]) largest = i;
  put_name(html, best);
  fprintf(html, " %s: ", plot->most);
  report_put_bytes(html, most);
  fprintf(html, "%s %s %s %.0f%%.", plot->of_which, report_part_name(plot->kind, largest),
          plot->share_is, 100 * parts[largest] / most);
}

static void put_bin(FILE *html, const report_bin *bin) {
  fprintf(html, "%.4g nats per token at positions ", bin->loss);
  report_put_count(html, (double)bin->begin);
  fputs(" to ", html);
  report_put_count(html, (double)bin->end - 1);
}

/* Names the run that uses the longest context. */
void report_find_positions(const report_plot *plot, const report_set *set, FILE *html) {
  const report_run *best = NULL;
  const report_eval *evals[3], *last = NULL;
  for (int i = 0; i < set->num_runs; i++) {
    if (!plot->has(plot, set->runs[i])) continue;
    report_pick_evals(set->runs[i], evals);
    int64_t end = evals[2]->bins[evals[2]->num_bins - 1].end;
    if (last && end <= last->bins[last->num_bins - 1].end) continue;
    best = set->runs[i];
    last = evals[2];
  }
  if (!best) return;
  fputs("Last evaluation of ", html);
  put_name(html, best);
  fputs(", step ", html);
  report_put_count(html, (double)last->step);
  fputs(": ", html);
  put_bin(html, &last->bins[0]);
  if (last->num_bins > 1) {
    fputs(", ", html);
    put_bin(html, &last->bins[last->num_bins - 1]);
  }
  fputs(".", html);
}
