/* Reads a Hugging Face folder, of a small model in two files, in which one file is the input: it is
 * refused, or every parameter is where its tensor is, and can be read. The first byte of the input
 * says which file the rest stands in for. */
#include <string.h>

#include "device/device.h"
#include "fuzzing.h"
#include "store/hf_load.h"

static const char config_text[] =
    "{\"model_type\":\"llama\",\"hidden_size\":8,\"intermediate_size\":6,\"num_hidden_layers\":1,"
    "\"num_attention_heads\":2,\"num_key_value_heads\":1,\"head_dim\":4,\"vocab_size\":5,"
    "\"max_position_embeddings\":64,\"tie_word_embeddings\":true}";

static const char gpt2_text[] =
    "{\"model_type\":\"gpt2\",\"n_embd\":8,\"n_inner\":6,\"n_layer\":1,\"n_head\":2,\"vocab_size\":"
    "5,"
    "\"n_positions\":3}";

/* The files of a good folder; all weights are 0. */
typedef struct good_file {
  const char *name;
  char *bytes;
  size_t size;
} good_file;

enum { NUM_FILES = 4 };
static good_file good[NUM_FILES];

static void make_weights(good_file *file, const uly__params *params, int first, int end) {
  uly__tensor_info table[32] = {0};
  char *header;
  int64_t header_bytes;
  for (int i = first; i < end; i++) {
    const uly__param *param = &params->list[i];
    uly__tensor_info *info = &table[i - first];
    snprintf(info->name, sizeof info->name, "%s", param->name);
    info->dtype = (uly_dtype)(i % 3);
    info->num_dims = param->num_dims;
    memcpy(info->dims, param->dims, sizeof param->dims);
  }
  int64_t data_bytes = uly__safetensors_layout(table, end - first);
  FUZZ_CHECK(uly__safetensors_header(table, end - first, &header, &header_bytes) == ULY_OK, "%s",
             uly_last_error());
  file->size = (size_t)(header_bytes + data_bytes);
  file->bytes = fuzz_alloc(file->size);
  memset(file->bytes, 0, file->size);
  memcpy(file->bytes, header, (size_t)header_bytes);
  free(header);
}

static void make_good(void) {
  uly__model_config config;
  uly__params params;
  const char *path = fuzz_file("config.json", config_text, strlen(config_text));
  FUZZ_CHECK(uly__model_config_load(path, &config) == ULY_OK, "%s", uly_last_error());
  FUZZ_CHECK(uly__params_create(&config, NULL, NULL, &params) == ULY_OK, "%s", uly_last_error());
  int half = params.num / 2;
  char *index = fuzz_alloc(1 << 14);
  size_t used = (size_t)sprintf(index, "{\"weight_map\":{");
  for (int i = 0; i < params.num; i++)
    used += (size_t)sprintf(index + used, "%s\"%s\":\"%c.safetensors\"", i ? "," : "",
                            params.list[i].name, i < half ? 'a' : 'b');
  used += (size_t)sprintf(index + used, "}}");
  good[0] = (good_file){"model.safetensors.index.json", index, used};
  good[1].name = "a.safetensors";
  good[2].name = "b.safetensors";
  make_weights(&good[1], &params, 0, half);
  make_weights(&good[2], &params, half, params.num);
  good[3] = (good_file){"config.json", strdup(config_text), strlen(config_text)};
  uly__params_destroy(&params);
}

/* Reads every parameter, and checks that its values are numbers of the file. */
static void read_all(const uly__hf_weights *weights, const uly__params *params) {
  uly__hf_reader reader;
  FUZZ_CHECK(uly__hf_reader_create(uly__hf_weights_folder(weights), uly__ops_get(),
                                   uly__stream_get(), &reader) == ULY_OK,
             "%s", uly_last_error());
  for (int i = 0; i < params->num; i++) {
    const uly__param *param = &params->list[i];
    float *values = fuzz_alloc((size_t)param->count * sizeof *values);
    FUZZ_CHECK(uly__hf_read_range(&reader, &uly__hf_weights_places(weights)[i],
                                  param->num_dims == 2 ? param->dims[1] : 1, 0, param->count,
                                  values) == ULY_OK,
               "%s", uly_last_error());
    free(values);
  }
  uly__hf_reader_destroy(&reader);
}

/* Reads the folder as a model of this configuration. */
static uly_status read_as(const char *text) {
  uly__model_config config;
  uly__params params;
  uly__hf_weights *weights;
  FUZZ_CHECK(uly__model_config_read(text, (int64_t)strlen(text), "fuzz", &config) == ULY_OK, "%s",
             uly_last_error());
  FUZZ_CHECK(uly__params_create(&config, NULL, NULL, &params) == ULY_OK, "%s", uly_last_error());
  uly_status status = uly__hf_weights_open(fuzz_folder(), &config, &params, &weights);
  if (status == ULY_OK)
    read_all(weights, &params);
  else
    fuzz_check_refusal(status, uly_last_error());
  uly__hf_weights_close(weights);
  uly__params_destroy(&params);
  return status;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  uly_checkpoint_info info = {.size = sizeof info};
  if (!good[0].bytes) make_good();
  int which = size > 0 ? data[0] % (NUM_FILES + 1) : -1; /* -1: the good folder */
  fuzz_clear();
  for (int i = 0; i < NUM_FILES; i++) {
    if (i == which)
      fuzz_file(good[i].name, data + 1, size - 1);
    else
      fuzz_file(good[i].name, good[i].bytes, good[i].size);
  }
  /* Without an index: one file is the whole model. */
  if (which == NUM_FILES) fuzz_file("model.safetensors", data + 1, size - 1);
  uly_status status = uly_checkpoint_read(fuzz_folder(), &info);
  if (status != ULY_OK) fuzz_check_refusal(status, uly_last_error());
  uly_status opened = which == 3 ? status : read_as(config_text);
  (void)read_as(gpt2_text);
  FUZZ_CHECK(which == 3 || opened == status, "read in one way alone: %s", uly_last_error());
  FUZZ_CHECK(which >= 0 || status == ULY_OK, "the good folder: %s", uly_last_error());
  return 0;
}
