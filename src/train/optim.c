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

void uly__optimizer_step(uly_trainer *trainer, double lr, double grad_scale) {
  uly__model *model = trainer->model;
  const uly_train_config *c = &trainer->config;
  for (int i = 0; i < model->params.num; i++) {
    const uly__param *param = &model->params.list[i];
    int64_t at = param->offset;
    uly__adamw args = {
        .lr = lr,
        .beta1 = c->beta1,
        .beta2 = c->beta2,
        .eps = c->eps,
        .weight_decay = param->num_dims == 2 ? c->weight_decay : 0.0,
        .grad_scale = grad_scale,
        .step = trainer->steps_done + 1,
        .param = trainer->master + at,
        .m = trainer->m + at,
        .v = trainer->v + at,
        .grad = model->grads + at,
        .copy_bf16 = model->dtype == ULY_BF16 ? (uint16_t *)model->weights + at : NULL,
    };
    model->ops->adamw(param->count, &args);
  }
}

void uly__weights_from_master(uly_trainer *trainer) {
  const uly__model *model = trainer->model;
  if (model->dtype == ULY_BF16)
    model->ops->to_bf16(model->params.count, trainer->master, model->weights);
}
