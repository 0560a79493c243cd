/* Tests checkpoints: a resumed run continues bit by bit; the bytes do not depend on the number of
 * ranks; a checkpoint that is damaged or of another model is refused on every rank. What a resumed
 * run may change is in test_resume_changes.c, disks that fail are in test_checkpoint_disk.c. */
#include <jansson.h>
#include <mpi.h>

#include "base/checksum.h"
#include "checkpoint_testing.h"
#include "trainer_access.h"

static void assert_same_state(uly_trainer *a, uly_trainer *b) {
  for (int i = 0; i < a->run.model->params.num; i++)
    for (int which = 0; which < ULY_NUM_STATES; which++) {
      size_t bytes = (size_t)a->run.model->params.list[i].count * 4;
      float *sa = malloc(bytes), *sb = malloc(bytes);
      get_state(a, (uly__state)which, i, sa);
      get_state(b, (uly__state)which, i, sb);
      assert_memory_equal(sa, sb, bytes);
      free(sa);
      free(sb);
    }
  assert_int_equal(a->steps_done, b->steps_done);
  assert_int_equal(a->windows_done, b->windows_done);
}

static void check_resume(uly_dtype dtype, int stage, const char *offload) {
  uly_train_config config = base_config(dtype);
  config.zero_stage = stage;
  config.offload = offload;
  uly_trainer *straight = make(mesh, &config), *before = make(mesh, &config);
  double loss = steps(straight, 6);
  steps(before, 3);
  assert_ok(uly_trainer_save(before, out_dir));
  uly_trainer_destroy(before);
  char path[512];
  latest(path);
  assert_non_null(strstr(path, "/step-0000000003"));
  uly_trainer *after = make(mesh, &config);
  assert_ok(uly_trainer_load(after, path));
  assert_int_equal(uly_trainer_steps_done(after), 3);
  assert_true(steps(after, 3) == loss);
  assert_same_state(straight, after);
  uly_trainer_destroy(straight);
  uly_trainer_destroy(after);
  remove_scratch_folder(out_dir);
}

static void test_resume(void **state) {
  (void)state;
  for (int stage = 0; stage < 4; stage++) {
    check_resume(ULY_F32, stage, NULL);
    check_resume(ULY_BF16, stage, stage % 2 ? offload_dir : NULL);
  }
  check_resume(ULY_F32, 3, offload_dir);
}

static char *read_whole(const char *folder, const char *name, size_t *count) {
  char path[1024];
  snprintf(path, sizeof path, "%s/%s", folder, name);
  FILE *file = fopen(path, "rb");
  assert_non_null(file);
  assert_int_equal(fseek(file, 0, SEEK_END), 0);
  *count = (size_t)ftell(file);
  rewind(file);
  char *bytes = malloc(*count + 1);
  assert_int_equal(fread(bytes, 1, *count, file), *count);
  fclose(file);
  return bytes;
}

/* What P ranks wrote, loaded and written again by one rank alone: the same bytes. */
static void test_same_bytes_on_any_ranks(void **state) {
  (void)state;
  static const char *const files[] = {"model.safetensors", "optimizer.safetensors", "config.json",
                                      "trainer.json"};
  uly_train_config config = base_config(ULY_F32);
  uly_trainer *many = make(mesh, &config);
  steps(many, 2);
  assert_ok(uly_trainer_save(many, out_dir));
  assert_ok(uly_trainer_save(many, out_dir)); /* over itself */
  char path[512], alone_dir[512], alone_path[512];
  latest(path);
  uly_mesh *one;
  assert_ok(uly_mesh_create_mpi(MPI_COMM_SELF, NULL, &one));
  uly_trainer *alone = make(one, &config);
  assert_ok(uly_trainer_load(alone, path));
  assert_same_state(many, alone);
  snprintf(alone_dir, sizeof alone_dir, "%s/alone-%d/deep", out_dir, rank);
  assert_ok(uly_trainer_save(alone, alone_dir));
  assert_ok(uly_checkpoint_latest(alone_dir, alone_path, sizeof alone_path));
  for (int i = 0; i < 4; i++) {
    size_t count, alone_count;
    char *bytes = read_whole(path, files[i], &count);
    char *alone_bytes = read_whole(alone_path, files[i], &alone_count);
    assert_int_equal(count, alone_count);
    assert_memory_equal(bytes, alone_bytes, count);
    free(bytes);
    free(alone_bytes);
  }
  steps(alone, 1);
  steps(many, 1);
  uly_trainer_destroy(alone);
  uly_mesh_destroy(one);
  uly_trainer_destroy(many);
  remove_scratch_folder(out_dir);
}

/* Checks that every tensor of a file has the checksum that trainer.json names, however ranks cut
 * it. */
static void check_sums(const char *folder, const char *file, const json_t *sums) {
  char path[1024], text[17];
  uly__safetensors *tensors;
  snprintf(path, sizeof path, "%s/%s", folder, file);
  assert_ok(uly__safetensors_open(path, &tensors));
  for (int i = 0; i < uly__safetensors_num(tensors); i++) {
    const uly__tensor_info *info = uly__safetensors_get(tensors, i);
    void *data = read_tensor(tensors, info);
    snprintf(text, sizeof text, "%016llx",
             (unsigned long long)uly__checksum(0, info->bytes / 4, data));
    assert_string_equal(json_string_value(json_object_get(sums, info->name)), text);
    free(data);
  }
  uly__safetensors_close(tensors);
}

static void test_checksums(void **state) {
  (void)state;
  for (int stage = 0; stage < 4; stage += 3) {
    uly_train_config config = base_config(ULY_F32);
    config.zero_stage = stage;
    uly_trainer *trainer = make(mesh, &config);
    steps(trainer, 2);
    assert_ok(uly_trainer_save(trainer, out_dir));
    uly_trainer_destroy(trainer);
    char path[512];
    size_t count;
    latest(path);
    char *text = read_whole(path, "trainer.json", &count);
    json_t *json = json_loadb(text, count, 0, NULL);
    assert_int_equal(json_integer_value(json_object_get(json, "version")), 5);
    check_sums(path, "model.safetensors", json_object_get(json, "checksums"));
    check_sums(path, "optimizer.safetensors", json_object_get(json, "checksums"));
    json_decref(json);
    free(text);
    remove_scratch_folder(out_dir);
  }
}

static void assert_same_file(const char *a, const char *b, const char *name) {
  size_t a_count, b_count;
  char *a_bytes = read_whole(a, name, &a_count), *b_bytes = read_whole(b, name, &b_count);
  assert_int_equal(a_count, b_count);
  assert_memory_equal(a_bytes, b_bytes, a_count);
  free(a_bytes);
  free(b_bytes);
}

/* Checks that a checkpoint of an older version loads, that a save writes the same states in the
 * latest version, and that the old one is refused when an element of it is damaged. */
static void check_old(uly_mesh *on, const char *folder, const char *name, int stage) {
  char old[512], model[600], path[512], command[2048], damaged[512];
  test_data_path(old, folder, name);
  snprintf(model, sizeof model, "%s/config.json", old);
  uly_train_config config = base_config(ULY_F32);
  config.model = model;
  config.seq_len = 64;
  config.window = 9;
  config.batch = uly_mesh_size(on);
  config.zero_stage = stage;
  config.new_data = 1;
  uly_trainer *trainer = make(on, &config);
  assert_ok(uly_trainer_load(trainer, old));
  assert_int_equal(uly_trainer_steps_done(trainer), 20);
  assert_ok(uly_trainer_save(trainer, out_dir));
  latest(path);
  assert_same_file(old, path, "model.safetensors");
  assert_same_file(old, path, "optimizer.safetensors");
  uly_checkpoint_info info = {.size = sizeof info};
  assert_ok(uly_checkpoint_verify(path, &info));
  snprintf(damaged, sizeof damaged, "%s/damaged", out_dir);
  snprintf(command, sizeof command,
           "cp -r '%s' '%s' && printf X | dd of='%s/optimizer.safetensors' bs=1 seek=%d "
           "conv=notrunc 2>/dev/null",
           old, damaged, damaged, 9000 + 2001 * stage);
  if (rank == 0) assert_int_equal(system(command), 0);
  barrier();
  assert_fails(uly_trainer_load(trainer, damaged), ULY_ERR_DATA, "does not match its checksum");
  assert_fails(uly_checkpoint_verify(damaged, &info), ULY_ERR_DATA, "does not match its checksum");
  uly_trainer_destroy(trainer);
  remove_scratch_folder(out_dir);
}

static void test_old_versions(void **state) {
  (void)state;
  uly_mesh *on;
  assert_ok(uly_mesh_create(MESH(.dp = uly_mesh_size(mesh), .sp = 1), &on));
  for (int stage = 0; stage < 4; stage++) {
    check_old(on, "checkpoint_v3", "llama", stage);
    check_old(on, "checkpoint_v3", "gpt2", stage);
    check_old(on, "checkpoint_v3", "qwen2", stage);
    check_old(on, "checkpoint_v4", "llama", stage);
  }
  uly_mesh_destroy(on);
}

/* Rank 0 changes a file of the checkpoint with a shell command; all ranks must refuse it. */
static void refuses(const char *change, uly_status status, const char *text) {
  uly_train_config config = base_config(ULY_F32);
  uly_trainer *trainer = make(mesh, &config);
  assert_ok(uly_trainer_save(trainer, out_dir));
  char path[512], command[2048];
  latest(path);
  snprintf(command, sizeof command, "cd '%s' && %s", path, change);
  if (rank == 0) assert_int_equal(system(command), 0);
  barrier();
  assert_fails(uly_trainer_load(trainer, path), status, text);
  uly_trainer_destroy(trainer);
  remove_scratch_folder(out_dir);
}

static void test_damage(void **state) {
  (void)state;
  refuses("truncate -s -4 model.safetensors", ULY_ERR_DATA, "model.safetensors");
  refuses("truncate -s 0 optimizer.safetensors", ULY_ERR_DATA, "optimizer.safetensors");
  refuses("printf X | dd of=model.safetensors bs=1 seek=400000 conv=notrunc 2>/dev/null",
          ULY_ERR_DATA, "checksum");
  refuses("printf X | dd of=optimizer.safetensors bs=1 seek=4000000 conv=notrunc 2>/dev/null",
          ULY_ERR_DATA, "checksum");
  refuses("rm optimizer.safetensors", ULY_ERR_IO, "optimizer.safetensors");
  refuses("rm trainer.json", ULY_ERR_DATA, "trainer.json");
  refuses("rm config.json", ULY_ERR_DATA, "not a checkpoint");
  refuses("printf '{' > trainer.json", ULY_ERR_DATA, "trainer.json");
  refuses("sed -i 's/\"step\": 0/\"step\": -5/' trainer.json", ULY_ERR_DATA, "step");
  refuses(
      "sed -i 's/\"sequences_done\": 0/\"sequences_done\": 1125899906842624/; "
      "s/\"seq_len\": 70/\"seq_len\": 4294967296/' trainer.json",
      ULY_ERR_DATA, "cannot have been trained on");
  refuses("sed -i 's/\"version\": 5/\"version\": 6/' trainer.json", ULY_ERR_DATA, "version 6");
  refuses("sed -i 's/\"version\": 5/\"version\": 2/' trainer.json", ULY_ERR_DATA, "version 2");
  refuses("sed -i 's/LlamaFor/LlambFor/' config.json", ULY_ERR_DATA, "config.json");
  refuses("sed -i 's/\"seed\": 1/\"seed\": 2/' trainer.json", ULY_ERR_DATA, "own checksum");
  refuses("sed -i 's/\"step\": 0/\"step\": 5/' trainer.json", ULY_ERR_DATA, "own checksum");
  refuses("sed -i 's/\"hidden_size\": 128/\"hidden_size\": 256/' config.json", ULY_ERR_DATA,
          "another model");
  refuses("sed -i 's/\"model_hash\": \"./\"model_hash\": \"/' trainer.json", ULY_ERR_DATA,
          "model_hash");
  refuses("sed -i 's/model.norm.weight/model.norn.weight/' model.safetensors", ULY_ERR_DATA,
          "model.norm.weight");
}

/* A checkpoint that is refused before its tensors are read changes nothing. After a failure halfway
 * the weights are those of no step: nothing computes with them until a load succeeds. */
static void test_failed_load(void **state) {
  (void)state;
  uly_train_config config = base_config(ULY_F32);
  config.eval_data = text_path;
  uly_trainer *trainer = make(mesh, &config), *straight = make(mesh, &config);
  steps(trainer, 2);
  assert_ok(uly_trainer_save(trainer, out_dir));
  char path[512], command[2048];
  latest(path);
  double loss = steps(straight, 3);
  assert_fails(uly_trainer_load(straight, "/nowhere"), ULY_ERR_DATA, "/nowhere");
  assert_int_equal(uly_trainer_steps_done(straight), 3);
  steps(straight, 1);
  snprintf(command, sizeof command,
           "cp -r '%s' '%s/damaged' && printf X | dd of='%s/damaged/optimizer.safetensors' bs=1 "
           "seek=4000000 conv=notrunc 2>/dev/null",
           path, out_dir, out_dir);
  if (rank == 0) assert_int_equal(system(command), 0);
  barrier();
  snprintf(command, sizeof command, "%s/damaged", out_dir);
  assert_fails(uly_trainer_load(straight, command), ULY_ERR_DATA, "checksum");
  uly_step_report report = {.size = sizeof report};
  uly_eval_report eval = {.size = sizeof eval};
  assert_fails(uly_trainer_step(straight, &report), ULY_ERR_CONFIG, "load a checkpoint");
  assert_fails(uly_trainer_save(straight, out_dir), ULY_ERR_CONFIG, "load a checkpoint");
  assert_fails(uly_trainer_evaluate(straight, NULL, NULL, &eval), ULY_ERR_CONFIG,
               "load a checkpoint");
  assert_ok(uly_trainer_load(straight, path));
  assert_ok(uly_trainer_evaluate(straight, NULL, NULL, &eval));
  assert_true(steps(straight, 1) == loss);
  uly_trainer_destroy(trainer);
  uly_trainer_destroy(straight);
  remove_scratch_folder(out_dir);
}

/* Numbers of the preset llama-1m: 5 blocks, 4 query and 2 key/value heads of 32 elements, 128
 * wide. */
typedef struct tensor_sums {
  int64_t num, bytes, num_moments;
  bool has_keys;
} tensor_sums;

static void add_tensor(void *user, const uly_tensor_info *tensor) {
  tensor_sums *sums = user;
  int64_t count = 1;
  for (int i = 0; i < tensor->num_dims; i++) count *= tensor->dims[i];
  assert_int_equal(tensor->dtype, ULY_F32);
  assert_int_equal(tensor->bytes, 4 * count);
  sums->num++;
  sums->bytes += tensor->bytes;
  sums->num_moments += strcmp(tensor->file, "optimizer.safetensors") == 0;
  if (strcmp(tensor->name, "model.layers.4.self_attn.k_proj.weight") != 0) return;
  assert_string_equal(tensor->file, "model.safetensors");
  assert_int_equal(tensor->num_dims, 2);
  assert_int_equal(tensor->dims[0], 64);
  assert_int_equal(tensor->dims[1], 128);
  sums->has_keys = true;
}

static void test_info(void **state) {
  (void)state;
  uly_train_config config = base_config(ULY_F32);
  config.seed = 12345678901234567890u;
  uly_trainer *trainer = make(mesh, &config);
  steps(trainer, 2);
  assert_ok(uly_trainer_save(trainer, out_dir));
  uly_trainer_destroy(trainer);
  char path[512];
  latest(path);
  uly_checkpoint_info info = {.size = sizeof info}, verified = {.size = sizeof verified};
  assert_ok(uly_checkpoint_read(path, &info));
  assert_ok(uly_checkpoint_verify(path, &verified));
  assert_int_equal(verified.step, info.step);
  assert_int_equal(verified.num_params, info.num_params);
  assert_int_equal(verified.seq_len, info.seq_len);
  assert_int_equal(verified.window, info.window);
  assert_int_equal(verified.model.hidden, info.model.hidden);
  /* Embedding, which is the head too; of a block two norms, Q and O, K and V, and the MLP; the last
   * norm. */
  int64_t block = 2 * 128 + 2 * 128 * 128 + 2 * 64 * 128 + 3 * 384 * 128;
  int64_t num_params = 257 * 128 + 5 * block + 128;
  assert_int_equal(info.step, 2);
  assert_int_equal(info.num_params, num_params);
  assert_int_equal(info.num_tensors, 3 * (2 + 5 * 9));
  assert_int_equal(info.bytes, 12 * num_params);
  assert_int_equal(info.seq_len, 70);
  assert_int_equal(info.sequences_done, 2);
  assert_true(info.seed == config.seed);
  const uly_model_info *model = &info.model;
  assert_string_equal(model->type, "llama");
  assert_int_equal(model->hidden, 128);
  assert_int_equal(model->ffn, 384);
  assert_int_equal(model->vocab, 257);
  assert_int_equal(model->num_layers, 5);
  assert_int_equal(model->num_q_heads, 4);
  assert_int_equal(model->num_kv_heads, 2);
  assert_int_equal(model->head_dim, 32);
  assert_true(model->rope_theta == 500000);
  assert_true(model->is_gated && model->is_tied && !model->has_layer_norm && !model->has_qkv_bias);
  tensor_sums sums = {0};
  assert_ok(uly_checkpoint_list(path, add_tensor, &sums));
  assert_int_equal(sums.num, info.num_tensors);
  assert_int_equal(sums.bytes, info.bytes);
  assert_int_equal(sums.num_moments, 2 * (2 + 5 * 9));
  assert_true(sums.has_keys);
  assert_fails(uly_checkpoint_read(out_dir, &info), ULY_ERR_DATA, "not a checkpoint");
  assert_fails(uly_checkpoint_list(out_dir, add_tensor, &sums), ULY_ERR_DATA, "not a checkpoint");
  remove_scratch_folder(out_dir);
}

/* What no tensor shows, either. Blocks that follow from the length of the sequence are those that
 * they came to. */
static void test_attention(void **state) {
  (void)state;
  uly_train_config config = base_config(ULY_F32);
  config.window = 33;
  config.pack = 1;
  config.sparse = (uly_sparse){ULY_SPARSE_FIXED, .block = 4, .global = 2, .random = 1};
  uly_trainer *trainer = make(mesh, &config);
  assert_ok(uly_trainer_save(trainer, out_dir));
  uly_trainer_destroy(trainer);
  char path[512];
  latest(path);
  uly_checkpoint_info info = {.size = sizeof info};
  assert_ok(uly_checkpoint_read(path, &info));
  uly_train_config found = default_config();
  uly_checkpoint_apply(&info, &found);
  assert_int_equal(found.window, 33);
  assert_true(found.pack);
  assert_int_equal(found.doc_end, 256); /* of bytes */
  assert_int_equal(found.seq_len, 70);
  assert_int_equal(found.dtype, ULY_F32);
  assert_int_equal(found.seed, config.seed);
  assert_int_equal(found.sparse.pattern, ULY_SPARSE_FIXED);
  assert_int_equal(found.sparse.block, 4);
  assert_int_equal(found.sparse.local, 5); /* the root of 18, upwards */
  assert_int_equal(found.sparse.global, 2);
  assert_int_equal(found.sparse.random, 1);
  remove_scratch_folder(out_dir);
}

/* What the tensors' shapes do not show: another model's configuration beside the same weights. */
static void test_changed_config(void **state) {
  (void)state;
  uly_train_config config = base_config(ULY_F32);
  uly_trainer *trainer = make(mesh, &config);
  assert_ok(uly_trainer_save(trainer, out_dir));
  uly_trainer_destroy(trainer);
  char path[512], command[1024];
  latest(path);
  uly_checkpoint_info info = {.size = sizeof info};
  assert_ok(uly_checkpoint_verify(path, &info));
  snprintf(command, sizeof command,
           "cd '%s' && sed -i 's/\"rope_theta\": 500000/\"rope_theta\": 200000/' config.json && "
           "grep -q 200000 config.json",
           path);
  barrier();
  if (rank == 0) assert_int_equal(system(command), 0);
  barrier();
  assert_fails(uly_checkpoint_verify(path, &info), ULY_ERR_DATA, "config.json");
  assert_fails(uly_checkpoint_read(path, &info), ULY_ERR_DATA, "config.json");
  snprintf(command, sizeof command, "%s/config.json", path);
  config.model = command; /* as somebody would do who believes the changed file */
  trainer = make(mesh, &config);
  assert_fails(uly_trainer_load(trainer, path), ULY_ERR_DATA, "checksum");
  uly_trainer_destroy(trainer);
  remove_scratch_folder(out_dir);
}

/* A save that runs beside a step holds the states as they were when it was started. */
static void test_save_beside_training(void **state) {
  (void)state;
  for (int stage = 0; stage < 4; stage += 3) {
    uly_train_config config = base_config(ULY_F32);
    config.zero_stage = stage;
    uly_trainer *straight = make(mesh, &config), *beside = make(mesh, &config);
    steps(straight, 2);
    steps(beside, 2);
    assert_ok(uly_trainer_save_finish(beside)); /* none under way */
    assert_ok(uly_trainer_save_start(beside, out_dir));
    steps(beside, 1);
    assert_ok(uly_trainer_save_finish(beside));
    assert_ok(uly_trainer_save_start(beside, out_dir)); /* step 3: ended by the next one */
    assert_ok(uly_trainer_save_start(beside, out_dir));
    uly_trainer_destroy(beside); /* abandons it */
    char path[512];
    snprintf(path, sizeof path, "%s/step-0000000002", out_dir);
    barrier();
    uly_trainer *after = make(mesh, &config);
    assert_ok(uly_trainer_load(after, path));
    assert_same_state(straight, after);
    latest(path);
    assert_non_null(strstr(path, "step-0000000003"));
    uly_checkpoint_info info = {.size = sizeof info};
    assert_ok(uly_checkpoint_verify(path, &info));
    assert_int_equal(info.step, 3);
    assert_int_equal(info.num_params, uly_trainer_num_params(after));
    uly_trainer_destroy(straight);
    uly_trainer_destroy(after);
    remove_scratch_folder(out_dir);
  }
}

/* Ranks that load different checkpoints (folders that are not shared) all refuse. */
static void test_different_checkpoints(void **state) {
  (void)state;
  if (uly_mesh_size(mesh) < 2) return;
  uly_train_config config = base_config(ULY_F32);
  uly_trainer *trainer = make(mesh, &config);
  char path[4][512];
  for (int i = 0; i < 3; i++) {
    steps(trainer, 1);
    assert_ok(uly_trainer_save(trainer, out_dir));
    latest(path[i]);
  }
  assert_fails(uly_trainer_load(trainer, path[rank % 3]), ULY_ERR_CONFIG, "checkpoint");
  uly_trainer_destroy(trainer);
  remove_scratch_folder(out_dir);
}

int main(int argc, char **argv) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_resume),
      cmocka_unit_test(test_same_bytes_on_any_ranks),
      cmocka_unit_test(test_checksums),
      cmocka_unit_test(test_old_versions),
      cmocka_unit_test(test_damage),
      cmocka_unit_test(test_failed_load),
      cmocka_unit_test(test_info),
      cmocka_unit_test(test_attention),
      cmocka_unit_test(test_changed_config),
      cmocka_unit_test(test_save_beside_training),
      cmocka_unit_test(test_different_checkpoints),
  };
  begin_checkpoints(&argc, &argv);
  return end_checkpoints(cmocka_run_group_tests(tests, NULL, NULL));
}
