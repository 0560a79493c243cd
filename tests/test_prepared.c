/* Tests that a run makes its matrix products before its first step: oneDNN generates the code of
 * none while a model trains, evaluates or processes a prompt. Random models, lengths and
 * settings. */
#include <unistd.h>

#include "model/passes.h"
#include "testing.h"
#include "trainer_access.h"

enum { NUM_CASES = 16, NUM_TOKENS = 10000 };

static uly_mesh *mesh;
static char data_path[256], config_path[256], out_dir[256];
static bool is_preparing;
static int num_prepared, num_late;

/* dnnl_primitive_create and uly__pass_prepare, through which the linker sends their callers. */
int __real_dnnl_primitive_create(void **primitive, const void *desc);
int __wrap_dnnl_primitive_create(void **primitive, const void *desc);
uly_status __real_uly__pass_prepare(const uly__model *model);
uly_status __wrap_uly__pass_prepare(const uly__model *model);

int __wrap_dnnl_primitive_create(void **primitive, const void *desc) {
  *(is_preparing ? &num_prepared : &num_late) += 1;
  return __real_dnnl_primitive_create(primitive, desc);
}

uly_status __wrap_uly__pass_prepare(const uly__model *model) {
  is_preparing = true;
  uly_status status = __real_uly__pass_prepare(model);
  is_preparing = false;
  return status;
}

static int draw(int begin, int end) { return begin + rand() % (end - begin); }

/* Writes a random model that ranks can share. */
static void write_model(void) {
  char text[1024];
  int kv_heads = draw(1, 4), heads = kv_heads * uly_mesh_sp(mesh) * draw(1, 3);
  int vocab = draw(0, 4) == 0 ? 8300 : draw(257, 300);
  if (draw(0, 3) == 0)
    snprintf(text, sizeof text,
             "{\"model_type\":\"gpt2\",\"n_embd\":%d,\"n_layer\":2,\"n_head\":%d,"
             "\"n_positions\":4096,\"vocab_size\":%d}",
             heads * draw(2, 20), heads, vocab);
  else
    snprintf(text, sizeof text,
             "{\"model_type\":\"%s\",\"hidden_size\":%d,\"intermediate_size\":%d,"
             "\"num_hidden_layers\":2,\"num_attention_heads\":%d,\"num_key_value_heads\":%d,"
             "\"head_dim\":%d,\"vocab_size\":%d,\"max_position_embeddings\":4096,"
             "\"tie_word_embeddings\":%s}",
             draw(0, 2) ? "llama" : "qwen2", draw(1, 300), draw(1, 600), heads, kv_heads,
             2 * draw(1, 20), vocab, draw(0, 2) ? "true" : "false");
  if (uly_mesh_rank(mesh) == 0) {
    FILE *file = fopen(config_path, "w");
    assert_non_null(file);
    fputs(text, file);
    assert_int_equal(fclose(file), 0);
  }
  assert_ok(uly_mesh_agree(mesh, ULY_OK));
}

static uly_train_config draw_config(void) {
  uly_train_config config = default_config();
  config.model = config_path;
  config.data = config.eval_data = data_path;
  config.eval_windows = 1;
  config.seq_len = draw(uly_mesh_sp(mesh) * 2, 1600);
  config.batch = draw(1, 3);
  config.dtype = draw(0, 2) ? ULY_F32 : ULY_BF16;
  config.recompute = (uly_recompute)draw(0, 3);
  config.zero_stage = draw(0, 4);
  config.reproducible = (uly_mesh_sp(mesh) & (uly_mesh_sp(mesh) - 1)) == 0 && draw(0, 3) == 0;
  if (config.reproducible) config.seq_len += 64;
  config.threads = 1;
  config.steps = 2;
  config.warmup = 1;
  return config;
}

static void generate(const char *checkpoint, int count) {
  uly_train_config config = default_config();
  config.threads = 1;
  int32_t prompt[300];
  for (int i = 0; i < count; i++) prompt[i] = draw(0, 256);
  uly_generator *generator;
  assert_ok(uly_generator_create(mesh, &config, checkpoint, prompt, count, 4, &generator));
  uly_generator_destroy(generator);
}

static void test_no_product_in_a_step(void **state) {
  (void)state;
  for (int i = 0; i < NUM_CASES; i++) {
    srand((unsigned)i + 1); /* 0 draws what 1 does */
    write_model();
    uly_train_config config = draw_config();
    int before = num_prepared;
    uly_trainer *trainer;
    assert_ok(uly_trainer_create(mesh, &config, &trainer));
    assert_true(num_prepared > before);
    uly_step_report report = {.size = sizeof report};
    for (int step = 0; step < 2; step++) assert_ok(uly_trainer_step(trainer, &report));
    (void)eval_loss(trainer);
    assert_int_equal(num_late, 0);
    char checkpoint[512];
    if (i % 4 == 0) assert_ok(uly_trainer_save(trainer, out_dir));
    uly_trainer_destroy(trainer);
    if (i % 4 != 0) continue;
    assert_ok(uly_checkpoint_latest(out_dir, checkpoint, sizeof checkpoint));
    generate(checkpoint, draw(1, 300));
    assert_int_equal(num_late, 0);
    remove_scratch_folder(out_dir);
  }
}

int main(int argc, char **argv) {
  begin_ranks(&argc, &argv, &mesh);
  /* A shard: 256 integers, then tokens of 16 bits. */
  static uint16_t shard[512 + NUM_TOKENS];
  int32_t header[3] = {20240520, 1, NUM_TOKENS};
  memcpy(shard, header, sizeof header);
  for (int i = 0; i < NUM_TOKENS; i++) shard[512 + i] = (uint16_t)(i * i % 101);
  write_scratch_file(data_path, "prepared.bin", shard, sizeof shard);
  write_scratch_file(config_path, "prepared.json", "", 0);
  name_scratch_folder(out_dir, "prepared-out");
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_no_product_in_a_step)};
  int failed = cmocka_run_group_tests(tests, NULL, NULL);
  remove_scratch_file(data_path);
  remove_scratch_file(config_path);
  return end_ranks(mesh, failed);
}
