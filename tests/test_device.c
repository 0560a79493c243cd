/* Tests what passes between host and device. On the CPU nothing is copied. On a device whose memory
 * is its own (that of the CPU again, but the library does not know it), a pass, an evaluation and a
 * generator have the same bits, and a pass reads only what was uploaded: what the host had is
 * spoiled as soon as it has been copied. */
#include "device/device_cpu.h"
#include "model/passes.h"
#include "testing.h"
#include "trainer_access.h"

enum { N = 150, V = 257, SPOILED = 0x7f, NUM_DEVICES = 2 };

static uly_mesh *mesh;
static char text_path[256], config_path[2][256], out_dir[256];

static const char *const configs[2] = {
    ("{\"model_type\":\"llama\",\"hidden_size\":24,\"intermediate_size\":32,\"num_hidden_layers\":"
     "2,"
     "\"num_attention_heads\":4,\"num_key_value_heads\":2,\"head_dim\":6,\"vocab_size\":257,"
     "\"max_position_embeddings\":4096,\"tie_word_embeddings\":false}"),
    ("{\"model_type\":\"gpt2\",\"n_embd\":32,\"n_layer\":2,\"n_head\":4,\"n_positions\":300,"
     "\"vocab_size\":257}"),
};

/* Arrays of the host that are spoiled when they have been copied. */
static const void *spoiled[2];

static void copy_and_spoil(void *to, const void *from, int64_t bytes) {
  memcpy(to, from, (size_t)bytes);
  for (int i = 0; i < 2; i++)
    if (from == spoiled[i]) memset((void *)(uintptr_t)from, SPOILED, (size_t)bytes);
}

/* Device 0 is the CPU, device 1 has memory of its own. */
static void use_device(int which) {
  static uly__device apart;
  apart = *uly__device_cpu();
  apart.is_host = false;
  apart.copy = copy_and_spoil;
  uly__stream_get()->device = which ? &apart : uly__device_cpu();
}

static void test_one_memory(void **state) {
  (void)state;
  char bytes[64] = "as they are", room[64] = "";
  uly__stream *stream = uly__stream_get();
  assert_ptr_equal(uly__upload(stream, NULL, bytes, sizeof bytes), bytes);
  assert_ptr_equal(uly__download(stream, NULL, bytes, sizeof bytes), bytes);
  assert_int_equal(uly__room_bytes(stream, sizeof bytes), 0);
  use_device(1);
  assert_ptr_equal(uly__upload(stream, room, bytes, sizeof bytes), room);
  assert_string_equal(room, bytes);
  assert_int_equal(uly__room_bytes(stream, sizeof bytes), sizeof bytes);
  use_device(0);
}

static uly_trainer *make(int model, int pack) {
  uly_train_config config = default_config();
  config.model = config_path[model];
  config.data = text_path;
  config.eval_data = text_path;
  config.seq_len = N;
  config.pack = pack;
  config.doc_end = pack ? 'e' : -1;
  config.batch = 2;
  config.warmup = 1;
  config.lr = 0.01;
  config.threads = 1;
  uly_trainer *trainer;
  assert_ok(uly_trainer_create(mesh, &config, &trainer));
  return trainer;
}

static void is_of_device(const uly_trainer *trainer, const void *x) {
  const uly__arena *arena = &trainer->run.arenas[ULY_ARENA_ACTIVATIONS];
  assert_in_range((uintptr_t)x, (uintptr_t)arena->base,
                  (uintptr_t)(arena->base + arena->capacity - 1));
}

/* Spoils the host's integers of a pass. */
static void spoil_all(uly_trainer *trainer, int32_t *tokens, int32_t *labels) {
  uly__model *model = trainer->run.model;
  spoiled[0] = tokens;
  spoiled[1] = labels;
  memset(model->positions, SPOILED, (size_t)model->num_tokens * sizeof *model->positions);
}

/* Makes one pass; returns the gradients of all tensors, one after the other, and the sum of
 * losses. */
static float *run_pass(int device, int model_of, double *loss) {
  use_device(device);
  uly_trainer *trainer = make(model_of, 0);
  uly__model *model = trainer->run.model;
  int32_t tokens[N], labels[N];
  for (int64_t t = 0; t < model->num_tokens; t++) {
    int64_t at = uly__token_cut_at(model->cut, t);
    tokens[t] = (int32_t)(at * 7 % V);
    labels[t] = at % 5 ? (int32_t)(at * 11 % V) : -1;
  }
  if (device) spoil_all(trainer, tokens, labels);
  uly__exact_sum sum = {0};
  uly__zero_begin_step(model->zero);
  run_passes(model, tokens, labels, 1.0f / N, &sum);
  uly__reduce_grads(model);
  assert_ok(model->failure);
  if (device) {
    is_of_device(trainer, model->input.tokens);
    is_of_device(trainer, model->input.labels);
    is_of_device(trainer, model->input.positions);
    assert_int_equal(tokens[0], 0x7f7f7f7f);
    assert_int_equal(labels[model->num_tokens - 1], 0x7f7f7f7f);
  }
  *loss = uly__exact_value(&sum);
  float *gradients = calloc((size_t)model->params.count, sizeof *gradients), *at = gradients;
  for (int i = 0; i < model->params.num; at += model->params.list[i++].count)
    get_gradient(trainer, i, at);
  spoiled[0] = spoiled[1] = NULL;
  uly_trainer_destroy(trainer);
  use_device(0);
  return gradients;
}

static void test_pass(void **state) {
  (void)state;
  for (int model = 0; model < 2; model++) {
    double loss[NUM_DEVICES];
    float *gradients[NUM_DEVICES];
    for (int device = 0; device < NUM_DEVICES; device++)
      gradients[device] = run_pass(device, model, &loss[device]);
    assert_true(loss[0] > 0 && loss[0] == loss[1]);
    uly_trainer *trainer = make(model, 0);
    size_t bytes = (size_t)trainer->run.model->params.count * sizeof **gradients;
    assert_memory_equal(gradients[0], gradients[1], bytes);
    uly_trainer_destroy(trainer);
    for (int device = 0; device < NUM_DEVICES; device++) free(gradients[device]);
  }
}

/* Writes the logits after a prompt, and after each of some tokens that follow. */
static void generate(const char *checkpoint, int64_t prompt, float *logits) {
  int32_t tokens[100];
  for (int i = 0; i < 100; i++) tokens[i] = i * 31 % V;
  uly_train_config config = default_config();
  config.threads = 1;
  uly_generator *generator;
  assert_ok(uly_generator_create(mesh, &config, checkpoint, tokens, prompt, 3, &generator));
  for (int64_t i = 0; i < 4; i++) {
    memcpy(logits + i * V, uly_generator_logits(generator), V * sizeof *logits);
    if (i < 3) assert_ok(uly_generator_next(generator, tokens[prompt + i]));
  }
  uly_generator_destroy(generator);
}

/* Compares steps, an evaluation, and generation from a prompt that goes through at once and from
 * one that does not. */
static void test_run(void **state) {
  (void)state;
  static float logits[NUM_DEVICES][2][4 * V];
  for (int model = 0; model < 2; model++) {
    double losses[NUM_DEVICES];
    for (int device = 0; device < NUM_DEVICES; device++) {
      char checkpoint[512];
      use_device(device);
      uly_trainer *trainer = make(model, 1);
      for (int step = 0; step < 2; step++) {
        uly_step_report report = {.size = sizeof report};
        assert_ok(uly_trainer_step(trainer, &report));
      }
      losses[device] = eval_loss(trainer);
      assert_ok(uly_trainer_save(trainer, out_dir));
      assert_ok(uly_checkpoint_latest(out_dir, checkpoint, sizeof checkpoint));
      uly_trainer_destroy(trainer);
      generate(checkpoint, 70, logits[device][0]);
      generate(checkpoint, 5, logits[device][1]);
      remove_scratch_folder(out_dir);
    }
    use_device(0);
    assert_true(losses[0] > 0 && losses[0] == losses[1]);
    assert_memory_equal(logits[0], logits[1], sizeof logits[0]);
  }
}

int main(int argc, char **argv) {
  begin_ranks(&argc, &argv, &mesh);
  char text[2000];
  for (size_t i = 0; i < sizeof text; i++) text[i] = "some text here. "[i * i % 101 % 16];
  write_scratch_file(text_path, "device.txt", text, sizeof text);
  write_scratch_configs(config_path, "device", configs, 2);
  name_scratch_folder(out_dir, "device-out");
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_one_memory),
      cmocka_unit_test(test_pass),
      cmocka_unit_test(test_run),
  };
  int failed = cmocka_run_group_tests(tests, NULL, NULL);
  remove_scratch_file(text_path);
  for (int i = 0; i < 2; i++) remove_scratch_file(config_path[i]);
  return end_ranks(mesh, failed);
}
