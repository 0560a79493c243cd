/* Tests uly_trainer_check: it finds what a start would find, on all ranks alike, and allocates
 * nothing for it. */
#include <stdbool.h>
#include <unistd.h>

#include "device/arena.h"
#include "testing.h"

static uly_mesh *mesh;
static char text_path[256], short_path[256], shard_path[256], folder[256];
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

/* Tokens of a shard, all of them x but one that no vocabulary of bytes has. */
enum { NUM_TOKENS = 70000, BEYOND = 54321 };

static void write_shard(void) {
  static char bytes[1024 + 2 * NUM_TOKENS];
  int32_t header[3] = {20240520, 1, NUM_TOKENS};
  memcpy(bytes, header, sizeof header);
  for (int i = 0; i < NUM_TOKENS; i++) bytes[1024 + 2 * i] = 'x';
  bytes[1024 + 2 * BEYOND + 1] = 9;
  write_scratch_file(shard_path, "check.bin", bytes, sizeof bytes);
}

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
  assert_int_equal(num_commits, ULY_NUM_ARENAS + 1); /* and that of the host */
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
  config.threads = 1 << 30;
  expect_refusal(&config, NULL, ULY_ERR_CONFIG, "config.threads is 1073741824");
  config.threads = -1;
  expect_refusal(&config, NULL, ULY_ERR_CONFIG, "config.threads is -1");
  config = make_config();
  config.model = "no-such-model";
  expect_refusal(&config, NULL, ULY_ERR_CONFIG, "no-such-model");
  if (uly_mesh_size(mesh) > 1) {
    config = make_config();
    config.lr = is_last_rank() ? 1 : 2;
    expect_refusal(&config, NULL, ULY_ERR_CONFIG, "has a different config.lr from rank 0");
  }
}

/* Where in the data they lie, and whoever looks at that part; a start finds it before it takes
 * memory. */
static void test_beyond_vocabulary(void **state) {
  (void)state;
  uly_trainer *trainer;
  num_commits = 0;
  for (int is_held_out = 0; is_held_out < 2; is_held_out++) {
    uly_train_config config = make_config();
    if (is_held_out) {
      config.eval_data = shard_path;
      config.eval_windows = NUM_TOKENS;
    } else {
      config.data = shard_path;
    }
    expect_refusal(&config, NULL, ULY_ERR_DATA, "check.bin': token 54321 is 2424, not below");
    assert_fails(uly_trainer_create(mesh, &config, &trainer), ULY_ERR_DATA, "token 54321 is 2424");
    assert_int_equal(num_commits, 0);
  }
  /* Of held-out data what is evaluated counts. */
  uly_train_config config = make_config();
  uly_start_report report = {.size = sizeof report};
  config.eval_data = shard_path;
  config.eval_windows = BEYOND / 64;
  assert_ok(uly_trainer_check(mesh, &config, NULL, &report));
  assert_int_equal(report.num_eval_windows, BEYOND / 64);
  config.eval_windows++;
  expect_refusal(&config, NULL, ULY_ERR_DATA, "token 54321 is 2424");
}

/* What one start has found, the next one need not look for: it takes what is in the file, if it is
 * about the same. */
static void test_memory_of_scans(void **state) {
  (void)state;
  uly_train_config config = make_config();
  uly_start_report report = {.size = sizeof report};
  uly_trainer *trainer;
  char path[300];
  snprintf(path, sizeof path, "%.240s.scan", text_path);
  config.pack = 1;
  config.scan_file = path;
  assert_ok(uly_trainer_create(mesh, &config, &trainer));
  assert_int_equal(uly_trainer_data_info(trainer)->documents, 1);
  if (uly_mesh_rank(mesh) == 0) assert_ok(uly_trainer_remember_scan(trainer));
  uly_trainer_destroy(trainer);
  assert_ok(uly_mesh_agree(mesh, ULY_OK));
  if (uly_mesh_rank(mesh) == 0) { /* what is found there is believed: window 2 has no label */
    char text[400];
    FILE *file = fopen(path, "r+");
    assert_non_null(file);
    size_t length = fread(text, 1, sizeof text - 1, file);
    text[length] = '\0';
    char *list = strstr(text, "\"without_label\":[");
    assert_non_null(list);
    assert_int_equal(fseek(file, list - text, SEEK_SET), 0);
    fputs("\"without_label\":[2]}]}", file);
    fclose(file);
  }
  assert_ok(uly_mesh_agree(mesh, ULY_OK));
  assert_ok(uly_trainer_check(mesh, &config, NULL, &report));
  assert_int_equal(report.data.without_label, 1);
  assert_int_equal(report.data.sequences, 9000 / 64);
  config.seq_len = 60;
  assert_ok(uly_trainer_check(mesh, &config, NULL, &report));
  assert_int_equal(report.data.without_label, 0);
  remove_scratch_file(path);
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

/* A NULL, or a struct without its size, on one rank: the others hear of it instead of waiting for
 * that rank. */
static void test_arguments_of_one_rank(void **state) {
  (void)state;
  uly_train_config config = make_config();
  uly_trainer *trainer;
  uly_step_report step = {.size = is_last_rank() ? 0 : sizeof step};
  uly_eval_report eval = {.size = is_last_rank() ? 0 : sizeof eval};
  const char *path = is_last_rank() ? NULL : "/no/such/folder";
  config.eval_data = text_path;
  assert_ok(uly_trainer_create(mesh, &config, &trainer));
  assert_fails(uly_trainer_step(trainer, &step), ULY_ERR_CONFIG, "a uly_step_report is 0");
  assert_fails(uly_trainer_skip(trainer, &step), ULY_ERR_CONFIG, "a uly_step_report is 0");
  assert_fails(uly_trainer_evaluate(trainer, NULL, NULL, &eval), ULY_ERR_CONFIG,
               "a uly_eval_report is 0");
  assert_fails(uly_trainer_save(trainer, path), ULY_ERR_CONFIG, "'out_dir' is NULL");
  assert_fails(uly_trainer_save_start(trainer, path), ULY_ERR_CONFIG, "'out_dir' is NULL");
  assert_fails(uly_trainer_load(trainer, path), ULY_ERR_CONFIG, "'dir' is NULL");
  assert_fails(uly_trainer_rollback(trainer, path), ULY_ERR_CONFIG, "'dir' is NULL");
  assert_fails(uly_trainer_trace_write(trainer, path), ULY_ERR_CONFIG, "'path' is NULL");
  assert_int_equal(uly_trainer_steps_done(trainer), 0);
  step.size = sizeof step;
  assert_ok(uly_trainer_step(trainer, &step));
  uly_trainer_destroy(trainer);
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
      cmocka_unit_test(test_without_checkpoint), cmocka_unit_test(test_refusals),
      cmocka_unit_test(test_beyond_vocabulary),  cmocka_unit_test(test_memory_of_scans),
      cmocka_unit_test(test_with_checkpoint),    cmocka_unit_test(test_arguments_of_one_rank),
  };
  begin_ranks(&argc, &argv, &mesh);
  char text[9000];
  memset(text, 'x', sizeof text);
  write_scratch_file(text_path, "check.txt", text, sizeof text);
  write_scratch_file(short_path, "short.txt", text, 20);
  write_shard();
  snprintf(folder, sizeof folder, "%.240s.saved", text_path);
  int failed = cmocka_run_group_tests(tests, NULL, NULL);
  remove_scratch_file(text_path);
  remove_scratch_file(short_path);
  remove_scratch_file(shard_path);
  if (uly_world_rank() == 0) remove_checkpoint();
  return end_ranks(mesh, failed);
}
