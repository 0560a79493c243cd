/* Tests a step that is not finite: all ranks name the same place where it arose; the run can skip
 * the step or go back. Numbers overflow at a known place, because of weights that are finite
 * themselves, or not. */
#include <math.h>
#include <unistd.h>

#include "testing.h"
#include "trainer_access.h"

enum { SEQ_LEN = 96, TEXT_BYTES = 4000 };

static uly_mesh *mesh;
static char text_path[256], model_path[256], out_dir[256];

static const char model_json[] =
    "{\"model_type\":\"llama\",\"hidden_size\":32,\"intermediate_size\":48,\"num_hidden_layers\":3,"
    "\"num_attention_heads\":8,\"num_key_value_heads\":4,\"head_dim\":4,\"vocab_size\":257,"
    "\"max_position_embeddings\":4096,\"tie_word_embeddings\":false}";

static uly_trainer *make(int stage, uly_recompute recompute, uly_dtype dtype, int64_t batch) {
  uly_train_config config = default_config();
  config.model = model_path;
  config.data = text_path;
  config.seq_len = SEQ_LEN;
  config.steps = 20;
  config.warmup = 0;
  config.batch = batch * uly_mesh_dp(mesh);
  config.zero_stage = stage;
  config.recompute = recompute;
  config.dtype = dtype;
  config.threads = 1;
  uly_trainer *trainer;
  assert_ok(uly_trainer_create(mesh, &config, &trainer));
  return trainer;
}

static int find_param(const uly_trainer *trainer, const char *name) {
  const uly__params *params = &trainer->run.model->params;
  for (int i = 0; i < params->num; i++)
    if (strcmp(params->list[i].name, name) == 0) return i;
  fail_msg("no tensor %s", name);
  return -1;
}

/* Every weight of a tensor becomes value; returns what it was. */
static float *fill(uly_trainer *trainer, const char *name, float value) {
  int param = find_param(trainer, name);
  int64_t count = trainer->run.model->params.list[param].count;
  float *before = malloc((size_t)count * 4), *after = malloc((size_t)count * 4);
  get_state(trainer, ULY_STATE_MASTER, param, before);
  for (int64_t i = 0; i < count; i++) after[i] = value;
  set_weight(trainer, param, after);
  assert_ok(uly__weights_from_master(trainer->run.model, &trainer->run.states));
  free(after);
  return before;
}

static void restore(uly_trainer *trainer, const char *name, float *before) {
  set_weight(trainer, find_param(trainer, name), before);
  assert_ok(uly__weights_from_master(trainer->run.model, &trainer->run.states));
  free(before);
}

/* The step fails, and says so and where; with the weight as it was, training goes on. */
static void check_place(uly_trainer *trainer, const char *name, float value, const char *where) {
  uly_step_report report = {.size = sizeof report};
  float *before = fill(trainer, name, value);
  assert_fails(uly_trainer_step(trainer, &report), ULY_ERR_NONFINITE, where);
  assert_false(isfinite(report.loss) && isfinite(report.grad_norm));
  assert_true(report.tokens > 0 && report.peak_bytes > 0);
  restore(trainer, name, before);
  assert_ok(uly_trainer_step(trainer, &report));
  assert_true(isfinite(report.loss) && isfinite(report.grad_norm));
}

static void check_places(int stage, uly_recompute recompute, uly_dtype dtype, int64_t batch) {
  uly_trainer *trainer = make(stage, recompute, dtype, batch);
  check_place(
      trainer, "model.layers.1.self_attn.v_proj.weight", INFINITY,
      "the weight model.layers.1.self_attn.v_proj.weight was already not finite in the weights "
      "that the run began with");
  check_place(trainer, "model.embed_tokens.weight", NAN,
              "the weight model.embed_tokens.weight has not been finite since");
  check_place(trainer, "model.layers.1.self_attn.k_proj.weight", 3e38f,
              "query, key or value of block 1, of token 0 of the sequence, is");
  check_place(trainer, "model.layers.2.mlp.up_proj.weight", 3e38f,
              "the inner activation of the MLP of block 2");
  float *values = fill(trainer, "model.layers.0.self_attn.v_proj.weight", 1.0f);
  check_place(trainer, "model.layers.0.self_attn.o_proj.weight", 3e38f,
              "the residual stream after attention of block 0");
  restore(trainer, "model.layers.0.self_attn.v_proj.weight", values);
  check_place(trainer, "lm_head.weight", 3e38f, "a logit");
  uly_trainer_destroy(trainer);
}

static void test_places(void **state) {
  (void)state;
  check_places(0, ULY_RECOMPUTE_NONE, ULY_F32, 1);
  check_places(1, ULY_RECOMPUTE_KEEP_ATTENTION, ULY_F32, 2);
  check_places(2, ULY_RECOMPUTE_FULL, ULY_F32, 1);
  check_places(3, ULY_RECOMPUTE_FULL, ULY_BF16, 2);
}

/* Several micro-batches on the stages of a pipeline, whatever their order: the message names the
 * stage on which a number first is not finite, although later stages see such numbers too. */
static void test_stages(void **state) {
  (void)state;
  uly_mesh *whole = mesh;
  int pp = uly_world_size() == 3 ? 3 : 2;
  if (uly_world_size() == 1) return;
  assert_ok(uly_mesh_create(MESH(.pp = pp), &mesh));
  check_places(0, ULY_RECOMPUTE_NONE, ULY_F32, 5);
  check_places(3, ULY_RECOMPUTE_FULL, ULY_BF16, 2);
  uly_trainer *trainer = make(1, ULY_RECOMPUTE_KEEP_ATTENTION, ULY_F32, 4);
  check_place(trainer, "model.layers.0.self_attn.k_proj.weight", 3e38f, "(stage 0 of the pipeline");
  char last[64];
  snprintf(last, sizeof last, "(stage %d of the pipeline", pp - 1);
  check_place(trainer, "lm_head.weight", 3e38f, last);
  uly_trainer_destroy(trainer);
  uly_mesh_destroy(mesh);
  mesh = whole;
}

/* Returns a byte of the second window that the first does not have. */
static int find_byte(int64_t first, int64_t second) {
  static char text[TEXT_BYTES];
  int found = -1;
  FILE *file = fopen(text_path, "rb");
  assert_non_null(file);
  assert_int_equal(fread(text, 1, TEXT_BYTES, file), TEXT_BYTES);
  fclose(file);
  for (int t = 0; t < SEQ_LEN && found < 0; t++) {
    char byte = text[second * SEQ_LEN + t];
    if (!memchr(text + first * SEQ_LEN, byte, SEQ_LEN)) found = (unsigned char)byte;
  }
  assert_true(found >= 0);
  return found;
}

/* Sets the first column of a matrix, and returns all its weights. */
static float *set_column(uly_trainer *trainer, const char *name, float value) {
  int param = find_param(trainer, name);
  const uly__param *p = &trainer->run.model->params.list[param];
  float *values = malloc((size_t)p->count * sizeof *values);
  get_state(trainer, ULY_STATE_MASTER, param, values);
  for (int64_t row = 0; row < p->dims[0]; row++) values[row * p->dims[1]] = value;
  set_weight(trainer, param, values);
  return values;
}

/* The logits of the first micro-batch overflow, and the keys of block 0 in the second, whose place
 * in a pass is earlier: only a token of the second has the feature that they overflow with. The
 * first micro-batch counts, also where a stage sees the second one before. */
static void check_first(void) {
  uly_trainer *trainer = make(0, ULY_RECOMPUTE_NONE, ULY_F32, 2);
  const char *embed = "model.embed_tokens.weight";
  uly__batch_choose(trainer);
  int byte = find_byte(trainer->run.order[0], trainer->run.order[1]);
  float *values = set_column(trainer, embed, 0);
  values[byte * trainer->run.model->config.hidden] = 1;
  set_weight(trainer, find_param(trainer, embed), values);
  free(values);
  free(set_column(trainer, "model.layers.0.self_attn.k_proj.weight", 3e38f));
  uly_step_report report = {.size = sizeof report};
  assert_ok(uly__weights_from_master(trainer->run.model, &trainer->run.states));
  assert_fails(uly_trainer_step(trainer, &report), ULY_ERR_NONFINITE, "query, key or value of");
  free(fill(trainer, "lm_head.weight", 3e38f));
  assert_fails(uly_trainer_step(trainer, &report), ULY_ERR_NONFINITE, "a logit");
  uly_trainer_destroy(trainer);
}

static void test_first_micro_batch(void **state) {
  (void)state;
  uly_mesh *all = mesh;
  for (int pp = 1; pp <= 3; pp++) {
    if (uly_world_size() % pp != 0) continue;
    assert_ok(uly_mesh_create(MESH(.pp = pp), &mesh));
    check_first();
    uly_mesh_destroy(mesh);
  }
  mesh = all;
}

/* A forward pass that is finite, and a gradient that is not: the inner activations are 0, so it
 * does not show that what follows them is enormous. */
static void test_backward(void **state) {
  (void)state;
  for (int stage = 0; stage < 4; stage++) {
    uly_trainer *trainer = make(stage, (uly_recompute)(stage % 3), ULY_F32, 1);
    float *norm = fill(trainer, "model.layers.2.post_attention_layernorm.weight", 1e3f);
    float *up = fill(trainer, "model.layers.2.mlp.up_proj.weight", 0.0f);
    check_place(trainer, "model.layers.2.mlp.down_proj.weight", 1e36f,
                "the gradient of model.layers.2.mlp.up_proj.weight is");
    free(norm);
    free(up);
    uly_trainer_destroy(trainer);
  }
}

static void test_skip(void **state) {
  (void)state;
  uly_step_report report = {.size = sizeof report};
  uly_trainer *trainer = make(1, ULY_RECOMPUTE_FULL, ULY_F32, 2);
  assert_fails(uly_trainer_skip(trainer, &report), ULY_ERR_CONFIG, "no step to skip");
  assert_ok(uly_trainer_step(trainer, &report));
  assert_fails(uly_trainer_skip(trainer, &report), ULY_ERR_CONFIG, "no step to skip");
  float *before = fill(trainer, "lm_head.weight", NAN);
  assert_int_equal(uly_trainer_step(trainer, &report), ULY_ERR_NONFINITE);
  assert_ok(uly_trainer_skip(trainer, &report));
  assert_true(report.is_skipped && report.step == 2);
  assert_int_equal(uly_trainer_steps_done(trainer), 2);
  assert_int_equal(trainer->windows_done, 2 * 2 * uly_mesh_dp(mesh));
  assert_fails(uly_trainer_skip(trainer, &report), ULY_ERR_CONFIG, "no step to skip");
  restore(trainer, "lm_head.weight", before);
  /* The same run with nothing wrong, whose second step is passed over by hand. */
  uly_trainer *other = make(1, ULY_RECOMPUTE_FULL, ULY_F32, 2);
  uly_step_report expected = {.size = sizeof expected};
  assert_ok(uly_trainer_step(other, &expected));
  other->steps_done = 2;
  other->windows_done = trainer->windows_done;
  assert_ok(uly_trainer_step(trainer, &report));
  assert_ok(uly_trainer_step(other, &expected));
  assert_true(report.loss == expected.loss && report.grad_norm == expected.grad_norm);
  assert_int_equal(report.step, 3);
  assert_false(report.is_skipped);
  uly_trainer_destroy(other);
  uly_trainer_destroy(trainer);
}

static void test_rollback(void **state) {
  (void)state;
  uly_step_report report = {.size = sizeof report}, expected = {.size = sizeof expected};
  char dir[512];
  uly_trainer *trainer = make(2, ULY_RECOMPUTE_NONE, ULY_F32, 1);
  assert_fails(uly_trainer_rollback(trainer, "nowhere"), ULY_ERR_CONFIG, "no step to go back from");
  assert_ok(uly_trainer_step(trainer, &report));
  assert_ok(uly_trainer_save(trainer, out_dir));
  assert_ok(uly_trainer_step(trainer, &report));
  float *before = fill(trainer, "lm_head.weight", INFINITY);
  assert_int_equal(uly_trainer_step(trainer, &report), ULY_ERR_NONFINITE);
  free(before);
  snprintf(dir, sizeof dir, "%s/step-0000000001", out_dir);
  assert_ok(uly_trainer_rollback(trainer, dir));
  assert_int_equal(uly_trainer_steps_done(trainer), 1);
  assert_int_equal(trainer->windows_done, 3 * uly_mesh_dp(mesh));
  uly_trainer *other = make(2, ULY_RECOMPUTE_NONE, ULY_F32, 1);
  assert_ok(uly_trainer_load(other, dir));
  other->windows_done = trainer->windows_done;
  assert_ok(uly_trainer_step(trainer, &report));
  assert_ok(uly_trainer_step(other, &expected));
  assert_true(report.step == 2 && report.loss == expected.loss);
  assert_true(report.grad_norm == expected.grad_norm);
  /* A load is no rollback, and leaves nothing to skip. */
  free(fill(trainer, "lm_head.weight", INFINITY));
  assert_int_equal(uly_trainer_step(trainer, &report), ULY_ERR_NONFINITE);
  assert_ok(uly_trainer_load(trainer, dir));
  assert_fails(uly_trainer_skip(trainer, &report), ULY_ERR_CONFIG, "no step to skip");
  uly_trainer_destroy(other);
  uly_trainer_destroy(trainer);
}

int main(int argc, char **argv) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_places),
      cmocka_unit_test(test_stages),
      cmocka_unit_test(test_first_micro_batch),
      cmocka_unit_test(test_backward),
      cmocka_unit_test(test_skip),
      cmocka_unit_test(test_rollback),
  };
  begin_ranks(&argc, &argv, NULL);
  int dp = uly_world_size() % 4 == 0 ? 2 : 1;
  if (uly_mesh_create(MESH(.dp = dp), &mesh) != ULY_OK) return 1;
  write_scratch_text(text_path, "nonfinite.txt", TEXT_BYTES);
  write_scratch_file(model_path, "nonfinite.json", model_json, sizeof model_json - 1);
  name_scratch_folder(out_dir, "nonfinite-out");
  int failed = cmocka_run_group_tests(tests, NULL, NULL);
  remove_scratch_folder(out_dir);
  remove_scratch_file(text_path);
  remove_scratch_file(model_path);
  return end_ranks(mesh, failed);
}
