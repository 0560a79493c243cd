/* Shared by the tests of checkpoints. */
#include "checkpoint_testing.h"

uly_mesh *mesh;
int rank;
char text_path[256], out_dir[256], offload_dir[300];

void begin_checkpoints(int *argc, char ***argv) {
  begin_ranks(argc, argv, &mesh);
  rank = uly_mesh_rank(mesh);
  write_scratch_text(text_path, "checkpoint.txt", 2000);
  name_scratch_folder(out_dir, "checkpoints");
  snprintf(offload_dir, sizeof offload_dir, "%s/states", out_dir);
}

int end_checkpoints(int num_failed) {
  remove_scratch_file(text_path);
  return end_ranks(mesh, num_failed);
}

uly_train_config base_config(uly_dtype dtype) {
  uly_train_config config = default_config();
  config.model = "llama-1m";
  config.data = text_path;
  config.seq_len = 70;
  config.steps = 8;
  config.warmup = 2;
  config.dtype = dtype;
  config.threads = 1;
  return config;
}

uly_trainer *make(uly_mesh *on, const uly_train_config *config) {
  uly_trainer *trainer;
  assert_ok(uly_trainer_create(on, config, &trainer));
  return trainer;
}

double steps(uly_trainer *trainer, int count) {
  uly_step_report report = {.size = sizeof report};
  for (int i = 0; i < count; i++) assert_ok(uly_trainer_step(trainer, &report));
  return report.loss;
}

void barrier(void) { assert_ok(uly_mesh_agree(mesh, ULY_OK)); }

void latest(char path[512]) {
  barrier();
  assert_ok(uly_checkpoint_latest(out_dir, path, 512));
}
