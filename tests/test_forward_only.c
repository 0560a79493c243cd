/* Tests runs that only evaluate: the losses are those of the run that trains, to the bit, in both
 * storage types, with all weights or a share of them on each rank; memory is what the plan says,
 * and all of it is used; what was sent is what the plan says; the optimizer's file is not needed;
 * steps and saves are refused. */
#include <unistd.h>

#include "testing.h"
#include "train/trainer.h"

static uly_mesh *mesh;
static int rank;
static char text_path[256], config_path[256], out_dir[256];

enum { N = 1024 };

static uly_train_config base_config(uly_dtype dtype, int stage) {
  uly_train_config config = default_config();
  config.model = config_path;
  config.eval_data = text_path;
  config.seq_len = N;
  config.dtype = dtype;
  config.zero_stage = stage;
  config.window = 300;
  config.threads = 1;
  return config;
}

/* Trains, evaluates and saves. */
static void train(uly_dtype dtype, uly_eval_report *eval, char checkpoint[512]) {
  uly_train_config config = base_config(dtype, 1);
  config.data = text_path;
  uly_trainer *trainer;
  uly_step_report report = {.size = sizeof report};
  assert_ok(uly_trainer_create(mesh, &config, &trainer));
  for (int i = 0; i < 3; i++) assert_ok(uly_trainer_step(trainer, &report));
  assert_ok(uly_trainer_evaluate(trainer, NULL, NULL, eval));
  remove_scratch_folder(out_dir);
  assert_ok(uly_trainer_save(trainer, out_dir));
  assert_ok(uly_checkpoint_latest(out_dir, checkpoint, 512));
  uly_trainer_destroy(trainer);
}

/* Bytes of an arena that still hold `fill`. */
static int64_t count_untouched(const uly__arena *arena, unsigned char fill) {
  int64_t count = 0;
  for (int64_t i = 0; i < arena->peak; i++) count += (unsigned char)arena->base[i] == fill;
  return count;
}

static void check(uly_dtype dtype, int stage) {
  char checkpoint[512], optimizer[600];
  uly_eval_report expected = {.size = sizeof expected}, found = {.size = sizeof found};
  train(dtype, &expected, checkpoint);
  snprintf(optimizer, sizeof optimizer, "%s/optimizer.safetensors", checkpoint);
  if (rank == 0) assert_int_equal(unlink(optimizer), 0);
  uly_train_config config = base_config(dtype, stage);
  config.forward_only = 1;
  uly_trainer *trainer;
  assert_ok(uly_trainer_create(mesh, &config, &trainer));
  assert_fails(uly_trainer_evaluate(trainer, NULL, NULL, &found), ULY_ERR_CONFIG, "no weights");
  assert_ok(uly_trainer_load(trainer, checkpoint));
  assert_int_equal(uly_trainer_steps_done(trainer), 3);

  /* A plan's numbers are those of the run. */
  uly_plan_report plan = {.size = sizeof plan};
  uly_mesh *offline;
  uly_mesh_desc desc = {.size = sizeof desc, .sp = uly_mesh_sp(mesh)};
  assert_ok(uly_mesh_create_offline(&desc, rank, &offline));
  assert_ok(uly_plan(offline, &config, &plan));
  uly_mesh_destroy(offline);
  for (int i = 0; i < ULY_NUM_ARENAS; i++)
    assert_int_equal(plan.arena_bytes[i], uly__run_arena_bytes(&trainer->run, (uly_arena)i));
  assert_int_equal(plan.arena_bytes[ULY_ARENA_GRADIENTS], 0);
  assert_int_equal(plan.arena_bytes[ULY_ARENA_OPTIMIZER], 0);

  uly__arena *used[2] = {&trainer->run.arenas[ULY_ARENA_ACTIVATIONS],
                         &trainer->run.arenas[ULY_ARENA_SCRATCH]};
  /* Before x lie the angles of positions, which are made when the run is. */
  char *x = trainer->run.model->stash.chunks[0].inputs[0];
  memset(x, 0xa5, (size_t)(used[0]->base + used[0]->peak - x));
  memset(used[1]->base, 0xa5, (size_t)used[1]->peak);
  /* The workspace of products is for larger ones than these. */
  uly__model *model = trainer->run.model;
  memset(model->work.matmul, 0, (size_t)model->ops->matmul_bytes(model->dtype, model->threads));
  int64_t before[ULY_NUM_TRAFFIC];
  memcpy(before, mesh->traffic.bytes, sizeof before);
  assert_ok(uly_trainer_evaluate(trainer, NULL, NULL, &found));
  for (int i = 0; i < ULY_NUM_TRAFFIC; i++)
    assert_int_equal(mesh->traffic.bytes[i] - before[i], plan.sent_bytes[i]);
  /* By chance a byte in 256 has this value; tiles and shards are rounded up. */
  for (int i = 0; i < 2; i++)
    if (count_untouched(used[i], 0xa5) > used[i]->peak / 50)
      fail_msg("dtype %d, stage %d: %lld of %lld bytes of %s are not used", (int)dtype, stage,
               (long long)count_untouched(used[i], 0xa5), (long long)used[i]->peak, used[i]->name);
  assert_true(found.loss == expected.loss);
  assert_int_equal(found.tokens, N);
  assert_int_equal(found.num_bins, expected.num_bins);
  for (int i = 0; i < found.num_bins; i++) {
    assert_int_equal(found.bins[i].tokens, expected.bins[i].tokens);
    assert_true(found.bins[i].loss == expected.bins[i].loss);
  }
  uly_step_report report = {.size = sizeof report};
  assert_fails(uly_trainer_step(trainer, &report), ULY_ERR_CONFIG, "neither train nor save");
  assert_fails(uly_trainer_save(trainer, out_dir), ULY_ERR_CONFIG, "neither train nor save");
  assert_fails(uly_trainer_save_start(trainer, out_dir), ULY_ERR_CONFIG, "neither train nor save");
  uly_trainer_destroy(trainer);
}

static void test_losses(void **state) {
  (void)state;
  check(ULY_F32, 0);
  check(ULY_BF16, 0);
  check(ULY_F32, 3);
  check(ULY_BF16, 3);
}

/* The weights, and nothing that only training needs. */
static void test_memory(void **state) {
  (void)state;
  uly_mesh *offline;
  uly_plan_report plan = {.size = sizeof plan}, training = {.size = sizeof training};
  for (int dtype = 0; dtype < 2; dtype++)
    for (int stage = 0; stage <= 3; stage += 3) {
      uly_train_config config = base_config((uly_dtype)dtype, stage);
      config.model = "gpt2-124m";
      config.recompute = ULY_RECOMPUTE_FULL;
      int64_t sizes[2] = {1, 4};
      for (int i = 0; i < 2; i++) {
        assert_ok(uly_mesh_create_offline(MESH(.sp = (int)sizes[i]), 0, &offline));
        config.forward_only = 0;
        assert_ok(uly_plan(offline, &config, &training));
        config.forward_only = 1;
        assert_ok(uly_plan(offline, &config, &plan));
        uly_mesh_destroy(offline);
        int64_t weights = 124439808 * (dtype == ULY_BF16 ? 2 : 4) / (stage == 3 ? sizes[i] : 1);
        assert_true(plan.arena_bytes[ULY_ARENA_PARAMETERS] >= weights);
        assert_true(plan.arena_bytes[ULY_ARENA_PARAMETERS] <= weights / 100 * 101);
        assert_true(plan.arena_bytes[ULY_ARENA_ACTIVATIONS] * 6 <
                    training.arena_bytes[ULY_ARENA_ACTIVATIONS]);
        assert_true(plan.arena_bytes[ULY_ARENA_SCRATCH] < training.arena_bytes[ULY_ARENA_SCRATCH]);
        assert_true(plan.flops * 2.9 < training.flops && plan.flops * 3.1 > training.flops);
      }
    }
}

static void test_refusals(void **state) {
  (void)state;
  uly_trainer *trainer;
  uly_train_config config = base_config(ULY_F32, 0);
  config.forward_only = 1;
  config.zero_stage = 2;
  assert_fails(uly_trainer_create(mesh, &config, &trainer), ULY_ERR_CONFIG,
               "config.zero_stage is 2");
  config.zero_stage = 0;
  config.stash = "/tmp";
  assert_fails(uly_trainer_create(mesh, &config, &trainer), ULY_ERR_CONFIG, "stash");
  config.stash = NULL;
  config.memory_limit = 1000;
  assert_fails(uly_trainer_create(mesh, &config, &trainer), ULY_ERR_CONFIG, "needs");
}

int main(int argc, char **argv) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_losses),
      cmocka_unit_test(test_memory),
      cmocka_unit_test(test_refusals),
  };
  static const char model[] =
      "{\"model_type\":\"llama\",\"hidden_size\":64,\"intermediate_size\":144,"
      "\"num_hidden_layers\":3,\"num_attention_heads\":8,\"num_key_value_heads\":2,"
      "\"head_dim\":8,\"vocab_size\":257,\"max_position_embeddings\":4096}";
  begin_ranks(&argc, &argv, &mesh);
  rank = uly_mesh_rank(mesh);
  write_scratch_text(text_path, "forward.txt", N + 200);
  write_scratch_file(config_path, "forward.json", model, strlen(model));
  name_scratch_folder(out_dir, "forward-out");
  int failed = cmocka_run_group_tests(tests, NULL, NULL);
  remove_scratch_folder(out_dir);
  remove_scratch_file(text_path);
  remove_scratch_file(config_path);
  return end_ranks(mesh, failed);
}
