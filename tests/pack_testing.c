/* Shared by the tests of packed documents. */
#include <mpi.h>

#include "base/split.h"
#include "pack_testing.h"

int size;
char config_path[2][256], data_path[256];
int32_t stream[COUNT];

static const char *const configs[2] = {
    /* Hq 9, Hkv 3, RoPE: no rank count but 3 divides both */
    ("{\"model_type\":\"llama\",\"hidden_size\":36,\"intermediate_size\":50,\"num_hidden_layers\":"
     "2,"
     "\"num_attention_heads\":9,\"num_key_value_heads\":3,\"head_dim\":6,\"vocab_size\":1200,"
     "\"max_position_embeddings\":4096,\"tie_word_embeddings\":false}"),
    /* learned positions */
    ("{\"model_type\":\"gpt2\",\"n_embd\":40,\"n_layer\":2,\"n_head\":10,\"n_positions\":512,"
     "\"vocab_size\":1200}"),
};

static uint64_t draw(uint64_t *seed) {
  *seed = *seed * 6364136223846793005u + 1442695040888963407u;
  return *seed >> 33;
}

/* Windows: documents of random lengths, many of 1, in the first and the last; ends at the borders
 * of slices, before and after; one document that goes on in the next window; one that ends with the
 * window; documents of 1 token alone, without any label. */
static void make_stream(void) {
  uint64_t seed = 5;
  for (int64_t at = 0; at < COUNT; at++) stream[at] = (int32_t)(at + 10);
  for (int64_t at = 0; at < 6 * N; at += 1 + (int64_t)(draw(&seed) % 3 ? draw(&seed) % 25 : 0))
    if (at / N % 5 == 0) stream[at] = END;
  for (int parts = 2; parts <= 4; parts++)
    for (int p = 1; p < parts; p++)
      stream[N + uly__split(N, 1, parts, p).begin - (parts == 3 ? 0 : 1)] = END;
  stream[4 * N - 1] = END;
  for (int64_t at = BLANK * N; at < (BLANK + 1) * N; at++) stream[at] = END;
  stream[6 * N + 60] = END;
}

void write_shard(char *path, const char *name, int32_t header) {
  static char bytes[1024 + 2 * COUNT];
  int32_t first[4] = {20240520, 1, COUNT, header};
  memset(bytes, 0, sizeof bytes);
  memcpy(bytes, first, sizeof first);
  for (int64_t i = 0; i < COUNT; i++) {
    uint16_t token = (uint16_t)stream[i];
    memcpy(bytes + 1024 + 2 * i, &token, 2);
  }
  write_scratch_file(path, name, bytes, sizeof bytes);
}

uly_train_config make_config(const setting *s) {
  uly_train_config config = default_config();
  config.model = config_path[s->which];
  config.data = config.eval_data = data_path;
  config.eval_windows = NUM_WINDOWS;
  config.seq_len = s->seq_len;
  config.pack = s->pack;
  config.window = s->window;
  if (s->pattern != ULY_SPARSE_NONE)
    config.sparse =
        (uly_sparse){.pattern = s->pattern, .block = 5, .local = 3, .global = 1, .random = 2};
  config.steps = 20;
  config.warmup = 2;
  config.batch = s->batch;
  config.zero_stage = s->stage;
  config.recompute = s->recompute;
  config.reproducible = s->reproducible;
  config.threads = 1;
  return config;
}

uly_trainer *make(uly_mesh *mesh, const setting *s) {
  uly_trainer *trainer;
  uly_train_config config = make_config(s);
  assert_ok(uly_trainer_create(mesh, &config, &trainer));
  return trainer;
}

uly_mesh *alone(void) {
  uly_mesh *mesh;
  assert_ok(uly_mesh_create_mpi(MPI_COMM_SELF, NULL, &mesh));
  return mesh;
}

void begin_packs(int *argc, char ***argv) {
  begin_ranks(argc, argv, NULL);
  size = uly_world_size();
  make_stream();
  write_shard(data_path, "pack.bin", 1 + END);
  write_scratch_configs(config_path, "pack", configs, 2);
}

int end_packs(int num_failed) {
  remove_scratch_file(data_path);
  for (int i = 0; i < 2; i++) remove_scratch_file(config_path[i]);
  return end_ranks(NULL, num_failed);
}
