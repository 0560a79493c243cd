/* safetensors (github.com/huggingface/safetensors, "Format"):
 *
 *   [8]     n, the header's length, u64 little-endian, at most 100,000,000
 *   [n]     JSON: {"__metadata__": {string: string}, "name": {"dtype": "F32", "shape": [2, 3],
 *           "data_offsets": [begin, end]}, ...}, then spaces; offsets count from the header's end
 *   [rest]  the data: every byte belongs to exactly one tensor, little-endian, row-major
 *
 * The reader trusts nothing: names and other strings of the file are shortened and stripped of
 * control characters before they appear in a message. */
#include "data/safetensors.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/dtype.h"
#include "base/printable.h"
#include "data/source_file.h"

#define METADATA "__metadata__"

enum { length_bytes = 8, header_alignment = 64 };

struct uly__safetensors {
  char *path;
  uly__source_file source;
  int64_t data_begin, data_bytes; /* the data section in the file */
  int num_tensors;
  uly__tensor_info *tensors;        /* [num_tensors], by their place in the data */
  const uly__tensor_info **by_name; /* [num_tensors] */
};

/* The types of the format whose elements are whole bytes, and how many these are. Those of the
 * project come first, in the order of uly_dtype. */
typedef struct file_type {
  const char *name;
  int bytes;
} file_type;

static const file_type file_types[] = {{"F32", 4}, {"BF16", 2}, {"F16", 2},     {"F64", 8},
                                       {"I64", 8}, {"U64", 8},  {"I32", 4},     {"U32", 4},
                                       {"I16", 2}, {"U16", 2},  {"F8_E4M3", 1}, {"F8_E5M2", 1},
                                       {"I8", 1},  {"U8", 1},   {"BOOL", 1}};

enum { NUM_OWN_TYPES = ULY_F16 + 1, NUM_TYPES = sizeof file_types / sizeof file_types[0] };

const char *uly__tensor_type(const uly__tensor_info *tensor) {
  return tensor->other ? tensor->other : file_types[tensor->dtype].name;
}

static int bytes_of_element(const uly__tensor_info *tensor) {
  int i = 0;
  while (strcmp(file_types[i].name, uly__tensor_type(tensor)) != 0) i++;
  return file_types[i].bytes;
}

/* Counts bytes from type and dims; returns false if they do not fit into 64 bits or a dim is
 * negative. */
static bool count_bytes(const uly__tensor_info *tensor, int64_t *bytes) {
  *bytes = bytes_of_element(tensor);
  for (int i = 0; i < tensor->num_dims; i++) {
    if (tensor->dims[i] < 0) return false;
    if (__builtin_mul_overflow(*bytes, tensor->dims[i], bytes)) return false;
  }
  return true;
}

/* ---- Writing */

int64_t uly__safetensors_layout(uly__tensor_info *tensors, int num) {
  int64_t place = 0;
  for (int i = 0; i < num; i++) {
    tensors[i].begin = place;
    if (!count_bytes(&tensors[i], &tensors[i].bytes) ||
        __builtin_add_overflow(place, tensors[i].bytes, &place))
      return -1;
  }
  return place;
}

static uly_status add_entry(json_t *root, const uly__tensor_info *tensor, int64_t place) {
  if (!memchr(tensor->name, 0, sizeof tensor->name) || uly__has_control_characters(tensor->name) ||
      strcmp(tensor->name, METADATA) == 0)
    ULY_FAIL(ULY_ERR_INTERNAL, "'%.64s' cannot be the name of a tensor in a safetensors file",
             tensor->name);
  int64_t bytes, end;
  if (tensor->num_dims < 0 || tensor->num_dims > ULY_SAFETENSORS_MAX_DIMS ||
      !count_bytes(tensor, &bytes) || bytes != tensor->bytes || tensor->begin != place ||
      __builtin_add_overflow(place, bytes, &end))
    ULY_FAIL(ULY_ERR_INTERNAL, "tensor '%s' is not laid out for a safetensors file", tensor->name);
  if (json_object_get(root, tensor->name))
    ULY_FAIL(ULY_ERR_INTERNAL, "two tensors of a safetensors file are named '%s'", tensor->name);
  json_t *shape = json_array();
  bool failed = false;
  for (int i = 0; i < tensor->num_dims; i++)
    failed |= json_array_append_new(shape, json_integer(tensor->dims[i])) != 0;
  json_t *entry = json_pack("{s:s, s:o, s:[I, I]}", "dtype", uly__tensor_type(tensor), "shape",
                            shape, "data_offsets", (json_int_t)place, (json_int_t)end);
  if (json_object_set_new(root, tensor->name, entry) != 0 || failed) /* it refuses NULL, too */
    ULY_FAIL(ULY_ERR_INTERNAL,
             "cannot write tensor '%s' to a safetensors header: no memory, or its name is not "
             "UTF-8",
             tensor->name);
  return ULY_OK;
}

static uly_status add_entries(json_t *root, const uly__tensor_info *tensors, int num) {
  int64_t place = 0;
  for (int i = 0; i < num; i++) {
    ULY_TRY(add_entry(root, &tensors[i], place));
    place += tensors[i].bytes;
  }
  return ULY_OK;
}

/* Puts the length, the text and spaces into new memory. */
static uly_status frame_header(const char *text, char **bytes, int64_t *count) {
  size_t length = strlen(text);
  size_t total =
      (length_bytes + length + header_alignment - 1) / header_alignment * header_alignment;
  uint64_t padded = total - length_bytes;
  if (padded > ULY_SAFETENSORS_MAX_HEADER)
    ULY_FAIL(ULY_ERR_INTERNAL,
             "a safetensors header would have %llu bytes, but the format allows only %d: write the "
             "tensors to several files",
             (unsigned long long)padded, ULY_SAFETENSORS_MAX_HEADER);
  char *header = malloc(total);
  if (!header) ULY_FAIL(ULY_ERR_MEMORY, "no memory for a safetensors header of %zu bytes", total);
  for (int i = 0; i < length_bytes; i++) header[i] = (char)(unsigned char)(padded >> (8 * i));
  memcpy(header + length_bytes, text, length);
  memset(header + length_bytes + length, ' ', (size_t)padded - length);
  *bytes = header;
  *count = (int64_t)total;
  return ULY_OK;
}

uly_status uly__safetensors_header(const uly__tensor_info *tensors, int num, char **bytes,
                                   int64_t *count) {
  *bytes = NULL;
  *count = 0;
  json_t *root = json_pack("{s:{s:s}}", METADATA, "format", "pt");
  uly_status status = root ? add_entries(root, tensors, num) : ULY_OK;
  /* The entries are dumped in the order of their insertion. NULL: no memory. */
  char *text = status == ULY_OK ? json_dumps(root, JSON_COMPACT) : NULL;
  json_decref(root);
  ULY_TRY(status);
  if (!text) ULY_FAIL(ULY_ERR_MEMORY, "no memory for the safetensors header of %d tensors", num);
  status = frame_header(text, bytes, count);
  free(text);
  return status;
}

/* ---- Reading */

static uly_status check_metadata(const char *path, json_t *metadata) {
  if (!json_is_object(metadata))
    ULY_FAIL(ULY_ERR_DATA,
             "safetensors file '%s': " METADATA " is not an object: make the file again", path);
  const char *key;
  json_t *value;
  json_object_foreach(metadata, key, value) {
    if (!json_is_string(value))
      ULY_FAIL(ULY_ERR_DATA,
               "safetensors file '%s': the value of '%s' in " METADATA
               " is not a string: make "
               "the file again with strings only",
               path, uly__make_printable(key).text);
  }
  return ULY_OK;
}

static uly_status read_dtype(const char *path, const json_t *value, uly__tensor_info *tensor) {
  if (!json_is_string(value))
    ULY_FAIL(ULY_ERR_DATA, "safetensors file '%s': tensor '%s' has no dtype: the file is damaged",
             path, tensor->name);
  const char *name = json_string_value(value);
  int i = 0;
  while (i < NUM_TYPES && strcmp(name, file_types[i].name) != 0) i++;
  if (i == NUM_TYPES)
    ULY_FAIL(ULY_ERR_DATA,
             "safetensors file '%s': tensor '%s' has dtype '%s'; only F32, BF16 and F16 can be "
             "read: convert the file to one of these",
             path, tensor->name, uly__make_printable(name).text);
  if (i < NUM_OWN_TYPES)
    tensor->dtype = (uly_dtype)i;
  else
    tensor->other = file_types[i].name;
  return ULY_OK;
}

static uly_status read_shape(const char *path, const json_t *value, uly__tensor_info *tensor) {
  if (!json_is_array(value))
    ULY_FAIL(ULY_ERR_DATA, "safetensors file '%s': tensor '%s' has no shape: the file is damaged",
             path, tensor->name);
  size_t num_dims = json_array_size(value);
  if (num_dims > ULY_SAFETENSORS_MAX_DIMS)
    ULY_FAIL(ULY_ERR_DATA,
             "safetensors file '%s': tensor '%s' has %zu dims; at most %d can be read: reshape it",
             path, tensor->name, num_dims, ULY_SAFETENSORS_MAX_DIMS);
  tensor->num_dims = (int)num_dims;
  for (size_t i = 0; i < num_dims; i++) {
    const json_t *dim = json_array_get(value, i);
    if (!json_is_integer(dim) || json_integer_value(dim) < 0)
      ULY_FAIL(ULY_ERR_DATA,
               "safetensors file '%s': dim %zu of tensor '%s' is not an integer of at least 0: "
               "the file is damaged",
               path, i, tensor->name);
    tensor->dims[i] = json_integer_value(dim);
  }
  return ULY_OK;
}

static uly_status read_offsets(const uly__safetensors *file, const json_t *value,
                               uly__tensor_info *tensor) {
  const json_t *first = json_array_get(value, 0), *last = json_array_get(value, 1);
  if (json_array_size(value) != 2 || !json_is_integer(first) || !json_is_integer(last))
    ULY_FAIL(ULY_ERR_DATA,
             "safetensors file '%s': the data_offsets of tensor '%s' are not two integers: the "
             "file is damaged",
             file->path, tensor->name);
  int64_t begin = json_integer_value(first), end = json_integer_value(last);
  if (begin < 0 || end < begin || end > file->data_bytes)
    ULY_FAIL(ULY_ERR_DATA,
             "safetensors file '%s': the data_offsets [%lld, %lld] of tensor '%s' do not lie "
             "within the %lld bytes of data: the file is truncated or damaged; copy it again",
             file->path, (long long)begin, (long long)end, tensor->name,
             (long long)file->data_bytes);
  int64_t bytes;
  if (!count_bytes(tensor, &bytes) || bytes != end - begin)
    ULY_FAIL(ULY_ERR_DATA,
             "safetensors file '%s': the data_offsets [%lld, %lld] of tensor '%s' do not match "
             "its shape and its dtype %s: the file is damaged",
             file->path, (long long)begin, (long long)end, tensor->name, uly__tensor_type(tensor));
  tensor->begin = begin;
  tensor->bytes = bytes;
  return ULY_OK;
}

static uly_status read_tensor(const uly__safetensors *file, const char *name, const json_t *entry,
                              uly__tensor_info *tensor) {
  *tensor = (uly__tensor_info){0};
  if (strlen(name) >= sizeof tensor->name)
    ULY_FAIL(ULY_ERR_DATA,
             "safetensors file '%s': the name of a tensor, '%s', has %zu bytes; at most %zu can "
             "be read: rename it",
             file->path, uly__make_printable(name).text, strlen(name), sizeof tensor->name - 1);
  if (uly__has_control_characters(name))
    ULY_FAIL(ULY_ERR_DATA,
             "safetensors file '%s': the name of tensor '%s' has control characters: rename it",
             file->path, uly__make_printable(name).text);
  memcpy(tensor->name, name, strlen(name) + 1);
  if (!json_is_object(entry))
    ULY_FAIL(ULY_ERR_DATA,
             "safetensors file '%s': the entry of '%s' in the header is not an object: the file "
             "is damaged",
             file->path, name);
  ULY_TRY(read_dtype(file->path, json_object_get(entry, "dtype"), tensor));
  ULY_TRY(read_shape(file->path, json_object_get(entry, "shape"), tensor));
  return read_offsets(file, json_object_get(entry, "data_offsets"), tensor);
}

static int compare_places(const void *a, const void *b) {
  const uly__tensor_info *x = a, *y = b;
  if (x->begin != y->begin) return x->begin < y->begin ? -1 : 1;
  if (x->bytes != y->bytes) return x->bytes < y->bytes ? -1 : 1; /* empty ones come first */
  return strcmp(x->name, y->name);
}

static int compare_names(const void *a, const void *b) {
  return strcmp((*(const uly__tensor_info *const *)a)->name,
                (*(const uly__tensor_info *const *)b)->name);
}

/* Checks that sorted tensors follow one another and fill the data section. */
static uly_status check_places(const uly__safetensors *file) {
  int64_t place = 0;
  for (int i = 0; i < file->num_tensors; i++) {
    const uly__tensor_info *tensor = &file->tensors[i];
    if (tensor->begin != place)
      ULY_FAIL(ULY_ERR_DATA,
               "safetensors file '%s': tensor '%s' begins at byte %lld of the data, but the one "
               "before it ends at %lld: %s; the file is damaged",
               file->path, tensor->name, (long long)tensor->begin, (long long)place,
               tensor->begin > place ? "there is a hole" : "they overlap");
    place += tensor->bytes; /* at most data_bytes */
  }
  if (place != file->data_bytes)
    ULY_FAIL(ULY_ERR_DATA,
             "safetensors file '%s' has %lld bytes of data, but its tensors end at %lld: the file "
             "is damaged; copy it again",
             file->path, (long long)file->data_bytes, (long long)place);
  return ULY_OK;
}

static uly_status read_table(uly__safetensors *file, json_t *root) {
  /* This is below INT_MAX: the header has at most 10^8 bytes. */
  size_t num = json_object_size(root);
  file->tensors = calloc(num + 1, sizeof *file->tensors);
  file->by_name = calloc(num + 1, sizeof *file->by_name);
  if (!file->tensors || !file->by_name)
    ULY_FAIL(ULY_ERR_MEMORY, "no memory for the %zu tensors of safetensors file '%s'", num,
             file->path);
  const char *key;
  json_t *value;
  json_object_foreach(root, key, value) {
    if (strcmp(key, METADATA) == 0)
      ULY_TRY(check_metadata(file->path, value));
    else
      ULY_TRY(read_tensor(file, key, value, &file->tensors[file->num_tensors++]));
  }
  size_t count = (size_t)file->num_tensors;
  qsort(file->tensors, count, sizeof *file->tensors, compare_places);
  for (size_t i = 0; i < count; i++) file->by_name[i] = &file->tensors[i];
  qsort(file->by_name, count, sizeof *file->by_name, compare_names);
  return check_places(file);
}

static uly_status read_header(uly__safetensors *file, const char *header, size_t length) {
  if (length == 0 || header[0] != '{')
    ULY_FAIL(ULY_ERR_DATA,
             "'%s' is not a safetensors file: its header does not begin with '{': check the path",
             file->path);
  /* Without JSON_ALLOW_NUL no string holds a NUL; nesting ends at JSON_PARSER_MAX_DEPTH. */
  json_error_t error;
  json_t *root = json_loadb(header, length, JSON_REJECT_DUPLICATES, &error);
  if (!root)
    ULY_FAIL(ULY_ERR_DATA,
             "safetensors file '%s': the header is not the JSON that it must be: %s (byte %d of "
             "the header): make or copy the file again",
             file->path, uly__make_printable(error.text).text, error.position);
  uly_status status = read_table(file, root);
  json_decref(root);
  return status;
}

static uly_status read_file(uly__safetensors *file) {
  ULY_TRY(uly__source_open(file->path, "safetensors file", &file->source));
  if (file->source.size < length_bytes)
    ULY_FAIL(ULY_ERR_DATA,
             "safetensors file '%s' is truncated: it has %lld bytes, too few for the length of a "
             "header: copy it again",
             file->path, (long long)file->source.size);
  unsigned char bytes[length_bytes];
  uint64_t length = 0;
  ULY_TRY(uly__source_read(&file->source, 0, length_bytes, bytes));
  for (int i = 0; i < length_bytes; i++) length |= (uint64_t)bytes[i] << (8 * i);
  if (length > ULY_SAFETENSORS_MAX_HEADER)
    ULY_FAIL(ULY_ERR_DATA,
             "'%s' is not a safetensors file: its first 8 bytes give a header of %llu bytes, but "
             "the format allows only %d: check the path",
             file->path, (unsigned long long)length, ULY_SAFETENSORS_MAX_HEADER);
  if ((int64_t)length > file->source.size - length_bytes)
    ULY_FAIL(ULY_ERR_DATA,
             "safetensors file '%s' is truncated: its header should have %llu bytes, but only %lld "
             "follow its length: copy it again",
             file->path, (unsigned long long)length, (long long)(file->source.size - length_bytes));
  file->data_begin = length_bytes + (int64_t)length;
  file->data_bytes = file->source.size - file->data_begin;
  char *header = malloc((size_t)length + 1);
  if (!header)
    ULY_FAIL(ULY_ERR_MEMORY, "no memory for the header of safetensors file '%s'", file->path);
  uly_status status = uly__source_read(&file->source, length_bytes, (int64_t)length, header);
  if (status == ULY_OK) status = read_header(file, header, (size_t)length);
  free(header);
  return status;
}

uly_status uly__safetensors_open(const char *path, uly__safetensors **out) {
  *out = NULL;
  uly__safetensors *file = calloc(1, sizeof *file);
  if (!file || !(file->path = strdup(path))) {
    free(file);
    ULY_FAIL(ULY_ERR_MEMORY, "no memory to open safetensors file '%s'", path);
  }
  uly_status status = read_file(file);
  if (status != ULY_OK) {
    uly__safetensors_close(file);
    return status;
  }
  *out = file;
  return ULY_OK;
}

void uly__safetensors_close(uly__safetensors *file) {
  if (!file) return;
  free(file->by_name);
  free(file->tensors);
  free(file->path);
  free(file);
}

int uly__safetensors_num(const uly__safetensors *file) { return file->num_tensors; }

const uly__tensor_info *uly__safetensors_get(const uly__safetensors *file, int i) {
  return &file->tensors[i];
}

const uly__tensor_info *uly__safetensors_find(const uly__safetensors *file, const char *name) {
  int low = 0, high = file->num_tensors;
  while (low < high) {
    int middle = low + (high - low) / 2;
    int order = strcmp(file->by_name[middle]->name, name);
    if (order == 0) return file->by_name[middle];
    if (order < 0)
      low = middle + 1;
    else
      high = middle;
  }
  return NULL;
}

uly_status uly__safetensors_has_header(const uly__safetensors *file, const char *bytes,
                                       int64_t count, bool *has) {
  *has = file->data_begin == count;
  if (!*has) return ULY_OK;
  char *found = malloc((size_t)count + 1);
  if (!found) ULY_FAIL(ULY_ERR_MEMORY, "no memory for a header of %lld bytes", (long long)count);
  uly_status status = uly__source_read(&file->source, 0, count, found);
  *has = status == ULY_OK && memcmp(found, bytes, (size_t)count) == 0;
  free(found);
  return status;
}

uly_status uly__safetensors_begin(const uly__safetensors *file, int *fd) {
  return uly__source_begin(&file->source, fd);
}

int64_t uly__safetensors_place(const uly__safetensors *file, const uly__tensor_info *tensor) {
  return file->data_begin + tensor->begin;
}

uly_status uly__safetensors_read(const uly__safetensors *file, const uly__tensor_info *tensor,
                                 int64_t begin, int64_t count, void *out) {
  return uly__source_read(&file->source, file->data_begin + tensor->begin + begin, count, out);
}
