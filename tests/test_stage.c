/* Stages of a pipeline: models that each have some of the layers compute together what one model
 * with all of them computes, bit for bit: losses, and the gradient of every parameter. What the
 * stages would send to each other is copied here. */
#include <math.h>

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
    float *weights = (float *)model->zero->units[param->unit].weights + param->local_offset;
    uly__param_init(param, model->ops, model->stream, 7, 0, param->local_count, weights);
  }
}

/* leaves: of reproducible sums; 0: none. */
static void make(const uly__model_config *config, uly__stage stage, int leaves, holder *h) {
  uly__model_run run = {.use = ULY_MODEL_TRAINS,
                        .stage = stage,
                        .seq_len = N,
                        .dtype = ULY_F32,
                        .grad_dtype = ULY_F32,
                        .threads = 1,
                        .leaves = leaves,
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

static void *input(const holder *h) { return h->model->stash.chunks[0].inputs[0]; }
static void *output(const holder *h) {
  return uly__stash_at(&h->model->stash, h->model->stage.chunks[0].last)->x;
}

static void forward(const holder *h) {
  uly__input_set_tokens(&h->model->input, tokens, labels);
  uly__pass_forward(h->model, 0, true);
}

/* Goes forward through all stages and back; returns the loss. */
static double go_through(const uly__model_config *config, holder *stages, int num) {
  uly__exact_sum loss = {0};
  size_t bytes = (size_t)N * (size_t)config->hidden * sizeof(float);
  for (int s = 0; s < num; s++) {
    if (s > 0) memcpy(input(&stages[s]), output(&stages[s - 1]), bytes);
    forward(&stages[s]);
  }
  for (int s = num - 1; s >= 0; s--) {
    if (s < num - 1) memcpy(stages[s].model->d_x, stages[s + 1].model->d_x, bytes);
    uly__pass_backward(stages[s].model, 0, 1.0f / N, &loss);
    assert_int_equal(stages[s].model->failure, ULY_OK);
  }
  return uly__exact_value(&loss);
}

static const float *gradient(const uly__model *model, const uly__param *param) {
  return (const float *)(void *)model->zero->units[param->unit].sums + param->local_offset;
}

/* Checks that a stage's gradients are those of the whole model, and adds their number to
 * num_compared. */
static void compare(const uly__model *whole, const uly__model *stage, int *num_compared) {
  for (int i = 0; i < stage->params.num; i++) {
    const uly__param *part = &stage->params.list[i], *param = &whole->params.list[i];
    assert_string_equal(param->name, part->name);
    assert_int_equal(param->count, part->count);
    if (part->local_count == 0) continue;
    assert_memory_equal(gradient(whole, param), gradient(stage, part),
                        (size_t)part->count * sizeof(float));
    ++*num_compared;
  }
}

/* Compares `num` stages with the whole model; stage s begins at layer cuts[s]. */
static void check(const char *preset_json, const int *cuts, int num, int leaves) {
  char path[256];
  uly__model_config config;
  write_scratch_file(path, "stage.json", preset_json, strlen(preset_json));
  assert_ok(uly__model_config_load(path, &config));
  remove_scratch_file(path);
  holder whole, stages[NUM_LAYERS];
  make(&config, uly__whole_model(&config), leaves, &whole);
  for (int s = 0; s < num; s++)
    make(&config, uly__stage_of(cuts[s], cuts[s + 1]), leaves, &stages[s]);
  uly__exact_sum loss = {0};
  forward(&whole);
  uly__pass_backward(whole.model, 0, 1.0f / N, &loss);
  double in_stages = go_through(&config, stages, num);
  assert_true(in_stages > 0);
  assert_true(in_stages == uly__exact_value(&loss));
  int num_compared = 0;
  for (int s = 0; s < num; s++) {
    compare(whole.model, stages[s].model, &num_compared);
    destroy(&stages[s]);
  }
  assert_int_equal(num_compared, whole.model->params.num);
  destroy(&whole);
}

/* Two stages and three, of which the second has neither end of the model; with sums of one kind and
 * of the other, which need room for their levels. */
static void test_stages(void **state) {
  (void)state;
  static const char llama[] =
      "{\"model_type\":\"llama\",\"hidden_size\":36,\"intermediate_size\":50,"
      "\"num_hidden_layers\":3,\"num_attention_heads\":6,\"num_key_value_heads\":3,"
      "\"vocab_size\":257,\"max_position_embeddings\":4096,\"tie_word_embeddings\":false}";
  static const char gpt2[] =
      "{\"model_type\":\"gpt2\",\"n_embd\":40,\"n_layer\":3,\"n_head\":5,"
      "\"n_positions\":512,\"vocab_size\":257,\"tie_word_embeddings\":false}";
  static const int cuts[3][NUM_LAYERS + 1] = {{0, 1, 3}, {0, 2, 3}, {0, 1, 2, 3}};
  for (int i = 0; i < 3; i++)
    for (int leaves = 0; leaves <= 8; leaves += 8) {
      int num = i < 2 ? 2 : 3;
      check(llama, cuts[i], num, leaves);
      check(gpt2, cuts[i], num, leaves);
    }
}

/* Checks how layers are dealt: all are dealt, in the order of the chunks; no other deal gives the
 * stage with most work less; and the chunks of a stage differ by at most one layer, apart from
 * those of the last, one of which has the head. */
static void check_deal(int num_layers, int num_stages, int num_chunks, double head) {
  uly__deal deal = {num_layers, num_stages, num_chunks, head};
  int num = num_stages * num_chunks, next = 0;
  double most = 0, least = INFINITY;
  for (int k = 0; k < num; k++) {
    uly__stage stage;
    assert_ok(uly__stage_deal(&deal, k % num_stages, &stage));
    assert_int_equal(stage.num_chunks, num_chunks);
    uly__chunk chunk = stage.chunks[k / num_stages];
    assert_int_equal(chunk.first, next);
    assert_true(chunk.last > chunk.first);
    for (int layer = chunk.first; layer < chunk.last; layer++)
      assert_true(uly__stage_has(&stage, layer));
    next = chunk.last;
    bool is_last = k % num_stages == num_stages - 1;
    most = fmax(most, uly__stage_layers(&stage) + (is_last ? head : 0));
    int others = uly__chunk_layers(chunk) - uly__chunk_layers(stage.chunks[0]);
    if (!is_last) assert_true(others == 0 || others == 1);
  }
  assert_int_equal(next, num_layers);
  for (int last = num_chunks; last <= num_layers - num + num_chunks; last++) {
    double others = num_stages == 1 ? 0 : ceil((num_layers - last) / (num_stages - 1.0));
    if (num_stages > 1 || last == num_layers) least = fmin(least, fmax(last + head, others));
  }
  assert_true(most == least);
}

static void test_deal(void **state) {
  (void)state;
  static const double heads[] = {0, 0.2, 0.5, 1, 1.7, 6, 1e6};
  for (int layers = 1; layers <= 20; layers++)
    for (int stages = 1; stages <= layers; stages++)
      for (int chunks = 1; chunks * stages <= layers; chunks++)
        for (int i = 0; i < 7; i++) check_deal(layers, stages, chunks, heads[i]);
  uly__stage stage;
  assert_fails(uly__stage_deal(&(uly__deal){3, 4, 1, 0}, 0, &stage), ULY_ERR_CONFIG,
               "mesh.pp is 4, but the model has only 3 layers");
  assert_fails(uly__stage_deal(&(uly__deal){7, 2, 4, 0}, 0, &stage), ULY_ERR_CONFIG,
               "config.pp_chunks is 4, but 7 layers in 2 stages (mesh.pp) allow at most 3 chunks");
  assert_fails(uly__stage_deal(&(uly__deal){200, 2, 33, 0}, 0, &stage), ULY_ERR_CONFIG,
               "at most 32 chunks");
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
  holder whole, stages[2];
  make(&config, uly__whole_model(&config), 0, &whole);
  make(&config, uly__stage_of(0, 2), 0, &stages[0]);
  make(&config, uly__stage_of(2, NUM_LAYERS), 0, &stages[1]);
  uly__exact_sum loss = {0};
  forward(&whole);
  uly__pass_backward(whole.model, 0, 1.0f / N, &loss);
  assert_true(go_through(&config, stages, 2) == uly__exact_value(&loss));
  const uly__param *embed = &whole.model->params.list[0];
  for (int64_t i = 0; i < embed->count; i++)
    assert_float_equal(gradient(whole.model, embed)[i],
                       gradient(stages[0].model, &stages[0].model->params.list[0])[i] +
                           gradient(stages[1].model, &stages[1].model->params.list[0])[i],
                       1e-6);
  destroy(&whole);
  for (int i = 0; i < 2; i++) destroy(&stages[i]);
}

int main(int argc, char **argv) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_stages), cmocka_unit_test(test_tied),
                                     cmocka_unit_test(test_deal)};
  begin_ranks(&argc, &argv, &mesh);
  for (int t = 0; t < N; t++) {
    tokens[t] = (t * t + 3 * t) % 257;
    labels[t] = t % 7 == 0 ? -1 : (t * 5 + 1) % 257;
  }
  int failed = cmocka_run_group_tests(tests, NULL, NULL);
  return end_ranks(mesh, failed);
}
