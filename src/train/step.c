/* One training step, from top to bottom:
 *
 *   read the step's sequences -> count the labels of all ranks -> for each sequence forward and
 *   backward -> sum gradients and losses over all ranks -> norm, clip -> AdamW -> report
 *
 * The loss is the sum over tokens divided once by the count of valid labels of all ranks, so gradients
 * are summed, never averaged. Every rank does the same collectives in the same order; a failure is
 * agreed on first. */
#include <math.h>
#include <string.h>
#include <time.h>

#include "device/device.h"
#include "train/trainer.h"

/* What a rank tells the others about its step. */
typedef struct rank_report {
  double seconds;
  int64_t sent_bytes[ULY_NUM_TRAFFIC];
  int64_t arena_bytes[ULY_NUM_ARENAS];
  int64_t resident_bytes;
} rank_report;

static double now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

static int64_t sum(const int64_t *values, int count) {
  int64_t total = 0;
  for (int i = 0; i < count; i++) total += values[i];
  return total;
}

/* Collectives of a step, as they follow below. */
void uly__step_traffic(const uly_trainer *trainer, int64_t bytes[ULY_NUM_TRAFFIC]) {
  const uly__model *model = trainer->model;
  const uly_mesh *mesh = trainer->mesh;
  int size = mesh->dp * mesh->sp;
  int64_t passes = trainer->config.accumulate * model->config.num_layers;
  int64_t forward = passes * uly__attention_sent_forward(model->attention);
  int64_t value = uly__traffic_all_gather(size, sizeof(double));
  bytes[ULY_TRAFFIC_ATTENTION_FORWARD] = forward;
  bytes[ULY_TRAFFIC_ATTENTION_BACKWARD] = passes * uly__attention_sent_backward(model->attention);
  bytes[ULY_TRAFFIC_ATTENTION_RECOMPUTE] = model->stash.keeps_attention ? 0 : forward;
  bytes[ULY_TRAFFIC_GRADIENTS] =
      uly__traffic_sum_f32(size, mesh->rank, model->params.count, trainer->sum_workspace_count);
  /* Two agreements, two sums and the report. */
  bytes[ULY_TRAFFIC_CONTROL] = 4 * value + uly__traffic_all_gather(size, sizeof(rank_report));
}

static uly_status read_windows(const uly_trainer *trainer) {
  const uly_mesh *mesh = trainer->mesh;
  int64_t stride = trainer->model->num_tokens + 1;
  for (int64_t a = 0; a < trainer->config.accumulate; a++) {
    int64_t i = trainer->windows_done + a * mesh->dp + mesh->dp_index;
    int64_t index = uly__batch_window(trainer->config.seed, trainer->num_windows, i);
    ULY_TRY(uly__batch_read(trainer, trainer->data, index, trainer->windows + a * stride));
  }
  return ULY_OK;
}

static double count_labels(const uly_trainer *trainer) {
  int64_t T = trainer->model->num_tokens, count = 0;
  for (int64_t a = 0; a < trainer->config.accumulate; a++)
    for (int64_t t = 1; t <= T; t++) count += trainer->windows[a * (T + 1) + t] >= 0;
  return (double)count;
}

/* Forward and backward of the step's sequences; returns the sum of this rank's losses. */
static double train_windows(uly_trainer *trainer, double num_labels) {
  uly__model *model = trainer->model;
  int64_t stride = model->num_tokens + 1;
  float scale = (float)(1.0 / num_labels);
  double loss = 0;
  memset(model->grads, 0, (size_t)model->params.count * sizeof(float));
  for (int64_t a = 0; a < trainer->config.accumulate; a++) {
    const int32_t *window = trainer->windows + a * stride;
    loss += uly__model_train(model, window, window + 1, scale);
  }
  return loss;
}

/* Of all ranks: the slowest, the one that sent most, the one that holds most. */
static uly_status gather_reports(uly_trainer *trainer, double seconds, const uly__traffic *before,
                                 uly_step_report *report) {
  uly_mesh *mesh = trainer->mesh;
  int size = mesh->dp * mesh->sp;
  rank_report mine = {.seconds = seconds, .resident_bytes = uly__device_resident_bytes()};
  for (int i = 0; i < ULY_NUM_TRAFFIC; i++)
    mine.sent_bytes[i] = mesh->traffic.bytes[i] - before->bytes[i];
  mine.sent_bytes[ULY_TRAFFIC_CONTROL] += uly__traffic_all_gather(size, sizeof mine);
  for (int i = 0; i < ULY_NUM_ARENAS; i++) mine.arena_bytes[i] = trainer->arenas[i].peak;
  rank_report all[size];
  ULY_TRY(uly__all_gather(mesh->world, ULY_TRAFFIC_CONTROL, &mine, sizeof mine, all));
  int busiest = 0, largest = 0;
  for (int p = 0; p < size; p++) {
    if (all[p].seconds > report->seconds) report->seconds = all[p].seconds;
    if (all[p].resident_bytes > report->resident_bytes)
      report->resident_bytes = all[p].resident_bytes;
    if (sum(all[p].sent_bytes, ULY_NUM_TRAFFIC) > sum(all[busiest].sent_bytes, ULY_NUM_TRAFFIC))
      busiest = p;
    if (sum(all[p].arena_bytes, ULY_NUM_ARENAS) > sum(all[largest].arena_bytes, ULY_NUM_ARENAS))
      largest = p;
  }
  memcpy(report->sent_bytes, all[busiest].sent_bytes, sizeof report->sent_bytes);
  memcpy(report->arena_bytes, all[largest].arena_bytes, sizeof report->arena_bytes);
  report->peak_bytes = sum(report->arena_bytes, ULY_NUM_ARENAS);
  return ULY_OK;
}

uly_status uly_trainer_step(uly_trainer *trainer, uly_step_report *report) {
  uly_mesh *mesh = trainer->mesh;
  uly__model *model = trainer->model;
  const uly_train_config *config = &trainer->config;
  uly__traffic before = mesh->traffic;
  double start = now();
  model->failure = ULY_OK;
  memset(report, 0, sizeof *report);

  ULY_TRY(uly__agree(mesh->world, read_windows(trainer)));
  double num_labels = count_labels(trainer);
  ULY_TRY(uly__sum_f64(mesh->world, ULY_TRAFFIC_CONTROL, &num_labels, 1));
  if (num_labels == 0)
    ULY_FAIL(ULY_ERR_DATA, "no token of step %lld has a label", (long long)trainer->steps_done + 1);

  double loss = train_windows(trainer, num_labels);
  ULY_TRY(uly__sum_f32(mesh->world, ULY_TRAFFIC_GRADIENTS, model->grads, model->params.count,
                       trainer->sum_workspace, trainer->sum_workspace_count));
  ULY_TRY(uly__sum_f64(mesh->world, ULY_TRAFFIC_CONTROL, &loss, 1));
  ULY_TRY(uly__agree(mesh->world, model->failure));

  /* From here on all ranks hold the same bits. */
  report->step = trainer->steps_done + 1;
  report->loss = loss / num_labels;
  report->grad_norm = sqrt(model->ops->sum_squares(model->params.count, model->grads));
  report->lr = uly__learning_rate(config, report->step);
  report->tokens = config->accumulate * mesh->dp * config->seq_len;
  report->flops = uly__model_flops(model) * (double)(config->accumulate * mesh->dp);
  if (!isfinite(report->loss) || !isfinite(report->grad_norm))
    ULY_FAIL(ULY_ERR_NONFINITE,
             "step %lld: the loss is %g and the gradient norm %g; the weights are "
             "as they were before this step (a lower --lr or a longer --warmup may help)",
             (long long)report->step, report->loss, report->grad_norm);
  bool clips = config->clip > 0 && report->grad_norm > config->clip;
  uly__optimizer_step(trainer, report->lr, clips ? config->clip / report->grad_norm : 1.0);
  trainer->steps_done++;
  trainer->windows_done += config->accumulate * mesh->dp;
  return gather_reports(trainer, now() - start, &before, report);
}

uly_status uly_trainer_evaluate(uly_trainer *trainer, double *loss) {
  uly_mesh *mesh = trainer->mesh;
  uly__model *model = trainer->model;
  double sums[2] = {0, 0}; /* losses, labels */
  if (!trainer->eval_data)
    ULY_FAIL(ULY_ERR_CONFIG, "no held-out data to evaluate on: give --eval-data");
  int32_t *window = trainer->windows;
  model->failure = ULY_OK;
  /* Read errors are held back until all sequence groups are done: no group waits for another in
   * between, and within a group the ranks agree before each sequence. */
  for (int64_t i = mesh->dp_index; i < trainer->num_eval_windows; i += mesh->dp) {
    uly_status status =
        uly__agree(mesh->sequence, uly__batch_read(trainer, trainer->eval_data, i, window));
    if (status != ULY_OK) {
      uly__model_note(model, status);
      break;
    }
    sums[0] += uly__model_eval(model, window, window + 1);
    for (int64_t t = 1; t <= model->num_tokens; t++) sums[1] += window[t] >= 0;
  }
  ULY_TRY(uly__agree(mesh->world, model->failure));
  ULY_TRY(uly__sum_f64(mesh->world, ULY_TRAFFIC_CONTROL, sums, 2));
  *loss = sums[0] / sums[1];
  return ULY_OK;
}
