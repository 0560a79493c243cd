/* Tests models in and out: a folder in Hugging Face's format, written here tensor by tensor, goes
 * into a run on every mesh. What each rank then holds is compared with values that are functions of
 * the names and indices in the files; and what the run saves and exports has every bit of every
 * tensor again. */
#include <unistd.h>

#include "store/hf_folder.h"
#include "testing.h"
#include "train/trainer.h"

static uly_mesh *world;
static int num_ranks, rank;
static char text_path[256], folder[256], out_dir[256], exported[256];

/* The sizes of the models: no multiples of each other. */
enum { H = 48, F = 50, V = 257, P = 70, L = 3, KV = 24 };

/* A tensor of a folder. */
typedef struct stored {
  char name[96];
  int64_t rows, cols; /* cols 0: a vector */
} stored;

typedef struct model {
  const char *what, *config;
  bool is_gpt2;
  const char *prefix; /* before the names, but that of the head */
  bool has_head;
  bool has_biases; /* of q, k and v */
} model;

#define LLAMA(type, tied)                                                   \
  "{\"model_type\":\"" type                                                 \
  "\",\"hidden_size\":48,\"intermediate_size\":50,\"num_hidden_layers\":3," \
  "\"num_attention_heads\":6,\"num_key_value_heads\":3,\"head_dim\":8,"     \
  "\"vocab_size\":257,\"max_position_embeddings\":70,\"tie_word_embeddings\":" tied "}"
#define GPT2                                                                          \
  "{\"model_type\":\"gpt2\",\"n_embd\":48,\"n_inner\":50,\"n_layer\":3,\"n_head\":6," \
  "\"vocab_size\":257,\"n_positions\":70}"

static const model models[] = {
    {"llama", LLAMA("llama", "false"), false, "model.", true, false},
    {"tied llama", LLAMA("llama", "true"), false, "model.", false, false},
    {"tied qwen2 with a head", LLAMA("qwen2", "true"), false, "model.", true, true},
    {"base llama", LLAMA("llama", "true"), false, "", false, false},
    {"gpt2", GPT2, true, "transformer.", false, false},
    {"base gpt2", GPT2, true, "", false, false},
};
enum { NUM_MODELS = sizeof models / sizeof models[0], MOST = 64 };

/* ------------------------------------------------------------------------- making folders */

static void add(stored *list, int *num, const char *prefix, const char *name, int layer,
                int64_t rows, int64_t cols) {
  stored *tensor = &list[(*num)++];
  int used = snprintf(tensor->name, sizeof tensor->name, "%s", prefix);
  snprintf(tensor->name + used, sizeof tensor->name - (size_t)used, name, layer);
  tensor->rows = rows;
  tensor->cols = cols;
}

static void list_llama(const model *m, stored *list, int *num) {
  const char *p = m->prefix;
  add(list, num, p, "embed_tokens.weight", 0, V, H);
  for (int l = 0; l < L; l++) {
    add(list, num, p, "layers.%d.input_layernorm.weight", l, H, 0);
    add(list, num, p, "layers.%d.mlp.down_proj.weight", l, H, F);
    add(list, num, p, "layers.%d.mlp.gate_proj.weight", l, F, H);
    add(list, num, p, "layers.%d.mlp.up_proj.weight", l, F, H);
    add(list, num, p, "layers.%d.post_attention_layernorm.weight", l, H, 0);
    add(list, num, p, "layers.%d.self_attn.k_proj.weight", l, KV, H);
    add(list, num, p, "layers.%d.self_attn.o_proj.weight", l, H, H);
    add(list, num, p, "layers.%d.self_attn.q_proj.weight", l, H, H);
    add(list, num, p, "layers.%d.self_attn.v_proj.weight", l, KV, H);
    if (m->has_biases) {
      add(list, num, p, "layers.%d.self_attn.k_proj.bias", l, KV, 0);
      add(list, num, p, "layers.%d.self_attn.q_proj.bias", l, H, 0);
      add(list, num, p, "layers.%d.self_attn.v_proj.bias", l, KV, 0);
    }
  }
  add(list, num, p, "norm.weight", 0, H, 0);
}

static void list_gpt2(const model *m, stored *list, int *num) {
  const char *p = m->prefix;
  for (int l = 0; l < L; l++) {
    add(list, num, p, "h.%d.attn.c_attn.bias", l, 3 * H, 0);
    add(list, num, p, "h.%d.attn.c_attn.weight", l, H, 3 * H);
    add(list, num, p, "h.%d.attn.c_proj.bias", l, H, 0);
    add(list, num, p, "h.%d.attn.c_proj.weight", l, H, H);
    add(list, num, p, "h.%d.ln_1.bias", l, H, 0);
    add(list, num, p, "h.%d.ln_1.weight", l, H, 0);
    add(list, num, p, "h.%d.ln_2.bias", l, H, 0);
    add(list, num, p, "h.%d.ln_2.weight", l, H, 0);
    add(list, num, p, "h.%d.mlp.c_fc.bias", l, F, 0);
    add(list, num, p, "h.%d.mlp.c_fc.weight", l, H, F);
    add(list, num, p, "h.%d.mlp.c_proj.bias", l, H, 0);
    add(list, num, p, "h.%d.mlp.c_proj.weight", l, F, H);
  }
  add(list, num, p, "h.%d.attn.bias", 1, 5, 0); /* a buffer, which is ignored */
  add(list, num, p, "ln_f.bias", 0, H, 0);
  add(list, num, p, "ln_f.weight", 0, H, 0);
  add(list, num, p, "wpe.weight", 0, P, H);
  add(list, num, p, "wte.weight", 0, V, H);
}

static int list_tensors(const model *m, stored *list) {
  int num = 0;
  (m->is_gpt2 ? list_gpt2 : list_llama)(m, list, &num);
  if (m->has_head) add(list, &num, "", "lm_head.weight", 0, V, H);
  assert_true(num <= MOST);
  return num;
}

/* Returns the bits of an element, as a function of the tensor's name without its prefix. */
static uint32_t bits_of(const model *m, const char *name, int64_t index) {
  uint64_t hash = 0xcbf29ce484222325u;
  if (strncmp(name, m->prefix, strlen(m->prefix)) == 0) name += strlen(m->prefix);
  /* The head of a tied model is its embedding. */
  bool is_tied = strstr(m->config, "\"tie_word_embeddings\":true") != NULL;
  if (is_tied && strcmp(name, "lm_head.weight") == 0) name = "embed_tokens.weight";
  for (; *name; name++) hash = (hash ^ (unsigned char)*name) * 0x100000001b3u;
  hash = (hash + (uint64_t)index) * 0x9e3779b97f4a7c15u;
  return (uint32_t)(hash >> 32) ^ (uint32_t)hash;
}

/* Returns the f32 that an element is. f16 is decoded by its definition. */
static uint32_t widened(uly_dtype dtype, uint32_t bits) {
  if (dtype == ULY_F32) return bits;
  if (dtype == ULY_BF16) return bits << 16;
  uint32_t sign = (bits & 0x8000u) << 16, exponent = (bits >> 10) & 31u, mantissa = bits & 0x3ffu;
  if (exponent == 31) return sign | 0x7f800000u | mantissa << 13;
  if (exponent == 0 && mantissa == 0) return sign;
  int power = (int)exponent - 15;
  if (exponent == 0) {
    for (power = -14; !(mantissa & 0x400u); power--) mantissa <<= 1;
    mantissa &= 0x3ffu;
  }
  return sign | (uint32_t)(power + 127) << 23 | mantissa << 13;
}

/* Fills a tensor with all bits that its type has, NaN and infinities among them. */
static void fill(const model *m, const stored *tensor, uly_dtype dtype, char *to) {
  int64_t count = tensor->rows * (tensor->cols ? tensor->cols : 1);
  for (int64_t i = 0; i < count; i++) {
    uint32_t bits = bits_of(m, tensor->name, i);
    uint16_t half = (uint16_t)bits;
    if (dtype == ULY_F32)
      memcpy(to + 4 * i, &bits, 4);
    else
      memcpy(to + 2 * i, &half, 2);
  }
}

static void put_file(const char *name, const void *bytes, size_t count) {
  char path[600];
  snprintf(path, sizeof path, "%s/%s", folder, name);
  FILE *file = fopen(path, "wb");
  assert_non_null(file);
  assert_int_equal(fwrite(bytes, 1, count, file), count);
  assert_int_equal(fclose(file), 0);
}

static void put_text(const char *name, const char *text) { put_file(name, text, strlen(text)); }

/* Writes tensors [begin, end) of the list to a file. */
static void put_tensors(const model *m, const stored *list, int begin, int end, uly_dtype dtype,
                        const char *name) {
  uly__tensor_info table[MOST] = {0};
  for (int i = begin; i < end; i++) {
    uly__tensor_info *info = &table[i - begin];
    snprintf(info->name, sizeof info->name, "%s", list[i].name);
    info->dtype = dtype;
    info->num_dims = list[i].cols ? 2 : 1;
    info->dims[0] = list[i].rows;
    info->dims[1] = list[i].cols;
  }
  int64_t data = uly__safetensors_layout(table, end - begin), header;
  char *bytes;
  assert_ok(uly__safetensors_header(table, end - begin, &bytes, &header));
  bytes = realloc(bytes, (size_t)(header + data));
  assert_non_null(bytes);
  for (int i = begin; i < end; i++)
    fill(m, &list[i], dtype, bytes + header + table[i - begin].begin);
  put_file(name, bytes, (size_t)(header + data));
  free(bytes);
}

/* Writes the folder, on rank 0: in one file, or in two with an index. */
static void put_folder(const model *m, uly_dtype dtype, bool is_sharded) {
  stored list[MOST];
  int num = list_tensors(m, list), half = num / 2;
  char index[1 << 14];
  int used = snprintf(index, sizeof index, "{\"metadata\":{},\"weight_map\":{");
  char command[600];
  snprintf(command, sizeof command, "mkdir -p '%s'", folder);
  assert_int_equal(system(command), 0);
  put_text("config.json", m->config);
  put_text("tokenizer.json", "{\"a\": 1}");
  put_text("my.tiktoken", "YQ== 0\n");
  put_text("notes.txt", "not a file of the model");
  if (!is_sharded) {
    put_tensors(m, list, 0, num, dtype, "model.safetensors");
    return;
  }
  put_tensors(m, list, 0, half, dtype, "a.safetensors");
  put_tensors(m, list, half, num, dtype, "b.safetensors");
  for (int i = 0; i < num; i++)
    used += snprintf(index + used, sizeof index - (size_t)used, "%s\"%s\":\"%c.safetensors\"",
                     i ? "," : "", list[i].name, i < half ? 'a' : 'b');
  snprintf(index + used, sizeof index - (size_t)used, "}}");
  put_text("model.safetensors.index.json", index);
}

/* ------------------------------------------------------------------------- what ranks hold */

/* Returns the bits that an element of a parameter must have, by the definition of the formats. */
static uint32_t expected(const model *m, uly_dtype dtype, const uly__param *param, int64_t index) {
  static const char *const gpt2[][2] = {{"model.embed_tokens.weight", "wte.weight"},
                                        {"model.embed_positions.weight", "wpe.weight"},
                                        {"model.norm.", "ln_f."}};
  char name[128];
  const char *rest = param->name;
  if (!m->is_gpt2) {
    if (strncmp(rest, "model.", 6) == 0) rest += 6;
    return widened(dtype, bits_of(m, rest, index));
  }
  for (int i = 0; i < 3; i++)
    if (strncmp(rest, gpt2[i][0], strlen(gpt2[i][0])) == 0) {
      snprintf(name, sizeof name, "%s%s", gpt2[i][1], rest + strlen(gpt2[i][0]));
      return widened(dtype, bits_of(m, name, index));
    }
  int layer, at, part = 0;
  int64_t width = 0; /* of the stored tensor, if it is transposed */
  bool is_matrix = param->num_dims == 2;
  assert_int_equal(sscanf(rest, "model.layers.%d.%n", &layer, &at), 1);
  rest += at;
  const char *kind = strrchr(rest, '.');
  const char *theirs = NULL;
  if (strncmp(rest, "input_", 6) == 0) theirs = "ln_1";
  if (strncmp(rest, "post_", 5) == 0) theirs = "ln_2";
  if (strncmp(rest, "self_attn.o", 11) == 0) theirs = "attn.c_proj", width = H;
  if (strncmp(rest, "mlp.up", 6) == 0) theirs = "mlp.c_fc", width = F;
  if (strncmp(rest, "mlp.down", 8) == 0) theirs = "mlp.c_proj", width = H;
  if (strncmp(rest, "self_attn.q", 11) == 0) theirs = "attn.c_attn", width = 3 * H;
  if (strncmp(rest, "self_attn.k", 11) == 0) theirs = "attn.c_attn", width = 3 * H, part = 1;
  if (strncmp(rest, "self_attn.v", 11) == 0) theirs = "attn.c_attn", width = 3 * H, part = 2;
  assert_non_null(theirs);
  snprintf(name, sizeof name, "h.%d.%s%s", layer, theirs, kind);
  if (width && is_matrix) {
    int64_t row = index / param->dims[1], col = index % param->dims[1];
    index = col * width + part * H + row;
  } else {
    index += part * (int64_t)H;
  }
  return widened(dtype, bits_of(m, name, index));
}

static void check_states(const model *m, uly_dtype dtype, const uly_trainer *trainer) {
  const uly__model *own = trainer->run.model;
  float *buffer = malloc(ULY_LARGEST_RANGE * sizeof *buffer);
  int64_t num_checked = 0, num_held = 0;
  assert_non_null(buffer);
  uly__range range;
  uly__range_walk walk = uly__param_ranges(&own->params, own->zero, ULY_ALL_UNITS);
  while (uly__range_next(&walk, &range)) {
    const float *data;
    assert_ok(uly__states_read(&trainer->run.states, ULY_STATE_MASTER, &range, buffer, &data));
    for (int64_t i = 0; i < range.count; i++) {
      uint32_t bits, must = expected(m, dtype, range.param, range.global + i);
      memcpy(&bits, &data[i], 4);
      if (bits != must)
        fail_msg("%s: element %lld of %s is %08x, not %08x", m->what, (long long)(range.global + i),
                 range.param->name, bits, must);
      num_checked++;
    }
  }
  for (int u = 0; u < own->params.num_units; u++) num_held += uly__zero_updated(own->zero, u).count;
  assert_int_equal(num_checked, num_held);
  assert_true(num_checked > 0);
  free(buffer);
}

/* ------------------------------------------------------------------------- round trips */

/* Compares the tensors of two folders, by name; those of the first may lack a prefix, and may hold
 * a buffer and a head that a tied model does not have. */
static void compare_folders(const model *m, const char *first, const char *second) {
  uly__hf_folder *a, *b;
  int num_same = 0;
  assert_ok(uly__hf_folder_open(first, &a));
  assert_ok(uly__hf_folder_open(second, &b));
  for (int i = 0; i < b->num_tensors; i++) {
    const uly__tensor_info *y = b->tensors[i].info;
    const char *full = m->is_gpt2 ? "transformer." : "model.";
    const uly__hf_tensor *x = uly__hf_folder_find(a, y->name);
    if (!x) x = uly__hf_folder_find(a, y->name + strlen(full));
    if (!x) fail_msg("%s: tensor %s is new", m->what, y->name);
    assert_int_equal(x->info->dtype, y->dtype);
    assert_int_equal(x->info->num_dims, y->num_dims);
    assert_memory_equal(x->info->dims, y->dims, sizeof y->dims);
    char *data_x = read_tensor(a->files[x->file].tensors, x->info);
    char *data_y = read_tensor(b->files[b->tensors[i].file].tensors, y);
    if (memcmp(data_x, data_y, (size_t)y->bytes) != 0)
      fail_msg("%s: the bits of tensor %s differ", m->what, y->name);
    free(data_x);
    free(data_y);
    num_same++;
  }
  bool drops_head = m->has_head && strstr(m->config, "\"tie_word_embeddings\":true");
  assert_int_equal(num_same, a->num_tensors - m->is_gpt2 - drops_head);
  uly__hf_folder_close(a);
  uly__hf_folder_close(b);
}

static void expect_file(const char *dir, const char *name, const char *text) {
  char path[700], found[64] = "";
  snprintf(path, sizeof path, "%s/%s", dir, name);
  FILE *file = fopen(path, "rb");
  if (!text) {
    assert_null(file);
    return;
  }
  if (!file) fail_msg("'%s' is missing", path);
  found[fread(found, 1, sizeof found - 1, file)] = '\0';
  fclose(file);
  assert_string_equal(found, text);
}

static void export_to(const char *source, uly_dtype dtype, int64_t shard_bytes,
                      int64_t least_files) {
  uly_export_config config;
  uly_export_report report = {.size = sizeof report};
  uly_export_config_default(&config, sizeof config);
  config.source = source;
  config.out = exported;
  config.dtype = (int)dtype;
  config.shard_bytes = shard_bytes;
  assert_ok(uly_export(&config, &report));
  assert_int_equal(report.dtype, dtype);
  assert_int_equal(report.num_companions, 2);
  assert_true(report.num_files >= least_files);
  expect_file(exported, "tokenizer.json", "{\"a\": 1}");
  expect_file(exported, "my.tiktoken", "YQ== 0\n");
  expect_file(exported, "notes.txt", NULL);
}

static uly_train_config config_of(uly_dtype dtype) {
  uly_train_config config = default_config();
  config.init = folder;
  config.data = text_path;
  config.seq_len = 61;
  config.dtype = dtype;
  config.threads = 1;
  config.batch = num_ranks;
  return config;
}

/* A mesh and a stage of ZeRO. */
typedef struct layout {
  int tp, pp, dp, zero;
} layout;

/* Starts a run with the folder, checks what it holds, saves it, and exports the checkpoint. */
static void go_round(const model *m, uly_dtype stored_as, uly_dtype dtype, bool is_sharded,
                     layout how) {
  uly_mesh *mesh;
  uly_trainer *trainer;
  char checkpoint[512];
  uly_train_config config = config_of(dtype);
  config.zero_stage = how.zero;
  if (rank == 0) put_folder(m, stored_as, is_sharded);
  assert_ok(uly_mesh_create(MESH(.tp = how.tp, .pp = how.pp, .dp = how.dp), &mesh));
  assert_ok(uly_trainer_create(mesh, &config, &trainer));
  check_states(m, stored_as, trainer);
  assert_ok(uly_trainer_save(trainer, out_dir));
  uly_trainer_destroy(trainer);
  assert_ok(uly_mesh_agree(world, uly_checkpoint_latest(out_dir, checkpoint, sizeof checkpoint)));
  if (rank == 0) {
    expect_file(checkpoint, "notes.txt", NULL);
    export_to(checkpoint, stored_as, is_sharded ? 9000 : 1 << 30, is_sharded ? 5 : 1);
    compare_folders(m, folder, exported);
  }
  remove_scratch_folder(exported);
  /* A checkpoint can be the beginning of a run, too; and so can what was exported. */
  config.init = checkpoint;
  assert_ok(uly_trainer_create(mesh, &config, &trainer));
  check_states(m, stored_as, trainer);
  uly_trainer_destroy(trainer);
  /* A run that resumes keeps the files of the tokenizer. */
  config.init = NULL;
  char path[600];
  snprintf(path, sizeof path, "%s/config.json", checkpoint);
  config.model = path;
  assert_ok(uly_trainer_create(mesh, &config, &trainer));
  assert_ok(uly_trainer_load(trainer, checkpoint));
  check_states(m, stored_as, trainer);
  assert_ok(uly_trainer_save(trainer, exported));
  uly_trainer_destroy(trainer);
  assert_ok(uly_mesh_agree(world, uly_checkpoint_latest(exported, checkpoint, sizeof checkpoint)));
  if (rank == 0) expect_file(checkpoint, "tokenizer.json", "{\"a\": 1}");
  remove_scratch_folder(exported);
  uly_mesh_destroy(mesh);
  remove_scratch_folder(folder);
  remove_scratch_folder(out_dir);
}

/* Every model in every type, each on another mesh. */
static void every_bit(void **state) {
  (void)state;
  const layout all[] = {{1, 1, 1, 0},         {num_ranks, 1, 1, 0}, {1, num_ranks, 1, 0},
                        {1, 1, num_ranks, 3}, {1, 1, num_ranks, 1}, {1, 1, 1, 2}};
  int turn = 0;
  for (int i = 0; i < NUM_MODELS; i++)
    for (int type = ULY_F32; type <= ULY_F16; type++, turn++)
      go_round(&models[i], (uly_dtype)type, turn % 2 ? ULY_BF16 : ULY_F32, turn / 2 % 2,
               all[(turn + i) % 6]);
}

/* The names and the layout of a Llama, in any family, are those of our own files. */
static void own_files(void **state) {
  (void)state;
  const model *gpt2 = &models[4];
  uly_trainer *trainer;
  char checkpoint[512];
  uly_train_config config = config_of(ULY_F32);
  if (rank == 0) put_folder(gpt2, ULY_F32, false);
  assert_ok(uly_mesh_agree(world, ULY_OK));
  assert_ok(uly_trainer_create(world, &config, &trainer));
  assert_ok(uly_trainer_save(trainer, out_dir));
  uly_trainer_destroy(trainer);
  assert_ok(uly_mesh_agree(world, uly_checkpoint_latest(out_dir, checkpoint, sizeof checkpoint)));
  /* Without what makes it a checkpoint. */
  remove_scratch_folder(folder);
  char command[2048];
  snprintf(command, sizeof command, "mkdir '%s' && cp '%s/config.json' '%s/model.safetensors' '%s'",
           folder, checkpoint, checkpoint, folder);
  if (rank == 0) assert_int_equal(system(command), 0);
  assert_ok(uly_mesh_agree(world, ULY_OK));
  assert_ok(uly_trainer_create(world, &config, &trainer));
  check_states(gpt2, ULY_F32, trainer);
  uly_trainer_destroy(trainer);
  remove_scratch_folder(folder);
  remove_scratch_folder(out_dir);
}

/* What a folder says about itself, and that a run which evaluates reads it. */
static void described(void **state) {
  (void)state;
  uly_checkpoint_info info = {.size = sizeof info};
  uly_train_config config = default_config();
  if (rank == 0) put_folder(&models[4], ULY_BF16, true);
  assert_ok(uly_mesh_agree(world, ULY_OK));
  assert_ok(uly_checkpoint_read(folder, &info));
  assert_true(info.is_weights_only && info.num_files == 2 && info.step == 0);
  assert_int_equal(info.seq_len, P); /* 4,096 is more than the model has */
  assert_int_equal(info.num_tensors, 12 * L + 5);
  assert_ok(uly_checkpoint_apply(&info, &config));
  assert_true(config.seq_len == P && config.window == -1 && config.dtype == ULY_F32);
  assert_fails(uly_checkpoint_verify(folder, &info), ULY_ERR_DATA, "trainer.json");
  char name[300];
  config.model = NULL;
  assert_ok(uly_train_config_find_model(&config, name, sizeof name));
  assert_string_equal(name, "llama-4m");
  config.init = "x";
  assert_fails(uly_train_config_find_model(&config, name, sizeof name), ULY_ERR_CONFIG,
               "config.init 'x' does not exist");
  config.init = folder;
  assert_ok(uly_train_config_find_model(&config, name, sizeof name));
  assert_string_equal(name + strlen(folder), "/config.json");
  assert_fails(uly_train_config_find_model(&config, name, 5), ULY_ERR_CONFIG, "no room");
  config.model = "gpt2-3m";
  assert_ok(uly_train_config_find_model(&config, name, sizeof name));
  assert_string_equal(name, "gpt2-3m");
  remove_scratch_folder(folder);
}

/* A checkpoint whose weights were changed is not exported, and nothing is left of the attempt. */
static void damaged(void **state) {
  (void)state;
  uly_trainer *trainer;
  char checkpoint[512], path[700];
  uly_train_config config = config_of(ULY_F32);
  if (rank == 0) put_folder(&models[0], ULY_F32, false);
  assert_ok(uly_mesh_agree(world, ULY_OK));
  assert_ok(uly_trainer_create(world, &config, &trainer));
  assert_ok(uly_trainer_save(trainer, out_dir));
  uly_trainer_destroy(trainer);
  assert_ok(uly_mesh_agree(world, uly_checkpoint_latest(out_dir, checkpoint, sizeof checkpoint)));
  if (rank == 0) {
    uly_export_config to;
    uly_export_report report = {.size = sizeof report};
    uly_export_config_default(&to, sizeof to);
    to.source = checkpoint;
    to.out = exported;
    snprintf(path, sizeof path, "%s/model.safetensors", checkpoint);
    FILE *file = fopen(path, "r+b");
    assert_non_null(file);
    assert_int_equal(fseek(file, -5, SEEK_END), 0);
    int byte = fgetc(file);
    assert_int_equal(fseek(file, -5, SEEK_END), 0);
    fputc(byte ^ 1, file);
    fclose(file);
    assert_fails(uly_export(&to, &report), ULY_ERR_DATA, "does not match its checksum");
    assert_int_equal(access(exported, F_OK), -1);
    const char *name = strrchr(exported, '/');
    snprintf(path, sizeof path, "%.*s/.%s.tmp", (int)(name - exported), exported, name + 1);
    assert_int_equal(access(path, F_OK), -1);
  }
  remove_scratch_folder(folder);
  remove_scratch_folder(out_dir);
}

int main(int argc, char **argv) {
  begin_ranks(&argc, &argv, &world);
  rank = uly_mesh_rank(world);
  num_ranks = uly_mesh_size(world);
  write_scratch_text(text_path, "folder.txt", 2000);
  name_scratch_folder(folder, "folder");
  name_scratch_folder(out_dir, "folder-run");
  name_scratch_folder(exported, "folder-out");
  const struct CMUnitTest tests[] = {cmocka_unit_test(every_bit), cmocka_unit_test(own_files),
                                     cmocka_unit_test(described), cmocka_unit_test(damaged)};
  int failed = cmocka_run_group_tests(tests, NULL, NULL);
  remove_scratch_file(text_path);
  return end_ranks(world, failed);
}
