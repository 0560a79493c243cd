/* Shared by the tests: cmocka with its headers, scratch folders, comparisons. */
#ifndef ULY_TESTING_H
#define ULY_TESTING_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "data/safetensors.h"
#include "ulysses.h"

/* Runs tests. On several ranks the job ends with the first that fails: ranks on which it passed
 * would wait in the next test for those on which it did not. */
static inline int run_all(const struct CMUnitTest *tests, size_t num, CMFixtureFunction setup,
                          CMFixtureFunction teardown) {
  if (uly_world_size() == 1) return _cmocka_run_group_tests("tests", tests, num, setup, teardown);
  for (size_t i = 0; i < num; i++)
    if (_cmocka_run_group_tests(tests[i].name, &tests[i], 1, setup, teardown) > 0) uly_abort(1);
  return 0;
}
#undef cmocka_run_group_tests
#define cmocka_run_group_tests(tests, setup, teardown) \
  run_all(tests, sizeof(tests) / sizeof *(tests), setup, teardown)

/* Begins a test that runs under MPI: starts MPI and makes the mesh of all ranks, unless mesh is
 * NULL. Ends the job if that fails. */
void begin_ranks(int *argc, char ***argv, uly_mesh **mesh);

/* Ends such a test: destroys the mesh, if there is one, and ends MPI, or the whole job if a test
 * failed. Returns the exit code. */
int end_ranks(uly_mesh *mesh, int num_failed);

/* A mesh, for uly_mesh_create: MESH(.dp = 2, .sp = 1). */
#define MESH(...) (&(uly_mesh_desc){.size = sizeof(uly_mesh_desc), __VA_ARGS__})

/* The defaults of a run. */
static inline uly_train_config default_config(void) {
  uly_train_config config;
  uly_train_config_default(&config, sizeof config);
  return config;
}

static inline uly_prepare_config default_preparation(void) {
  uly_prepare_config config;
  uly_prepare_config_default(&config, sizeof config);
  return config;
}

static inline uly_generator_report generator_report(const uly_generator *generator) {
  uly_generator_report report = {.size = sizeof report};
  (void)uly_generator_get_report(generator, &report);
  return report;
}

/* What the library tells of a plan: a group of heads, the bytes of buffers, and the one run of
 * tokens of this rank. */
static inline uly_attention_block get_block(const uly_attention *plan, int index) {
  uly_attention_block block = {.size = sizeof block};
  (void)uly_attention_get_block(plan, index, &block);
  return block;
}

static inline uly_attention_bytes get_bytes(const uly_attention *plan) {
  uly_attention_bytes bytes = {.size = sizeof bytes};
  (void)uly_attention_get_bytes(plan, &bytes);
  return bytes;
}

static inline void get_tokens(const uly_attention *plan, int64_t *begin, int64_t *count) {
  const uly_token_run *run = uly_attention_tokens(plan, NULL);
  *begin = run->begin;
  *count = run->count;
}

/* Fails with the library's message. */
#define assert_ok(expr)                                                          \
  do {                                                                           \
    uly_status status_ = (expr);                                                 \
    if (status_ != ULY_OK)                                                       \
      fail_msg("%s: %s: %s", #expr, uly_status_name(status_), uly_last_error()); \
  } while (0)

/* The expression fails with this status and a message that contains text. */
#define assert_fails(expr, status, text)                              \
  do {                                                                \
    assert_int_equal(expr, status);                                   \
    if (!strstr(uly_last_error(), text))                              \
      fail_msg("message without \"%s\": %s", text, uly_last_error()); \
  } while (0)

/* Writes bytes to a new scratch file; path has room for 256 characters. Under MPI, collective: rank
 * 0 writes, and all ranks get its name. */
void write_scratch_file(char *path, const char *name, const void *bytes, size_t count);

/* Writes a text of so many bytes, which is the same each time, as write_scratch_file does. */
void write_scratch_text(char *path, const char *name, int count);

/* Writes the configurations of models as write_scratch_file does: NAME-0.json and so on. */
void write_scratch_configs(char (*paths)[256], const char *name, const char *const *configs,
                           int num);

/* Removes a scratch file, where rank 0 wrote it: others may not run ahead into the next file of
 * that name. */
void remove_scratch_file(const char *path);

/* Writes the path of a folder that is not there yet; path has room for 256 characters. Under MPI,
 * collective: all ranks get the one of rank 0. */
void name_scratch_folder(char *path, const char *name);

/* Removes such a folder with all that is in it, if it is there. Under MPI, collective: it is there
 * until all ranks come, and none goes on before it is gone. */
void remove_scratch_folder(const char *path);

/* A fresh folder for each test of one process: setup and teardown of cmocka. */
int scratch_set_up(void **state);
int scratch_tear_down(void **state);
/* A path in it; lives until the eighth next call. */
const char *scratch_path(const char *name);
/* Writes bytes to a file in it, and returns its path. */
const char *scratch_put(const char *name, const void *bytes, size_t count);

/* Returns n of STRIDE=n, with which slow builds run one case of n; 1 without it. */
int case_stride(void);

/* Largest |a - b| over the larger of floor and the largest |b|. */
double largest_error(const float *a, const float *b, int64_t count, double floor);

/* All data of a tensor; freed by the caller. */
void *read_tensor(const uly__safetensors *file, const uly__tensor_info *tensor);

/* File of the folder tests/data; path has room for 512 characters. */
void test_data_path(char *path, const char *folder, const char *name);

/* Returns whether ULY_TEST_FEW is in the environment: the sanitizers, and the guarded device, where
 * each op changes the protection of pages, then run only some of the cases of slow tests in the
 * short suite. */
bool has_few_cases(void);

#endif
