/* Compares the whole model with PyTorch in float64: loss, logits, every gradient, and ten training
 * steps, for a Llama (grouped-query), a Qwen2 (biases, tied), a GPT-2, a Mistral (whose file has a
 * window) and a tied Llama of five layers, with every recompute policy and ZeRO stage, and on every
 * number of ranks, divided into Ulysses, rings, gathers, tensor parallelism and the stages of a
 * pipeline. The golden files come from tools/make_golden.py. */
#include <mpi.h>

#include <jansson.h>
#include <math.h>
#include <unistd.h>

#include "data/safetensors.h"
#include "testing.h"
#include "trainer_access.h"

static uly_mesh *mesh;
/* Settings of the runs that follow. */
static int64_t batch;
static int chunks = 1;

typedef struct golden {
  json_t *json;
  uly__safetensors *weights, *tensors;
  char config[512], data[256];
  int64_t seq_len;
} golden;

static golden open_golden(const char *set) {
  golden g;
  char path[512];
  json_error_t error;
  test_data_path(path, set, "golden.json");
  g.json = json_load_file(path, 0, &error);
  assert_non_null(g.json);
  test_data_path(path, set, "model.safetensors");
  assert_ok(uly__safetensors_open(path, &g.weights));
  test_data_path(path, set, "golden.safetensors");
  assert_ok(uly__safetensors_open(path, &g.tensors));
  test_data_path(g.config, set, "config.json");
  /* The window as a token shard: with N + 1 tokens it holds one sequence, so each step is on it. */
  const json_t *tokens = json_object_get(g.json, "tokens");
  size_t count = json_array_size(tokens);
  char shard[1024 + 2 * 256];
  int32_t header[256] = {20240520, 1, (int32_t)count};
  assert_true(count <= 256);
  memcpy(shard, header, 1024);
  for (size_t i = 0; i < count; i++) {
    uint16_t token = (uint16_t)json_integer_value(json_array_get(tokens, i));
    memcpy(shard + 1024 + 2 * i, &token, 2);
  }
  write_scratch_file(g.data, set, shard, 1024 + 2 * count);
  g.seq_len = (int64_t)count - 1;
  return g;
}

static void close_golden(golden *g) {
  MPI_Barrier(MPI_COMM_WORLD); /* ranks that compute alone still read it */
  remove_scratch_file(g->data);
  json_decref(g->json);
  uly__safetensors_close(g->weights);
  uly__safetensors_close(g->tensors);
}

static double number(const json_t *json, const char *key) {
  return json_number_value(json_object_get(json, key));
}

static uly_trainer *make_trainer(const golden *g, uly_dtype dtype, uly_recompute recompute,
                                 int stage) {
  const json_t *train = json_object_get(g->json, "train");
  uly_train_config config = default_config();
  config.model = g->config;
  config.data = config.eval_data = g->data;
  config.seq_len = g->seq_len;
  config.dtype = dtype;
  config.recompute = recompute;
  config.zero_stage = stage;
  config.batch = batch;
  config.pp_chunks = chunks;
  config.steps = (int64_t)number(train, "steps");
  config.warmup = (int64_t)number(train, "warmup");
  config.lr = number(train, "lr");
  config.min_lr_ratio = number(train, "min_lr_ratio");
  config.beta1 = number(train, "beta1");
  config.beta2 = number(train, "beta2");
  config.eps = number(train, "eps");
  config.weight_decay = number(train, "weight_decay");
  config.clip = number(train, "clip");
  uly_trainer *trainer;
  assert_ok(uly_trainer_create(mesh, &config, &trainer));
  set_weights(trainer, g->weights);
  return trainer;
}

/* A tensor of golden.safetensors; freed by the caller. */
static float *expected(const golden *g, const char *name, int64_t count) {
  const uly__tensor_info *info = uly__safetensors_find(g->tensors, name);
  assert_non_null(info);
  assert_int_equal(info->bytes, count * 4);
  return read_tensor(g->tensors, info);
}

static void check_logits(const golden *g, uly_trainer *trainer, double tolerance) {
  uly__model *model = trainer->run.model;
  int64_t V = model->config.vocab, N = g->seq_len;
  float *logits = expected(g, "logits", N * V);
  assert_ok(uly__batch_read(trainer, trainer->data, 0, trainer->run.windows));
  uly__exact_sum losses[ULY_MAX_EVAL_BINS];
  memset(losses, 0, sizeof losses);
  uly__zero_forget_weights(model->zero);
  const int32_t *labels = uly__batch_labels(trainer, trainer->data, trainer->run.windows);
  run_passes(model, trainer->run.windows, labels, 0, losses);
  /* Logits of the last tile are left: of all tokens, or of those of the last run; and of this
   * rank's part of the vocabulary. */
  bool has_head = uly__stage_has_head(&model->stage, &model->config);
  if (model->head_tiles.num > 0 && has_head) {
    uly__tile_range tile = model->head_tiles.list[model->head_tiles.num - 1];
    uly__part part = model->share.vocab;
    int64_t begin = uly__token_cut_at(model->cut, tile.begin), count = tile.rows * part.count;
    assert_true(tile.rows == model->num_tokens || model->cut->num_runs > 1);
    float *found = malloc((size_t)count * sizeof *found);
    float *all = malloc((size_t)count * sizeof *all);
    uly__copy(model->stream, found, model->work.logits, count * (int64_t)sizeof(float));
    for (int64_t r = 0; r < tile.rows; r++)
      memcpy(all + r * part.count, logits + (begin + r) * V + part.begin,
             (size_t)part.count * sizeof *all);
    double error = largest_error(found, all, count, 1e-30);
    if (!(error < tolerance)) fail_msg("logits differ by %g", error);
    free(found), free(all);
  }
  free(logits);
}

/* Loss of a row, in f64. */
static double cross_entropy(const float *logits, int64_t vocab, int label) {
  double largest = logits[0], sum = 0;
  for (int64_t i = 1; i < vocab; i++)
    if (logits[i] > largest) largest = logits[i];
  for (int64_t i = 0; i < vocab; i++) sum += exp(logits[i] - largest);
  return largest + log(sum) - logits[label];
}

/* The mean loss, and that of the positions of each bin: [0, 16), [16, 32), [32, 64), ... */
static void check_evaluation(const golden *g, uly_trainer *trainer, double tolerance) {
  int64_t V = trainer->run.model->config.vocab, N = g->seq_len, end = 16;
  float *logits = expected(g, "logits", N * V);
  const json_t *tokens = json_object_get(g->json, "tokens");
  double initial = number(g->json, "loss"), sum = 0;
  uly_eval_report report = {.size = sizeof report};
  assert_ok(uly_trainer_evaluate(trainer, NULL, NULL, &report));
  if (!(fabs(report.loss - initial) <= tolerance * initial))
    fail_msg("evaluation %.9f, expected %.9f", report.loss, initial);
  assert_int_equal(report.tokens, N);
  for (int64_t t = 0, begin = 0, bin = 0; t < N; t++) {
    int label = (int)json_integer_value(json_array_get(tokens, (size_t)t + 1));
    sum += cross_entropy(logits + t * V, V, label);
    if (t + 1 < N && t + 1 < end) continue;
    const uly_eval_bin *found = &report.bins[bin++];
    double mean = sum / (double)(t + 1 - begin);
    if (found->begin != begin || found->end != t + 1 || found->tokens != t + 1 - begin ||
        !(fabs(found->loss - mean) <= 2 * tolerance * mean))
      fail_msg("positions %lld to %lld: loss %.9f, expected %.9f", (long long)begin,
               (long long)t + 1, found->loss, mean);
    begin = end;
    end *= 2;
    sum = 0;
    if (t + 1 == N) assert_int_equal(report.num_bins, bin);
  }
  free(logits);
}

static void check_gradients(const golden *g, uly_trainer *trainer, double tolerance) {
  const uly__params *params = &trainer->run.model->params;
  for (int i = 0; i < params->num; i++) {
    char name[128];
    snprintf(name, sizeof name, "grad.%s", params->list[i].name);
    float *gradient = expected(g, name, params->list[i].count);
    float *found = malloc((size_t)params->list[i].count * 4);
    get_gradient(trainer, i, found);
    /* GPT-2's gradient of the key bias is zero in exact arithmetic: it is compared with the
     * floor. */
    double error = largest_error(found, gradient, params->list[i].count, 1e-3);
    if (!(error < tolerance)) fail_msg("%s differs by %g", name, error);
    free(gradient);
    free(found);
  }
}

static void check_set(const char *set, uly_dtype dtype, uly_recompute recompute, int stage,
                      double tolerance) {
  golden g = open_golden(set);
  uly_trainer *trainer = make_trainer(&g, dtype, recompute, stage);
  const json_t *losses = json_object_get(g.json, "losses");
  check_logits(&g, trainer, tolerance);
  check_evaluation(&g, trainer, tolerance);
  for (size_t step = 0; step < json_array_size(losses); step++) {
    uly_step_report report = {.size = sizeof report};
    double loss = json_number_value(json_array_get(losses, step));
    assert_ok(uly_trainer_step(trainer, &report));
    if (!(fabs(report.loss - loss) <= tolerance * loss))
      fail_msg("%s, step %zu: loss %.9f, expected %.9f", set, step, report.loss, loss);
    if (step > 0) continue;
    check_gradients(&g, trainer, tolerance);
    double norm = number(g.json, "grad_norm");
    assert_true(fabs(report.grad_norm - norm) <= tolerance * norm);
  }
  uly_trainer_destroy(trainer);
  close_golden(&g);
}

static void check_f32(const char *set) {
  check_set(set, ULY_F32, ULY_RECOMPUTE_NONE, 0, 1e-5);
  check_set(set, ULY_F32, ULY_RECOMPUTE_KEEP_ATTENTION, 1, 1e-5);
  check_set(set, ULY_F32, ULY_RECOMPUTE_FULL, 2, 1e-5);
  check_set(set, ULY_F32, ULY_RECOMPUTE_FULL, 3, 1e-5);
}

static void test_llama(void **state) {
  (void)state;
  check_f32("golden_llama");
}

static void test_qwen(void **state) {
  (void)state;
  check_f32("golden_qwen");
}

static void test_gpt2(void **state) {
  (void)state;
  check_f32("golden_gpt2");
}

/* It has 6 heads: of more ranks each computes alone. */
static void test_mistral(void **state) {
  (void)state;
  uly_mesh *all = mesh;
  if (uly_mesh_size(all) > 6) assert_ok(uly_mesh_create_mpi(MPI_COMM_SELF, NULL, &mesh));
  check_f32("golden_mistral");
  if (mesh != all) uly_mesh_destroy(mesh);
  mesh = all;
}

/* bf16 keeps 8 bits: rounding of weights and activations, no more. */
static void test_bf16(void **state) {
  (void)state;
  check_set("golden_llama", ULY_BF16, ULY_RECOMPUTE_KEEP_ATTENTION, 3, 0.05);
  check_set("golden_gpt2", ULY_BF16, ULY_RECOMPUTE_FULL, 0, 0.05);
}

/* The sequence divided over a ring or a gather, and Ulysses: what of this the number of ranks
 * allows. */
static void test_rings(void **state) {
  (void)state;
  uly_mesh *all = mesh;
  int size = uly_mesh_size(all);
  for (int gathers = 0; gathers < 2 && size > 1; gathers++) {
    int ulysses = size % 2 == 0 ? size / 2 : 1, ring = size / ulysses;
    assert_ok(uly_mesh_create(
        MESH(.ulysses = ulysses, .ring = gathers ? 0 : ring, .gather = gathers ? ring : 0), &mesh));
    check_set("golden_llama", ULY_F32, ULY_RECOMPUTE_FULL, 3, 1e-5);
    check_set("golden_qwen", ULY_F32, ULY_RECOMPUTE_NONE, 0, 1e-5);
    check_set("golden_gpt2", ULY_F32, ULY_RECOMPUTE_KEEP_ATTENTION, 2, 1e-5);
    check_set("golden_mistral", ULY_F32, ULY_RECOMPUTE_FULL, 1, 1e-5);
    check_set("golden_llama", ULY_BF16, ULY_RECOMPUTE_KEEP_ATTENTION, 3, 0.05);
    uly_mesh_destroy(mesh);
  }
  mesh = all;
}

/* The sets of two layers. */
static void check_sets(void) {
  check_set("golden_llama", ULY_F32, ULY_RECOMPUTE_FULL, 3, 1e-5);
  check_set("golden_qwen", ULY_F32, ULY_RECOMPUTE_NONE, 0, 1e-5);
  check_set("golden_gpt2", ULY_F32, ULY_RECOMPUTE_KEEP_ATTENTION, 2, 1e-5);
  check_set("golden_mistral", ULY_F32, ULY_RECOMPUTE_NONE, 1, 1e-5);
}

/* Layers divided among the stages of a pipeline, alone and with other axes. A step repeats the one
 * sequence, so that several micro-batches are in flight. */
static void check_pipeline(const uly_mesh_desc *desc) {
  int stages = desc->pp;
  assert_ok(uly_mesh_create(desc, &mesh));
  for (chunks = 1; chunks * stages <= 5; chunks++)
    for (batch = 1; batch <= 5; batch += 2) {
      int stage = (batch + chunks) % 4;
      check_set("golden_deep", ULY_F32, (uly_recompute)(batch % 3), stage, 1e-5);
    }
  chunks = 1;
  batch = 3 * uly_mesh_dp(mesh);
  check_set("golden_deep", ULY_BF16, ULY_RECOMPUTE_FULL, 3, 0.05);
  if (stages == 2) check_sets();
  batch = 0;
  uly_mesh_destroy(mesh);
}

static void test_pipeline(void **state) {
  (void)state;
  uly_mesh *all = mesh;
  switch (uly_mesh_size(all)) {
    case 2: check_pipeline(MESH(.pp = 2)); break;
    case 3: check_pipeline(MESH(.pp = 3)); break;
    case 4:
      check_pipeline(MESH(.pp = 4));
      check_pipeline(MESH(.pp = 2, .tp = 2));
      check_pipeline(MESH(.pp = 2, .ulysses = 2));
      break;
    case 8: check_pipeline(MESH(.pp = 2, .tp = 2, .ulysses = 2)); break;
    default: break;
  }
  mesh = all;
}

static void check_on(const uly_mesh_desc *desc) {
  assert_ok(uly_mesh_create(desc, &mesh));
  check_sets();
  check_set("golden_llama", ULY_BF16, ULY_RECOMPUTE_KEEP_ATTENTION, 1, 0.05);
  uly_mesh_destroy(mesh);
}

/* Layers divided by tensor parallelism, alone and with what else the number of ranks allows. */
static void test_tensor(void **state) {
  (void)state;
  uly_mesh *all = mesh;
  switch (uly_mesh_size(all)) {
    case 2: check_on(MESH(.tp = 2)); break;
    case 3: check_on(MESH(.tp = 3)); break;
    case 4:
      check_on(MESH(.tp = 4));
      check_on(MESH(.tp = 2, .ulysses = 2));
      check_on(MESH(.tp = 2, .ring = 2));
      break;
    case 8: check_on(MESH(.tp = 2, .ulysses = 2, .dp = 2)); break;
    default: break;
  }
  mesh = all;
}

int main(int argc, char **argv) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_llama),   cmocka_unit_test(test_qwen),     cmocka_unit_test(test_gpt2),
      cmocka_unit_test(test_mistral), cmocka_unit_test(test_bf16),     cmocka_unit_test(test_rings),
      cmocka_unit_test(test_tensor),  cmocka_unit_test(test_pipeline),
  };
  begin_ranks(&argc, &argv, &mesh);
  int failed = cmocka_run_group_tests(tests, NULL, NULL);
  return end_ranks(mesh, failed);
}
