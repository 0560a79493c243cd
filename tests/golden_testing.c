/* See golden_testing.h. */
#include "golden_testing.h"

#include <mpi.h>

#include <math.h>

#include "testing.h"

static double number(const json_t *json, const char *key) {
  const json_t *item = json_object_get(json, key);
  assert_true(json_is_number(item));
  return json_number_value(item);
}

/* The window as a token shard: with N + 1 tokens it holds one sequence. */
static void write_window(golden *g, const json_t *tokens) {
  size_t count = json_array_size(tokens);
  char shard[1024 + 2 * 256];
  int32_t header[256] = {20240520, 1, (int32_t)count};
  assert_true(count <= 256);
  memcpy(shard, header, 1024);
  for (size_t i = 0; i < count; i++) {
    uint16_t token = (uint16_t)json_integer_value(json_array_get(tokens, i));
    memcpy(shard + 1024 + 2 * i, &token, 2);
  }
  write_scratch_file(g->data, g->set, shard, 1024 + 2 * count);
}

golden open_golden(const char *set) {
  golden g = {.logits = "logits"};
  char path[512];
  json_error_t error;
  snprintf(g.set, sizeof g.set, "%s", set);
  test_data_path(path, set, "golden.json");
  g.json = json_load_file(path, 0, &error);
  assert_non_null(g.json);
  test_data_path(path, set, "golden.safetensors");
  assert_ok(uly__safetensors_open(path, &g.tensors));
  const json_t *tokens = json_object_get(g.json, "tokens");
  write_window(&g, tokens);
  g.seq_len = (int64_t)json_array_size(tokens) - 1;
  g.losses = g.json;
  return g;
}

golden open_golden_within(const char *set) {
  golden g = open_golden(set);
  g.losses = json_object_get(g.json, "within");
  g.seq_len = (int64_t)number(g.losses, "tokens");
  g.logits = "within.logits";
  return g;
}

void close_golden(golden *g) {
  MPI_Barrier(MPI_COMM_WORLD); /* ranks that compute alone still read it */
  remove_scratch_file(g->data);
  json_decref(g->json);
  uly__safetensors_close(g->tensors);
}

uly_train_config golden_config(const golden *g) {
  const json_t *train = json_object_get(g->json, "train");
  uly_train_config config = default_config();
  config.data = config.eval_data = g->data;
  config.seq_len = g->seq_len;
  config.eval_windows = 1;
  if (!train) return config;
  config.steps = (int64_t)number(train, "steps");
  config.warmup = (int64_t)number(train, "warmup");
  config.lr = number(train, "lr");
  config.min_lr_ratio = number(train, "min_lr_ratio");
  config.beta1 = number(train, "beta1");
  config.beta2 = number(train, "beta2");
  config.eps = number(train, "eps");
  config.weight_decay = number(train, "weight_decay");
  config.clip = number(train, "clip");
  return config;
}

float *golden_tensor(const golden *g, const char *name, int64_t count) {
  const uly__tensor_info *info = uly__safetensors_find(g->tensors, name);
  if (!info) {
    fail_msg("%s has no %s", g->set, name);
    return NULL;
  }
  assert_int_equal(info->bytes, count * 4);
  return read_tensor(g->tensors, info);
}

void check_logits(const golden *g, uly_trainer *trainer, double tolerance) {
  uly__model *model = trainer->run.model;
  int64_t V = model->config.vocab, N = g->seq_len;
  float *logits = golden_tensor(g, g->logits, N * V);
  assert_ok(uly__batch_read(trainer, trainer->eval_data, 0, trainer->run.windows));
  uly__exact_sum losses[ULY_MAX_EVAL_BINS];
  memset(losses, 0, sizeof losses);
  uly__zero_forget_weights(model->zero);
  const int32_t *labels = uly__batch_labels(trainer, trainer->eval_data, trainer->run.windows);
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
    if (!(error < tolerance)) fail_msg("%s: logits differ by %g", g->set, error);
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

void check_evaluation(const golden *g, uly_trainer *trainer, double tolerance) {
  int64_t V = trainer->run.model->config.vocab, N = g->seq_len, end = 16;
  float *logits = golden_tensor(g, g->logits, N * V);
  const json_t *tokens = json_object_get(g->json, "tokens");
  double initial = number(g->losses, "loss"), sum = 0;
  uly_eval_report report = {.size = sizeof report};
  assert_ok(uly_trainer_evaluate(trainer, NULL, NULL, &report));
  if (!(fabs(report.loss - initial) <= tolerance * initial))
    fail_msg("%s: evaluation %.9f, expected %.9f", g->set, report.loss, initial);
  assert_int_equal(report.tokens, N);
  for (int64_t t = 0, begin = 0, bin = 0; t < N; t++) {
    int label = (int)json_integer_value(json_array_get(tokens, (size_t)t + 1));
    sum += cross_entropy(logits + t * V, V, label);
    if (t + 1 < N && t + 1 < end) continue;
    const uly_eval_bin *found = &report.bins[bin++];
    double mean = sum / (double)(t + 1 - begin);
    if (found->begin != begin || found->end != t + 1 || found->tokens != t + 1 - begin ||
        !(fabs(found->loss - mean) <= 2 * tolerance * mean))
      fail_msg("%s, positions %lld to %lld: loss %.9f, expected %.9f", g->set, (long long)begin,
               (long long)t + 1, found->loss, mean);
    begin = end;
    end *= 2;
    sum = 0;
    if (t + 1 == N) assert_int_equal(report.num_bins, bin);
  }
  free(logits);
}

static void check_gradients(const golden *g, uly_trainer *trainer, gradient_source *gradient,
                            double tolerance) {
  const uly__params *params = &trainer->run.model->params;
  /* Without RoPE, the gradient of a key bias is zero in exact arithmetic. What is left of the terms
   * that cancel is compared with the whole gradient. */
  double floor = 0.01 * number(g->json, "grad_norm");
  for (int i = 0; i < params->num; i++) {
    const uly__param *param = &params->list[i];
    float *expected = gradient(g, param), *found = malloc((size_t)param->count * sizeof *found);
    get_gradient(trainer, i, found);
    double error = largest_error(found, expected, param->count, floor);
    if (!(error < tolerance))
      fail_msg("%s: the gradient of %s differs by %g", g->set, param->name, error);
    free(expected);
    free(found);
  }
}

void check_steps(const golden *g, uly_trainer *trainer, gradient_source *gradient,
                 double tolerance) {
  const json_t *losses = json_object_get(g->json, "losses");
  const json_t *norms = json_object_get(g->json, "grad_norms");
  assert_true(json_array_size(losses) > 0);
  for (size_t step = 0; step < json_array_size(losses); step++) {
    uly_step_report report = {.size = sizeof report};
    double loss = json_number_value(json_array_get(losses, step));
    double norm = json_number_value(json_array_get(norms, step));
    assert_ok(uly_trainer_step(trainer, &report));
    if (!(fabs(report.loss - loss) <= tolerance * loss))
      fail_msg("%s, step %zu: loss %.9f, expected %.9f", g->set, step, report.loss, loss);
    if (step == 0) check_gradients(g, trainer, gradient, tolerance);
    /* The second update and later ones follow from weights that already differ by rounding. */
    if (!(fabs(report.grad_norm - norm) <= (step ? 10 : 1) * tolerance * norm))
      fail_msg("%s, step %zu: gradient norm %.9f, expected %.9f", g->set, step, report.grad_norm,
               norm);
  }
}
