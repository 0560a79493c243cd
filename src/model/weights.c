/* Sets weights: see weights.h. */
#include "model/weights.h"

uly_status uly__weights_init(const uly__model *model, uly__states *states, uint64_t seed) {
  uly__range range;
  uly__range_walk walk = uly__param_ranges(&model->params, model->zero, ULY_ALL_UNITS);
  while (uly__range_next(&walk, &range)) {
    float *window;
    ULY_TRY(uly__states_map(states, ULY_STATE_MASTER, &range, &window));
    uly__param_init(range.param, model->ops, model->stream, seed, range.global, range.count,
                    window);
    ULY_TRY(uly__states_unmap(states, ULY_STATE_MASTER, &range));
  }
  return ULY_OK;
}

static uly_status round_unit(const uly__model *model, uly__states *states, int unit) {
  uly__range range;
  uly__range_walk walk = uly__param_local_ranges(&model->params, model->zero, unit);
  while (uly__range_next(&walk, &range)) {
    float *window;
    ULY_TRY(uly__states_map(states, ULY_STATE_MASTER, &range, &window));
    model->ops->to_bf16(model->stream, range.count, window,
                        uly__zero_weight(model->zero, unit, range.local));
  }
  return ULY_OK;
}

uly_status uly__weights_from_master(const uly__model *model, uly__states *states) {
  /* A run that does not train has rounded them as it read them. */
  bool rounds = model->dtype == ULY_BF16 && !uly__model_is_forward_only(model);
  uly_status status = ULY_OK;
  for (int unit = 0; unit < model->params.num_units; unit++) {
    if (status == ULY_OK && rounds) status = round_unit(model, states, unit);
    ULY_TRY(uly__zero_publish(model->zero, unit));
  }
  return status;
}
