/* What the tests share: cmocka with its headers, scratch folders, comparisons. */
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

/* Writes bytes to a new scratch file; path has room for 256 characters. Under MPI, collective: rank 0
 * writes, and all ranks get its name. */
void write_scratch_file(char *path, const char *name, const void *bytes, size_t count);

/* Removes it, where rank 0 wrote it: others may not run ahead into the next file of that name. */
void remove_scratch_file(const char *path);

/* A fresh folder for each test of one process: setup and teardown of cmocka. */
int scratch_set_up(void **state);
int scratch_tear_down(void **state);
/* A path in it; lives until the eighth next call. */
const char *scratch_path(const char *name);
/* Writes bytes to a file in it, and returns its path. */
const char *scratch_put(const char *name, const void *bytes, size_t count);

/* Largest |a - b| over the larger of floor and the largest |b|. */
double largest_error(const float *a, const float *b, int64_t count, double floor);

/* All data of a tensor; freed by the caller. */
void *read_tensor(const uly__safetensors *file, const uly__tensor_info *tensor);

/* File of the folder tests/data; path has room for 512 characters. */
void test_data_path(char *path, const char *folder, const char *name);

#endif
