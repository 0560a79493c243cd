/* Reads a checkpoint folder of a small model in which one file is the input: it is refused, or
 * every checksum matches. The first byte of the input says which file the rest stands in for. */
#include <string.h>

#include "base/checksum.h"
#include "data/safetensors.h"
#include "fuzzing.h"
#include "store/checkpoint_format.h"

static const char config_text[] =
    "{\"model_type\":\"llama\",\"hidden_size\":8,\"intermediate_size\":8,\"num_hidden_layers\":1,"
    "\"num_attention_heads\":2,\"num_key_value_heads\":1,\"head_dim\":4,\"vocab_size\":5,"
    "\"max_position_embeddings\":64,\"tie_word_embeddings\":true}";

/* The files of a good checkpoint; all weights are 0. */
typedef struct good_file {
  const char *name;
  char *bytes;
  size_t size;
} good_file;

static good_file good[4];

static void make_states(const uly__params *params, int file) {
  char *header;
  int64_t header_bytes, data_bytes;
  FUZZ_CHECK(uly__checkpoint_header(params, file, &header, &header_bytes, &data_bytes) == ULY_OK,
             "%s", uly_last_error());
  size_t size = (size_t)(header_bytes + data_bytes);
  char *bytes = fuzz_alloc(size);
  memset(bytes, 0, size);
  memcpy(bytes, header, (size_t)header_bytes);
  free(header);
  good[2 + file] = (good_file){file == 0 ? uly__model_file : uly__optimizer_file, bytes, size};
}

static void make_good(void) {
  uly__model_config config;
  uly__params params;
  const char *path = fuzz_file(uly__config_file, config_text, strlen(config_text));
  FUZZ_CHECK(uly__model_config_load(path, &config) == ULY_OK, "%s", uly_last_error());
  FUZZ_CHECK(uly__params_create(&config, NULL, NULL, &params) == ULY_OK, "%s", uly_last_error());
  for (int file = 0; file < 2; file++) make_states(&params, file);
  size_t num = (size_t)ULY_NUM_STATES * (size_t)params.num;
  uint64_t *hashes = fuzz_alloc(num * sizeof *hashes);
  float zeros[64] = {0};
  for (size_t i = 0; i < num; i++) {
    const uly__param *param = &params.list[i % (size_t)params.num];
    FUZZ_CHECK(param->count <= 64, "a larger tensor than this makes room for");
    hashes[i] = uly__checksum(0, param->count, zeros);
  }
  uly__checkpoint_run run = {
      .step = 3,
      .sequences = 3,
      .config = {.seq_len = 64,
                 .seed = 1,
                 .window = 40,
                 .doc_end = 4,
                 .sparse = {ULY_SPARSE_BIGBIRD, .block = 8, .local = 2, .global = 1, .random = 1},
                 .pack = 1}};
  FUZZ_CHECK(
      uly__checkpoint_hash_config(config_text, strlen(config_text), &run.model_hash) == ULY_OK,
      "no memory");
  char *text = uly__checkpoint_write_json(&params, &run, hashes);
  FUZZ_CHECK(text, "no memory");
  good[0] = (good_file){uly__trainer_file, text, strlen(text)};
  good[1] = (good_file){uly__config_file, strdup(config_text), strlen(config_text)};
  free(hashes);
  uly__params_destroy(&params);
}

static void count_tensor(void *user, const uly_tensor_info *tensor) {
  FUZZ_CHECK(tensor->name[0] && tensor->bytes >= 0 && tensor->num_dims <= 4, "'%s'", tensor->name);
  ++*(int64_t *)user;
}

/* What a checkpoint says about itself, whether it is undamaged or not. */
static void check_info(const uly_checkpoint_info *verified) {
  uly_checkpoint_info info = {.size = sizeof info};
  int64_t num_tensors = 0;
  uly_status status = uly_checkpoint_read(fuzz_folder(), &info);
  if (status != ULY_OK) fuzz_check_refusal(status, uly_last_error());
  FUZZ_CHECK(!verified || status == ULY_OK, "verified, and refused: %s", uly_last_error());
  FUZZ_CHECK(!verified || (verified->step == info.step && verified->bytes == info.bytes),
             "another checkpoint");
  status = uly_checkpoint_list(fuzz_folder(), count_tensor, &num_tensors);
  if (status != ULY_OK) fuzz_check_refusal(status, uly_last_error());
  FUZZ_CHECK(!verified || (status == ULY_OK && num_tensors >= info.num_tensors), "%lld tensors",
             (long long)num_tensors);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  uly_checkpoint_info info = {.size = sizeof info};
  if (!good[0].bytes) make_good();
  int which = size > 0 ? data[0] % 4 : -1; /* -1: the good checkpoint */
  for (int i = 0; i < 4; i++)
    if (i == which)
      fuzz_file(good[i].name, data + 1, size - 1);
    else
      fuzz_file(good[i].name, good[i].bytes, good[i].size);
  uly_status status = uly_checkpoint_verify(fuzz_folder(), &info);
  if (status != ULY_OK)
    fuzz_check_refusal(status, uly_last_error());
  else
    FUZZ_CHECK(info.num_params > 0 && info.step >= 0 && info.seq_len > 0, "an impossible place");
  check_info(status == ULY_OK ? &info : NULL);
  FUZZ_CHECK(which >= 0 || status == ULY_OK, "the good checkpoint: %s", uly_last_error());
  return 0;
}
