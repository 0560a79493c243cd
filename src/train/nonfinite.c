/* Handles a step whose loss or gradient is not finite: finds where that arose, and how training
 * goes on. */
#include "train/nonfinite.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "device/device.h"
#include "model/grads.h"
#include "model/watch.h"
#include "train/step_passes.h"
#include "train/trainer_files.h"

/* The order of a weight, which comes before everything that a pass computes. */
enum { ORDER_WEIGHT = -1 };
#define ORDER_SUM (INT64_MAX - 1)

static int64_t find(const float *values, int64_t count) {
  int64_t i = 0;
  while (i < count && isfinite(values[i])) i++;
  return i;
}

static uly_status look_at_range(const uly_trainer *trainer, const uly__range *range, float *buffer,
                                uly__watch *watch) {
  const float *values;
  ULY_TRY(uly__states_read(&trainer->run.states, ULY_STATE_MASTER, range, buffer, &values));
  if (find(values, range->count) == range->count) return ULY_OK;
  watch->order = ORDER_WEIGHT;
  watch->stage = trainer->run.model->boundary.index;
  const char *since = trainer->steps_done == 0
                          ? "was already not finite in the weights that the run began with"
                          : "has not been finite since an earlier step";
  snprintf(watch->what, sizeof watch->what, "the weight %s %s", range->param->name, since);
  return ULY_OK;
}

/* Looks for the first weight that is not finite among those that this rank updates. */
static uly_status look_at_ranges(const uly_trainer *trainer, float *buffer, uly__watch *watch) {
  const uly__model *model = trainer->run.model;
  uly__range range;
  uly__range_walk walk = uly__param_ranges(&model->params, model->zero, ULY_ALL_UNITS);
  while (watch->order == INT64_MAX && uly__range_next(&walk, &range))
    ULY_TRY(look_at_range(trainer, &range, buffer, watch));
  return ULY_OK;
}

/* Looks at the weights. It only reads them, since a save may be reading them at the same time. */
static uly_status look_at_weights(const uly_trainer *trainer, uly__watch *watch) {
  float *buffer = malloc(ULY_LARGEST_RANGE * sizeof *buffer);
  uly_status status = uly__check_memory(buffer, "a search for numbers");
  if (status == ULY_OK) status = look_at_ranges(trainer, buffer, watch);
  free(buffer);
  return status;
}

/* Looks at the gradients' sums over the ranks. */
static void look_at_sums(const uly_trainer *trainer, uly__watch *watch) {
  const uly__model *model = trainer->run.model;
  uly__range range;
  uly__range_walk walk = uly__param_ranges(&model->params, model->zero, ULY_ALL_UNITS);
  while (uly__range_next(&walk, &range)) {
    const void *sums = uly__zero_grad(model->zero, range.param->unit, range.local);
    float value;
    if (!range.is_owner ||
        model->ops->find_nonfinite(model->stream, 1, range.count, range.count,
                                   trainer->run.config.grad_dtype, sums, &value) < 0)
      continue;
    watch->order = ORDER_SUM;
    watch->stage = model->boundary.index;
    snprintf(watch->what, sizeof watch->what,
             "the sum over ranks and sequences of the gradient of %s is not finite",
             range.param->name);
    return;
  }
}

/* Finds the earliest finding of all ranks. Its order is INT64_MAX if there is none. */
static uly_status agree_on_first(uly_trainer *trainer, uly__watch *watch) {
  uly__group *world = uly__mesh_world(trainer->mesh);
  int size = uly__group_size(world);
  uly__watch *all = calloc((size_t)size, sizeof *all);
  uly_status status = uly__agree(world, uly__check_memory(all, "a search for numbers"));
  if (status == ULY_OK && all)
    status = uly__all_gather(world, NULL, ULY_TRAFFIC_CONTROL, watch, sizeof *watch, all);
  for (int p = 0; status == ULY_OK && all && p < size; p++)
    if (p == 0 || all[p].order < watch->order) *watch = all[p];
  free(all);
  return status;
}

/* Repeats the passes of the step, watched. */
static uly_status look_at_passes(uly_trainer *trainer, int64_t num_labels, uly__watch *watch) {
  uly__model *model = trainer->run.model;
  uly__exact_sum loss = {0};
  uly__zero_begin_step(model->zero);
  model->watch = watch;
  uly__make_passes(trainer, num_labels, &loss);
  model->watch = NULL;
  uly__reduce_grads(model);
  ULY_TRY(uly__agree(uly__mesh_world(trainer->mesh), model->failure));
  ULY_TRY(agree_on_first(trainer, watch));
  if (watch->order < INT64_MAX) return ULY_OK;
  look_at_sums(trainer, watch);
  return agree_on_first(trainer, watch);
}

uly_status uly__find_nonfinite(uly_trainer *trainer, int64_t num_labels, char *what,
                               size_t capacity) {
  uly__watch watch;
  memset(&watch, 0, sizeof watch);
  uly__watch_begin(&watch);
  ULY_TRY(uly__agree(uly__mesh_world(trainer->mesh), look_at_weights(trainer, &watch)));
  ULY_TRY(agree_on_first(trainer, &watch));
  if (watch.order == INT64_MAX) ULY_TRY(look_at_passes(trainer, num_labels, &watch));
  const char *found =
      watch.order < INT64_MAX
          ? watch.what
          : "all numbers were finite when the step was repeated: suspect the machine";
  int used = snprintf(what, capacity, "%s", found);
  if (watch.order < INT64_MAX && uly_mesh_pp(trainer->mesh) > 1 && used < (int)capacity)
    snprintf(what + used, capacity - (size_t)used, " (stage %d of the pipeline, counted from 0)",
             watch.stage);
  return ULY_OK;
}

uly_status uly__trainer_skip(uly_trainer *trainer, uly_step_report *report) {
  if (!trainer->is_nonfinite)
    ULY_FAIL(ULY_ERR_CONFIG, "there is no step to skip: the latest one was finite");
  trainer->is_nonfinite = false;
  trainer->steps_done++;
  trainer->windows_done = trainer->windows_next;
  report->is_skipped = 1;
  return ULY_OK;
}

uly_status uly__trainer_rollback(uly_trainer *trainer, const char *dir) {
  if (!trainer->is_nonfinite)
    ULY_FAIL(ULY_ERR_CONFIG, "there is no step to go back from: the latest one was finite");
  int64_t done = trainer->windows_next;
  ULY_TRY(uly__trainer_load(trainer, dir));
  if (trainer->windows_done < done) trainer->windows_done = done;
  return ULY_OK;
}
