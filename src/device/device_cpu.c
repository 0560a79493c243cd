/* The CPU as a device. Memory comes from anonymous mappings: zero pages cost nothing until they
 * are touched, and large pages are asked for, since the arenas are large and long-lived. */
#include "device/device_cpu.h"

#include <string.h>
#include <sys/mman.h>

#include "base/file.h"
#include "base/integers.h"

/* The bytes that a thread copies or clears at a time. A single thread does what is less than
 * that. */
enum { PIECE = 1 << 20 };

static void *allocate(int64_t bytes) {
  if (bytes <= 0) return NULL;
  void *memory =
      mmap(NULL, (size_t)bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return NULL;
#ifdef MADV_HUGEPAGE
  /* This is only advice: without it everything works, but more slowly. Small arenas would be
   * rounded up. */
  if (bytes >= (int64_t)64 << 20) (void)madvise(memory, (size_t)bytes, MADV_HUGEPAGE);
#endif
  return memory;
}

static void release(void *memory, int64_t bytes) {
  if (memory) (void)munmap(memory, (size_t)bytes);
}

static void copy(void *to, const void *from, int64_t bytes) {
#pragma omp parallel for schedule(static) if (bytes > PIECE)
  for (int64_t at = 0; at < bytes; at += PIECE)
    memcpy((char *)to + at, (const char *)from + at, (size_t)uly__min(bytes - at, PIECE));
}

static void copy_rows(int64_t rows, int64_t row_bytes, void *to, int64_t to_stride,
                      const void *from, int64_t from_stride) {
#pragma omp parallel for schedule(static) if (rows * row_bytes > PIECE / 16)
  for (int64_t r = 0; r < rows; r++)
    memcpy((char *)to + r * to_stride, (const char *)from + r * from_stride, (size_t)row_bytes);
}

static void clear(void *memory, int64_t bytes) {
#pragma omp parallel for schedule(static) if (bytes > PIECE)
  for (int64_t at = 0; at < bytes; at += PIECE)
    memset((char *)memory + at, 0, (size_t)uly__min(bytes - at, PIECE));
}

/* Reads with all threads, since copying from the system's cache of a file, and touching memory for
 * the first time, take as long as the disk or longer. This thread repeats a read that fails, since
 * messages belong to a thread. */
static uly_status load(int fd, const char *path, int64_t offset, void *memory, int64_t bytes) {
  enum { READ_PIECE = PIECE / 4 };
  bool failed = false;
#pragma omp parallel for schedule(static) reduction(|| : failed) if (bytes > READ_PIECE)
  for (int64_t at = 0; at < bytes; at += READ_PIECE)
    failed = failed || uly__file_read(fd, path, offset + at, (char *)memory + at,
                                      uly__min(bytes - at, READ_PIECE)) != ULY_OK;
  return failed ? uly__file_read(fd, path, offset, memory, bytes) : ULY_OK;
}

const uly__device *uly__device_cpu(void) {
  static const uly__device device = {.name = "cpu",
                                     .is_host = true,
                                     .alloc = allocate,
                                     .free = release,
                                     .copy = copy,
                                     .copy_rows = copy_rows,
                                     .clear = clear,
                                     .read = uly__file_read,
                                     .load = load,
                                     .write = uly__file_write};
  return &device;
}
