/* Tests that results do not depend on the layout of ranks: the same run on this number of ranks and
 * on one (each rank repeats the run alone, on MPI_COMM_SELF) has every loss within 1e-6 and every
 * gradient within 1e-5. The ranks do not divide N, Hq and Hkv; dp is compared with accumulation;
 * every recompute policy and ZeRO stage, and evaluation, are included. */
#include <mpi.h>

#include <math.h>
#include <omp.h>
#include <unistd.h>

#include "base/spans.h"
#include "testing.h"
#include "trainer_access.h"

static int size;
static char text_path[256];
static char config_path[3][256];

static const char *const configs[3] = {
    /* Hq 9, Hkv 3: no rank count but 3 divides both */
    ("{\"model_type\":\"llama\",\"hidden_size\":36,\"intermediate_size\":50,\"num_hidden_layers\":"
     "2,"
     "\"num_attention_heads\":9,\"num_key_value_heads\":3,\"head_dim\":6,\"vocab_size\":257,"
     "\"max_position_embeddings\":4096,\"tie_word_embeddings\":false}"),
    /* one key/value head for all ranks, with biases */
    ("{\"model_type\":\"qwen2\",\"hidden_size\":32,\"intermediate_size\":48,\"num_hidden_layers\":"
     "2,"
     "\"num_attention_heads\":8,\"num_key_value_heads\":1,\"vocab_size\":257,"
     "\"max_position_embeddings\":4096,\"tie_word_embeddings\":true}"),
    ("{\"model_type\":\"gpt2\",\"n_embd\":40,\"n_layer\":2,\"n_head\":10,\"n_positions\":512,"
     "\"vocab_size\":257}"),
};

/* What the runs of a test attend to beside the causal mask. */
static int64_t window;
static uly_sparse sparse;
static int rounds; /* of their exchanges */
static uly_dtype grad_dtype = ULY_F32;

static uly_train_config describe(int which, int64_t N, int64_t batch, uly_recompute recompute,
                                 int stage) {
  uly_train_config config = default_config();
  config.model = config_path[which];
  config.data = text_path;
  config.eval_data = text_path;
  config.eval_windows = 3;
  config.seq_len = N;
  config.window = window;
  config.sparse = sparse;
  config.rounds = rounds;
  config.grad_dtype = grad_dtype;
  config.steps = 20;
  config.warmup = 2;
  config.batch = batch;
  config.zero_stage = stage;
  config.recompute = recompute;
  config.threads = 1;
  return config;
}

static uly_trainer *make(uly_mesh *mesh, int which, int64_t N, int64_t batch,
                         uly_recompute recompute, int stage) {
  uly_train_config config = describe(which, N, batch, recompute, stage);
  uly_trainer *trainer;
  assert_ok(uly_trainer_create(mesh, &config, &trainer));
  return trainer;
}

/* The ranks of a sequence come one after the other. */
static void check_imbalance(const uly_trainer *trainer, int dp, double reported) {
  uly_rank_report own = {.size = sizeof own};
  assert_ok(uly_trainer_rank_report(trainer, &own));
  double mine = own.seconds - own.wait_seconds, all[size], expected = 1;
  MPI_Allgather(&mine, 1, MPI_DOUBLE, all, 1, MPI_DOUBLE, MPI_COMM_WORLD);
  for (int begin = 0, each = size / dp; begin < size; begin += each) {
    double sum = 0, longest = 0;
    for (int i = 0; i < each; i++) {
      sum += all[begin + i];
      if (all[begin + i] > longest) longest = all[begin + i];
    }
    if (longest / (sum / each) > expected) expected = longest / (sum / each);
  }
  assert_true(fabs(reported - expected) <= 1e-9);
}

static void compare_runs(int which, int64_t N, int dp, int64_t batch, uly_recompute recompute,
                         int stage) {
  uly_mesh *many, *one;
  assert_ok(uly_mesh_create(MESH(.dp = dp), &many));
  assert_ok(uly_mesh_create_mpi(MPI_COMM_SELF, NULL, &one));
  uly_trainer *a = make(many, which, N, batch, recompute, stage);
  uly_trainer *b = make(one, which, N, batch, ULY_RECOMPUTE_NONE, 0);
  for (int step = 0; step < 5; step++) {
    uly_step_report ra = {.size = sizeof ra}, rb = {.size = sizeof rb};
    assert_ok(uly_trainer_step(a, &ra));
    assert_ok(uly_trainer_step(b, &rb));
    if (!(fabs(ra.loss - rb.loss) <= 1e-6 * rb.loss))
      fail_msg("config %d, N %lld, dp %d, step %d: loss %.9f, alone %.9f", which, (long long)N, dp,
               step, ra.loss, rb.loss);
    assert_int_equal(ra.tokens, rb.tokens);
    check_imbalance(a, dp, ra.imbalance);
    assert_true(rb.imbalance == 1);
    assert_true(fabs(ra.flops - rb.flops) <= 1e-12 * rb.flops);
    const uly__params *params = &a->run.model->params;
    for (int i = 0; i < params->num && step == 0; i++) {
      int64_t count = params->list[i].count;
      float *ga = malloc((size_t)count * 4), *gb = malloc((size_t)count * 4);
      get_gradient(a, i, ga);
      get_gradient(b, i, gb);
      /* The floor serves GPT-2's key bias, whose gradient is zero but for rounding. */
      double error = largest_error(ga, gb, count, 1e-5);
      if (!(error <= 1e-5))
        fail_msg("config %d, N %lld, dp %d, stage %d: gradient of %s differs by %g", which,
                 (long long)N, dp, stage, params->list[i].name, error);
      free(ga);
      free(gb);
    }
  }
  double la = eval_loss(a), lb = eval_loss(b);
  assert_true(fabs(la - lb) <= 1e-6 * lb);
  uly_trainer_destroy(a);
  uly_trainer_destroy(b);
  uly_mesh_destroy(many);
  uly_mesh_destroy(one);
}

/* Asked on every rank before each round of sequences but the first. */
static int stop_on_last_rank(void *calls) {
  ++*(int *)calls;
  return uly_world_rank() == size - 1;
}

/* One rank wants to stop: all stop after the first round. */
static void test_stopped_evaluation(void **state) {
  (void)state;
  int dp = size % 2 ? 1 : 2, calls = 0;
  uly_mesh *mesh;
  assert_ok(uly_mesh_create(MESH(.dp = dp), &mesh));
  uly_trainer *trainer = make(mesh, 0, 64, 0, ULY_RECOMPUTE_FULL, 3);
  uly_eval_report report = {.size = sizeof report};
  assert_ok(uly_trainer_evaluate(trainer, stop_on_last_rank, &calls, &report));
  assert_int_equal(calls, 1);
  assert_true(report.is_stopped);
  assert_int_equal(report.tokens, dp * 64);
  assert_true(report.loss > 0);
  uly_trainer_destroy(trainer);
  uly_mesh_destroy(mesh);
}

static void test_sequence_parallel(void **state) {
  (void)state;
  int64_t lengths[] = {203, 64, 13};
  for (int which = 0; which < 3; which++)
    for (int i = 0; i < 3; i++)
      compare_runs(which, lengths[i], 1, 1, (uly_recompute)((which + i) % 3), (which + i) % 4);
}

/* Heads exchanged in rounds; with 1 of 9 heads in each, and key/value heads that several rounds
 * share. */
static void test_rounds(void **state) {
  (void)state;
  static const int heads[3] = {9, 8, 10};
  for (int which = 0; which < 3; which++)
    for (rounds = 2; rounds <= 9 && rounds * size <= heads[which]; rounds += rounds < 4 ? 1 : 5)
      compare_runs(which, 101, 1, 2, (uly_recompute)((which + rounds) % 3), rounds % 4);
  rounds = 0;
}

/* More rounds than heads are refused. */
static void test_too_many_rounds(void **state) {
  (void)state;
  uly_mesh *mesh;
  assert_ok(uly_mesh_create(NULL, &mesh));
  uly_train_config config = describe(0, 101, 1, ULY_RECOMPUTE_NONE, 0);
  config.rounds = 9 / size + 1;
  uly_trainer *trainer;
  assert_int_equal(uly_trainer_create(mesh, &config, &trainer), ULY_ERR_CONFIG);
  assert_non_null(strstr(uly_last_error(), "config.rounds is "));
  assert_non_null(strstr(uly_last_error(), "use no more rounds than that"));
  uly_mesh_destroy(mesh);
}

static void test_data_and_sequence_parallel(void **state) {
  (void)state;
  if (size % 2) return;
  for (int which = 0; which < 3; which++)
    compare_runs(which, 101, 2, 2, ULY_RECOMPUTE_FULL, 3 - which);
  compare_runs(0, 50, size, size, ULY_RECOMPUTE_NONE, 0);
}

/* Several sequences a step on each rank: gradients are added up, whole or in shards. */
static void test_accumulation(void **state) {
  (void)state;
  for (int stage = 0; stage < 4; stage++) {
    compare_runs(stage % 3, 40, 1, 3, ULY_RECOMPUTE_KEEP_ATTENTION, stage);
    if (size % 2 == 0) compare_runs(1, 40, 2, 6, ULY_RECOMPUTE_FULL, stage);
  }
}

/* Kept and sent as bf16, gradients of a few sequences (of a tied embedding: twice as many) are
 * those in f32 but for a rounding of 2^-9 each time. */
static void test_rounded_gradients(void **state) {
  (void)state;
  uly_mesh *mesh;
  assert_ok(uly_mesh_create(NULL, &mesh));
  for (int stage = 0; stage < 4; stage++) {
    uly_trainer *exact = make(mesh, 1, 40, 3, ULY_RECOMPUTE_NONE, stage);
    grad_dtype = ULY_BF16;
    uly_trainer *rounded = make(mesh, 1, 40, 3, ULY_RECOMPUTE_NONE, stage);
    grad_dtype = ULY_F32;
    for (int step = 0; step < 3; step++) {
      uly_step_report a = {.size = sizeof a}, b = {.size = sizeof b};
      assert_ok(uly_trainer_step(exact, &a));
      assert_ok(uly_trainer_step(rounded, &b));
      assert_true(fabs(a.loss - b.loss) <= 1e-4 * a.loss);
      for (int i = 0; i < exact->run.model->params.num && step == 0; i++) {
        int64_t count = exact->run.model->params.list[i].count;
        float *ga = malloc((size_t)count * 4), *gb = malloc((size_t)count * 4);
        get_gradient(exact, i, ga);
        get_gradient(rounded, i, gb);
        assert_true(largest_error(gb, ga, count, 1e-5) <= 0.02);
        free(ga), free(gb);
      }
    }
    uly_trainer_destroy(exact);
    uly_trainer_destroy(rounded);
  }
  uly_mesh_destroy(mesh);
}

/* A block's gradient is on its way before the block below has been through backward, at every
 * stage; after the last sequence, or from stage 2 on after each. */
static void test_gradients_travel_meanwhile(void **state) {
  (void)state;
  uly_mesh *mesh;
  assert_ok(uly_mesh_create(NULL, &mesh));
  for (int stage = 0; stage < 4 && size > 1; stage++) {
    uly_step_report report = {.size = sizeof report};
    uly_trainer *trainer = make(mesh, 0, 64, 2, ULY_RECOMPUTE_NONE, stage);
    uly__spans_start();
    assert_ok(uly_trainer_step(trainer, &report));
    int64_t count;
    const uly__span *spans = uly__spans_get(&count);
    int unit = uly__unit_of_block(1), early = 0;
    for (int64_t i = 0; i < count; i++)
      for (int64_t j = 0; j < count; j++)
        early += strcmp(spans[i].name, "reduce unit") == 0 && spans[i].index == unit &&
                 strcmp(spans[j].name, "backward block") == 0 && spans[j].index == 0 &&
                 spans[i].begin < spans[j].begin;
    assert_true(early >= (stage < 2 ? 1 : 2));
    uly_trainer_destroy(trainer);
  }
  uly_mesh_destroy(mesh);
}

/* Loss of the first step on this mesh. */
static double first_loss(uly_mesh *mesh) {
  uly_step_report report = {.size = sizeof report};
  uly_trainer *trainer = make(mesh, 0, 203, 1, ULY_RECOMPUTE_NONE, 0);
  assert_ok(uly_trainer_step(trainer, &report));
  uly_trainer_destroy(trainer);
  return report.loss;
}

/* Windows and sparse patterns: positions are those of the stream and heads those of the model,
 * wherever they are. Each is another model, so each has another loss. */
static void test_masks(void **state) {
  (void)state;
  uly_mesh *mesh;
  assert_ok(uly_mesh_create(NULL, &mesh));
  double losses[ULY_SPARSE_BIGBIRD + 2] = {first_loss(mesh)};
  for (int i = ULY_SPARSE_NONE; i <= ULY_SPARSE_BIGBIRD; i++) {
    window = i == ULY_SPARSE_NONE || i == ULY_SPARSE_FIXED ? 23 : 0;
    sparse = (uly_sparse){
        .pattern = (uly_sparse_pattern)i, .block = 5, .local = 3, .global = 1, .random = 2};
    if (i == ULY_SPARSE_NONE) sparse = (uly_sparse){0};
    compare_runs(i % 3, 101, 1, 1, (uly_recompute)(i % 3), i % 4);
    losses[i + 1] = first_loss(mesh);
    for (int j = 0; j <= i; j++) assert_true(fabs(losses[j] - losses[i + 1]) > 1e-7);
  }
  window = 0;
  sparse = (uly_sparse){0};
  uly_mesh_destroy(mesh);
}

/* The same bits for any number of threads. */
static void test_threads(void **state) {
  (void)state;
  uly_mesh *mesh;
  assert_ok(uly_mesh_create_mpi(MPI_COMM_SELF, NULL, &mesh));
  uly_step_report r1 = {.size = sizeof r1}, r3 = {.size = sizeof r3};
  uly_trainer *one = make(mesh, 0, 300, 1, ULY_RECOMPUTE_FULL, 0);
  assert_ok(uly_trainer_step(one, &r1));
  uly_trainer *three = make(mesh, 0, 300, 1, ULY_RECOMPUTE_FULL, 0);
  omp_set_num_threads(3);
  assert_ok(uly_trainer_step(three, &r3));
  omp_set_num_threads(1);
  assert_true(r1.loss == r3.loss && r1.grad_norm == r3.grad_norm);
  assert_memory_equal(one->run.model->zero->weights, three->run.model->zero->weights,
                      (size_t)one->run.model->zero->full_count * 4);
  uly_trainer_destroy(one);
  uly_trainer_destroy(three);
  uly_mesh_destroy(mesh);
}

/* Ignored labels: the loss is divided by the count of valid ones over all ranks, and slices without
 * any give neither NaN nor gradient. */
static void test_ignored_labels(void **state) {
  (void)state;
  uly_mesh *many, *one;
  assert_ok(uly_mesh_create(NULL, &many));
  assert_ok(uly_mesh_create_mpi(MPI_COMM_SELF, NULL, &one));
  enum { N = 96, VALID = 5 };
  uly__exact_sum losses[2];
  memset(losses, 0, sizeof losses);
  uly_trainer *trainers[2] = {make(many, 0, N, 1, ULY_RECOMPUTE_FULL, 2),
                              make(one, 0, N, 1, ULY_RECOMPUTE_FULL, 0)};
  for (int i = 0; i < 2; i++) {
    uly__model *model = trainers[i]->run.model;
    int32_t tokens[N], labels[N];
    for (int64_t t = 0; t < model->num_tokens; t++) {
      int64_t at = uly__token_cut_at(model->cut, t);
      tokens[t] = (int32_t)(at * 7 % 257);
      labels[t] = at < VALID ? (int32_t)(at * 11 % 257) : -1; /* all on the first rank */
    }
    uly__zero_begin_step(model->zero);
    run_passes(model, tokens, labels, 1.0f / VALID, &losses[i]);
    uly__reduce_grads(model);
    assert_ok(model->failure);
    assert_ok(uly__sum_i64(uly__mesh_world(trainers[i]->mesh), ULY_TRAFFIC_CONTROL,
                           losses[i].digits, ULY_EXACT_WORDS));
  }
  double many_loss = uly__exact_value(&losses[0]), one_loss = uly__exact_value(&losses[1]);
  assert_true(isfinite(many_loss) && fabs(many_loss - one_loss) <= 1e-6 * one_loss);
  for (int i = 0; i < trainers[0]->run.model->params.num; i++) {
    int64_t count = trainers[0]->run.model->params.list[i].count;
    float *a = malloc((size_t)count * 4), *b = malloc((size_t)count * 4);
    get_gradient(trainers[0], i, a);
    get_gradient(trainers[1], i, b);
    assert_true(largest_error(a, b, count, 1e-6) <= 1e-5);
    free(a);
    free(b);
  }
  for (int i = 0; i < 2; i++) uly_trainer_destroy(trainers[i]);
  uly_mesh_destroy(many);
  uly_mesh_destroy(one);
}

int main(int argc, char **argv) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_sequence_parallel),
      cmocka_unit_test(test_data_and_sequence_parallel),
      cmocka_unit_test(test_stopped_evaluation),
      cmocka_unit_test(test_accumulation),
      cmocka_unit_test(test_rounded_gradients),
      cmocka_unit_test(test_gradients_travel_meanwhile),
      cmocka_unit_test(test_threads),
      cmocka_unit_test(test_ignored_labels),
      cmocka_unit_test(test_rounds),
      cmocka_unit_test(test_too_many_rounds),
      cmocka_unit_test(test_masks),
  };
  begin_ranks(&argc, &argv, NULL);
  size = uly_world_size();
  write_scratch_text(text_path, "layout.txt", 3000);
  write_scratch_configs(config_path, "layout", configs, 3);
  int failed = cmocka_run_group_tests(tests, NULL, NULL);
  remove_scratch_file(text_path);
  for (int i = 0; i < 3; i++) remove_scratch_file(config_path[i]);
  return end_ranks(NULL, failed);
}
