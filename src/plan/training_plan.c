/* Plans training and evaluation: see training_plan.h. */
#include "plan/training_plan.h"

#include "plan/bubble.h"
#include "plan/traffic_plan.h"

void uly__training_carve(uly__run *run) {
  uly__run_carve_states(run);
  uly__run_carve_passes(run);
  uly__run_carve_sequences(run);
}

uly_status uly__training_create(uly_mesh *mesh, const uly_train_config *config, uly__run *out) {
  ULY_TRY(uly__run_create(mesh, config,
                          config->forward_only ? ULY_MODEL_EVALUATES : ULY_MODEL_TRAINS,
                          config->seq_len, out));
  uly__training_carve(out);
  return ULY_OK;
}

uly_status uly__training_describe(const uly__run *run, uly_plan_report *report) {
  const uly__model *model = run->model;
  int64_t num_sequences = run->passes * uly_mesh_dp(run->mesh);
  *report = (uly_plan_report){
      .num_params = model->params.count,
      .tokens = model->num_own,
      .stash_bytes = uly__stash_file_bytes(&model->stash),
      .num_layers = model->num_layers,
      .in_flight = 1,
      .flops = uly__model_flops(model, num_sequences, model->pairs * (double)num_sequences)};
  for (int i = 0; i < ULY_NUM_ARENAS; i++)
    report->arena_bytes[i] = uly__run_arena_bytes(run, (uly_arena)i);
  for (int v = 0; v < model->stage.num_chunks; v++)
    if (model->stash.chunks[v].num_sets > report->in_flight)
      report->in_flight = model->stash.chunks[v].num_sets;
  uly__plan_traffic(run, report->sent_bytes);
  return uly__plan_bubble(run, &report->bubble);
}

static int64_t measure_bytes(const void *context, uly_mesh *mesh, const uly_train_config *config,
                             int halvings) {
  (void)context;
  uly__run run;
  uly_train_config other = *config;
  other.seq_len = config->seq_len >> halvings;
  if (uly__training_create(mesh, &other, &run) != ULY_OK) return INT64_MAX;
  int64_t bytes = uly__run_bytes(&run);
  uly__run_destroy(&run);
  return bytes;
}

static uly__measure measure_of(const uly__run *run) {
  return (uly__measure){measure_bytes, NULL, run->config.seq_len, "config.seq_len = ", ""};
}

uly_status uly__training_check_limit(const uly__run *run) {
  uly__measure measure = measure_of(run);
  return uly__check_limit(run, &measure);
}

uly_status uly__training_check_fit(const uly__run *run) {
  uly__measure measure = measure_of(run);
  return uly__check_fit(run, &measure, uly__group_node_size(uly__mesh_world(run->mesh)));
}
