/* Declares the table of a device's functions. */
#ifndef ULY_DEVICE_TABLE_H
#define ULY_DEVICE_TABLE_H

#include <stdbool.h>

#include "base/status.h"

/* Each device fills such a table. Rows are `stride` bytes apart. */
typedef struct uly__device {
  const char *name;
  bool is_host; /* its memory is the host's */
  void *(*alloc)(int64_t bytes);
  void (*free)(void *memory, int64_t bytes);
  void (*copy)(void *to, const void *from, int64_t bytes);
  void (*copy_rows)(int64_t rows, int64_t row_bytes, void *to, int64_t to_stride, const void *from,
                    int64_t from_stride);
  void (*clear)(void *memory, int64_t bytes);
  uly_status (*read)(int fd, const char *path, int64_t offset, void *memory, int64_t bytes);
  uly_status (*load)(int fd, const char *path, int64_t offset, void *memory, int64_t bytes);
  uly_status (*write)(int fd, const char *path, int64_t offset, const void *memory, int64_t bytes);
} uly__device;

#endif
