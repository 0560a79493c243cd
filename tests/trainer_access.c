/* See trainer_access.h. */
#include "trainer_access.h"

#include "testing.h"

double eval_loss(uly_trainer *trainer) {
  uly_eval_report report = {.size = sizeof report};
  assert_ok(uly_trainer_evaluate(trainer, NULL, NULL, &report));
  assert_false(report.is_stopped);
  return report.loss;
}

static uly__micro_batch the_sequence(void *context, int64_t micro_batch) {
  assert_int_equal(micro_batch, 0);
  return *(const uly__micro_batch *)context;
}

void run_passes(uly__model *model, const int32_t *tokens, const int32_t *labels, float scale,
                uly__exact_sum *losses) {
  uly__micro_batch sequence = {tokens, labels, losses};
  uly__schedule_desc desc = {.num_stages = model->boundary.size,
                             .stage = model->boundary.index,
                             .num_chunks = model->stage.num_chunks,
                             .num_micro_batches = 1,
                             .forward_only = scale == 0.0f};
  uly__schedule schedule;
  assert_ok(uly__schedule_create(&desc, &schedule));
  uly__pipeline_run run = {
      .schedule = &schedule, .prepare = the_sequence, .context = &sequence, .scale = scale};
  uly__pipeline_run_schedule(model, &run);
  uly__schedule_destroy(&schedule);
}

void set_weight(uly_trainer *trainer, int param, const float *values) {
  const uly__model *model = trainer->run.model;
  uly__range range;
  uly__range_walk walk = uly__param_ranges(&model->params, model->zero, ULY_ALL_UNITS);
  while (uly__range_next(&walk, &range)) {
    if (range.param != &model->params.list[param]) continue;
    float *window;
    assert_ok(uly__states_map(&trainer->run.states, ULY_STATE_MASTER, &range, &window));
    uly__copy(model->stream, window, values + range.global, range.count * (int64_t)sizeof *window);
    assert_ok(uly__states_unmap(&trainer->run.states, ULY_STATE_MASTER, &range));
  }
}

void set_weights(uly_trainer *trainer, const uly__safetensors *weights) {
  const uly__params *params = &trainer->run.model->params;
  assert_int_equal(uly__safetensors_num(weights), params->num);
  for (int i = 0; i < params->num; i++) {
    const uly__tensor_info *info = uly__safetensors_find(weights, params->list[i].name);
    assert_non_null(info);
    assert_int_equal(info->bytes, params->list[i].count * 4);
    float *values = read_tensor(weights, info);
    set_weight(trainer, i, values);
    free(values);
  }
  assert_ok(uly__weights_from_master(trainer->run.model, &trainer->run.states));
}

/* Gives each rank the elements that the others own. out: [count], with zeros where this rank owns
 * none. */
static void gather(uly_trainer *trainer, int param, float *out) {
  int64_t count = trainer->run.model->params.list[param].count;
  int size = uly_mesh_size(trainer->mesh);
  uint32_t *all = malloc((size_t)(count * size) * sizeof *all), *bits = (uint32_t *)(void *)out;
  assert_ok(uly__all_gather(uly__mesh_world(trainer->mesh), NULL, ULY_TRAFFIC_CONTROL, out,
                            count * (int64_t)sizeof *out, all));
  for (int64_t i = 0; i < count * size; i++) bits[i % count] |= all[i];
  free(all);
}

/* Walks over the ranges of a tensor that this rank owns. */
static bool next_owned(uly__range_walk *walk, const uly__param *param, uly__range *range) {
  while (uly__range_next(walk, range))
    if (range->param == param && range->is_owner) return true;
  return false;
}

void get_gradient(uly_trainer *trainer, int param, float *out) {
  const uly__model *model = trainer->run.model;
  const uly__param *p = &model->params.list[param];
  uly__range range;
  uly__range_walk walk = uly__param_ranges(&model->params, model->zero, p->unit);
  memset(out, 0, (size_t)p->count * sizeof *out);
  while (next_owned(&walk, p, &range)) {
    uly_dtype dtype = trainer->run.config.grad_dtype;
    int64_t bytes = range.count * uly__dtype_bytes(dtype);
    void *grads = malloc((size_t)bytes);
    uly__copy(model->stream, grads, uly__zero_grad(model->zero, p->unit, range.local), bytes);
    for (int64_t i = 0; i < range.count; i++) out[range.global + i] = uly__load(grads, dtype, i);
    free(grads);
  }
  gather(trainer, param, out);
}

void get_state(uly_trainer *trainer, uly__state which, int param, float *out) {
  const uly__model *model = trainer->run.model;
  const uly__param *p = &model->params.list[param];
  uly__range range;
  uly__range_walk walk = uly__param_ranges(&model->params, model->zero, p->unit);
  memset(out, 0, (size_t)p->count * sizeof *out);
  while (next_owned(&walk, p, &range)) {
    float *to = out + range.global;
    const float *window;
    assert_ok(uly__states_read(&trainer->run.states, which, &range, to, &window));
    memmove(to, window, (size_t)range.count * sizeof *to);
  }
  gather(trainer, param, out);
}
