/* Learning-rate schedules and the AdamW update over the flat parameter range. */
#include <math.h>

#include "train/trainer.h"

double uly__learning_rate(const uly_train_config *config, int64_t step) {
  double peak = config->lr, floor = config->lr * config->min_lr_ratio;
  if (step <= config->warmup) return peak * (double)step / (double)config->warmup;
  int64_t length = config->steps - config->warmup;
  double done = length > 0 ? (double)(step - config->warmup) / (double)length : 1.0;
  if (done > 1.0) done = 1.0;
  switch (config->schedule) {
    case ULY_SCHEDULE_COSINE: return floor + 0.5 * (1.0 + cos(M_PI * done)) * (peak - floor);
    case ULY_SCHEDULE_LINEAR: return peak + (floor - peak) * done;
    case ULY_SCHEDULE_CONSTANT: return peak;
  }
  return peak;
}

/* Updates elements [begin, begin + count) of a unit, which belong to one tensor. */
static uly_status update(uly_trainer *trainer, int unit, int64_t begin, int64_t count,
                         uly__adamw args) {
  uly__states *states = &trainer->states;
  float **window[ULY_NUM_STATES] = {&args.param, &args.m, &args.v};
  for (int which = 0; which < ULY_NUM_STATES; which++)
    ULY_TRY(uly__states_map(states, (uly__state)which, unit, begin, count, window[which]));
  trainer->model->ops->adamw(trainer->model->stream, count, &args);
  for (int which = 0; which < ULY_NUM_STATES; which++)
    ULY_TRY(uly__states_unmap(states, (uly__state)which, unit, begin, count));
  return ULY_OK;
}

static int64_t min64(int64_t a, int64_t b) { return a < b ? a : b; }

/* Updates a unit. grads: those of its elements from `first` on. */
static uly_status update_unit(uly_trainer *trainer, int unit, const void *grads, int64_t first,
                              uly__adamw args) {
  const uly__model *model = trainer->model;
  const uly__unit *range = &model->params.units[unit];
  uly__part owned = uly__states_owned(model->zero, unit);
  for (int i = range->first; i < range->first + range->num; i++) {
    const uly__param *param = &model->params.list[i];
    int64_t begin = param->offset > owned.begin ? param->offset : owned.begin;
    int64_t end = min64(param->offset + param->count, owned.begin + owned.count);
    args.weight_decay = param->num_dims == 2 ? trainer->config.weight_decay : 0.0;
    for (int64_t at = begin; at < end; at += ULY_STATE_WINDOW) {
      args.grad = uly__at(grads, args.grad_dtype, at - first);
      args.copy_bf16 =
          model->dtype == ULY_BF16 ? uly__states_weight(&trainer->states, unit, at) : NULL;
      ULY_TRY(update(trainer, unit, at, min64(ULY_STATE_WINDOW, end - at), args));
    }
  }
  return ULY_OK;
}

uly_status uly__optimizer_step(uly_trainer *trainer, double lr, double grad_scale) {
  uly__zero *zero = trainer->model->zero;
  const uly_train_config *c = &trainer->config;
  uly__adamw args = {.lr = lr,
                     .beta1 = c->beta1,
                     .beta2 = c->beta2,
                     .eps = c->eps,
                     .grad_scale = grad_scale,
                     .step = trainer->steps_done + 1,
                     .grad_dtype = zero->desc.grad_dtype};
  /* A rank whose disk fails continues through the collectives. */
  uly_status status = ULY_OK;
  for (int unit = 0; unit < zero->desc.num_units; unit++) {
    void *grads = uly__zero_grad_shard(zero, unit);
    int64_t first = zero->rank * zero->units[unit].shard;
    if (zero->desc.stage == 0) {
      ULY_TRY(uly__zero_gather_grads(zero, unit, &grads));
      first = 0;
    }
    if (status == ULY_OK) status = update_unit(trainer, unit, grads, first, args);
    if (zero->desc.stage == 1 || zero->desc.stage == 2)
      ULY_TRY(uly__zero_gather_weights(zero, unit));
  }
  return status;
}

static uly_status round_unit(uly_trainer *trainer, int unit) {
  const uly__model *model = trainer->model;
  uly__part owned = uly__states_owned(model->zero, unit);
  int64_t end = owned.begin + owned.count;
  for (int64_t at = owned.begin; at < end; at += ULY_STATE_WINDOW) {
    float *window;
    int64_t count = min64(ULY_STATE_WINDOW, end - at);
    ULY_TRY(uly__states_map(&trainer->states, ULY_STATE_MASTER, unit, at, count, &window));
    model->ops->to_bf16(model->stream, count, window,
                        uly__states_weight(&trainer->states, unit, at));
  }
  return ULY_OK;
}

uly_status uly__weights_from_master(uly_trainer *trainer) {
  uly__zero *zero = trainer->model->zero;
  bool rounds =
      zero->desc.dtype == ULY_BF16 && !zero->desc.forward_only; /* forward-only: rounded already */
  uly_status status = ULY_OK;
  for (int unit = 0; unit < zero->desc.num_units; unit++) {
    if (status == ULY_OK && rounds) status = round_unit(trainer, unit);
    if (zero->desc.stage == 1 || zero->desc.stage == 2)
      ULY_TRY(uly__zero_gather_weights(zero, unit));
  }
  return status;
}
