/* Lists the plots of a report: what each is, what a run must have for it, and which functions write
 * it. */
#include "report/report_plots.h"

#include "report/report_run.h"

static bool has_column(const report_plot *plot, const report_run *run) {
  for (int i = 0; i < run->table.num_rows; i++)
    if (run->table.rows[i].columns[plot->column].count > 0) return true;
  return false;
}

static bool has_loss(const report_plot *plot, const report_run *run) {
  return has_column(plot, run) || run->best_eval_step > 0;
}

static bool has_bytes(const report_plot *plot, const report_run *run) {
  return report_total(&run->bytes[plot->kind]) > 0;
}

static bool has_positions(const report_plot *plot, const report_run *run) {
  (void)plot;
  return run->num_evals > 0;
}

#define AGAINST_STEP(has_, column_, unit_, scale_)                                            \
  .legend = LEGEND_RUNS, .has = has_, .write_script = report_write_curves, .column = column_, \
  .unit = unit_, .scale = scale_

#define BARS(kind_, per_)                                                      \
  .legend = LEGEND_PARTS, .has = has_bytes, .write_script = report_write_bars, \
  .write_finding = report_find_most, .kind = kind_, .per = per_

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
     .about = "Floating-point operations of the model per second, as a share of the measured speed "
              "of matrix products on the ranks.",
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
     BARS(REPORT_HELD, "per rank"),
     .most = "holds most",
     .of_which = ", of which",
     .share_is = "are"},
    {.id = "traffic",
     .title = "Bytes sent per step",
     .about = "The bytes that the busiest rank sends in a step, by purpose; mean over the steps.",
     .needs = "<code>sent_bytes</code>, of a run that sends something",
     BARS(REPORT_SENT, "per step"),
     .most = "sends most",
     .of_which = " per step, of which",
     .share_is = "is"},
    {.id = "wait-share",
     .title = "Time spent waiting for other ranks",
     .about = "The share of a step’s time in which a rank waits for an exchange to end; mean over "
              "the ranks.",
     .needs = "<code>wait_s</code> and <code>step_s</code>",
     AGAINST_STEP(has_column, COLUMN_WAIT_SHARE, "% of the step", 100),
     .from_zero = true,
     .is_smoothed = true,
     .write_finding = report_find_mean},
    {.id = "bubble",
     .title = "Bubble of the pipeline",
     .about = "The share of the time of the passes in which a rank waits for other stages, or has "
              "nothing left to do; mean over the ranks.",
     .needs = "<code>bubble</code>, of a run with <code>--pp</code>",
     .is_optional = true,
     AGAINST_STEP(has_column, COLUMN_BUBBLE, "% of the passes", 100),
     .from_zero = true,
     .is_smoothed = true,
     .write_finding = report_find_mean},
    {.id = "gradient-norm",
     .title = "Gradient norm",
     .about = "The norm of all gradients together, before clipping. Bold: the mean over "
              "neighbouring steps. Faint: the steps themselves.",
     .needs = "<code>grad_norm</code>",
     AGAINST_STEP(has_column, COLUMN_GRAD_NORM, "norm", 1),
     .may_be_log = true,
     .is_smoothed = true,
     .write_finding = report_find_largest},
    {.id = "learning-rate",
     .title = "Learning rate",
     .about = "The value that the schedule set for each step.",
     .needs = "<code>lr</code>",
     AGAINST_STEP(has_column, COLUMN_LR, "learning rate", 1),
     .from_zero = true,
     .write_finding = report_find_largest},
    {.id = "eval-by-position",
     .title = "Evaluation by position",
     .about = "Loss of tokens by the number of tokens of their sequence that come before them. "
              "Faint: the first evaluation; stronger: one in the middle; bold: the last. A line "
              "that falls to the right belongs to a model that uses its long context.",
     .needs = "<code>eval_by_position</code>",
     .legend = LEGEND_RUNS,
     .has = has_positions,
     .write_script = report_write_positions,
     .write_finding = report_find_positions},
};

const int report_num_plots = sizeof report_plots / sizeof report_plots[0];
