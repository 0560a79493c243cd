/* Counts what a step sends, as train/step.c and train/evaluate.c send it. */
#include "plan/traffic_plan.h"

#include "base/exact_sum.h"
#include "model/grads.h"
#include "model/head.h"
#include "model/passes.h"
#include "model/tensor_grads.h"

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

/* The bytes that tensor parallelism sends to gather the rows of all tiles once, and to add them
 * up. */
typedef struct tile_bytes {
  int64_t gather, sum;
} tile_bytes;

static tile_bytes bytes_of_tiles(const uly__model *model, const uly__tiles *tiles) {
  tile_bytes bytes = {0};
  for (int64_t i = 0; i < tiles->num; i++) {
    bytes.gather += uly__tensor_gather_bytes(&model->tensor, tiles->list[i].rows);
    bytes.sum += uly__tensor_sum_bytes(&model->tensor, tiles->list[i].rows);
  }
  return bytes;
}

/* Adds what tensor parallelism sends in a step of so many passes. */
static void add_tensor_traffic(const uly__model *model, int64_t passes, bool trains,
                               int64_t bytes[ULY_NUM_TRAFFIC]) {
  int64_t layers = model->num_layers;
  tile_bytes tiles = bytes_of_tiles(model, &model->tiles);
  tile_bytes head = bytes_of_tiles(model, &model->head_tiles);
  int64_t summaries = (model->tensor.size - 1) * model->num_tokens;
  summaries *= (int64_t)sizeof(uly__logit_summary);
  /* Rows before Q, K and V and before the MLP are gathered, and what attention and the MLP add is
   * added up; then the embedding, and the head. */
  int64_t embeds = uly__stage_embeds(&model->stage);
  int64_t has_head = uly__stage_has_head(&model->stage, &model->config);
  bytes[ULY_TRAFFIC_TENSOR_FORWARD] =
      passes * (layers * 2 * (tiles.gather + tiles.sum) + embeds * tiles.sum +
                has_head * (head.gather + summaries));
  if (!trains) return;
  /* Gradients are gathered and added up in the same way, and the forward rows are gathered
   * again. */
  bytes[ULY_TRAFFIC_TENSOR_BACKWARD] = passes * (layers * (4 * tiles.gather + 2 * tiles.sum) +
                                                 embeds * tiles.gather + has_head * head.sum);
  int64_t repeated =
      (model->stash.keeps_attention ? 0 : tiles.gather) + (model->stash.keeps_mlp ? 0 : tiles.sum);
  bytes[ULY_TRAFFIC_TENSOR_RECOMPUTE] = passes * layers * repeated;
  for (int u = 0; u < model->params.num_units; u++)
    bytes[ULY_TRAFFIC_GRADIENTS] +=
        uly__zero_num_completions(model->zero, u) * uly__tensor_grads_sent(model, u);
}

/* Returns the bytes of weights that a rank sends, which depend on the order in which the passes use
 * them. */
static int64_t sent_weights(const uly__model *model) {
  uly__zero_gathers count = uly__zero_count_gathers(model->zero);
  for (int64_t i = 0; i < model->schedule.num_items; i++)
    uly__pass_count_gathers(model, model->schedule.items[i], &count);
  return uly__zero_sent_weights(model->zero, &count);
}

void uly__plan_traffic(const uly__run *run, int64_t bytes[ULY_NUM_TRAFFIC]) {
  const uly__model *model = run->model;
  const uly_attention *attention = model->attention;
  bool trains = !uly__model_is_forward_only(model);
  int64_t passes = run->passes * model->num_layers;
  uly__seq_sent forward = uly__attention_sent(attention, false);
  bytes[ULY_TRAFFIC_ATTENTION_FORWARD] = passes * forward.heads;
  bytes[ULY_TRAFFIC_KEYS_FORWARD] = passes * forward.keys;
  bytes[ULY_TRAFFIC_PARAMETERS] = sent_weights(model);
  bytes[ULY_TRAFFIC_CONTROL] = uly__traffic_all_gather(
      uly_mesh_size(run->mesh), trains ? step_control() : evaluation_control(run));
  bytes[ULY_TRAFFIC_GRADIENTS] =
      trains ? uly__zero_sent_grads(model->zero) + uly__tied_grads_sent(model) : 0;
  bytes[ULY_TRAFFIC_PIPELINE_FORWARD] =
      uly__boundary_sent(&model->boundary, &model->schedule, ULY_FORWARD);
  bytes[ULY_TRAFFIC_PIPELINE_BACKWARD] =
      uly__boundary_sent(&model->boundary, &model->schedule, ULY_BACKWARD);
  add_tensor_traffic(model, run->passes, trains, bytes);
  if (!trains) return;
  uly__seq_sent backward = uly__attention_sent(attention, true);
  bytes[ULY_TRAFFIC_ATTENTION_BACKWARD] = passes * backward.heads;
  bytes[ULY_TRAFFIC_KEYS_BACKWARD] = passes * backward.keys;
  if (!model->stash.keeps_attention) {
    bytes[ULY_TRAFFIC_ATTENTION_RECOMPUTE] = passes * forward.heads;
    bytes[ULY_TRAFFIC_KEYS_RECOMPUTE] = passes * forward.keys;
  }
}
