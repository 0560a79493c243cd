/* The plots of a report, and what they share. gnuplot gets everything in its script: it reads no
 * file, and no text from outside except the names of runs beside bars, as constants
 * (report_put_gnuplot). */
#include <math.h>
#include <stdlib.h>

#include "report.h"

static bool has_column(const report_plot *plot, const report_run *run) {
  for (int i = 0; i < run->table.num_rows; i++)
    if (run->table.rows[i].columns[plot->column].count > 0) return true;
  return false;
}

static bool has_loss(const report_plot *plot, const report_run *run) {
  return has_column(plot, run) || run->best_eval_step > 0;
}

static bool has_memory(const report_plot *plot, const report_run *run) {
  (void)plot;
  return run->has_arenas && report_arenas_total(run) > 0;
}

static bool has_traffic(const report_plot *plot, const report_run *run) {
  (void)plot;
  return run->num_sent > 0 && report_sent_total(run) > 0;
}

static bool has_positions(const report_plot *plot, const report_run *run) {
  (void)plot;
  return run->num_evals > 0;
}

#define AGAINST_STEP(has_, column_, unit_, scale_)                                            \
  .legend = LEGEND_RUNS, .has = has_, .write_script = report_write_curves, .column = column_, \
  .unit = unit_, .scale = scale_

const report_plot report_plots[] = {
    {.id = "loss",
     .title = "Loss",
     .about = "Bold: training loss, the mean over neighbouring steps. Faint: the steps themselves. "
              "Dots: evaluation on held-out data.",
     .needs = "<code>loss</code> or <code>eval_loss</code>",
     AGAINST_STEP(has_loss, COLUMN_LOSS, "nats per token", 1),
     .may_be_log = true,
     .is_smoothed = true,
     .write_finding = report_find_loss},
    {.id = "throughput",
     .title = "Throughput",
     .about =
         "Tokens trained on per second, over all ranks. Bold: the mean over neighbouring steps. "
         "Faint: the steps themselves.",
     .needs = "<code>tokens_per_s</code>",
     AGAINST_STEP(has_column, COLUMN_TOKENS_PER_S, "tokens/s", 1),
     .from_zero = true,
     .is_smoothed = true,
     .write_finding = report_find_mean},
    {.id = "peak-share",
     .title = "Share of the machine’s peak",
     .about =
         "Floating-point operations of the model per second, against the matrix products that the "
         "ranks were measured to do.",
     .needs = "<code>flops</code>, <code>step_s</code> and <code>peak_flops</code>",
     AGAINST_STEP(has_column, COLUMN_PEAK_SHARE, "% of the measured peak", 100),
     .from_zero = true,
     .is_smoothed = true,
     .write_finding = report_find_mean},
    {.id = "memory",
     .title = "Memory of a rank",
     .about =
         "The arenas of the rank that holds most, at their highest. Upright mark: the resident "
         "set of the largest process, with program and libraries.",
     .needs = "<code>arena_bytes</code>",
     .legend = LEGEND_ARENAS,
     .has = has_memory,
     .write_script = report_write_memory,
     .write_finding = report_find_memory},
    {.id = "traffic",
     .title = "Bytes sent per step",
     .about =
         "What the rank that sends most sends in a step, by what it is for; mean over the steps.",
     .needs = "<code>sent_bytes</code>, of a run that sends something",
     .legend = LEGEND_TRAFFIC,
     .has = has_traffic,
     .write_script = report_write_traffic,
     .write_finding = report_find_traffic},
    {.id = "wait-share",
     .title = "Time spent waiting for other ranks",
     .about =
         "Part of a step’s time in which a rank waits for an exchange to end; mean over the ranks.",
     .needs = "<code>wait_s</code> and <code>step_s</code>",
     AGAINST_STEP(has_column, COLUMN_WAIT_SHARE, "% of the step", 100),
     .from_zero = true,
     .is_smoothed = true,
     .write_finding = report_find_mean},
    {.id = "gradient-norm",
     .title = "Gradient norm",
     .about = "Of all gradients together, before clipping. Bold: the mean over neighbouring steps. "
              "Faint: "
              "the steps themselves.",
     .needs = "<code>grad_norm</code>",
     AGAINST_STEP(has_column, COLUMN_GRAD_NORM, "norm", 1),
     .may_be_log = true,
     .is_smoothed = true,
     .write_finding = report_find_largest},
    {.id = "learning-rate",
     .title = "Learning rate",
     .about = "As the schedule set it for each step.",
     .needs = "<code>lr</code>",
     AGAINST_STEP(has_column, COLUMN_LR, "learning rate", 1),
     .from_zero = true,
     .write_finding = report_find_largest},
    {.id = "eval-by-position",
     .title = "Evaluation by position",
     .about =
         "Loss of tokens by how many tokens of their sequence come before them. Faint: the first "
         "evaluation; stronger: one in the middle; bold: the last. A line that falls to the right "
         "belongs to a model that uses its long context.",
     .needs = "<code>eval_by_position</code>",
     .legend = LEGEND_RUNS,
     .has = has_positions,
     .write_script = report_write_positions,
     .write_finding = report_find_positions},
};

const int report_num_plots = sizeof report_plots / sizeof report_plots[0];

/* Colors that can be told apart on white and on black, also without seeing red or green. */
static const unsigned colors[] = {0x3778c8, 0xd95f1e, 0x2a9a6e, 0xa65fc0,
                                  0xc7930a, 0x1799b5, 0xcf4a76, 0x848b95};
enum { NUM_COLORS = sizeof colors / sizeof colors[0] };

unsigned report_color(int i) { return colors[i % NUM_COLORS]; }
int report_dash(int i) { return i / NUM_COLORS; }

void report_put_size(int height, FILE *script) {
  fprintf(script, "set terminal svg size 900,%d dynamic noenhanced rounded font 'sans-serif,14'\n",
          height);
}

void report_put_y_range(double low, double high, bool from_zero, FILE *script) {
  double largest = fmax(fabs(low), fabs(high));
  double room = fmax((high - low) * 0.05, 1e-6 * largest); /* gnuplot treats less as nothing */
  if (high == low) room = high == 0 ? 1 : largest * 0.05;
  fprintf(script, "set yrange [%.9g:%.9g]\n", from_zero && low >= 0 ? 0 : low - room, high + room);
}

/* Writes the style. Text takes its color from the page (report_page.c), not from here. */
static void put_style(FILE *script) {
  report_put_size(360, script);
  fputs(
      "set encoding utf8\n"
      "unset key\n"
      "set border 1 linecolor rgb '#888888'\n"
      "set tics nomirror scale 0\n"
      "set grid ytics linetype 1 linewidth 0.6 linecolor rgb '#a0888888'\n"
      "set rmargin 3\n",
      script);
}

uly_status report_plot_draw(const report_plot *plot, const report_set *set, char **svg) {
  char *script = NULL;
  size_t length = 0;
  *svg = NULL;
  FILE *file = open_memstream(&script, &length);
  if (file) {
    put_style(file);
    plot->write_script(plot, set, file);
  }
  uly_status status;
  if (!file || fclose(file) != 0) {
    status = report_fail(ULY_ERR_MEMORY, "no memory for the plot '%s'", plot->id);
  } else {
    status = report_gnuplot(plot->id, script, length, svg);
  }
  free(script);
  return status;
}
