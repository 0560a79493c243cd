/* Reads metrics of a run as `ulysses report` does: they are refused, or become arrays that can be
 * plotted. */
#include <math.h>
#include <string.h>

#include "../cli/report/report_run.h"
#include "fuzzing.h"

static bool is_drawable(double value) { return fabs(value) <= 2e30; }

static void check_table(const report_run *run) {
  const report_table *table = &run->table;
  FUZZ_CHECK(table->num_rows >= 0 && table->num_rows <= REPORT_MAX_ROWS, "rows");
  for (int i = 0; i < table->num_rows; i++) {
    const report_row *row = &table->rows[i];
    FUZZ_CHECK(i == 0 || row->bucket > row[-1].bucket, "rows out of order");
    for (int column = 0; column < NUM_REPORT_COLUMNS; column++) {
      const report_value *value = &row->columns[column];
      if (value->count == 0) continue;
      FUZZ_CHECK(value->count > 0 && value->count <= run->num_steps, "count");
      FUZZ_CHECK(is_drawable(value->min) && is_drawable(value->max), "range");
      double room = 1e-9 * (fabs(value->min) + fabs(value->max));
      FUZZ_CHECK(value->mean >= value->min - room && value->mean <= value->max + room, "mean");
      FUZZ_CHECK((int64_t)(value->step + 0.5) >= run->first_step &&
                     (int64_t)(value->step - 0.5) <= run->last_step,
                 "step");
    }
  }
}

static void check_eval(const report_run *run, const report_eval *eval) {
  FUZZ_CHECK(eval->num_bins >= 1 && eval->num_bins <= REPORT_MAX_BINS, "bins");
  FUZZ_CHECK(eval->step >= run->first_step && eval->step <= run->last_step, "step");
  for (int i = 0; i < eval->num_bins; i++) {
    const report_bin *bin = &eval->bins[i];
    FUZZ_CHECK(bin->begin >= 0 && bin->end > bin->begin && bin->tokens > 0, "bin");
    FUZZ_CHECK(i == 0 || bin->begin >= bin[-1].end, "bins out of order");
    FUZZ_CHECK(is_drawable(bin->loss), "loss");
  }
}

static void check_run(const report_run *run) {
  FUZZ_CHECK(run->num_steps > 0 && run->first_step > 0 && run->last_step >= run->first_step,
             "steps");
  FUZZ_CHECK(run->num_ranks >= 0, "ranks");
  check_table(run);
  FUZZ_CHECK(isfinite(run->tokens) && isfinite(run->seconds), "sums");
  for (int kind = 0; kind < REPORT_NUM_KINDS; kind++)
    for (int i = 0; i < REPORT_MAX_PARTS; i++) {
      double bytes = run->bytes[kind].parts[i];
      FUZZ_CHECK(isfinite(bytes) && bytes >= 0, "bytes");
    }
  const report_eval *evals[3];
  report_pick_evals(run, evals);
  for (int i = 0; i < 3; i++)
    if (evals[i]) check_eval(run, evals[i]);
  FUZZ_CHECK(!evals[0] || evals[0]->step < evals[2]->step, "order of evaluations");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  report_run *run = fuzz_alloc(sizeof *run);
  memset(run, 0, sizeof *run);
  uly_status status = report_run_read(fuzz_file("input", data, size), run);
  if (status == ULY_OK)
    check_run(run);
  else
    fuzz_check_refusal(status, uly_last_error());
  report_run_free(run);
  free(run);
  return 0;
}
