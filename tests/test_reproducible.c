/* Tests the same bits on any number of ranks: losses, gradient norms and every state after some
 * steps equal those of one rank alone (each rank repeats the run on MPI_COMM_SELF), for every mesh
 * of this number of ranks, every ZeRO stage, recompute policy and storage type, 1 and 2 threads,
 * and across a change of ranks in between. */
#include <mpi.h>

#include <omp.h>
#include <unistd.h>

#include "testing.h"
#include "trainer_access.h"

enum { NUM_STEPS = 3, NUM_MODELS = 6 };

static int size;
static char text_path[256], config_path[NUM_MODELS][256];

static const char *const configs[NUM_MODELS] = {
    /* 12 query heads in 8 groups of 1 or 2; 4 key/value heads that groups share */
    ("{\"model_type\":\"llama\",\"hidden_size\":48,\"intermediate_size\":80,"
     "\"num_hidden_layers\":3,\"num_attention_heads\":12,\"num_key_value_heads\":4,\"head_dim\":8,"
     "\"vocab_size\":257,\"max_position_embeddings\":4096,\"tie_word_embeddings\":false}"),
    ("{\"model_type\":\"qwen3\",\"hidden_size\":32,\"intermediate_size\":48,"
     "\"num_hidden_layers\":1,\"num_attention_heads\":8,\"num_key_value_heads\":1,"
     "\"head_dim\":4,\"attention_bias\":true,\"vocab_size\":257,\"max_position_embeddings\":4096,"
     "\"tie_word_embeddings\":true}"),
    ("{\"model_type\":\"gpt2\",\"n_embd\":40,\"n_layer\":2,\"n_head\":10,\"n_positions\":1024,"
     "\"vocab_size\":257}"),
    /* for the stages of a pipeline */
    ("{\"model_type\":\"llama\",\"hidden_size\":24,\"intermediate_size\":40,"
     "\"num_hidden_layers\":5,\"num_attention_heads\":8,\"num_key_value_heads\":4,\"head_dim\":4,"
     "\"vocab_size\":257,\"max_position_embeddings\":4096,\"tie_word_embeddings\":false}"),
    ("{\"model_type\":\"qwen3\",\"hidden_size\":32,\"intermediate_size\":48,"
     "\"num_hidden_layers\":4,\"num_attention_heads\":8,\"num_key_value_heads\":1,\"head_dim\":6,"
     "\"use_sliding_window\":true,\"sliding_window\":50,\"max_window_layers\":3,"
     "\"vocab_size\":257,\"max_position_embeddings\":4096,\"tie_word_embeddings\":true}"),
    ("{\"model_type\":\"gpt2\",\"n_embd\":24,\"n_layer\":4,\"n_head\":8,\"n_positions\":1024,"
     "\"vocab_size\":257}"),
};

typedef struct setting {
  int which, dp, pp, chunks, stage, threads;
  int64_t N, batch, window;
  uly_sparse_pattern pattern;
  uly_dtype dtype;
  uly_recompute recompute;
} setting;

static uly_trainer *make(uly_mesh *mesh, const setting *s) {
  uly_train_config config = default_config();
  config.model = config_path[s->which];
  config.data = config.eval_data = text_path;
  config.eval_windows = 5;
  config.seq_len = s->N;
  config.window = s->window;
  if (s->pattern != ULY_SPARSE_NONE)
    config.sparse =
        (uly_sparse){.pattern = s->pattern, .block = 7, .local = 2, .global = 1, .random = 2};
  config.steps = 20;
  config.warmup = 2;
  config.batch = s->batch;
  config.dtype = s->dtype;
  config.recompute = s->recompute;
  config.threads = 1;
  config.zero_stage = s->stage;
  config.reproducible = 1;
  config.pp_chunks = s->chunks > 0 && uly_mesh_pp(mesh) > 1 ? s->chunks : 1;
  uly_trainer *trainer;
  assert_ok(uly_trainer_create(mesh, &config, &trainer));
  return trainer;
}

static void compare_states(uly_trainer *a, uly_trainer *b, const setting *s) {
  for (int i = 0; i < a->run.model->params.num; i++)
    for (int which = 0; which < ULY_NUM_STATES; which++) {
      size_t bytes = (size_t)a->run.model->params.list[i].count * 4;
      float *sa = malloc(bytes), *sb = malloc(bytes);
      get_state(a, (uly__state)which, i, sa);
      get_state(b, (uly__state)which, i, sb);
      if (memcmp(sa, sb, bytes) != 0)
        fail_msg("model %d, dp %d, pp %d of %d ranks, stage %d, N %lld: state %d of %s differs",
                 s->which, s->dp, s->pp, size, s->stage, (long long)s->N, which,
                 a->run.model->params.list[i].name);
      free(sa);
      free(sb);
    }
}

/* What one rank alone gives; it depends on neither mesh nor stage nor policy. */
typedef struct reference {
  uly_mesh *mesh;
  uly_trainer *trainer;
  double losses[NUM_STEPS], norms[NUM_STEPS], eval_loss;
} reference;

static void run_alone(setting s, reference *r) {
  s.stage = 0;
  s.recompute = ULY_RECOMPUTE_NONE;
  assert_ok(uly_mesh_create_mpi(MPI_COMM_SELF, NULL, &r->mesh));
  r->trainer = make(r->mesh, &s);
  for (int step = 0; step < NUM_STEPS; step++) {
    uly_step_report report = {.size = sizeof report};
    assert_ok(uly_trainer_step(r->trainer, &report));
    r->losses[step] = report.loss;
    r->norms[step] = report.grad_norm;
  }
  r->eval_loss = eval_loss(r->trainer);
}

static void compare(const setting *s, const reference *alone) {
  uly_mesh *mesh;
  assert_ok(uly_mesh_create(MESH(.dp = s->dp, .pp = s->pp), &mesh));
  uly_trainer *trainer = make(mesh, s);
  omp_set_num_threads(s->threads);
  for (int step = 0; step < NUM_STEPS; step++) {
    uly_step_report report = {.size = sizeof report};
    assert_ok(uly_trainer_step(trainer, &report));
    if (report.loss != alone->losses[step] || report.grad_norm != alone->norms[step])
      fail_msg(
          "model %d, dp %d, pp %d of %d ranks, stage %d, N %lld, step %d: loss %.17g and norm "
          "%.17g, "
          "alone %.17g and %.17g",
          s->which, s->dp, s->pp, size, s->stage, (long long)s->N, step + 1, report.loss,
          report.grad_norm, alone->losses[step], alone->norms[step]);
  }
  assert_true(eval_loss(trainer) == alone->eval_loss);
  omp_set_num_threads(1);
  compare_states(trainer, alone->trainer, s);
  uly_trainer_destroy(trainer);
  uly_mesh_destroy(mesh);
}

/* All meshes of this many ranks; stages, policies and thread counts in turn, so that together the
 * models see them all. */
static void check(setting s, int max_dp, int turn) {
  reference alone;
  run_alone(s, &alone);
  for (s.dp = 1; s.dp <= max_dp; s.dp *= 2)
    for (int i = 0; i < 2; i++, turn++) {
      s.stage = turn % 4;
      s.recompute = (uly_recompute)(turn % 3);
      s.threads = 1 + (turn / 2) % 2;
      compare(&s, &alone);
    }
  uly_trainer_destroy(alone.trainer);
  uly_mesh_destroy(alone.mesh);
}

static void test_every_mesh(void **state) {
  (void)state;
  int turn = 0;
  for (int which = 0; which < 3; which++)
    for (int dtype = 0; dtype < 2; dtype++, turn++) {
      if (has_few_cases() && dtype != which % 2) continue;
      check((setting){.which = which,
                      .N = (which + dtype) % 2 ? 203 : 64,
                      .batch = size,
                      .dtype = (uly_dtype)dtype},
            size, turn);
    }
}

/* Checks the stages of a pipeline, alone and with dp and sp: a boundary changes no sum. The models
 * have an untied head, a tied one, and a tied one with learned positions. */
static void check_pipeline(int which, int pp, int chunks, int64_t batch, int turn) {
  setting s = {.which = which,
               .pp = pp,
               .chunks = chunks,
               .N = turn % 2 ? 203 : 64,
               .batch = batch,
               .dtype = (uly_dtype)(turn / 2 % 2)};
  reference alone;
  run_alone(s, &alone);
  for (s.dp = 1; s.dp <= size / pp; s.dp *= 2) {
    s.stage = turn % 4;
    s.recompute = (uly_recompute)(turn % 3);
    s.threads = 1;
    compare(&s, &alone);
    turn++;
  }
  uly_trainer_destroy(alone.trainer);
  uly_mesh_destroy(alone.mesh);
}

static void test_pipeline(void **state) {
  (void)state;
  int turn = 0;
  for (int pp = 2; pp <= size && pp <= 4; pp *= 2)
    for (int which = 3; which < NUM_MODELS; which++, turn++) {
      if (has_few_cases() && which == 3) continue; /* the others are tied */
      check_pipeline(which, pp, 1, (int64_t)(which - 1) * size, turn);
      if (pp == 2) check_pipeline(which, pp, 2, size * (1 + turn % 3), turn + 1);
    }
}

/* Counts of passes that are no power of two. */
static void test_odd_batches(void **state) {
  (void)state;
  for (int passes = 3; passes <= 5; passes += 2)
    check((setting){.which = passes % 3, .N = 77, .batch = passes * 2}, size < 2 ? size : 2,
          passes);
}

/* Heads that draw their own blocks, in head groups. */
static void test_masks(void **state) {
  (void)state;
  check((setting){.N = 203, .batch = 1, .window = 90, .pattern = ULY_SPARSE_BIGBIRD}, 1, 1);
}

static void test_refusals(void **state) {
  (void)state;
  uly_mesh *offline;
  uly_plan_report plan = {.size = sizeof plan};
  uly_train_config config = default_config();
  config.model = "llama-25m";
  config.reproducible = 1;
  int bad[][2] = {{1, 3}, {3, 1}, {3, 2}, {1, 16}};
  for (int i = 0; i < 4; i++) {
    assert_ok(uly_mesh_create_offline(MESH(.dp = bad[i][0], .sp = bad[i][1]), 0, &offline));
    config.batch = bad[i][0];
    assert_int_equal(uly_plan(offline, &config, &plan), ULY_ERR_CONFIG);
    uly_mesh_destroy(offline);
  }
  assert_ok(uly_mesh_create_offline(NULL, 0, &offline));
  config.batch = 1;
  config.leaves = 12;
  assert_fails(uly_plan(offline, &config, &plan), ULY_ERR_CONFIG, "power of two");
  config.leaves = 8;
  config.seq_len = 7;
  assert_fails(uly_plan(offline, &config, &plan), ULY_ERR_CONFIG, "7 tokens");
  config.seq_len = 64;
  config.grad_dtype = ULY_BF16;
  assert_fails(uly_plan(offline, &config, &plan), ULY_ERR_CONFIG, "f32");
  uly_mesh_destroy(offline);
}

int main(int argc, char **argv) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_every_mesh),  cmocka_unit_test(test_pipeline),
      cmocka_unit_test(test_odd_batches), cmocka_unit_test(test_masks),
      cmocka_unit_test(test_refusals),
  };
  begin_ranks(&argc, &argv, NULL);
  size = uly_world_size();
  write_scratch_text(text_path, "reproducible.txt", 6000);
  write_scratch_configs(config_path, "reproducible", configs, NUM_MODELS);
  int failed = cmocka_run_group_tests(tests, NULL, NULL);
  remove_scratch_file(text_path);
  for (int i = 0; i < NUM_MODELS; i++) remove_scratch_file(config_path[i]);
  return end_ranks(NULL, failed);
}
