/* One training step, from top to bottom:
 *
 *   read the step's sequences -> count the labels of all ranks -> for each sequence forward and
 *   backward, gradients on their way to their owners meanwhile -> sum losses -> norm, clip -> AdamW
 *   on the ranges that each rank updates -> report
 *
 * The loss is the sum over tokens divided once by the count of valid labels of all ranks, so
 * gradients are summed, never averaged. Every rank does the same collectives in the same order; a
 * failure is agreed on first. */
#include "train/step.h"

#include <math.h>
#include <string.h>

#include "base/spans.h"
#include "device/device.h"
#include "device/process.h"
#include "model/grads.h"
#include "train/batch.h"
#include "train/nonfinite.h"
#include "train/optim.h"
#include "train/step_passes.h"
#include "train/trainer_files.h"

static int64_t sum(const int64_t *values, int count) {
  int64_t total = 0;
  for (int i = 0; i < count; i++) total += values[i];
  return total;
}

static void add_squares(const uly_trainer *trainer, const uly__range *run, uly__exact_sum *sum) {
  const uly__model *model = trainer->run.model;
  if (run->count > 0)
    model->ops->add_squares(model->stream, run->count, trainer->run.config.grad_dtype,
                            uly__zero_grad(model->zero, run->param->unit, run->local), sum);
}

/* Computes the squared norm of the gradient: every rank adds up what it owns. Ranges that follow
 * each other in a unit are summed as one, so that the pieces of the sum are cut at the same places
 * on any number of ranks. */
static uly_status sum_squares(uly_trainer *trainer, double *squares) {
  const uly__model *model = trainer->run.model;
  uly__exact_sum sum = {0};
  uly__range range, run = {0};
  uly__range_walk walk = uly__param_local_ranges(&model->params, model->zero, ULY_ALL_UNITS);
  while (uly__range_next(&walk, &range)) {
    if (!range.is_owner) continue;
    if (run.count > 0 && run.param->unit == range.param->unit &&
        run.local + run.count == range.local) {
      run.count += range.count;
      continue;
    }
    add_squares(trainer, &run, &sum);
    run = range;
  }
  add_squares(trainer, &run, &sum);
  ULY_TRY(uly__sum_exactly(uly__mesh_world(trainer->mesh), &sum));
  *squares = uly__exact_value(&sum);
  return ULY_OK;
}

/* Returns the longest work time among the ranks of a stage that share a sequence, divided by their
 * mean work time; the largest such ratio over all sequences and stages. */
static double find_imbalance(const uly_mesh *mesh, const uly_rank_report *all) {
  double largest = 1;
  const unsigned axes = ULY_AXIS_DP | ULY_AXIS_PP;
  for (int group = 0; group < uly__mesh_extent(mesh, axes); group++) {
    double sum = 0, longest = 0;
    int num = 0;
    for (int p = 0; p < uly_mesh_size(mesh); p++) {
      if (uly__mesh_index_of(mesh, p, axes) != group) continue;
      num++;
      double work = fmax(all[p].seconds - all[p].wait_seconds, 0);
      sum += work;
      longest = fmax(longest, work);
    }
    if (sum > 0) largest = fmax(largest, longest * num / sum);
  }
  return largest;
}

/* Returns the part of the time of the passes in which ranks wait for other stages or have nothing
 * left to do. */
static double find_bubble(const uly_mesh *mesh, const uly_rank_report *all) {
  double longest = 0, work = 0;
  int size = uly_mesh_size(mesh);
  if (uly_mesh_pp(mesh) == 1) return 0;
  for (int p = 0; p < size; p++) {
    longest = fmax(longest, all[p].pass_seconds);
    work += all[p].pass_seconds - all[p].stage_wait_seconds;
  }
  return longest > 0 ? 1 - work / (size * longest) : 0;
}

/* Gathers from the reports of all ranks those of the slowest, of the one that sent most, and of the
 * one that holds most. */
static uly_status gather_reports(uly_trainer *trainer, double seconds, const uly__traffic *before,
                                 uly__step_work work, uly_step_report *report) {
  uly_mesh *mesh = trainer->mesh;
  int size = uly_mesh_size(mesh);
  uly_rank_report mine = {.seconds = seconds,
                          .wait_seconds = mesh->traffic.wait_seconds - before->wait_seconds,
                          .pairs = work.pairs,
                          .pass_seconds = work.seconds,
                          .stage_wait_seconds = work.wait_seconds,
                          .resident_bytes = uly__device_resident_bytes()};
  for (int i = 0; i < ULY_NUM_TRAFFIC; i++)
    mine.sent_bytes[i] = mesh->traffic.bytes[i] - before->bytes[i];
  mine.sent_bytes[ULY_TRAFFIC_CONTROL] += uly__traffic_all_gather(size, sizeof mine);
  for (int i = 0; i < ULY_NUM_ARENAS; i++)
    mine.arena_bytes[i] = uly__run_arena_bytes(&trainer->run, (uly_arena)i);
  trainer->rank_report = mine;
  uly_rank_report all[size];
  ULY_TRY(
      uly__all_gather(uly__mesh_world(mesh), NULL, ULY_TRAFFIC_CONTROL, &mine, sizeof mine, all));
  int busiest = 0, largest = 0;
  double all_pairs = 0;
  for (int p = 0; p < size; p++) {
    report->wait_seconds += all[p].wait_seconds / size;
    /* The ranks that differ in other axes than dp have the same sequences. */
    if (uly__mesh_index_of(mesh, p, ULY_AXES_ALL & ~ULY_AXIS_DP) == 0) all_pairs += all[p].pairs;
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
  report->num_ranks = size;
  report->imbalance = find_imbalance(mesh, all);
  report->bubble = find_bubble(mesh, all);
  report->peak_bytes = sum(report->arena_bytes, ULY_NUM_ARENAS);
  report->flops =
      uly__model_flops(trainer->run.model, trainer->run.passes * uly_mesh_dp(mesh), all_pairs);
  return ULY_OK;
}

/* Ends a save, whose files hold the states as they are until the update. What this sends does not
 * count for the step. */
static void end_save(uly_trainer *trainer, uly__traffic *before) {
  uly__traffic *sent = &trainer->mesh->traffic, step = *sent;
  uly__trainer_end_save(trainer);
  for (int i = 0; i < ULY_NUM_TRAFFIC; i++) before->bytes[i] += sent->bytes[i] - step.bytes[i];
  before->wait_seconds += sent->wait_seconds - step.wait_seconds;
}

/* Says where a number that is not finite arose. */
static uly_status fail_nonfinite(uly_trainer *trainer, int64_t num_labels,
                                 const uly_step_report *report) {
  char what[256];
  ULY_TRY(uly__find_nonfinite(trainer, num_labels, what, sizeof what));
  trainer->is_nonfinite = true;
  ULY_FAIL(
      ULY_ERR_NONFINITE,
      "step %lld: the loss is %g and the gradient norm %g. First found: %s. The weights are as "
      "they were before this step (a lower config.lr or a longer config.warmup may help)",
      (long long)report->step, report->loss, report->grad_norm, what);
}

uly_status uly__trainer_step(uly_trainer *trainer, uly_status arguments, uly_step_report *report) {
  uly_mesh *mesh = trainer->mesh;
  uly__model *model = trainer->run.model;
  const uly_train_config *config = &trainer->run.config;
  int64_t num_sequences = trainer->run.passes * uly_mesh_dp(mesh);
  uly__traffic before = mesh->traffic;
  double start = uly__now();
  model->failure = ULY_OK;
  trainer->is_nonfinite = false;
  memset(report, 0, sizeof *report);

  ULY_TRY(uly__check_whole(trainer));
  uly__batch_choose(trainer);
  report->passed_over = trainer->num_passed_over;
  ULY_TRY(uly__agree(uly__mesh_world(mesh),
                     arguments == ULY_OK ? uly__read_sequences(trainer) : arguments));
  int64_t num_labels = uly__count_labels(trainer);
  ULY_TRY(uly__sum_i64(uly__mesh_world(mesh), ULY_TRAFFIC_CONTROL, &num_labels, 1));
  if (num_labels == 0)
    ULY_FAIL(ULY_ERR_DATA,
             "no token of step %lld has a label, although the start of the run found labels in "
             "every sequence: the data have been changed since",
             (long long)trainer->steps_done + 1);

  uly__exact_sum loss = {0};
  double squares;
  uly__zero_begin_step(model->zero);
  uly__step_work work = uly__make_passes(trainer, num_labels, &loss);
  uly__reduce_grads(model);
  ULY_TRY(uly__agree(uly__mesh_world(mesh), model->failure));
  ULY_TRY(uly__sum_exactly(uly__mesh_world(mesh), &loss));
  ULY_TRY(sum_squares(trainer, &squares));

  report->step = trainer->steps_done + 1;
  report->loss = uly__exact_value(&loss) / (double)num_labels;
  report->grad_norm = sqrt(squares);
  report->lr = uly__learning_rate(config, report->step);
  report->tokens = num_sequences * config->seq_len;
  if (!isfinite(report->loss) || !isfinite(report->grad_norm)) {
    ULY_TRY(gather_reports(trainer, uly__now() - start, &before, work, report));
    return fail_nonfinite(trainer, num_labels, report);
  }
  end_save(trainer, &before);
  bool clips = config->clip > 0 && report->grad_norm > config->clip;
  double update = uly__now();
  uly_status status =
      uly__optimizer_step(trainer, report->lr, clips ? config->clip / report->grad_norm : 1.0);
  uly__span_end("update", report->step, ULY_LANE_COMPUTE, update);
  status = uly__agree(uly__mesh_world(mesh), status);
  trainer->is_mixed = status != ULY_OK;
  ULY_TRY(status);
  trainer->steps_done++;
  trainer->windows_done = trainer->windows_next;
  return gather_reports(trainer, uly__now() - start, &before, work, report);
}
