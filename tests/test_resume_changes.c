/* Tests what a run may change when it resumes from a checkpoint: where its model and its window
 * come from, the length of sequences, the data; and that another seed is refused. */
#include <jansson.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "checkpoint_testing.h"
#include "trainer_access.h"

/* A trainer whose model comes from a checkpoint's file has its window; and checkpoints go back and
 * forth between runs that name the model in either way. */
static void test_window_of_model(void **state) {
  (void)state;
  uly_train_config config = base_config(ULY_F32);
  config.window = 33;
  uly_trainer *trainer = make(mesh, &config);
  steps(trainer, 2);
  assert_ok(uly_trainer_save(trainer, out_dir));
  double loss = steps(trainer, 1);
  uly_trainer_destroy(trainer);
  char path[512], model[600];
  latest(path);
  snprintf(model, sizeof model, "%s/config.json", path);
  config.model = model;
  config.window = -1;
  uly_model_info info;
  assert_ok(uly_train_config_describe_model(&config, &info));
  assert_int_equal(info.window, 33);
  trainer = make(mesh, &config);
  assert_ok(uly_trainer_load(trainer, path));
  assert_true(steps(trainer, 1) == loss);
  assert_ok(uly_trainer_save(trainer, out_dir));
  uly_trainer_destroy(trainer);
  config.window = 0; /* goes before the file's */
  trainer = make(mesh, &config);
  assert_ok(uly_trainer_load(trainer, path));
  assert_true(steps(trainer, 1) != loss);
  uly_trainer_destroy(trainer);
  config = base_config(ULY_F32);
  assert_ok(uly_train_config_describe_model(&config, &info)); /* a preset has none */
  assert_true(info.window == 0 && info.num_window_layers == 0);
  assert_fails(uly_train_config_describe_model(NULL, &info), ULY_ERR_CONFIG, "is NULL");
  assert_fails(uly_train_config_describe_model(&config, NULL), ULY_ERR_CONFIG, "is NULL");
  config.size = 0;
  assert_fails(uly_train_config_describe_model(&config, &info), ULY_ERR_CONFIG, "is 0");
  config.size = offsetof(uly_train_config, window); /* a program that knows no window */
  config.window = 33;
  assert_ok(uly_train_config_describe_model(&config, &info));
  assert_int_equal(info.window, 0);
  config.size = sizeof config;
  latest(path);
  trainer = make(mesh, &config);
  assert_ok(uly_trainer_load(trainer, path));
  uly_trainer_destroy(trainer);
  remove_scratch_folder(out_dir);
}

/* Another seed would read the data in another order. */
static void test_other_seed(void **state) {
  (void)state;
  uly_train_config config = base_config(ULY_F32);
  uly_trainer *trainer = make(mesh, &config);
  assert_ok(uly_trainer_save(trainer, out_dir));
  uly_trainer_destroy(trainer);
  char path[512];
  latest(path);
  config.seed = 2;
  trainer = make(mesh, &config);
  assert_fails(uly_trainer_load(trainer, path), ULY_ERR_CONFIG, "config.seed = 1");
  uly_trainer_destroy(trainer);
  remove_scratch_folder(out_dir);
}

/* With sequences of another length the data go on after about as many tokens. */
static void test_other_length(void **state) {
  (void)state;
  static const int64_t lengths[] = {30, 70, 71, 300};
  uly_train_config config = base_config(ULY_F32);
  config.batch = 5 * uly_mesh_size(mesh);
  uly_trainer *trainer = make(mesh, &config);
  steps(trainer, 2);
  assert_ok(uly_trainer_save(trainer, out_dir));
  int64_t tokens = trainer->windows_done * config.seq_len;
  assert_true(trainer->windows_done > 0);
  uly_trainer_destroy(trainer);
  char path[512];
  latest(path);
  for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
    config.seq_len = lengths[i];
    trainer = make(mesh, &config);
    assert_ok(uly_trainer_load(trainer, path));
    assert_int_equal(trainer->windows_done, tokens / lengths[i]);
    assert_int_equal(uly_trainer_steps_done(trainer), 2);
    uly_trainer_destroy(trainer);
  }
  remove_scratch_folder(out_dir);
}

/* ------------------------------------------------------------------------ other data */

/* Loads the checkpoint into a run on other data. */
static void load_with(const char *path, const char *data, int new_data, uly_status status,
                      int64_t windows_done) {
  uly_train_config config = base_config(ULY_F32);
  uly_start_report report = {.size = sizeof report};
  config.data = data;
  config.new_data = new_data;
  uly_trainer *trainer = make(mesh, &config);
  if (status == ULY_OK) {
    assert_ok(uly_trainer_load(trainer, path));
    assert_int_equal(trainer->windows_done, windows_done);
  } else {
    assert_fails(uly_trainer_load(trainer, path), status, "config.new_data");
    assert_fails(uly_trainer_check(mesh, &config, path, &report), status, path);
  }
  uly_trainer_destroy(trainer);
}

/* Makes a checkpoint as older versions wrote it, which knows data by their names and sizes. `name`
 * is that of a data file, without its folder. */
static void make_old(const char *path, const char *name, int64_t size) {
  char file[600], digits[17], bytes[256];
  size_t length = strlen(name) + 1;
  snprintf(file, sizeof file, "%s/trainer.json", path);
  memcpy(bytes, name, length);
  memcpy(bytes + length, &size, sizeof size);
  json_t *json = json_load_file(file, 0, NULL);
  assert_int_equal(json_object_del(json, "data_content"), 0);
  assert_int_equal(json_object_del(json, "xxh3_of_this"), 0);
  snprintf(digits, sizeof digits, "%016llx",
           (unsigned long long)XXH3_64bits(bytes, length + sizeof size));
  json_object_set_new(json, "data_hash", json_string(digits));
  char *text = json_dumps(json, JSON_COMPACT | JSON_SORT_KEYS);
  snprintf(digits, sizeof digits, "%016llx", (unsigned long long)XXH3_64bits(text, strlen(text)));
  json_object_set_new(json, "xxh3_of_this", json_string(digits));
  assert_int_equal(json_dump_file(json, file, JSON_INDENT(2)), 0);
  free(text);
  json_decref(json);
}

/* A run goes on with the same content under any name. Other content of the same size is refused, or
 * begun anew if that is wanted. Older checkpoints know the data by names and sizes, and go on as
 * before. */
static void test_data(void **state) {
  (void)state;
  char same[256], other[256], path[512], text[2000];
  uly_train_config config = base_config(ULY_F32);
  FILE *file = fopen(text_path, "rb");
  assert_int_equal(fread(text, 1, sizeof text, file), sizeof text);
  fclose(file);
  write_scratch_file(same, "renamed.txt", text, sizeof text);
  text[1234]++;
  write_scratch_file(other, "other.txt", text, sizeof text);
  uly_trainer *trainer = make(mesh, &config);
  steps(trainer, 2);
  assert_ok(uly_trainer_save(trainer, out_dir));
  int64_t done = trainer->windows_done;
  assert_true(done > 0);
  uly_trainer_destroy(trainer);
  latest(path);
  load_with(path, text_path, 0, ULY_OK, done);
  load_with(path, same, 0, ULY_OK, done);
  load_with(path, same, 1, ULY_OK, done);
  load_with(path, other, 0, ULY_ERR_CONFIG, 0);
  load_with(path, other, 1, ULY_OK, 0);
  barrier();
  if (rank == 0) make_old(path, strrchr(text_path, '/') + 1, sizeof text);
  barrier();
  load_with(path, text_path, 0, ULY_OK, done);
  load_with(path, same, 0, ULY_ERR_CONFIG, 0);
  remove_scratch_file(same);
  remove_scratch_file(other);
  remove_scratch_folder(out_dir);
}

int main(int argc, char **argv) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_window_of_model),
      cmocka_unit_test(test_other_seed),
      cmocka_unit_test(test_other_length),
      cmocka_unit_test(test_data),
  };
  begin_checkpoints(&argc, &argv);
  return end_checkpoints(cmocka_run_group_tests(tests, NULL, NULL));
}
