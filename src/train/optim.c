/* Learning-rate schedules and the AdamW update of a rank's ranges of parameters. */
#include "train/optim.h"

#include <math.h>

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

static uly_status update(uly_trainer *trainer, const uly__range *range, uly__adamw args) {
  const uly__model *model = trainer->run.model;
  uly__states *states = &trainer->run.states;
  int unit = range->param->unit;
  float **window[ULY_NUM_STATES] = {&args.param, &args.m, &args.v};
  args.weight_decay = range->param->num_dims == 2 ? trainer->run.config.weight_decay : 0.0;
  args.grad = uly__zero_grad(model->zero, unit, range->local);
  args.copy_bf16 =
      model->dtype == ULY_BF16 ? uly__zero_weight(model->zero, unit, range->local) : NULL;
  for (int which = 0; which < ULY_NUM_STATES; which++)
    ULY_TRY(uly__states_map(states, (uly__state)which, range, window[which]));
  model->ops->adamw(model->stream, range->count, &args);
  for (int which = 0; which < ULY_NUM_STATES; which++)
    ULY_TRY(uly__states_unmap(states, (uly__state)which, range));
  return ULY_OK;
}

static uly_status update_unit(uly_trainer *trainer, int unit, uly__adamw args) {
  const uly__model *model = trainer->run.model;
  uly__range range;
  uly__range_walk walk = uly__param_local_ranges(&model->params, model->zero, unit);
  while (uly__range_next(&walk, &range)) ULY_TRY(update(trainer, &range, args));
  return ULY_OK;
}

uly_status uly__optimizer_step(uly_trainer *trainer, double lr, double grad_scale) {
  uly__zero *zero = trainer->run.model->zero;
  const uly_train_config *c = &trainer->run.config;
  uly__adamw args = {.lr = lr,
                     .beta1 = c->beta1,
                     .beta2 = c->beta2,
                     .eps = c->eps,
                     .grad_scale = grad_scale,
                     .step = trainer->steps_done + 1,
                     .grad_dtype = c->grad_dtype};
  /* A rank whose disk fails continues through the collectives. */
  uly_status status = ULY_OK;
  for (int unit = 0; unit < trainer->run.model->params.num_units; unit++) {
    ULY_TRY(uly__zero_gather_grads(zero, unit));
    if (status == ULY_OK) status = update_unit(trainer, unit, args);
    ULY_TRY(uly__zero_publish(zero, unit));
  }
  return status;
}
