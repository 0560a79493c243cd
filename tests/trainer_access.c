/* See trainer_access.h. */
#include "trainer_access.h"

#include "testing.h"

double eval_loss(uly_trainer *trainer) {
  uly_eval_report report = {.size = sizeof report};
  assert_ok(uly_trainer_evaluate(trainer, NULL, NULL, &report));
  assert_false(report.is_stopped);
  return report.loss;
}

void set_weight(uly_trainer *trainer, int param, const float *values) {
  const uly__param *p = &trainer->model->params.list[param];
  uly__part owned = uly__states_owned(trainer->model->zero, p->unit);
  for (int64_t i = 0; i < p->count; i++) {
    int64_t at = p->offset + i;
    if (at < owned.begin || at >= owned.begin + owned.count) continue;
    float *window;
    assert_ok(uly__states_map(&trainer->states, ULY_STATE_MASTER, p->unit, at, 1, &window));
    *window = values[i];
    assert_ok(uly__states_unmap(&trainer->states, ULY_STATE_MASTER, p->unit, at, 1));
  }
}

void set_weights(uly_trainer *trainer, const uly__safetensors *weights) {
  const uly__params *params = &trainer->model->params;
  assert_int_equal(uly__safetensors_num(weights), params->num);
  for (int i = 0; i < params->num; i++) {
    const uly__tensor_info *info = uly__safetensors_find(weights, params->list[i].name);
    assert_non_null(info);
    assert_int_equal(info->bytes, params->list[i].count * 4);
    float *values = read_tensor(weights, info);
    set_weight(trainer, i, values);
    free(values);
  }
  assert_ok(uly__weights_from_master(trainer));
}

/* From the shards of all ranks, [size][shard], the elements of a tensor. */
static void gather(uly_trainer *trainer, int param, const float *shard, float *out) {
  const uly__param *p = &trainer->model->params.list[param];
  const uly__zero_unit *unit = &trainer->model->zero->units[p->unit];
  int64_t bytes = unit->shard * 4;
  float *all = malloc((size_t)(bytes * uly_mesh_size(trainer->mesh)));
  assert_ok(uly__all_gather(uly__mesh_world(trainer->mesh), NULL, ULY_TRAFFIC_CONTROL, shard, bytes,
                            all));
  memcpy(out, all + p->offset, (size_t)p->count * 4);
  free(all);
}

void get_gradient(uly_trainer *trainer, int param, float *out) {
  const uly__zero *zero = trainer->model->zero;
  int u = trainer->model->params.list[param].unit;
  float *shard = malloc((size_t)zero->units[u].shard * 4);
  for (int64_t i = 0; i < zero->units[u].shard; i++)
    shard[i] = uly__load(uly__zero_grad_shard(zero, u), zero->desc.grad_dtype, i);
  gather(trainer, param, shard, out);
  free(shard);
}

void get_state(uly_trainer *trainer, uly__state which, int param, float *out) {
  int u = trainer->model->params.list[param].unit;
  uly__part part = uly__states_shard(trainer->model->zero, u);
  float *shard = calloc((size_t)trainer->model->zero->units[u].shard, 4);
  for (int64_t at = 0; at < part.count; at += ULY_STATE_WINDOW) {
    int64_t left = part.count - at, count = left < ULY_STATE_WINDOW ? left : ULY_STATE_WINDOW;
    const float *window;
    assert_ok(
        uly__states_read(&trainer->states, which, u, part.begin + at, count, shard + at, &window));
    memmove(shard + at, window, (size_t)count * 4);
  }
  gather(trainer, param, shard, out);
  free(shard);
}
