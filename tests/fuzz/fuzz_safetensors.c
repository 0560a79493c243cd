/* Reads a safetensors file: it is refused, or gives a table that can be trusted: it fills the data,
 * is found by name, and the writer makes a file of it that reads the same. */
#include <string.h>

#include "data/safetensors.h"
#include "fuzzing.h"

/* All data of a tensor; freed by the caller. */
static char *read_tensor(const uly__safetensors *file, const uly__tensor_info *tensor) {
  char *data = fuzz_alloc((size_t)tensor->bytes);
  FUZZ_CHECK(uly__safetensors_read(file, tensor, 0, tensor->bytes, data) == ULY_OK, "%s",
             uly_last_error());
  return data;
}

static void check_table(const uly__safetensors *file, size_t size) {
  int64_t place = 0;
  for (int i = 0; i < uly__safetensors_num(file); i++) {
    const uly__tensor_info *tensor = uly__safetensors_get(file, i);
    FUZZ_CHECK(tensor->begin == place && tensor->bytes >= 0, "tensor %d has another place", i);
    FUZZ_CHECK(tensor->num_dims >= 0 && tensor->num_dims <= ULY_SAFETENSORS_MAX_DIMS, "dims");
    FUZZ_CHECK(uly__safetensors_find(file, tensor->name) == tensor, "tensor %d is not found", i);
    /* In f64, which does not wrap around where an integer would. */
    double bytes = tensor->dtype == ULY_F32 ? 4 : 2;
    if (tensor->other)
      bytes = strstr(tensor->other, "64")   ? 8
              : strstr(tensor->other, "32") ? 4
              : strstr(tensor->other, "16") ? 2
                                            : 1;
    for (int j = 0; j < tensor->num_dims; j++) bytes *= (double)tensor->dims[j];
    FUZZ_CHECK(bytes == (double)tensor->bytes, "tensor %d has %g bytes", i, bytes);
    place += tensor->bytes;
    FUZZ_CHECK(place <= (int64_t)size, "tensor %d ends behind the file", i);
    free(read_tensor(file, tensor));
  }
  FUZZ_CHECK(!uly__safetensors_find(file, "no such tensor\n"), "found what is not there");
}

static void check_same(const uly__safetensors *a, const uly__safetensors *b) {
  FUZZ_CHECK(uly__safetensors_num(a) == uly__safetensors_num(b), "other tensors");
  for (int i = 0; i < uly__safetensors_num(a); i++) {
    const uly__tensor_info *x = uly__safetensors_get(a, i);
    const uly__tensor_info *y = uly__safetensors_find(b, x->name);
    FUZZ_CHECK(y && x->dtype == y->dtype && x->other == y->other && x->num_dims == y->num_dims &&
                   x->bytes == y->bytes && memcmp(x->dims, y->dims, sizeof x->dims) == 0,
               "tensor '%s' differs", x->name);
    char *data_x = read_tensor(a, x), *data_y = read_tensor(b, y);
    FUZZ_CHECK(memcmp(data_x, data_y, (size_t)x->bytes) == 0, "the data of tensor '%s' differ",
               x->name);
    free(data_x);
    free(data_y);
  }
}

/* The same tensors as this project writes them: read back. */
static void check_written(const uly__safetensors *file) {
  int num = uly__safetensors_num(file);
  uly__tensor_info *table = fuzz_alloc((size_t)num * sizeof *table);
  for (int i = 0; i < num; i++) table[i] = *uly__safetensors_get(file, i);
  int64_t data_bytes = uly__safetensors_layout(table, num), header_bytes;
  FUZZ_CHECK(data_bytes >= 0, "what was read has no layout");
  char *header;
  FUZZ_CHECK(uly__safetensors_header(table, num, &header, &header_bytes) == ULY_OK, "%s",
             uly_last_error());
  char *bytes = fuzz_alloc((size_t)(header_bytes + data_bytes));
  memcpy(bytes, header, (size_t)header_bytes);
  for (int i = 0; i < num; i++)
    FUZZ_CHECK(uly__safetensors_read(file, &table[i], 0, table[i].bytes,
                                     bytes + header_bytes + table[i].begin) == ULY_OK,
               "%s", uly_last_error());
  const char *path = fuzz_file("written", bytes, (size_t)(header_bytes + data_bytes));
  uly__safetensors *written;
  FUZZ_CHECK(uly__safetensors_open(path, &written) == ULY_OK, "%s", uly_last_error());
  check_same(file, written);
  uly__safetensors_close(written);
  free(bytes);
  free(header);
  free(table);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  uly__safetensors *file;
  uly_status status = uly__safetensors_open(fuzz_file("input", data, size), &file);
  if (status == ULY_OK) {
    check_table(file, size);
    check_written(file);
  } else {
    FUZZ_CHECK(!file, "refused, and open");
    fuzz_check_refusal(status, uly_last_error());
  }
  uly__safetensors_close(file);
  return 0;
}
