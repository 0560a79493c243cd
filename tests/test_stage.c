/* Stages of a pipeline: two models, each with some of the layers, compute together what one model
 * with all of them computes, bit for bit: losses, and the gradient of every parameter. What the
 * stages would send to each other is copied here. */
#include "device/device.h"
#include "model/model_plan.h"
#include "model/passes.h"
#include "testing.h"

enum { N = 100, NUM_LAYERS = 3 };

static uly_mesh *mesh;
static int32_t tokens[N], labels[N];

/* A model with its memory. */
typedef struct holder {
  uly__model *model;
  uly__arena arenas[ULY_NUM_ARENAS], host;
} holder;

static void carve(holder *h) {
  uly__model_carve_states(h->model, h->arenas);
  uly__model_carve_passes(h->model, h->arenas, &h->host);
}

static void set_weights(const uly__model *model) {
  for (int i = 0; i < model->params.num; i++) {
    const uly__param *param = &model->params.list[i];
    float *weights = (float *)model->zero->units[param->unit].weights + param->offset;
    uly__param_init(param, model->ops, model->stream, 7, 0, param->count, weights);
  }
}

static void make(const uly__model_config *config, uly__stage stage, holder *h) {
  uly__model_run run = {.use = ULY_MODEL_TRAINS,
                        .stage = stage,
                        .seq_len = N,
                        .dtype = ULY_F32,
                        .grad_dtype = ULY_F32,
                        .threads = 1,
                        .passes = 1};
  assert_ok(uly__model_create(config, mesh, &run, &h->model));
  for (int i = 0; i < ULY_NUM_ARENAS; i++)
    uly__arena_init(&h->arenas[i], "a test", "free some", false);
  uly__arena_init(&h->host, "a test", "free some", true);
  carve(h);
  for (int i = 0; i < ULY_NUM_ARENAS; i++) assert_ok(uly__arena_commit(&h->arenas[i]));
  assert_ok(uly__arena_commit(&h->host));
  carve(h);
  set_weights(h->model);
  uly__zero_begin_step(h->model->zero);
}

static void destroy(holder *h) {
  uly__model_destroy(h->model);
  for (int i = 0; i < ULY_NUM_ARENAS; i++) uly__arena_destroy(&h->arenas[i]);
  uly__arena_destroy(&h->host);
}

static void *output(const holder *h) { return h->model->stash.layers[h->model->num_layers].x; }

/* Goes forward through both stages and back; returns the loss. */
static double go_through(const uly__model_config *config, holder *first, holder *second) {
  uly__exact_sum loss = {0};
  int64_t bytes = N * config->hidden * (int64_t)sizeof(float);
  uly__pass_forward(first->model, tokens, NULL, true);
  memcpy(second->model->stash.layers[0].x, output(first), (size_t)bytes);
  uly__pass_forward(second->model, NULL, labels, true);
  uly__pass_backward(second->model, 1.0f / N, &loss);
  memcpy(first->model->d_x, second->model->d_x, (size_t)bytes);
  uly__pass_backward(first->model, 1.0f / N, &loss);
  assert_int_equal(first->model->failure, ULY_OK);
  assert_int_equal(second->model->failure, ULY_OK);
  return uly__exact_value(&loss);
}

static const float *gradient(const uly__model *model, const uly__param *param) {
  return (const float *)(void *)model->zero->units[param->unit].sums + param->offset;
}

/* Checks that a stage's gradients are those of the whole model, and adds their number to
 * num_compared. */
static void compare(const uly__model *whole, const uly__model *stage, int *num_compared) {
  for (int i = 0; i < stage->params.num; i++) {
    const uly__param *part = &stage->params.list[i], *param = NULL;
    for (int j = 0; j < whole->params.num; j++)
      if (strcmp(whole->params.list[j].name, part->name) == 0) param = &whole->params.list[j];
    assert_non_null(param);
    assert_int_equal(param->count, part->count);
    assert_memory_equal(gradient(whole, param), gradient(stage, part),
                        (size_t)part->count * sizeof(float));
    ++*num_compared;
  }
}

static void check(const char *preset_json, int cut) {
  char path[256];
  uly__model_config config;
  write_scratch_file(path, "stage.json", preset_json, strlen(preset_json));
  assert_ok(uly__model_config_load(path, &config));
  remove_scratch_file(path);
  holder whole, first, second;
  make(&config, uly__whole_model(&config), &whole);
  make(&config, (uly__stage){0, cut}, &first);
  make(&config, (uly__stage){cut, NUM_LAYERS}, &second);
  uly__exact_sum loss = {0};
  uly__pass_forward(whole.model, tokens, labels, true);
  uly__pass_backward(whole.model, 1.0f / N, &loss);
  double in_stages = go_through(&config, &first, &second);
  assert_true(in_stages > 0);
  assert_true(in_stages == uly__exact_value(&loss));
  int num_compared = 0;
  compare(whole.model, first.model, &num_compared);
  compare(whole.model, second.model, &num_compared);
  assert_int_equal(num_compared, whole.model->params.num);
  destroy(&whole);
  destroy(&first);
  destroy(&second);
}

static void test_stages(void **state) {
  (void)state;
  for (int cut = 1; cut < NUM_LAYERS; cut++) {
    check(
        "{\"model_type\":\"llama\",\"hidden_size\":36,\"intermediate_size\":50,"
        "\"num_hidden_layers\":3,\"num_attention_heads\":6,\"num_key_value_heads\":3,"
        "\"vocab_size\":257,\"max_position_embeddings\":4096,\"tie_word_embeddings\":false}",
        cut);
    check(
        "{\"model_type\":\"gpt2\",\"n_embd\":40,\"n_layer\":3,\"n_head\":5,"
        "\"n_positions\":512,\"vocab_size\":257,\"tie_word_embeddings\":false}",
        cut);
  }
}

/* Checks tied embeddings: both ends have the weights, and each has the gradient of its own use of
 * them. */
static void test_tied(void **state) {
  (void)state;
  uly__model_config config;
  char path[256];
  static const char json[] =
      "{\"model_type\":\"llama\",\"hidden_size\":36,\"intermediate_size\":50,"
      "\"num_hidden_layers\":3,\"num_attention_heads\":6,\"vocab_size\":257,"
      "\"max_position_embeddings\":4096,\"tie_word_embeddings\":true}";
  write_scratch_file(path, "stage.json", json, strlen(json));
  assert_ok(uly__model_config_load(path, &config));
  remove_scratch_file(path);
  holder whole, first, second;
  make(&config, uly__whole_model(&config), &whole);
  make(&config, (uly__stage){0, 2}, &first);
  make(&config, (uly__stage){2, NUM_LAYERS}, &second);
  uly__exact_sum loss = {0};
  uly__pass_forward(whole.model, tokens, labels, true);
  uly__pass_backward(whole.model, 1.0f / N, &loss);
  assert_true(go_through(&config, &first, &second) == uly__exact_value(&loss));
  const uly__param *embed = &whole.model->params.list[0];
  for (int64_t i = 0; i < embed->count; i++)
    assert_float_equal(gradient(whole.model, embed)[i],
                       gradient(first.model, &first.model->params.list[0])[i] +
                           gradient(second.model, &second.model->params.list[0])[i],
                       1e-6);
  destroy(&whole);
  destroy(&first);
  destroy(&second);
}

int main(int argc, char **argv) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_stages), cmocka_unit_test(test_tied)};
  begin_ranks(&argc, &argv, &mesh);
  for (int t = 0; t < N; t++) {
    tokens[t] = (t * t + 3 * t) % 257;
    labels[t] = t % 7 == 0 ? -1 : (t * 5 + 1) % 257;
  }
  int failed = cmocka_run_group_tests(tests, NULL, NULL);
  return end_ranks(mesh, failed);
}
