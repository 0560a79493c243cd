/* Counts what a step sends, as train/step.c and train/evaluate.c send it. */
#include "plan/traffic_plan.h"

#include "base/exact_sum.h"
#include "model/head.h"

/* Returns the bytes that a rank gives to the collectives of a step: three agreements, the count of
 * labels, two exact sums, and the report. */
static int64_t step_control(void) {
  return (4 + 2 * ULY_EXACT_WORDS) * (int64_t)sizeof(int64_t) + (int64_t)sizeof(uly_rank_report);
}

/* Returns the same for an evaluation of one sequence: two agreements, and for each bin the count of
 * labels and the sum of losses. */
static int64_t evaluation_control(const uly__run *run) {
  int64_t num_bins = uly__position_bin(run->config.seq_len - 1) + 1;
  return (2 + num_bins * (1 + ULY_EXACT_WORDS)) * (int64_t)sizeof(int64_t);
}

void uly__plan_traffic(const uly__run *run, int64_t bytes[ULY_NUM_TRAFFIC]) {
  const uly__model *model = run->model;
  const uly_attention *attention = model->attention;
  bool trains = !uly__model_is_forward_only(model);
  int64_t passes = run->passes * model->num_layers;
  uly__seq_sent forward = uly__attention_sent(attention, false);
  bytes[ULY_TRAFFIC_ATTENTION_FORWARD] = passes * forward.heads;
  bytes[ULY_TRAFFIC_KEYS_FORWARD] = passes * forward.keys;
  bytes[ULY_TRAFFIC_PARAMETERS] = uly__zero_sent_weights(model->zero);
  bytes[ULY_TRAFFIC_CONTROL] = uly__traffic_all_gather(
      uly_mesh_size(run->mesh), trains ? step_control() : evaluation_control(run));
  if (!trains) return;
  uly__seq_sent backward = uly__attention_sent(attention, true);
  bytes[ULY_TRAFFIC_ATTENTION_BACKWARD] = passes * backward.heads;
  bytes[ULY_TRAFFIC_KEYS_BACKWARD] = passes * backward.keys;
  if (!model->stash.keeps_attention) {
    bytes[ULY_TRAFFIC_ATTENTION_RECOMPUTE] = passes * forward.heads;
    bytes[ULY_TRAFFIC_KEYS_RECOMPUTE] = passes * forward.keys;
  }
  bytes[ULY_TRAFFIC_GRADIENTS] = uly__zero_sent_grads(model->zero);
}
