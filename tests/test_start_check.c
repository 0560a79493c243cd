/* uly_trainer_check: what it finds is what a start would, on all ranks alike, and nothing is allocated for it. */
#include <stdbool.h>
#include <unistd.h>

#include "device/arena.h"
#include "testing.h"

static uly_mesh *mesh;
static char text_path[256], short_path[256], folder[256];
static int num_commits;

/* The linker gives calls of uly__arena_commit to this (-Wl,--wrap). */
uly_status __real_uly__arena_commit(uly__arena *arena);
uly_status __wrap_uly__arena_commit(uly__arena *arena);
uly_status __wrap_uly__arena_commit(uly__arena *arena) {
  num_commits++;
  return __real_uly__arena_commit(arena);
}

static uly_train_config make_config(void) {
  uly_train_config config = default_config();
  config.model = "llama-1m";
  config.data = text_path;
  config.seq_len = 64;
  config.threads = 1;
  return config;
}

static bool is_last_rank(void) { return uly_mesh_rank(mesh) == uly_mesh_size(mesh) - 1; }

/* The same status and message on all ranks. */
static void expect_refusal(const uly_train_config *config, const char *checkpoint,
                           uly_status status, const char *text) {
  uly_start_report report = {.size = sizeof report};
  assert_fails(uly_trainer_check(mesh, config, checkpoint, &report), status, text);
  assert_ok(uly_mesh_same(mesh, uly_last_error(), strlen(uly_last_error()), "message"));
  assert_int_equal(num_commits, 0);
}

static void test_without_checkpoint(void **state) {
  (void)state;
  uly_train_config config = make_config();
  uly_start_report report = {.size = sizeof report};
  uly_trainer *trainer;
  num_commits = 0;
  config.eval_data = text_path;
  config.eval_windows = 3;
  assert_ok(uly_trainer_check(mesh, &config, NULL, &report));
  assert_int_equal(num_commits, 0);
  assert_int_equal(report.num_windows, 9000 / 64);
  assert_int_equal(report.num_eval_windows, 3);
  assert_int_equal(report.steps_done, 0);
  assert_ok(uly_trainer_create(mesh, &config, &trainer));
  assert_int_equal(num_commits, ULY_NUM_ARENAS);
  assert_int_equal(report.num_params, uly_trainer_num_params(trainer));
  uly_trainer_destroy(trainer);
}

static void test_refusals(void **state) {
  (void)state;
  uly_train_config config = make_config();
  num_commits = 0;
  config.data = is_last_rank() ? "/no/such/file" : text_path;
  expect_refusal(&config, NULL, ULY_ERR_IO, "/no/such/file");
  config = make_config();
  config.eval_data = short_path;
  expect_refusal(&config, NULL, ULY_ERR_DATA, "short.txt");
  config = make_config();
  config.data = NULL;
  expect_refusal(&config, NULL, ULY_ERR_CONFIG, "config.data is missing");
  config = make_config();
  config.memory_limit = is_last_rank() ? 1000 : 0;
  expect_refusal(&config, NULL, ULY_ERR_CONFIG, "needs");
  config = make_config();
  config.model = "no-such-model";
  expect_refusal(&config, NULL, ULY_ERR_CONFIG, "no-such-model");
  if (uly_mesh_size(mesh) > 1) {
    config = make_config();
    config.lr = is_last_rank() ? 1 : 2;
    expect_refusal(&config, NULL, ULY_ERR_CONFIG, "configuration");
  }
}

static void test_with_checkpoint(void **state) {
  (void)state;
  uly_train_config config = make_config();
  uly_trainer *trainer;
  uly_start_report report = {.size = sizeof report};
  uly_step_report step = {.size = sizeof step};
  char checkpoint[300], file[400];
  assert_ok(uly_trainer_create(mesh, &config, &trainer));
  assert_ok(uly_trainer_step(trainer, &step));
  assert_ok(uly_trainer_save(trainer, folder));
  uly_trainer_destroy(trainer);
  num_commits = 0;
  snprintf(checkpoint, sizeof checkpoint, "%s/step-0000000001", folder);
  assert_ok(uly_trainer_check(mesh, &config, checkpoint, &report));
  assert_int_equal(report.steps_done, 1);
  expect_refusal(&config, is_last_rank() ? "/no/such/folder" : checkpoint, ULY_ERR_DATA,
                 "/no/such/folder");
  config.model = "llama-4m";
  expect_refusal(&config, checkpoint, ULY_ERR_DATA, "another model");
  config = make_config();
  config.seed = 77;
  expect_refusal(&config, checkpoint, ULY_ERR_CONFIG, "config.seed = 1, not 77");
  config = make_config();
  snprintf(file, sizeof file, "%s/optimizer.safetensors", checkpoint);
  if (uly_mesh_rank(mesh) == 0) assert_int_equal(truncate(file, 100000), 0);
  assert_ok(uly_mesh_agree(mesh, ULY_OK)); /* after the damage */
  expect_refusal(&config, checkpoint, ULY_ERR_DATA, "optimizer.safetensors");
}

static void remove_checkpoint(void) {
  static const char *const names[] = {"model.safetensors", "optimizer.safetensors", "config.json",
                                      "trainer.json"};
  char path[400];
  for (int i = 0; i < 4; i++) {
    snprintf(path, sizeof path, "%s/step-0000000001/%s", folder, names[i]);
    unlink(path);
  }
  snprintf(path, sizeof path, "%s/step-0000000001", folder);
  rmdir(path);
  rmdir(folder);
}

int main(int argc, char **argv) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_without_checkpoint),
      cmocka_unit_test(test_refusals),
      cmocka_unit_test(test_with_checkpoint),
  };
  if (uly_init(&argc, &argv) != ULY_OK || uly_mesh_create(NULL, &mesh) != ULY_OK) return 1;
  char text[9000];
  memset(text, 'x', sizeof text);
  write_scratch_file(text_path, "check.txt", text, sizeof text);
  write_scratch_file(short_path, "short.txt", text, 20);
  snprintf(folder, sizeof folder, "%.240s.saved", text_path);
  int failed = cmocka_run_group_tests(tests, NULL, NULL);
  if (failed) uly_abort(1);
  remove_scratch_file(text_path);
  remove_scratch_file(short_path);
  if (uly_world_rank() == 0) remove_checkpoint();
  uly_mesh_destroy(mesh);
  uly_finalize();
  return 0;
}
