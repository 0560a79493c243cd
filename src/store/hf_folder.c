/* Opens Hugging Face folders: see hf_folder.h. The index is
 *
 *   {"metadata": {...}, "weight_map": {"name of a tensor": "file in the same folder", ...}}
 *
 * and may be as large as the header of a safetensors file. */
#include "store/hf_folder.h"

#include <jansson.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "base/file.h"
#include "base/folder.h"
#include "base/printable.h"
#include "store/run_folder.h"

#define WEIGHT_MAP "weight_map"

/* ---------------------------------------------------------------------------- files */

static bool has_file(const char *dir, const char *name) {
  char path[PATH_MAX];
  return uly__path_join(path, sizeof path, dir, name) == ULY_OK && access(path, F_OK) == 0;
}

static uly_status add_file(uly__hf_folder *folder, const char *name) {
  uly__hf_file *file = &folder->files[folder->num_files++];
  char path[PATH_MAX];
  ULY_TRY(uly__path_join(path, sizeof path, folder->dir, name));
  file->name = strdup(name);
  file->path = strdup(path);
  if (!file->name || !file->path) ULY_FAIL(ULY_ERR_MEMORY, "no memory for the name of a file");
  return uly__safetensors_open(path, &file->tensors);
}

static uly_status make_room(uly__hf_folder *folder, size_t num_files) {
  folder->files = calloc(num_files + 1, sizeof *folder->files);
  if (!folder->files) ULY_FAIL(ULY_ERR_MEMORY, "no memory for a list of %zu files", num_files);
  return ULY_OK;
}

/* Checks the name of a file: it must be that of a .safetensors file in the folder itself. */
static uly_status check_name(const char *path, const char *tensor, const json_t *value) {
  static const char end[] = ".safetensors";
  const char *name = json_string_value(value);
  size_t length = name ? strlen(name) : 0, tail = sizeof end - 1;
  bool is_good = length > tail && length <= NAME_MAX && strcmp(name + length - tail, end) == 0 &&
                 !strchr(name, '/') && name[0] != '.' && !uly__has_control_characters(name);
  if (is_good) return ULY_OK;
  ULY_FAIL(
      ULY_ERR_DATA,
      "'%s': the file of tensor '%s' is %s%s%s, which is not the name of a .safetensors file in "
      "the same folder: download or save the folder again",
      path, uly__make_printable(tensor).text, name ? "'" : "",
      name ? uly__make_printable(name).text : "not a string", name ? "'" : "");
}

static int compare_texts(const void *a, const void *b) {
  return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Opens each file that the index names, once. names: room for one name for each tensor. */
static uly_status open_named(uly__hf_folder *folder, const char *path, json_t *map,
                             const char **names) {
  size_t num = 0;
  const char *tensor;
  json_t *value;
  json_object_foreach(map, tensor, value) {
    ULY_TRY(check_name(path, tensor, value));
    names[num++] = json_string_value(value);
  }
  qsort(names, num, sizeof *names, compare_texts);
  size_t num_files = 0;
  for (size_t i = 0; i < num; i++)
    if (i == 0 || strcmp(names[i], names[i - 1]) != 0) names[num_files++] = names[i];
  ULY_TRY(make_room(folder, num_files));
  for (size_t i = 0; i < num_files; i++) {
    if (!has_file(folder->dir, names[i]))
      ULY_FAIL(ULY_ERR_DATA,
               "'%s' names the file '%s', which is not in the folder: download or save the folder "
               "again",
               path, names[i]);
    ULY_TRY(add_file(folder, names[i]));
  }
  return ULY_OK;
}

/* Compares the index with what the files hold. */
static uly_status compare(const uly__hf_folder *folder, const char *path, json_t *map) {
  size_t num_found = 0;
  for (int i = 0; i < folder->num_files; i++) {
    const uly__hf_file *file = &folder->files[i];
    for (int j = 0; j < uly__safetensors_num(file->tensors); j++) {
      const char *tensor = uly__safetensors_get(file->tensors, j)->name;
      const char *listed = json_string_value(json_object_get(map, tensor));
      if (!listed || strcmp(listed, file->name) != 0)
        ULY_FAIL(ULY_ERR_DATA,
                 "'%s' holds tensor '%s', which '%s' %s%s: the files do not belong together, so "
                 "download or save the folder again",
                 file->path, tensor, path, listed ? "places in " : "does not list",
                 listed ? uly__make_printable(listed).text : "");
      num_found++;
    }
  }
  if (num_found == json_object_size(map)) return ULY_OK;
  const char *tensor;
  json_t *value;
  json_object_foreach(map, tensor, value) {
    for (int i = 0; i < folder->num_files; i++) {
      const uly__hf_file *file = &folder->files[i];
      if (strcmp(file->name, json_string_value(value)) != 0) continue;
      if (!uly__safetensors_find(file->tensors, tensor))
        ULY_FAIL(ULY_ERR_DATA,
                 "'%s' places tensor '%s' in '%s', which does not hold it: download or save the "
                 "folder again",
                 path, uly__make_printable(tensor).text, file->name);
    }
  }
  return ULY_OK;
}

static uly_status read_map(uly__hf_folder *folder, const char *path, json_t *map) {
  if (!json_is_object(map) || json_object_size(map) == 0)
    ULY_FAIL(ULY_ERR_DATA,
             "'%s' has no object \"" WEIGHT_MAP
             "\" that says which file holds which tensor: download or save the folder again",
             path);
  const char **names = calloc(json_object_size(map), sizeof *names);
  if (!names) ULY_FAIL(ULY_ERR_MEMORY, "no memory for the names in '%s'", path);
  uly_status status = open_named(folder, path, map, names);
  free((void *)names);
  return status == ULY_OK ? compare(folder, path, map) : status;
}

static uly_status read_index(uly__hf_folder *folder, const char *path) {
  char *text;
  int64_t length;
  json_error_t error;
  ULY_TRY(uly__file_load(path, "index of weights", ULY_SAFETENSORS_MAX_HEADER, &text, &length));
  json_t *json = json_loadb(text, (size_t)length, JSON_REJECT_DUPLICATES, &error);
  free(text);
  if (!json)
    ULY_FAIL(ULY_ERR_DATA, "'%s' cannot be read as JSON: %s (line %d)", path,
             uly__make_printable(error.text).text, error.line);
  uly_status status = read_map(folder, path, json_object_get(json, WEIGHT_MAP));
  json_decref(json);
  return status;
}

/* ---------------------------------------------------------------------------- tensors */

static int compare_tensors(const void *a, const void *b) {
  return strcmp(((const uly__hf_tensor *)a)->info->name, ((const uly__hf_tensor *)b)->info->name);
}

static uly_status list_tensors(uly__hf_folder *folder) {
  size_t num = 0;
  for (int i = 0; i < folder->num_files; i++)
    num += (size_t)uly__safetensors_num(folder->files[i].tensors);
  folder->tensors = calloc(num + 1, sizeof *folder->tensors);
  if (!folder->tensors) ULY_FAIL(ULY_ERR_MEMORY, "no memory for a table of %zu tensors", num);
  for (int i = 0; i < folder->num_files; i++)
    for (int j = 0; j < uly__safetensors_num(folder->files[i].tensors); j++)
      folder->tensors[folder->num_tensors++] =
          (uly__hf_tensor){uly__safetensors_get(folder->files[i].tensors, j), i};
  qsort(folder->tensors, num, sizeof *folder->tensors, compare_tensors);
  return ULY_OK;
}

/* ---------------------------------------------------------------------------- folders */

static uly_status open_folder(uly__hf_folder *folder) {
  char path[PATH_MAX];
  ULY_TRY(uly__path_join(path, sizeof path, folder->dir, uly__index_file));
  if (has_file(folder->dir, uly__model_file)) {
    ULY_TRY(make_room(folder, 1));
    ULY_TRY(add_file(folder, uly__model_file));
  } else if (has_file(folder->dir, uly__index_file)) {
    ULY_TRY(read_index(folder, path));
  } else {
    ULY_FAIL(ULY_ERR_DATA,
             "'%s' has neither '%s' nor '%s': weights in another format must first be saved as "
             "safetensors",
             folder->dir, uly__model_file, uly__index_file);
  }
  return list_tensors(folder);
}

uly_status uly__hf_folder_open(const char *dir, uly__hf_folder **out) {
  *out = NULL;
  uly__hf_folder *folder = calloc(1, sizeof *folder);
  if (!folder || !(folder->dir = strdup(dir))) {
    free(folder);
    ULY_FAIL(ULY_ERR_MEMORY, "no memory to open the folder '%s'", dir);
  }
  uly_status status = open_folder(folder);
  if (status != ULY_OK)
    uly__hf_folder_close(folder);
  else
    *out = folder;
  return status;
}

void uly__hf_folder_close(uly__hf_folder *folder) {
  if (!folder) return;
  for (int i = 0; i < folder->num_files; i++) {
    uly__safetensors_close(folder->files[i].tensors);
    free(folder->files[i].name);
    free(folder->files[i].path);
  }
  free(folder->files);
  free(folder->tensors);
  free(folder->dir);
  free(folder);
}

const uly__hf_tensor *uly__hf_folder_find(const uly__hf_folder *folder, const char *name) {
  int low = 0, high = folder->num_tensors;
  while (low < high) {
    int middle = low + (high - low) / 2;
    int order = strcmp(folder->tensors[middle].info->name, name);
    if (order == 0) return &folder->tensors[middle];
    if (order < 0)
      low = middle + 1;
    else
      high = middle;
  }
  return NULL;
}

/* Bytes that are compared at a time. */
enum { COMPARED = 1 << 20 };

/* Compares the bytes of two tensors that have as many; room: for two pieces. */
static uly_status compare_bytes(const uly__hf_folder *folder, const uly__hf_tensor *a,
                                const uly__hf_tensor *b, char *room, bool *is_same) {
  const uly__hf_tensor *const both[] = {a, b};
  for (int64_t at = 0; at < a->info->bytes && *is_same; at += COMPARED) {
    int64_t count = a->info->bytes - at < COMPARED ? a->info->bytes - at : COMPARED;
    for (int i = 0; i < 2; i++)
      ULY_TRY(uly__safetensors_read(folder->files[both[i]->file].tensors, both[i]->info, at, count,
                                    room + i * COMPARED));
    *is_same = memcmp(room, room + COMPARED, (size_t)count) == 0;
  }
  return ULY_OK;
}

uly_status uly__hf_same(const uly__hf_folder *folder, const uly__hf_tensor *a,
                        const uly__hf_tensor *b, bool *is_same) {
  *is_same = a->info->bytes == b->info->bytes && a->info->dtype == b->info->dtype &&
             a->info->num_dims == b->info->num_dims &&
             memcmp(a->info->dims, b->info->dims, sizeof a->info->dims) == 0;
  if (!*is_same) return ULY_OK;
  char *room = malloc(2 * COMPARED);
  if (!room) ULY_FAIL(ULY_ERR_MEMORY, "no memory to compare two tensors");
  uly_status status = compare_bytes(folder, a, b, room, is_same);
  free(room);
  return status;
}

uint64_t uly__hf_folder_hash(const uly__hf_folder *folder) {
  XXH3_state_t state;
  XXH3_64bits_reset(&state);
  for (int i = 0; i < folder->num_tensors; i++) {
    const uly__hf_tensor *tensor = &folder->tensors[i];
    const uly__tensor_info *info = tensor->info;
    const char *const texts[] = {info->name, uly__tensor_type(info),
                                 folder->files[tensor->file].name};
    for (int j = 0; j < 3; j++) XXH3_64bits_update(&state, texts[j], strlen(texts[j]) + 1);
    XXH3_64bits_update(&state, info->dims, sizeof info->dims);
    XXH3_64bits_update(&state, &info->begin, sizeof info->begin);
  }
  return XXH3_64bits_digest(&state);
}

const char *uly__hf_where(const uly__hf_folder *folder, const uly__hf_tensor *tensor,
                          char text[ULY_HF_WHERE]) {
  snprintf(text, ULY_HF_WHERE, "'%.250s': tensor %s", folder->files[tensor->file].path,
           tensor->info->name);
  return text;
}
