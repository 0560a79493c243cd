/* Lays out the files of a checkpoint: see checkpoint_format.h. */
#include <inttypes.h>
#include <jansson.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "base/checksum.h"
#include "base/file.h"
#include "base/folder.h"
#include "base/printable.h"
#include "store/checkpoint_format.h"
#include "store/settings_json.h"

/* The prefixes of tensors' names. */
static const char *const state_prefix[ULY_NUM_STATES] = {"", "m.", "v."};

/* The version that is written, the oldest that is read, and the last whose checksums are sums over
 * pieces, of PIECE elements each. */
enum { VERSION = 5, OLDEST_VERSION = 3, LAST_WITH_PIECES = 4, PIECE = 256 };

enum { MAX_JSON_BYTES = 100000000 };

/* The key of the data's content; older checkpoints have the hash of names and sizes instead. */
static const char content_key[] = "data_content", names_key[] = "data_hash";

/* The keys of the checksums of tensors, since version 5 and before it; and of trainer.json's
 * own. */
static const char sums_key[] = "checksums", pieces_key[] = "xxh3";
static const char self_key[] = "xxh3_of_this";

void uly__state_name(int which, const uly__param *param, char name[ULY_TENSOR_NAME]) {
  snprintf(name, ULY_TENSOR_NAME, "%s%s", state_prefix[which], param->name);
}

uly_status uly__checkpoint_header(const uly__params *params, int file, char **header,
                                  int64_t *header_bytes, int64_t *data_bytes) {
  int first = file == 0 ? ULY_STATE_MASTER : ULY_STATE_MOMENT1;
  int num_states = file == 0 ? 1 : 2, num = num_states * params->num;
  *header = NULL;
  uly__tensor_info *table = calloc((size_t)num, sizeof *table);
  if (!table) ULY_FAIL(ULY_ERR_MEMORY, "no memory for a table of %d tensors", num);
  for (int i = 0; i < num; i++) {
    const uly__param *param = &params->list[i % params->num];
    uly__state_name(first + i / params->num, param, table[i].name);
    table[i].dtype = ULY_F32;
    table[i].num_dims = param->num_dims;
    memcpy(table[i].dims, param->dims, sizeof param->dims);
  }
  *data_bytes = uly__safetensors_layout(table, num);
  uly_status status = uly__safetensors_header(table, num, header, header_bytes);
  free(table);
  return status;
}

uly_status uly__checkpoint_check_header(const uly__safetensors *states, const char *path,
                                        const uly__params *params, int file) {
  char *header;
  int64_t header_bytes, data_bytes;
  bool has = false;
  ULY_TRY(uly__checkpoint_header(params, file, &header, &header_bytes, &data_bytes));
  uly_status status = uly__safetensors_has_header(states, header, header_bytes, &has);
  free(header);
  ULY_TRY(status);
  if (!has)
    ULY_FAIL(ULY_ERR_DATA,
             "'%s' does not have the header that a save of this model writes: it was changed, so "
             "use another checkpoint",
             path);
  return ULY_OK;
}

int64_t uly__checkpoint_place(const uly__params *params, int which, const uly__param *param,
                              int64_t element) {
  int64_t state = which == ULY_STATE_MOMENT2 ? params->count : 0;
  return (state + params->units[param->unit].begin + param->offset + element) *
         (int64_t)sizeof(float);
}

/* Hashes elements [at, end) of a tensor's unit; data is that of element `at`. */
static uint64_t hash_pieces(const uly__param *param, int64_t at, int64_t end, const char *data) {
  uint64_t hash = 0;
  while (at < end) {
    int64_t next = (at / PIECE + 1) * PIECE;
    if (next > end) next = end;
    size_t bytes = (size_t)(next - at) * sizeof(float);
    hash += XXH3_64bits_withSeed(data, bytes, (uint64_t)(at - param->offset));
    data += bytes;
    at = next;
  }
  return hash;
}

bool uly__checkpoint_has_pieces(const uly__checkpoint_run *run) {
  return run->version <= LAST_WITH_PIECES;
}

uint64_t uly__checkpoint_sum(const uly__checkpoint_run *run, const uly__range *range,
                             const void *data) {
  if (uly__checkpoint_has_pieces(run))
    return hash_pieces(range->param, range->local, range->local + range->count, data);
  return uly__checksum(range->global, range->count, data);
}

/* Returns the hash of what the object says, however it is laid out, or 0 if there is no memory. */
static uint64_t hash_of_json(const json_t *json) {
  char *text = json_dumps(json, JSON_COMPACT | JSON_SORT_KEYS);
  uint64_t hash = text ? XXH3_64bits(text, strlen(text)) : 0;
  free(text);
  return hash;
}

uly_status uly__checkpoint_hash_config(const char *text, int64_t length, uint64_t *hash) {
  json_t *json = json_loadb(text, (size_t)length, JSON_REJECT_DUPLICATES, NULL);
  if (!json) ULY_FAIL(ULY_ERR_DATA, "the model configuration is not JSON");
  *hash = hash_of_json(json);
  json_decref(json);
  return ULY_OK;
}

/* Hashes the text that describes the weights, as version 3 did. */
static uly_status hash_weights(const uly__model_config *config, uint64_t *hash) {
  char *text = uly__model_config_weights(config);
  if (!text) ULY_FAIL(ULY_ERR_MEMORY, "no memory for a model's description");
  *hash = XXH3_64bits(text, strlen(text));
  free(text);
  return ULY_OK;
}

static uly_status hash_file(const char *dir, uint64_t *hash) {
  char path[PATH_MAX];
  char *text;
  int64_t length;
  ULY_TRY(uly__path_join(path, sizeof path, dir, uly__config_file));
  ULY_TRY(uly__file_load(path, "model configuration", MAX_JSON_BYTES, &text, &length));
  uly_status status = uly__checkpoint_hash_config(text, length, hash);
  free(text);
  return status;
}

uly_status uly__checkpoint_check_model(const char *dir, const uly__model_config *config,
                                       const uly__checkpoint_run *run) {
  uint64_t hash;
  ULY_TRY(run->version == OLDEST_VERSION ? hash_weights(config, &hash) : hash_file(dir, &hash));
  if (hash != run->model_hash)
    ULY_FAIL(ULY_ERR_DATA, "'%s/%s' does not match its checksum: it was changed after the save",
             dir, uly__config_file);
  if (run->config.doc_end >= config->vocab)
    ULY_FAIL(ULY_ERR_DATA, "'%s/%s': \"doc_end\" is %lld, but the vocabulary has %lld tokens", dir,
             uly__trainer_file, (long long)run->config.doc_end, (long long)config->vocab);
  return ULY_OK;
}

static json_t *hash_json(uint64_t hash) {
  char text[17];
  snprintf(text, sizeof text, "%016" PRIx64, hash);
  return json_string(text);
}

char *uly__checkpoint_write_json(const uly__params *params, const uly__checkpoint_run *run,
                                 const uint64_t *hashes) {
  json_t *json = json_object(), *tensors = json_object();
  json_object_set_new(json, "version", json_integer(VERSION));
  json_object_set_new(json, "step", json_integer(run->step));
  json_object_set_new(json, "sequences_done", json_integer(run->sequences));
  uly__settings_write_json(json, &run->config);
  json_object_set_new(json, run->is_hash_of_names ? names_key : content_key,
                      hash_json(run->data_hash));
  json_object_set_new(json, "model_hash", hash_json(run->model_hash));
  for (int which = 0; which < ULY_NUM_STATES; which++)
    for (int i = 0; i < params->num; i++) {
      char name[ULY_TENSOR_NAME];
      uly__state_name(which, &params->list[i], name);
      json_object_set_new(tensors, name, hash_json(hashes[which * params->num + i]));
    }
  json_object_set_new(json, sums_key, tensors);
  json_object_set_new(json, self_key, hash_json(hash_of_json(json)));
  char *text = json_dumps(json, JSON_INDENT(2) | JSON_PRESERVE_ORDER);
  json_decref(json);
  return text;
}

static uly_status read_count(const json_t *json, const char *key, const char *path,
                             int64_t *value) {
  const json_t *item = json_object_get(json, key);
  if (!json_is_integer(item))
    ULY_FAIL(ULY_ERR_DATA, "'%s': \"%s\" is missing or is not an integer", path, key);
  *value = json_integer_value(item);
  if (*value < 0 || *value > (int64_t)1 << 50)
    ULY_FAIL(ULY_ERR_DATA, "'%s': \"%s\" is not a valid count", path, key);
  return ULY_OK;
}

/* Reads 16 digits, as hash_json writes them. */
static uly_status read_hash(const json_t *json, const char *key, const char *path, uint64_t *hash) {
  const char *text = json_string_value(json_object_get(json, key));
  if (!text || strlen(text) != 16 || strspn(text, "0123456789abcdef") != 16)
    ULY_FAIL(ULY_ERR_DATA, "'%s': the checksum \"%s\" is missing or does not have 16 digits", path,
             key);
  *hash = strtoull(text, NULL, 16);
  return ULY_OK;
}

static uly_status read_run(const json_t *json, const char *path, uly__checkpoint_run *run) {
  ULY_TRY(read_count(json, "version", path, &run->version));
  if (run->version < OLDEST_VERSION || run->version > VERSION)
    ULY_FAIL(ULY_ERR_DATA,
             "'%s' has version %lld, but this program reads versions %d to %d: use the program "
             "that wrote it, or another checkpoint",
             path, (long long)run->version, OLDEST_VERSION, VERSION);
  ULY_TRY(read_count(json, "step", path, &run->step));
  ULY_TRY(read_count(json, "sequences_done", path, &run->sequences));
  ULY_TRY(uly__settings_read_json(json, path, &run->config));
  run->is_hash_of_names = !json_object_get(json, content_key);
  ULY_TRY(read_hash(json, run->is_hash_of_names ? names_key : content_key, path, &run->data_hash));
  ULY_TRY(read_hash(json, "model_hash", path, &run->model_hash));
  if ((__int128)run->sequences * run->config.seq_len > (__int128)1 << 60)
    ULY_FAIL(ULY_ERR_DATA, "'%s': %lld sequences of %lld tokens cannot have been trained on", path,
             (long long)run->sequences, (long long)run->config.seq_len);
  return ULY_OK;
}

static uly_status read_all(const json_t *json, const char *path, const uly__params *params,
                           uly__checkpoint_run *run, uint64_t *hashes) {
  ULY_TRY(read_run(json, path, run));
  const json_t *tensors =
      json_object_get(json, uly__checkpoint_has_pieces(run) ? pieces_key : sums_key);
  for (int which = 0; which < ULY_NUM_STATES; which++)
    for (int i = 0; i < params->num; i++) {
      char name[ULY_TENSOR_NAME];
      uly__state_name(which, &params->list[i], name);
      ULY_TRY(read_hash(tensors, name, path, &hashes[which * params->num + i]));
    }
  return ULY_OK;
}

/* Removes the checksum and compares it with that of the rest. */
static uly_status check_self(json_t *json, const char *path, uint64_t *hash) {
  uint64_t expected;
  ULY_TRY(read_hash(json, self_key, path, &expected));
  (void)json_object_del(json, self_key);
  *hash = hash_of_json(json);
  if (*hash != expected)
    ULY_FAIL(ULY_ERR_DATA,
             "'%s' does not match its own checksum: it was changed, so use another checkpoint",
             path);
  return ULY_OK;
}

uly_status uly__checkpoint_read_json(const char *dir, const uly__params *params,
                                     uly__checkpoint_run *run, uint64_t *hashes,
                                     uint64_t *file_hash) {
  char path[PATH_MAX];
  char *text;
  int64_t length;
  json_error_t error;
  ULY_TRY(uly__path_join(path, sizeof path, dir, uly__trainer_file));
  uly_status loaded = uly__file_load(path, "checkpoint file", MAX_JSON_BYTES, &text, &length);
  if (loaded != ULY_OK) return loaded == ULY_ERR_IO ? ULY_ERR_DATA : loaded; /* it is incomplete */
  json_t *json = json_loadb(text, (size_t)length, JSON_REJECT_DUPLICATES, &error);
  free(text);
  if (!json)
    ULY_FAIL(ULY_ERR_DATA, "'%s' cannot be read as JSON: %s (line %d)", path,
             uly__make_printable(error.text).text, error.line);
  uly_status status = read_all(json, path, params, run, hashes);
  if (status == ULY_OK) status = check_self(json, path, file_hash);
  json_decref(json);
  return status;
}
