/* Evaluation: the mean loss over held-out data, also by position in the document (the sequence,
 * unless documents are packed). Sums are exact, so the result does not depend on the ranks. */
#include "train/evaluate.h"

#include <string.h>

#include "model/head.h"
#include "model/pipeline.h"
#include "train/batch.h"

/* Sums for each bin of positions. */
typedef struct eval_sums {
  uly__exact_sum losses[ULY_MAX_EVAL_BINS];
  int64_t labels[ULY_MAX_EVAL_BINS];
} eval_sums;

/* A round evaluates a few sequences in each group (uly__run_eval_sequences). Between rounds the
 * ranks agree on whether to go on. */
typedef struct eval_round {
  uly_trainer *trainer;
  int64_t first, num; /* sequences: [first, first + num * dp) */
  int64_t num_counted;
  eval_sums *sums;
  uly__exact_sum ignored[ULY_MAX_EVAL_BINS];
} eval_round;

/* Sequence i of a round in this rank's group. A group that has none left repeats the first one
 * without effect, since all groups must make the same number of passes: weights may be gathered
 * over all ranks. */
typedef struct eval_sequence {
  bool counts;
  int64_t index;   /* window */
  int32_t *window; /* its tokens */
} eval_sequence;

static eval_sequence sequence_of(const eval_round *round, int64_t i) {
  const uly_trainer *trainer = round->trainer;
  int64_t number = round->first + i * uly_mesh_dp(trainer->mesh);
  number += uly__mesh_index(trainer->mesh, ULY_AXIS_DP);
  bool counts = number < trainer->num_eval_windows;
  return (eval_sequence){counts, uly__scan_find(&trainer->eval_scan, counts ? number : 0),
                         trainer->run.windows + i * uly__run_window_room(&trainer->run)};
}

static uly_status read_sequences(const eval_round *round) {
  for (int64_t i = 0; i < round->num; i++) {
    eval_sequence sequence = sequence_of(round, i);
    ULY_TRY(uly__batch_read(round->trainer, round->trainer->eval_data, sequence.index,
                            sequence.window));
  }
  return ULY_OK;
}

/* Counts the labels of a sequence, on one of the ranks that have the same tokens. */
static void count_labels(const eval_round *round, const int32_t *labels) {
  const uly__model *model = round->trainer->run.model;
  if (uly__mesh_index(round->trainer->mesh, ULY_AXIS_TP | ULY_AXIS_PP) > 0) return;
  for (int64_t t = 0; t < model->num_tokens; t++)
    round->sums->labels[uly__model_bin(model, t)] += labels[t] >= 0;
}

static uly__micro_batch prepare(void *context, int64_t i) {
  eval_round *round = context;
  eval_sequence sequence = sequence_of(round, i);
  const int32_t *labels = uly__batch_prepare(round->trainer, round->trainer->eval_data,
                                             sequence.index, sequence.window);
  /* Labels are counted when a sequence is first prepared; other chunks prepare it again. */
  bool is_first = i == round->num_counted;
  if (is_first) round->num_counted++;
  if (is_first && sequence.counts) count_labels(round, labels);
  return (uly__micro_batch){sequence.window, labels,
                            sequence.counts ? round->sums->losses : round->ignored};
}

static uly_status evaluate_round(eval_round *round) {
  uly__model *model = round->trainer->run.model;
  uly__schedule_desc desc = {.num_stages = model->boundary.size,
                             .stage = model->boundary.index,
                             .num_chunks = model->stage.num_chunks,
                             .num_micro_batches = round->num,
                             .forward_only = true};
  uly__schedule schedule = {0};
  uly_status status = uly__schedule_create(&desc, &schedule);
  if (status == ULY_OK) status = read_sequences(round);
  status = uly__agree(uly__mesh_world(round->trainer->mesh), status);
  uly__pipeline_run run = {.schedule = &schedule, .prepare = prepare, .context = round};
  if (status == ULY_OK) uly__pipeline_run_schedule(model, &run);
  uly__schedule_destroy(&schedule);
  return status;
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
  int64_t dp = uly_mesh_dp(mesh), most = uly__run_eval_sequences(&trainer->run);
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
  for (int64_t first = 0; first < trainer->num_eval_windows; first += most * dp) {
    int64_t num_stopping = first > 0 && stops && stops(user);
    if (first > 0)
      ULY_TRY(uly__sum_i64(uly__mesh_world(mesh), ULY_TRAFFIC_CONTROL, &num_stopping, 1));
    report->is_stopped = num_stopping > 0;
    if (report->is_stopped) break;
    int64_t left = (trainer->num_eval_windows - first + dp - 1) / dp;
    eval_round round = {
        .trainer = trainer, .first = first, .num = left < most ? left : most, .sums = &sums};
    ULY_TRY(evaluate_round(&round));
  }
  ULY_TRY(uly__agree(uly__mesh_world(mesh), trainer->run.model->failure));
  return add_up(trainer, &sums, report);
}
