/* Evaluation: the mean loss over held-out data, also by position in the document (the sequence,
 * unless documents are packed). Sums are exact, so the result does not depend on the ranks. */
#include "train/evaluate.h"

#include <string.h>

#include "model/passes.h"
#include "train/batch.h"

/* Sums for each bin of positions. */
typedef struct eval_sums {
  uly__exact_sum losses[ULY_MAX_EVAL_BINS];
  int64_t labels[ULY_MAX_EVAL_BINS];
} eval_sums;

/* Evaluates one sequence of each group. A group that has none left repeats the first one without
 * effect, since all groups must make the same number of passes: weights may be gathered over all
 * ranks. */
static uly_status evaluate_round(uly_trainer *trainer, int64_t first, eval_sums *sums) {
  const uly_mesh *mesh = trainer->mesh;
  uly__model *model = trainer->run.model;
  int32_t *window = trainer->run.windows;
  int64_t i = first + uly__mesh_index(mesh, ULY_AXIS_DP);
  bool counts = i < trainer->num_eval_windows;
  int64_t index = uly__scan_find(&trainer->eval_scan, counts ? i : 0);
  ULY_TRY(uly__agree(uly__mesh_world(mesh),
                     uly__batch_read(trainer, trainer->eval_data, index, window)));
  uly__exact_sum losses[ULY_MAX_EVAL_BINS];
  memset(losses, 0, sizeof losses);
  const int32_t *labels = uly__batch_prepare(trainer, trainer->eval_data, index, window);
  uly__model_eval(model, window, labels, losses);
  for (int bin = 0; counts && bin < ULY_MAX_EVAL_BINS; bin++)
    uly__exact_merge(&sums->losses[bin], &losses[bin]);
  /* The ranks of tensor parallelism have the same tokens. */
  counts = counts && model->tensor.rank == 0;
  for (int64_t t = 0; counts && t < model->num_tokens; t++)
    sums->labels[uly__model_bin(model, t)] += labels[t] >= 0;
  return ULY_OK;
}

/* Adds up the sums of all ranks. */
static uly_status add_up(uly_trainer *trainer, eval_sums *sums, uly_eval_report *report) {
  uly_mesh *mesh = trainer->mesh;
  uly__exact_sum total = {0};
  report->num_bins = uly__position_bin(trainer->run.config.seq_len - 1) + 1;
  ULY_TRY(uly__sum_i64(uly__mesh_world(mesh), ULY_TRAFFIC_CONTROL, sums->labels, report->num_bins));
  for (int i = 0; i < report->num_bins; i++) {
    ULY_TRY(uly__sum_exactly(uly__mesh_world(mesh), &sums->losses[i]));
    uly__exact_merge(&total, &sums->losses[i]);
    int64_t begin, end, tokens = sums->labels[i];
    uly__bin_positions(i, &begin, &end);
    if (end > trainer->run.config.seq_len) end = trainer->run.config.seq_len;
    double loss = tokens ? uly__exact_value(&sums->losses[i]) / (double)tokens : 0;
    report->bins[i] = (uly_eval_bin){.begin = begin, .end = end, .tokens = tokens, .loss = loss};
    report->tokens += tokens;
  }
  if (report->tokens == 0)
    ULY_FAIL(ULY_ERR_DATA,
             "no token of '%s' has a label, although the start of the run found labels in every "
             "sequence: the data have been changed since",
             trainer->run.config.eval_data);
  report->loss = uly__exact_value(&total) / (double)report->tokens;
  return ULY_OK;
}

uly_status uly__trainer_evaluate(uly_trainer *trainer, int (*stops)(void *user), void *user,
                                 uly_status arguments, uly_eval_report *report) {
  uly_mesh *mesh = trainer->mesh;
  eval_sums sums;
  memset(&sums, 0, sizeof sums);
  memset(report, 0, sizeof *report);
  if (!trainer->eval_data)
    ULY_FAIL(ULY_ERR_CONFIG, "config.eval_data is missing: give held-out data to evaluate on");
  if (trainer->is_mixed)
    ULY_FAIL(ULY_ERR_CONFIG, "%s: load a checkpoint first",
             trainer->run.config.forward_only
                 ? "a run that does not train (config.forward_only) has no weights"
                 : "an update or a load failed halfway");
  trainer->run.model->failure = arguments; /* agreed on with the others at the end */
  uly__zero_forget_weights(trainer->run.model->zero);
  for (int64_t first = 0; first < trainer->num_eval_windows; first += uly_mesh_dp(mesh)) {
    int64_t num_stopping = first > 0 && stops && stops(user);
    if (first > 0)
      ULY_TRY(uly__sum_i64(uly__mesh_world(mesh), ULY_TRAFFIC_CONTROL, &num_stopping, 1));
    report->is_stopped = num_stopping > 0;
    if (report->is_stopped) break;
    ULY_TRY(evaluate_round(trainer, first, &sums));
  }
  ULY_TRY(uly__agree(uly__mesh_world(mesh), trainer->run.model->failure));
  return add_up(trainer, &sums, report);
}
