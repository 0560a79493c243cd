/* Checkpoints: a folder step-<10 digits> with
 *
 *   model.safetensors       master weights, f32, in the order of the parameter table
 *   optimizer.safetensors   AdamW's moments: all m.<name>, then all v.<name>, f32
 *   config.json             the model, in Hugging Face's keys
 *   trainer.json            step, place in the data, seed, XXH3 of every tensor
 *
 * The flat parameter range is the files' data section, so each rank writes its part of the range at its
 * place, and the bytes do not depend on the number of ranks. A save is written to a hidden folder
 * beside, synced, and renamed; a folder with the final name is complete. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "base/log.h"
#include "base/split.h"
#include "data/folder.h"
#include "data/safetensors.h"
#include "device/device.h"
#include "train/trainer.h"

static const char model_file[] = "model.safetensors", optimizer_file[] = "optimizer.safetensors",
                  config_file[] = "config.json", trainer_file[] = "trainer.json";

/* The state of training: master weights, m, v; each laid out as the parameter table. */
enum { NUM_STATES = 3 };
static const char *const state_prefix[NUM_STATES] = {"", "m.", "v."};

static float *state(const uly_trainer *trainer, int which) {
  return which == 0 ? trainer->master : which == 1 ? trainer->m : trainer->v;
}

/* --------------------------------------------------------------- layout of the files */

/* The table of a file with the states first .. last; malloc'ed. */
static uly_status file_table(const uly__params *params, int first, int last,
                             uly__tensor_info **out) {
  int num = (last - first + 1) * params->num;
  uly__tensor_info *table = calloc((size_t)num, sizeof *table);
  if (!table) ULY_FAIL(ULY_ERR_MEMORY, "no memory for a table of %d tensors", num);
  for (int i = 0; i < num; i++) {
    const uly__param *param = &params->list[i % params->num];
    snprintf(table[i].name, sizeof table[i].name, "%s%s", state_prefix[first + i / params->num],
             param->name);
    table[i].dtype = ULY_F32;
    table[i].num_dims = param->num_dims;
    memcpy(table[i].dims, param->dims, sizeof param->dims);
  }
  uly__safetensors_layout(table, num);
  *out = table;
  return ULY_OK;
}

/* Writes the header of a file and makes room for its data; header_bytes: where the data begin. Every
 * rank computes it; rank 0 alone (create) touches the disk. */
static uly_status start_file(const uly__params *params, const char *path, int first, int last,
                             bool create, int64_t *header_bytes) {
  uly__tensor_info *table = NULL;
  char *header = NULL;
  ULY_TRY(file_table(params, first, last, &table));
  int num = (last - first + 1) * params->num;
  int64_t data_bytes = (last - first + 1) * params->count * (int64_t)sizeof(float);
  uly_status status = uly__safetensors_header(table, num, &header, header_bytes);
  if (status == ULY_OK && create)
    status = uly__file_create(path, header, *header_bytes, *header_bytes + data_bytes);
  free(header);
  free(table);
  return status;
}

/* ---------------------------------------------------------------------------- saving */

typedef struct save_paths {
  char temporary[PATH_MAX], final[PATH_MAX];
  char model[PATH_MAX], optimizer[PATH_MAX], config[PATH_MAX], trainer[PATH_MAX];
} save_paths;

static uly_status name_paths(const char *out_dir, int64_t step, save_paths *paths) {
  char name[64];
  snprintf(name, sizeof name, "step-%010" PRId64, step);
  ULY_TRY(uly__path_join(paths->final, PATH_MAX, out_dir, name));
  snprintf(name, sizeof name, ".step-%010" PRId64 ".tmp", step);
  ULY_TRY(uly__path_join(paths->temporary, PATH_MAX, out_dir, name));
  ULY_TRY(uly__path_join(paths->model, PATH_MAX, paths->temporary, model_file));
  ULY_TRY(uly__path_join(paths->optimizer, PATH_MAX, paths->temporary, optimizer_file));
  ULY_TRY(uly__path_join(paths->config, PATH_MAX, paths->temporary, config_file));
  return uly__path_join(paths->trainer, PATH_MAX, paths->temporary, trainer_file);
}

static uly_status create_files(const uly_trainer *trainer, const char *out_dir,
                               const save_paths *paths) {
  const uly__params *params = &trainer->model->params;
  int64_t header_bytes;
  ULY_TRY(uly__folder_make(out_dir));
  ULY_TRY(uly__folder_remove(paths->temporary));
  ULY_TRY(uly__folder_make(paths->temporary));
  ULY_TRY(start_file(params, paths->model, 0, 0, true, &header_bytes));
  return start_file(params, paths->optimizer, 1, 2, true, &header_bytes);
}

/* This rank's part of the flat range, of all three states. */
static uly_status write_part(const uly_trainer *trainer, const save_paths *paths) {
  const uly__params *params = &trainer->model->params;
  uly__part part = uly__split(params->count, 1, uly_mesh_size(trainer->mesh), trainer->mesh->rank);
  int64_t header_bytes[2], size = sizeof(float);
  ULY_TRY(start_file(params, paths->model, 0, 0, false, &header_bytes[0]));
  ULY_TRY(start_file(params, paths->optimizer, 1, 2, false, &header_bytes[1]));
  for (int which = 0; which < NUM_STATES; which++) {
    int64_t in_file = which == 2 ? params->count + part.begin : part.begin;
    ULY_TRY(uly__file_write_at(which == 0 ? paths->model : paths->optimizer,
                               header_bytes[which > 0] + in_file * size,
                               state(trainer, which) + part.begin, part.count * size));
  }
  return ULY_OK;
}

static uint64_t tensor_hash(const uly_trainer *trainer, int which, const uly__param *param) {
  return XXH3_64bits(state(trainer, which) + param->offset, (size_t)param->count * sizeof(float));
}

/* hashes[which * params.num + i] of all tensors, each computed by one rank. */
static uly_status hash_tensors(uly_trainer *trainer, uint64_t *hashes) {
  const uly__params *params = &trainer->model->params;
  int size = uly_mesh_size(trainer->mesh), num = NUM_STATES * params->num;
  int each = (num + size - 1) / size;
  uint64_t *all = calloc((size_t)each * (size_t)(size + 1), sizeof *all);
  uly_status status =
      uly__agree(trainer->mesh->world, uly__check_memory(all, "the hashes of all tensors"));
  if (status != ULY_OK || !all) {
    free(all);
    return status;
  }
  uint64_t *mine = all + (size_t)each * (size_t)size;
  int first = each * trainer->mesh->rank;
  for (int i = first; i < num && i < first + each; i++)
    mine[i - first] = tensor_hash(trainer, i / params->num, &params->list[i % params->num]);
  status = uly__all_gather(trainer->mesh->world, ULY_TRAFFIC_CONTROL, mine,
                           each * (int64_t)sizeof *mine, all);
  if (status == ULY_OK) memcpy(hashes, all, (size_t)num * sizeof *hashes);
  free(all);
  return status;
}

static json_t *hash_json(uint64_t hash) {
  char text[17];
  snprintf(text, sizeof text, "%016" PRIx64, hash);
  return json_string(text);
}

static char *trainer_json(const uly_trainer *trainer, const uint64_t *hashes) {
  const uly__params *params = &trainer->model->params;
  json_t *json = json_object(), *tensors = json_object();
  json_object_set_new(json, "version", json_integer(1));
  json_object_set_new(json, "step", json_integer(trainer->steps_done));
  json_object_set_new(json, "sequences_done", json_integer(trainer->windows_done));
  json_object_set_new(json, "seq_len", json_integer(trainer->config.seq_len));
  json_object_set_new(json, "seed", json_integer((json_int_t)trainer->config.seed));
  json_object_set_new(json, "data_hash", hash_json(uly__tokens_hash(trainer->data)));
  for (int which = 0; which < NUM_STATES; which++)
    for (int i = 0; i < params->num; i++) {
      char name[128];
      snprintf(name, sizeof name, "%s%s", state_prefix[which], params->list[i].name);
      json_object_set_new(tensors, name, hash_json(hashes[which * params->num + i]));
    }
  json_object_set_new(json, "xxh3", tensors);
  char *text = json_dumps(json, JSON_INDENT(2) | JSON_PRESERVE_ORDER);
  json_decref(json);
  return text;
}

/* The two small files, then the rename that makes the checkpoint exist. */
static uly_status complete(const uly_trainer *trainer, const char *out_dir, const save_paths *paths,
                           const uint64_t *hashes) {
  char *text[2] = {uly__model_config_json(&trainer->model->config), trainer_json(trainer, hashes)};
  const char *path[2] = {paths->config, paths->trainer};
  uly_status status = ULY_OK;
  for (int i = 0; i < 2; i++) {
    if (status == ULY_OK) status = uly__check_memory(text[i], path[i]);
    if (status == ULY_OK && text[i])
      status = uly__file_create(path[i], text[i], (int64_t)strlen(text[i]), 0);
    free(text[i]);
  }
  ULY_TRY(status);
  ULY_TRY(uly__folder_sync(paths->temporary));
  /* The name is free, or taken by a checkpoint of the same step: then the two change places at once. */
  if (rename(paths->temporary, paths->final) != 0) {
    if (errno != ENOTEMPTY && errno != EEXIST)
      ULY_FAIL(ULY_ERR_IO, "cannot rename to '%s': %s", paths->final, strerror(errno));
    if (renameat2(AT_FDCWD, paths->temporary, AT_FDCWD, paths->final, RENAME_EXCHANGE) != 0)
      ULY_FAIL(ULY_ERR_IO, "'%s' is there, and this file system cannot replace it: %s",
               paths->final, strerror(errno));
    ULY_TRY(uly__folder_remove(paths->temporary));
  }
  return uly__folder_sync(out_dir);
}

/* Gives the disk back; the failure that led here is what counts. */
static uly_status discard(const save_paths *paths, uly_status status) {
  char message[2048];
  snprintf(message, sizeof message, "%s", uly_last_error());
  (void)uly__folder_remove(paths->temporary);
  uly__set_last_error(message);
  return status;
}

uly_status uly_trainer_save(uly_trainer *trainer, const char *out_dir) {
  uly__comm *world = trainer->mesh->world;
  bool first = trainer->mesh->rank == 0;
  int num = NUM_STATES * trainer->model->params.num;
  save_paths paths;
  uint64_t *hashes = calloc((size_t)num, sizeof *hashes);
  uly_status status = uly__check_memory(hashes, "the hashes of all tensors");
  if (status == ULY_OK) status = name_paths(out_dir, trainer->steps_done, &paths);
  bool named = status == ULY_OK;
  if (status == ULY_OK && first) status = create_files(trainer, out_dir, &paths);
  status = uly__agree(world, status);
  if (status == ULY_OK) status = uly__agree(world, write_part(trainer, &paths));
  if (status == ULY_OK && hashes) status = hash_tensors(trainer, hashes);
  if (status == ULY_OK)
    status = uly__agree(world, first ? complete(trainer, out_dir, &paths, hashes) : ULY_OK);
  if (status != ULY_OK && first && named) status = discard(&paths, status);
  free(hashes);
  return status;
}

uly_status uly_checkpoint_prepare(const char *out_dir) {
  char path[PATH_MAX];
  ULY_TRY(uly__folder_make(out_dir));
  ULY_TRY(uly__path_join(path, sizeof path, out_dir, ".probe"));
  ULY_TRY(uly__file_create(path, "", 0, 0));
  if (unlink(path) != 0) ULY_FAIL(ULY_ERR_IO, "cannot remove '%s': %s", path, strerror(errno));
  DIR *folder = opendir(out_dir);
  if (!folder) ULY_FAIL(ULY_ERR_IO, "cannot open the folder '%s': %s", out_dir, strerror(errno));
  uly_status status = ULY_OK;
  for (struct dirent *entry; status == ULY_OK && (entry = readdir(folder));) {
    size_t length = strlen(entry->d_name);
    if (strncmp(entry->d_name, ".step-", 6) != 0 || strcmp(entry->d_name + length - 4, ".tmp") != 0)
      continue;
    status = uly__path_join(path, sizeof path, out_dir, entry->d_name);
    if (status == ULY_OK) status = uly__folder_remove(path);
  }
  closedir(folder);
  return status;
}

/* --------------------------------------------------------------------------- loading */

/* The number of a checkpoint folder's name, -1 for any other name. */
static int64_t step_of(const char *name) {
  int64_t step = 0;
  if (strncmp(name, "step-", 5) != 0 || strlen(name) != 15) return -1;
  for (const char *at = name + 5; *at; at++) {
    if (*at < '0' || *at > '9') return -1;
    step = step * 10 + (*at - '0');
  }
  return step;
}

uly_status uly_checkpoint_latest(const char *out_dir, char *path, size_t capacity) {
  int64_t latest = -1;
  if (capacity == 0) ULY_FAIL(ULY_ERR_CONFIG, "no room for the path of a checkpoint");
  path[0] = '\0';
  DIR *folder = opendir(out_dir);
  if (!folder) {
    if (errno == ENOENT) return ULY_OK;
    ULY_FAIL(ULY_ERR_IO, "cannot open the folder '%s': %s", out_dir, strerror(errno));
  }
  for (struct dirent *entry; (entry = readdir(folder));) {
    int64_t step = step_of(entry->d_name);
    if (step > latest) latest = step;
  }
  closedir(folder);
  if (latest < 0) return ULY_OK;
  char name[64];
  snprintf(name, sizeof name, "step-%010" PRId64, latest);
  return uly__path_join(path, capacity, out_dir, name);
}

static uly_status check_model(const uly_trainer *trainer, const char *dir) {
  char path[PATH_MAX];
  uly__model_config saved;
  ULY_TRY(uly__path_join(path, sizeof path, dir, config_file));
  if (access(path, R_OK) != 0)
    ULY_FAIL(ULY_ERR_DATA, "'%s' is no checkpoint: cannot read %s in it (%s)", dir, config_file,
             strerror(errno));
  if (uly__model_config_load(path, &saved) != ULY_OK) {
    char why[1024];
    snprintf(why, sizeof why, "%s", uly_last_error());
    ULY_FAIL(ULY_ERR_DATA, "a checkpoint with a bad configuration: %s", why);
  }
  char *a = uly__model_config_json(&saved), *b = uly__model_config_json(&trainer->model->config);
  bool same = a && b && strcmp(a, b) == 0;
  free(a);
  free(b);
  if (!same)
    ULY_FAIL(ULY_ERR_DATA, "'%s' is a checkpoint of another model: use --model %s to continue it",
             dir, path);
  return ULY_OK;
}

static uly_status read_count(const json_t *json, const char *key, const char *path,
                             int64_t *value) {
  const json_t *item = json_object_get(json, key);
  if (!json_is_integer(item) ||
      (strcmp(key, "seed") != 0 &&
       (json_integer_value(item) < 0 || json_integer_value(item) > (int64_t)1 << 50)))
    ULY_FAIL(ULY_ERR_DATA, "'%s': \"%s\" is missing or no valid count", path, key);
  *value = json_integer_value(item);
  return ULY_OK;
}

static bool same_hash(const json_t *item, uint64_t hash) {
  char text[17];
  snprintf(text, sizeof text, "%016" PRIx64, hash);
  return json_is_string(item) && strcmp(json_string_value(item), text) == 0;
}

/* Copies one tensor, checking its shape and its hash. */
static uly_status load_tensor(uly_trainer *trainer, const uly__safetensors *file, const char *path,
                              int which, const uly__param *param, const json_t *hashes) {
  char name[128];
  snprintf(name, sizeof name, "%s%s", state_prefix[which], param->name);
  const uly__tensor_info *info = uly__safetensors_find(file, name);
  if (!info || info->dtype != ULY_F32 || info->num_dims != param->num_dims ||
      memcmp(info->dims, param->dims, (size_t)param->num_dims * sizeof(int64_t)) != 0)
    ULY_FAIL(ULY_ERR_DATA, "'%s': tensor %s is missing or has another shape than the model's", path,
             name);
  memcpy(state(trainer, which) + param->offset, uly__safetensors_data(file, info),
         (size_t)info->bytes);
  if (!same_hash(json_object_get(hashes, name), tensor_hash(trainer, which, param)))
    ULY_FAIL(
        ULY_ERR_DATA,
        "'%s': tensor %s does not match its checksum: the file is damaged, resume from another "
        "checkpoint",
        path, name);
  return ULY_OK;
}

/* Loads the states first .. last from a file. */
static uly_status load_states(uly_trainer *trainer, const char *dir, const char *name, int first,
                              int last, const json_t *hashes) {
  const uly__params *params = &trainer->model->params;
  char path[PATH_MAX];
  uly__safetensors *file = NULL;
  ULY_TRY(uly__path_join(path, sizeof path, dir, name));
  ULY_TRY(uly__safetensors_open(path, &file));
  uly_status status = ULY_OK;
  for (int which = first; which <= last; which++)
    for (int i = 0; i < params->num && status == ULY_OK; i++)
      status = load_tensor(trainer, file, path, which, &params->list[i], hashes);
  uly__safetensors_close(file);
  return status;
}

/* Step, seed and place in the data. */
static uly_status load_place(uly_trainer *trainer, const json_t *json, const char *path) {
  int64_t version, step, sequences, seq_len, seed;
  ULY_TRY(read_count(json, "version", path, &version));
  if (version != 1)
    ULY_FAIL(ULY_ERR_DATA, "'%s' has version %lld: this program reads version 1", path,
             (long long)version);
  ULY_TRY(read_count(json, "step", path, &step));
  ULY_TRY(read_count(json, "sequences_done", path, &sequences));
  ULY_TRY(read_count(json, "seq_len", path, &seq_len));
  ULY_TRY(read_count(json, "seed", path, &seed));
  if (seq_len < 1 || (__int128)sequences * seq_len > (__int128)1 << 60)
    ULY_FAIL(ULY_ERR_DATA, "'%s': %lld sequences of %lld tokens cannot have been trained on", path,
             (long long)sequences, (long long)seq_len);
  if ((uint64_t)seed != trainer->config.seed)
    ULY_FAIL(ULY_ERR_CONFIG,
             "'%s' was made with --seed %llu, not %llu: the order of the data would "
             "not continue",
             path, (unsigned long long)seed, (unsigned long long)trainer->config.seed);
  bool warns = trainer->mesh->rank == 0;
  if (seq_len != trainer->config.seq_len) {
    /* Sequences of another length: go on after about as many tokens. */
    __int128 tokens = (__int128)sequences * seq_len;
    sequences = (int64_t)(tokens / trainer->config.seq_len);
    if (warns)
      uly__warn(
          "the checkpoint was trained on sequences of %lld tokens, now %lld: the data go on "
          "after about as many tokens, in another order",
          (long long)seq_len, (long long)trainer->config.seq_len);
  }
  if (!same_hash(json_object_get(json, "data_hash"), uly__tokens_hash(trainer->data))) {
    sequences = 0;
    if (warns)
      uly__warn("the data differ from those of the checkpoint: they start from their beginning");
  }
  trainer->steps_done = step;
  trainer->windows_done = sequences;
  return ULY_OK;
}

static uly_status load(uly_trainer *trainer, const char *dir, uint64_t *hash) {
  char path[PATH_MAX];
  json_error_t error;
  ULY_TRY(check_model(trainer, dir));
  ULY_TRY(uly__path_join(path, sizeof path, dir, trainer_file));
  json_t *json = json_load_file(path, JSON_REJECT_DUPLICATES, &error);
  if (!json)
    ULY_FAIL(ULY_ERR_DATA, "'%s' cannot be read as JSON: %s (line %d)", path, error.text,
             error.line);
  char *text = json_dumps(json, JSON_COMPACT | JSON_SORT_KEYS);
  *hash = text ? XXH3_64bits(text, strlen(text)) : 0;
  free(text);
  const json_t *hashes = json_object_get(json, "xxh3");
  uly_status status = load_place(trainer, json, path);
  if (status == ULY_OK) status = load_states(trainer, dir, model_file, 0, 0, hashes);
  if (status == ULY_OK) status = load_states(trainer, dir, optimizer_file, 1, 2, hashes);
  json_decref(json);
  if (status == ULY_OK) uly__weights_from_master(trainer);
  return status;
}

uly_status uly_trainer_load(uly_trainer *trainer, const char *dir) {
  uint64_t hash = 0; /* of trainer.json, which holds the hashes of all tensors */
  ULY_TRY(uly__agree(trainer->mesh->world, load(trainer, dir, &hash)));
  /* Folders that are not shared between machines may hold different checkpoints. */
  return uly_mesh_same(trainer->mesh, &hash, sizeof hash, "checkpoint");
}
