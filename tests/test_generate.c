/* Tests generation: the logits after a prompt, and after each token that follows, are those of
 * PyTorch and of the training forward pass over the whole sequence; they have the same bits on a
 * single rank; and settings that cannot work are refused. */
#include <mpi.h>

#include <jansson.h>
#include <math.h>
#include <unistd.h>

#include "infer/decode.h"
#include "testing.h"
#include "trainer_access.h"

static uly_mesh *mesh, *alone;
static int size, rank;
static char text_path[256], config_path[3][256], out_dir[256], checkpoint[512];

static const char *const configs[3] = {
    /* fewer key/value heads than 4 ranks; sizes that nothing divides */
    ("{\"model_type\":\"llama\",\"hidden_size\":88,\"intermediate_size\":331,"
     "\"num_hidden_layers\":3,\"num_attention_heads\":9,\"num_key_value_heads\":3,\"head_dim\":22,"
     "\"vocab_size\":257,\"max_position_embeddings\":4096,\"tie_word_embeddings\":false}"),
    /* layers of two kinds, norms of heads, scaled RoPE */
    ("{\"model_type\":\"qwen3\",\"hidden_size\":128,\"intermediate_size\":200,"
     "\"num_hidden_layers\":3,\"num_attention_heads\":8,\"num_key_value_heads\":1,\"head_dim\":16,"
     "\"use_sliding_window\":true,\"sliding_window\":17,\"layer_types\":[\"full_attention\","
     "\"sliding_attention\",\"full_attention\"],\"rope_scaling\":{\"rope_type\":\"yarn\","
     "\"factor\":8,\"original_max_position_embeddings\":64},"
     "\"vocab_size\":257,\"max_position_embeddings\":4096,\"tie_word_embeddings\":true}"),
    ("{\"model_type\":\"gpt2\",\"n_embd\":80,\"n_layer\":3,\"n_head\":10,\"n_positions\":300,"
     "\"vocab_size\":257}"),
};

static void save(uly_trainer *trainer) {
  remove_scratch_folder(out_dir);
  assert_ok(uly_trainer_save(trainer, out_dir));
  assert_ok(uly_checkpoint_latest(out_dir, checkpoint, sizeof checkpoint));
}

/* ---------------------------------------------------------------------- against PyTorch */

static void close_to(const char *what, int64_t position, const float *found, const float *expected,
                     int64_t count, double tolerance) {
  double error = largest_error(found, expected, count, 1e-30);
  if (!(error < tolerance))
    fail_msg("%s on %d ranks: logits after %lld tokens differ by %g", what, size,
             (long long)position, error);
}

/* Logits after prompts of these lengths, and after all tokens that follow in the sequence. */
static void follow(const char *what, uly_train_config config, const int32_t *tokens, int64_t prompt,
                   int64_t N, const float *expected, double tolerance) {
  uly_generator *generator;
  assert_ok(
      uly_generator_create(mesh, &config, checkpoint, tokens, prompt, N - prompt, &generator));
  int64_t V = generator_report(generator).vocab;
  for (int64_t t = prompt;; t++) {
    close_to(what, t, uly_generator_logits(generator), expected + (t - 1) * V, V, tolerance);
    assert_int_equal(generator_report(generator).num_tokens, t);
    if (t == N) break;
    assert_ok(uly_generator_next(generator, tokens[t]));
  }
  assert_fails(uly_generator_next(generator, tokens[0]), ULY_ERR_CONFIG, "all the");
  uly_generator_destroy(generator);
}

static void check_golden(const char *set) {
  char path[512], shard_path[256];
  json_error_t error;
  uly__safetensors *weights, *tensors;
  test_data_path(path, set, "golden.json");
  json_t *json = json_load_file(path, 0, &error);
  assert_non_null(json);
  test_data_path(path, set, "model.safetensors");
  assert_ok(uly__safetensors_open(path, &weights));
  test_data_path(path, set, "golden.safetensors");
  assert_ok(uly__safetensors_open(path, &tensors));
  test_data_path(path, set, "config.json");
  const json_t *list = json_object_get(json, "tokens");
  int64_t N = (int64_t)json_array_size(list) - 1;
  int32_t tokens[256];
  for (int64_t i = 0; i < N; i++)
    tokens[i] = (int32_t)json_integer_value(json_array_get(list, (size_t)i));
  uint16_t shard[512 + 256] = {0}; /* any data: nothing is trained */
  int32_t header[256] = {20240520, 1, 256};
  memcpy(shard, header, 1024);
  write_scratch_file(shard_path, "generate.bin", shard, sizeof shard);
  uly_train_config config = default_config();
  config.model = path;
  config.data = shard_path;
  config.seq_len = 16;
  config.threads = 1;
  uly_trainer *trainer;
  assert_ok(uly_trainer_create(mesh, &config, &trainer));
  set_weights(trainer, weights);
  save(trainer);
  uly_trainer_destroy(trainer);
  const uly__tensor_info *info = uly__safetensors_find(tensors, "logits");
  assert_non_null(info);
  float *logits = read_tensor(tensors, info);
  follow(set, config, tokens, 1, N, logits, 1e-5);
  follow(set, config, tokens, N, N, logits, 1e-5);
  config.zero_stage = 3;
  follow(set, config, tokens, 9, N, logits, 1e-5);
  free(logits);
  remove_scratch_file(shard_path);
  uly__safetensors_close(weights);
  uly__safetensors_close(tensors);
  json_decref(json);
}

static void test_golden(void **state) {
  (void)state;
  check_golden("golden_llama");
  check_golden("golden_qwen");
  check_golden("golden_gpt2");
}

/* ------------------------------------------- against the training forward pass, and alone */

enum { N = 200, V = 257 };

/* Packed documents end with this token, which is an ordinary one of the text. */
enum { DOC_END = 's' };

/* A few steps, so that weights are not so small that every token is as likely; and its tokens. */
static uly_train_config train(int which, uly_dtype dtype, int64_t window, uly_sparse sparse,
                              bool packs, int32_t *tokens, float *logits) {
  uly_train_config config = default_config();
  config.model = config_path[which];
  config.data = text_path;
  config.seq_len = N;
  config.window = window;
  config.sparse = sparse;
  config.dtype = dtype;
  config.pack = packs;
  config.doc_end = packs ? DOC_END : -1;
  config.lr = 0.01;
  config.warmup = 1;
  config.threads = 1;
  uly_trainer *trainer;
  assert_ok(uly_trainer_create(mesh, &config, &trainer));
  for (int step = 0; step < 5; step++) {
    uly_step_report report = {.size = sizeof report};
    assert_ok(uly_trainer_step(trainer, &report));
  }
  save(trainer);
  uly_trainer_destroy(trainer);
  /* Each rank alone: the whole sequence in one tile. */
  assert_ok(uly_trainer_create(alone, &config, &trainer));
  assert_ok(uly_trainer_load(trainer, checkpoint));
  assert_ok(uly__batch_read(trainer, trainer->data, 2, trainer->run.windows));
  uly__exact_sum losses[ULY_MAX_EVAL_BINS];
  memset(losses, 0, sizeof losses);
  uly__zero_forget_weights(trainer->run.model->zero);
  const int32_t *labels = uly__batch_prepare(trainer, trainer->data, 2, trainer->run.windows);
  run_passes(trainer->run.model, trainer->run.windows, labels, 0, losses);
  uly__copy(trainer->run.model->stream, logits, trainer->run.model->work.logits,
            (int64_t)N * V * (int64_t)sizeof *logits);
  memcpy(tokens, trainer->run.windows, N * sizeof *tokens);
  uly_trainer_destroy(trainer);
  return config;
}

/* Checks that the bits are those of one rank if the number of ranks is a power of two and each has
 * all layers, whatever the stage and the number of threads; and that the logits are close. */
static void compare_alone(const char *what, uly_train_config config, const int32_t *tokens,
                          int64_t prompt) {
  uly_generator *many, *one;
  int64_t end = prompt + 12 < N ? prompt + 12 : N;
  assert_ok(uly_generator_create(alone, &config, checkpoint, tokens, prompt, end - prompt, &one));
  config.zero_stage = prompt % 2 ? 3 : 0;
  config.threads = 1 + (int)(prompt % 2);
  assert_ok(uly_generator_create(mesh, &config, checkpoint, tokens, prompt, end - prompt, &many));
  bool halves = (size & (size - 1)) == 0 && uly_mesh_tp(mesh) == 1;
  for (int64_t t = prompt;; t++) {
    const float *a = uly_generator_logits(many), *b = uly_generator_logits(one);
    if (halves && memcmp(a, b, V * sizeof *a) != 0)
      fail_msg("%s, a prompt of %lld on %d ranks: other bits after %lld tokens than alone", what,
               (long long)prompt, size, (long long)t);
    close_to(what, t, a, b, V, config.dtype == ULY_F32 ? 1e-5 : 0.05);
    if (t == end) break;
    assert_ok(uly_generator_next(many, tokens[t]));
    assert_ok(uly_generator_next(one, tokens[t]));
  }
  uly_generator_destroy(many);
  uly_generator_destroy(one);
}

static void check_all(const char *what, int which, uly_dtype dtype, int64_t window,
                      uly_sparse sparse, bool packs) {
  int32_t tokens[N];
  float *logits = malloc((size_t)N * V * sizeof *logits);
  double tolerance = dtype == ULY_F32 ? 1e-5 : 0.05;
  uly_train_config config = train(which, dtype, window, sparse, packs, tokens, logits);
  follow(what, config, tokens, 160, N, logits, tolerance);
  static const int64_t prompts[] = {94, 1, 64, 160, 187};
  for (int i = 0; i < (has_few_cases() ? 1 : 5); i++)
    compare_alone(what, config, tokens, prompts[i]);
  if (!has_few_cases()) {
    follow(what, config, tokens, 63, N, logits, tolerance);
    follow(what, config, tokens, 64, 110, logits, tolerance);
  }
  free(logits);
}

static void check(const char *what, int which, uly_dtype dtype, int64_t window, uly_sparse sparse) {
  check_all(what, which, dtype, window, sparse, false);
}

static void test_llama(void **state) {
  (void)state;
  check("llama", 0, ULY_F32, 0, (uly_sparse){0});
}

static void test_qwen(void **state) {
  (void)state;
  check("qwen", 1, ULY_F32, -1, (uly_sparse){0});
}

static void test_gpt2(void **state) {
  (void)state;
  check("gpt2", 2, ULY_F32, 0, (uly_sparse){0});
}

static void test_masks(void **state) {
  (void)state;
  check("window", 0, ULY_F32, 21, (uly_sparse){0});
  check("longformer", 1, ULY_F32, 0,
        (uly_sparse){.pattern = ULY_SPARSE_LONGFORMER, .block = 9, .local = 2, .global = 1});
  check("bigbird", 2, ULY_F32, 101,
        (uly_sparse){.pattern = ULY_SPARSE_BIGBIRD, .block = 7, .local = 1, .random = 2});
  check("strided", 1, ULY_F32, 0,
        (uly_sparse){.pattern = ULY_SPARSE_STRIDED, .block = 5, .local = 3});
}

/* What follows a document's end sees nothing of it, and is at positions from 0 on. */
static void test_packed(void **state) {
  (void)state;
  uly_sparse none = {0};
  for (int which = 0; which < 3; which++)
    check_all("packed", which, ULY_F32, which == 1 ? 30 : 0, none, true);
}

static void test_bf16(void **state) {
  (void)state;
  for (int which = 0; which < 3; which++)
    check("bf16", which, ULY_BF16, which == 1 ? 50 : 0, (uly_sparse){0});
}

/* ------------------------------------------------------------------------ tensor parallelism */

static void check_share(const char *what, int which, uly_dtype dtype, int64_t window,
                        uly_sparse sparse, bool packs) {
  int32_t tokens[N];
  float *logits = malloc((size_t)N * V * sizeof *logits);
  uly_train_config config = train(which, dtype, window, sparse, packs, tokens, logits);
  follow(what, config, tokens, 187, N, logits, dtype == ULY_F32 ? 1e-5 : 0.05);
  compare_alone(what, config, tokens, 1);
  compare_alone(what, config, tokens, 94);
  free(logits);
}

/* Compares a mesh of so many shares, and as many ranks of the sequence as that leaves. Some models
 * of the golden files have only 6 heads. */
static void check_shares(int tp) {
  uly_mesh *whole = mesh;
  uly_sparse none = {0}, blocks = {.pattern = ULY_SPARSE_LONGFORMER, .block = 9, .local = 2};
  assert_ok(uly_mesh_create(MESH(.tp = tp), &mesh));
  if (size <= 4) {
    check_golden("golden_llama");
    check_golden("golden_qwen");
    check_golden("golden_gpt2");
  }
  check_share("llama in shares", 0, ULY_F32, 0, none, false);
  check_share("qwen in shares", 1, ULY_F32, 21, blocks, false);
  check_share("gpt2 in shares", 2, ULY_F32, 0, none, true);
  check_share("bf16 in shares", 2, ULY_BF16, 0, none, false);
  uly_mesh_destroy(mesh);
  mesh = whole;
}

static void test_shares(void **state) {
  (void)state;
  if (size > 1) check_shares(size);
  if (size > 2 && size % 2 == 0) check_shares(2);
}

/* ---------------------------------------------------------------------- pipeline parallelism */

/* Compares a mesh of so many stages. A boundary between them changes no sum, so the bits are those
 * of one rank. */
static void check_stages(int pp, int tp) {
  uly_mesh *whole = mesh;
  uly_sparse none = {0}, blocks = {.pattern = ULY_SPARSE_LONGFORMER, .block = 9, .local = 2};
  assert_ok(uly_mesh_create(MESH(.pp = pp, .tp = tp), &mesh));
  if (pp <= 2 && size <= 4) {
    check_golden("golden_llama");
    check_golden("golden_qwen");
  }
  if (pp <= 5) check_golden("golden_deep");
  check_share("llama in stages", 0, ULY_F32, 21, blocks, false);
  check_share("gpt2 in stages", 2, ULY_BF16, 0, none, true);
  uly_mesh_destroy(mesh);
  mesh = whole;
}

static void test_stages(void **state) {
  (void)state;
  if (size == 2 || size == 3) check_stages(size, 1);
  if (size == 4) check_stages(2, 1);
  if (size == 4 || size == 8) check_stages(2, 2);
}

/* ------------------------------------------------------------------------------ refusals */

/* The cache is as large as the formula says, and is counted before anything is allocated. */
static void test_memory(void **state) {
  (void)state;
  int32_t tokens[N];
  float *logits = malloc((size_t)N * V * sizeof *logits);
  uly_sparse none = {0};
  uly_train_config config = train(0, ULY_F32, 0, none, false, tokens, logits);
  uly_generator *generator;
  int64_t bytes[2];
  for (int i = 0; i < 2; i++) {
    assert_ok(
        uly_generator_create(mesh, &config, checkpoint, tokens, 10, 502 + i * 512, &generator));
    bytes[i] = generator_report(generator).arena_bytes[ULY_ARENA_ACTIVATIONS];
    uly_generator_destroy(generator);
  }
  /* Of 9 query heads in groups of 3: those that this rank's part of them uses. */
  int first = 9 * rank / size, last = 9 * (rank + 1) / size - 1;
  int64_t kv_heads = last / 3 - first / 3 + 1;
  assert_int_equal(bytes[1] - bytes[0], 512 * kv_heads * 22 * 2 * 3 * 4);
  config.memory_limit = 100000;
  assert_fails(uly_generator_create(mesh, &config, checkpoint, tokens, 64, 9, &generator),
               ULY_ERR_CONFIG, "needs");
  assert_null(generator);
  free(logits);
}

static void test_refusals(void **state) {
  (void)state;
  int32_t tokens[N], bad = 257;
  float *logits = malloc((size_t)N * V * sizeof *logits);
  uly_sparse none = {0};
  uly_train_config config = train(2, ULY_F32, 0, none, false, tokens, logits);
  uly_generator *g;
  assert_fails(uly_generator_create(mesh, &config, "/nowhere", tokens, 1, 1, &g), ULY_ERR_DATA,
               "/nowhere");
  assert_fails(uly_generator_create(mesh, &config, checkpoint, tokens, 0, 1, &g), ULY_ERR_CONFIG,
               "at least one");
  assert_fails(uly_generator_create(mesh, &config, checkpoint, &bad, 1, 1, &g), ULY_ERR_CONFIG,
               "257");
  assert_fails(uly_generator_create(mesh, &config, checkpoint, tokens, 200, 101, &g),
               ULY_ERR_CONFIG, "learned positions for 300");
  int32_t longer[301] = {0};
  assert_fails(uly_generator_create(mesh, &config, checkpoint, longer, 301, 1, &g), ULY_ERR_CONFIG,
               "the prompt has 301 tokens, but the model has learned positions for 300");
  config.sparse = (uly_sparse){.pattern = ULY_SPARSE_FIXED, .block = 8};
  assert_fails(uly_generator_create(mesh, &config, checkpoint, tokens, 9, 9, &g), ULY_ERR_CONFIG,
               "local");
  config.sparse = none;
  if (size > 1) {
    uly_mesh *groups;
    assert_ok(uly_mesh_create(MESH(.dp = size, .sp = 1), &groups));
    assert_fails(uly_generator_create(groups, &config, checkpoint, tokens, 9, 9, &g),
                 ULY_ERR_CONFIG, "mesh.dp = 1");
    uly_mesh_destroy(groups);
    assert_ok(uly_mesh_create(MESH(.ring = size), &groups));
    assert_fails(uly_generator_create(groups, &config, checkpoint, tokens, 9, 9, &g),
                 ULY_ERR_CONFIG, "generation divides heads among the ranks, and not the keys");
    uly_mesh_destroy(groups);
    assert_fails(uly_generator_create(mesh, &config, checkpoint, tokens + rank, 9, 9, &g),
                 ULY_ERR_CONFIG, "a different prompt");
    assert_ok(uly_generator_create(mesh, &config, checkpoint, tokens, 9, 9, &g));
    assert_fails(uly_generator_next(g, rank), ULY_ERR_CONFIG, "a different token");
    uly_generator_destroy(g);
  }
  assert_ok(uly_generator_create(mesh, &config, checkpoint, tokens, 9, 9, &g));
  assert_fails(uly_generator_next(g, -1), ULY_ERR_CONFIG, "-1");
  uly_generator_destroy(g);
  free(logits);
}

int main(int argc, char **argv) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_golden), cmocka_unit_test(test_llama),    cmocka_unit_test(test_qwen),
      cmocka_unit_test(test_gpt2),   cmocka_unit_test(test_masks),    cmocka_unit_test(test_packed),
      cmocka_unit_test(test_bf16),   cmocka_unit_test(test_shares),   cmocka_unit_test(test_stages),
      cmocka_unit_test(test_memory), cmocka_unit_test(test_refusals),
  };
  begin_ranks(&argc, &argv, &mesh);
  if (uly_mesh_create_mpi(MPI_COMM_SELF, NULL, &alone) != ULY_OK) return 1;
  size = uly_mesh_size(mesh);
  rank = uly_mesh_rank(mesh);
  write_scratch_text(text_path, "generate.txt", 4000);
  write_scratch_configs(config_path, "generate", configs, 3);
  name_scratch_folder(out_dir, "generate-out");
  int failed = cmocka_run_group_tests(tests, NULL, NULL);
  remove_scratch_folder(out_dir);
  remove_scratch_file(text_path);
  for (int i = 0; i < 3; i++) remove_scratch_file(config_path[i]);
  uly_mesh_destroy(alone);
  return end_ranks(mesh, failed);
}
