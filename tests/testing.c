/* Helpers of the tests. */
#include "testing.h"

#include <ftw.h>
#include <math.h>
#include <mpi.h>
#include <stdbool.h>
#include <sys/stat.h>
#include <unistd.h>

void begin_ranks(int *argc, char ***argv, uly_mesh **mesh) {
  uly_status status = uly_init(argc, argv);
  if (status == ULY_OK && mesh) status = uly_mesh_create(NULL, mesh);
  if (status == ULY_OK) return;
  print_error("%s\n", uly_last_error());
  uly_abort(1);
}

int end_ranks(uly_mesh *mesh, int num_failed) {
  uly_mesh_destroy(mesh);
  if (num_failed) uly_abort(1);
  uly_finalize();
  return 0;
}

/* Writes the path of something that only this process has; path has room for 256 characters. */
static void make_path(char *path, const char *name) {
  const char *folder = getenv("TMPDIR");
  snprintf(path, 256, "%s/ulysses-%ld-%s", folder ? folder : "/tmp", (long)getpid(), name);
}

static bool is_parallel(void) {
  int parallel = 0;
  MPI_Initialized(&parallel);
  return parallel != 0;
}

/* Gives all ranks the path of rank 0. */
static void share_path(char *path) {
  if (is_parallel()) MPI_Bcast(path, 256, MPI_CHAR, 0, MPI_COMM_WORLD);
}

void write_scratch_file(char *path, const char *name, const void *bytes, size_t count) {
  if (uly_world_rank() == 0) {
    make_path(path, name);
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, count, file), count);
    assert_int_equal(fclose(file), 0);
  }
  share_path(path);
}

void write_scratch_text(char *path, const char *name, int count) {
  char *text = malloc((size_t)count);
  assert_non_null(text);
  for (int i = 0; i < count; i++) text[i] = (char)(32 + (i * i / 7 + i / 3) % 90);
  write_scratch_file(path, name, text, (size_t)count);
  free(text);
}

void write_scratch_configs(char (*paths)[256], const char *name, const char *const *configs,
                           int num) {
  for (int i = 0; i < num; i++) {
    char numbered[64];
    snprintf(numbered, sizeof numbered, "%s-%d.json", name, i);
    write_scratch_file(paths[i], numbered, configs[i], strlen(configs[i]));
  }
}

void remove_scratch_file(const char *path) {
  if (uly_world_rank() == 0) assert_int_equal(unlink(path), 0);
}

static int remove_entry(const char *path, const struct stat *info, int type, struct FTW *walk) {
  (void)info, (void)type, (void)walk;
  return remove(path);
}

/* Removes a folder with all that is in it; returns whether that worked. */
static bool remove_tree(const char *path) {
  return nftw(path, remove_entry, 16, FTW_DEPTH | FTW_PHYS) == 0;
}

void name_scratch_folder(char *path, const char *name) {
  if (uly_world_rank() == 0) make_path(path, name);
  share_path(path);
}

void remove_scratch_folder(const char *path) {
  if (is_parallel()) MPI_Barrier(MPI_COMM_WORLD);
  if (uly_world_rank() == 0 && access(path, F_OK) == 0) assert_true(remove_tree(path));
  if (is_parallel()) MPI_Barrier(MPI_COMM_WORLD);
}

static char scratch[512];

int scratch_set_up(void **state) {
  (void)state;
  const char *base = getenv("TMPDIR");
  snprintf(scratch, sizeof scratch, "%s/ulysses-XXXXXX", base && *base ? base : "/tmp");
  return mkdtemp(scratch) ? 0 : -1;
}

int scratch_tear_down(void **state) {
  (void)state;
  return remove_tree(scratch) ? 0 : -1;
}

const char *scratch_path(const char *name) {
  static char paths[8][1024];
  static int next;
  char *path = paths[next++ % 8];
  snprintf(path, sizeof paths[0], "%s/%s", scratch, name);
  return path;
}

const char *scratch_put(const char *name, const void *bytes, size_t count) {
  const char *path = scratch_path(name);
  FILE *file = fopen(path, "wb");
  assert_non_null(file);
  assert_int_equal(fwrite(bytes, 1, count, file), count);
  assert_int_equal(fclose(file), 0);
  return path;
}

int case_stride(void) {
  const char *stride = getenv("STRIDE");
  return stride ? (int)strtol(stride, NULL, 10) : 1;
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

bool has_few_cases(void) { return getenv("ULY_TEST_FEW") != NULL; }
