/* Helpers of the tests. */
#include "testing.h"

#include <math.h>
#include <mpi.h>
#include <unistd.h>

void write_scratch_file(char *path, const char *name, const void *bytes, size_t count) {
  const char *folder = getenv("TMPDIR");
  int parallel = 0;
  MPI_Initialized(&parallel);
  if (uly_world_rank() == 0) {
    snprintf(path, 256, "%s/ulysses-%ld-%s", folder ? folder : "/tmp", (long)getpid(), name);
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, count, file), count);
    assert_int_equal(fclose(file), 0);
  }
  if (parallel) MPI_Bcast(path, 256, MPI_CHAR, 0, MPI_COMM_WORLD);
}

void remove_scratch_file(const char *path) {
  if (uly_world_rank() == 0) assert_int_equal(unlink(path), 0);
}

double largest_error(const float *a, const float *b, int64_t count, double floor) {
  double error = 0, largest = floor;
  for (int64_t i = 0; i < count; i++) {
    double difference = fabs((double)a[i] - (double)b[i]);
    if (!(difference <= error)) error = difference; /* a NaN stays */
    if (fabs((double)b[i]) > largest) largest = fabs((double)b[i]);
  }
  return error / largest;
}

void *read_tensor(const uly__safetensors *file, const uly__tensor_info *tensor) {
  void *data = malloc((size_t)tensor->bytes + 1);
  assert_non_null(data);
  assert_ok(uly__safetensors_read(file, tensor, 0, tensor->bytes, data));
  return data;
}

void test_data_path(char *path, const char *folder, const char *name) {
  const char *data = getenv("ULY_TEST_DATA");
  snprintf(path, 512, "%s/%s/%s", data ? data : "tests/data", folder, name);
}
