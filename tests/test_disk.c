/* Tests a scratch file and its thread: what is written is read back in the order of the requests,
 * also with more requests than the queue holds; the next wait reports a failure once; and the file
 * stays usable. */
#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/stat.h>
#include <unistd.h>

#include "device/disk.h"
#include "testing.h"

enum { BYTES = 5000, NUM = 40 };

static char path[256];

/* The linker gives calls of pwrite, pread and posix_fallocate to these (-Wl,--wrap). */
static atomic_int writes_left = -1, reads_left = -1; /* until one fails; -1: none fails */
static bool is_full;
static atomic_bool short_parts; /* at most 1000 bytes a call */

ssize_t __real_pwrite(int fd, const void *bytes, size_t count, off_t offset);
ssize_t __wrap_pwrite(int fd, const void *bytes, size_t count, off_t offset);
ssize_t __real_pread(int fd, void *bytes, size_t count, off_t offset);
ssize_t __wrap_pread(int fd, void *bytes, size_t count, off_t offset);

int __real_posix_fallocate(int fd, off_t begin, off_t count);
int __wrap_posix_fallocate(int fd, off_t begin, off_t count);

static bool fails(atomic_int *left) {
  if (*left < 0) return false;
  errno = EIO;
  return (*left)-- == 0;
}

ssize_t __wrap_pwrite(int fd, const void *bytes, size_t count, off_t offset) {
  if (fails(&writes_left)) return -1;
  return __real_pwrite(fd, bytes, short_parts && count > 1000 ? 1000 : count, offset);
}

ssize_t __wrap_pread(int fd, void *bytes, size_t count, off_t offset) {
  if (fails(&reads_left)) return -1;
  return __real_pread(fd, bytes, short_parts && count > 1000 ? 1000 : count, offset);
}

int __wrap_posix_fallocate(int fd, off_t begin, off_t count) {
  return is_full ? ENOSPC : __real_posix_fallocate(fd, begin, count);
}

static uly__disk *open_disk(int64_t bytes) {
  uly__disk *disk;
  assert_ok(uly__disk_open(uly__stream_get(), path, bytes, &disk));
  assert_int_not_equal(access(path, F_OK), 0); /* no name is left */
  return disk;
}

/* NUM pieces, each written over once, and read back before the waits: the queue holds fewer. */
static void check_order(void) {
  static char from[2][NUM][BYTES], to[NUM][BYTES];
  uly__disk *disk = open_disk((int64_t)NUM * BYTES);
  memset(to, 0, sizeof to);
  for (int i = 0; i < NUM; i++)
    for (int at = 0; at < BYTES; at++) {
      from[0][i][at] = 'x';
      from[1][i][at] = (char)(i * 31 + at / 7);
    }
  int64_t last = 0;
  for (int i = 0; i < NUM; i++) {
    int64_t place = (int64_t)(NUM - 1 - i) * BYTES;
    uly__disk_write(disk, i, place, from[0][i], BYTES);
    uly__disk_write(disk, i, place, from[1][i], BYTES);
    last = uly__disk_read(disk, i, place, to[i], BYTES);
  }
  assert_ok(uly__disk_wait(disk, last));
  assert_memory_equal(to, from[1], sizeof to);
  assert_ok(uly__disk_wait(disk, 1)); /* done long ago */
  uly__disk_close(disk);
}

static void test_order(void **state) {
  (void)state;
  check_order();
  short_parts = true;
  check_order();
  short_parts = false;
}

static void test_failures(void **state) {
  (void)state;
  char bytes[BYTES], back[BYTES];
  memset(bytes, 'a', sizeof bytes);
  uly__disk *disk = open_disk(3 * BYTES);
  writes_left = 1;
  int64_t first = uly__disk_write(disk, 0, 0, bytes, BYTES);
  assert_ok(uly__disk_wait(disk, first));
  int64_t second = uly__disk_write(disk, 1, BYTES, bytes, BYTES);
  assert_fails(uly__disk_wait(disk, second), ULY_ERR_IO, path);
  assert_ok(uly__disk_wait(disk, second)); /* told once */
  reads_left = 0;
  assert_fails(uly__disk_wait(disk, uly__disk_read(disk, 0, 0, back, BYTES)), ULY_ERR_IO,
               "Input/output error");
  /* An error whose wait comes late is not lost. */
  writes_left = 0;
  uly__disk_write(disk, 2, 0, bytes, BYTES);
  assert_fails(uly__disk_wait(disk, uly__disk_read(disk, 0, 0, back, BYTES)), ULY_ERR_IO,
               "cannot write to");
  assert_fails(uly__disk_wait(disk, uly__disk_read(disk, 0, 2 * BYTES, back, 2 * BYTES)),
               ULY_ERR_IO, "ends too early");
  memset(back, 0, sizeof back);
  assert_ok(uly__disk_wait(disk, uly__disk_read(disk, 0, 0, back, BYTES)));
  assert_memory_equal(back, bytes, BYTES);
  uly__disk_close(disk);
}

/* Nothing waits for what is still asked for. */
static void test_close(void **state) {
  (void)state;
  static char bytes[NUM * BYTES];
  uly__disk *disk = open_disk(sizeof bytes);
  for (int i = 0; i < 4; i++) uly__disk_write(disk, i, 0, bytes, sizeof bytes);
  uly__disk_close(disk);
  uly__disk_close(open_disk(0));
  uly__disk_close(NULL);
}

static void test_refusals(void **state) {
  (void)state;
  uly__disk *disk;
  assert_fails(uly__disk_open(uly__stream_get(), "/no/such/folder/file", 1, &disk), ULY_ERR_IO,
               "/no/such/folder/file");
  assert_null(disk);
  is_full = true;
  assert_fails(uly__disk_open(uly__stream_get(), path, BYTES, &disk), ULY_ERR_IO, "No space left");
  assert_fails(uly__disk_open(uly__stream_get(), path, BYTES, &disk), ULY_ERR_IO, path);
  is_full = false;
  assert_int_not_equal(access(path, F_OK), 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_order),
      cmocka_unit_test(test_failures),
      cmocka_unit_test(test_close),
      cmocka_unit_test(test_refusals),
  };
  const char *folder = getenv("TMPDIR");
  snprintf(path, sizeof path, "%.200s/ulysses-disk-%ld", folder ? folder : "/tmp", (long)getpid());
  return cmocka_run_group_tests(tests, NULL, NULL);
}
