/* Tests every way in which a token file, or a read of one, can be wrong: each has its status and a
 * message that names the file. */
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "token_file_testing.h"

/* The linker gives calls of pread to this (-Wl,--wrap): a file that is cut between the look at its
 * size and the read. */
static const char *cut_path; /* NULL: none is */
static off_t cut_size;
ssize_t __real_pread(int fd, void *bytes, size_t count, off_t offset);
ssize_t __wrap_pread(int fd, void *bytes, size_t count, off_t offset);
ssize_t __wrap_pread(int fd, void *bytes, size_t count, off_t offset) {
  if (cut_path) assert_int_equal(truncate(cut_path, cut_size), 0);
  cut_path = NULL;
  return __real_pread(fd, bytes, count, offset);
}

/* ---- Reading what cannot be read */

static void ranges_are_checked(void **state) {
  (void)state;
  uly__tokens *tokens = open_tokens(put_text("range.txt", "abc"));
  const int64_t bad[][2] = {{-1, 1},       {0, -1},        {0, 5},         {4, 1},
                            {5, 0},        {INT64_MAX, 1}, {1, INT64_MAX}, {INT64_MAX, INT64_MAX},
                            {INT64_MIN, 0}};
  int32_t out[8];
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    assert_int_equal(uly__tokens_read(tokens, bad[i][0], bad[i][1], 257, out), ULY_ERR_INTERNAL);
    assert_message("range.txt", "stream");
  }
  assert_ok(uly__tokens_read(tokens, 4, 0, 257, out));
  uly__tokens_close(tokens);
}

/* A file that is cut short, grows or vanishes while it is open gives an error, not a signal. */
static void changed_meanwhile(void **state) {
  (void)state;
  char text[5000];
  int32_t out[4096];
  memset(text, 'x', sizeof text);
  const char *path = scratch_put("changing.txt", text, sizeof text);
  uly__tokens *tokens = open_tokens(path);
  assert_ok(uly__tokens_read(tokens, 0, 4096, 257, out));
  for (int64_t size = 4999; size < 5002; size++) {
    assert_int_equal(truncate(path, size), 0);
    uly_status status = uly__tokens_read(tokens, 0, 4096, 257, out);
    assert_int_equal(status, size == 5000 ? ULY_OK : ULY_ERR_DATA);
    if (status != ULY_OK) assert_message("changing.txt", "was changed");
  }
  assert_int_equal(unlink(path), 0);
  assert_int_equal(uly__tokens_read(tokens, 0, 4096, 257, out), ULY_ERR_IO);
  assert_message("changing.txt", "No such file");
  uly__tokens_close(tokens);
}

/* After a short read the size is looked at again, whether the cut came before the first part of a
 * read or later. */
static void cut_while_read(void **state) {
  (void)state;
  char text[5000];
  int32_t out[4096];
  memset(text, 'x', sizeof text);
  const char *path = scratch_put("cut.txt", text, sizeof text);
  uly__tokens *tokens = open_tokens(path);
  for (off_t size = 0; size < 4096; size += 1000) {
    scratch_put("cut.txt", text, sizeof text);
    cut_path = path;
    cut_size = size;
    assert_int_equal(uly__tokens_read(tokens, 0, 4096, 257, out), ULY_ERR_DATA);
    assert_null(cut_path);
    assert_message("cut.txt", "was changed while in use: it had 5000 bytes, and has");
  }
  uly__tokens_close(tokens);
}

static void vocabulary_is_checked(void **state) {
  (void)state;
  int32_t out[64];
  const uint32_t first[] = {1, 2, 3}, second[] = {4, 900, 800, 5}, huge[] = {1, 0x80000000u, 2};
  make_folder("data");
  put_u16("data/a.bin", first, 3);
  put_u16("data/b.bin", second, 4);
  uly__tokens *tokens = open_tokens(scratch_path("data"));
  assert_ok(uly__tokens_read(tokens, 0, 7, 901, out));
  assert_int_equal(uly__tokens_read(tokens, 2, 5, 900, out), ULY_ERR_DATA);
  assert_message("data/b.bin", "token 1 is 900, not below the vocabulary size 900");
  assert_int_equal(uly__tokens_read(tokens, 5, 2, 800, out), ULY_ERR_DATA);
  assert_message("data/b.bin", "token 2 is 800,");
  assert_int_equal(uly__tokens_read(tokens, 0, 1, 0, out), ULY_ERR_DATA);
  assert_message("data/a.bin", "token 0 is 1,");
  assert_int_equal(uly__tokens_read(tokens, 0, 1, -5, out), ULY_ERR_DATA);
  uly__tokens_close(tokens);

  /* Above int32: refused even if the vocabulary pretends to hold it. */
  tokens = open_tokens(put_u32("huge.bin", huge, 3));
  assert_int_equal(uly__tokens_read(tokens, 0, 3, INT64_MAX, out), ULY_ERR_DATA);
  assert_message("huge.bin", "token 1 is 2147483648,");
  uly__tokens_close(tokens);

  tokens = open_tokens(put_text("text", "abc"));
  assert_ok(uly__tokens_read(tokens, 0, 3, 256, out));
  assert_int_equal(uly__tokens_read(tokens, 0, 4, 256, out), ULY_ERR_DATA);
  assert_message("text", "token 3 is 256 (end of document)");
  assert_int_equal(uly__tokens_read(tokens, 0, 4, 'b', out), ULY_ERR_DATA);
  assert_message("text", "token 1 is 98,");
  uly__tokens_close(tokens);
}

/* ---- Opening what cannot be opened */

static void damaged_shards(void **state) {
  (void)state;
  const uint32_t t[] = {1, 2, 3, 4};
  const char *path;
  path = put_shard("few", 20240520, 1, 5, 2, t, 4);
  assert_refused(path, ULY_ERR_DATA, path, "truncated");
  path = put_shard("few32", 20240801, 7, 5, 4, t, 4);
  assert_refused(path, ULY_ERR_DATA, path, "promises 5 tokens, which is 1044 bytes");
  path = put_shard("many", 20240520, 1, 3, 2, t, 4);
  assert_refused(path, ULY_ERR_DATA, path, "too long");
  path = put_shard("many32", 20240801, 7, 3, 4, t, 4);
  assert_refused(path, ULY_ERR_DATA, path, "too long");
  path = put_shard("wide", 20240520, 1, 4, 4, t, 4); /* the other width */
  assert_refused(path, ULY_ERR_DATA, path, "too long");
  path = put_shard("negative", 20240520, 1, -4, 2, t, 4);
  assert_refused(path, ULY_ERR_DATA, path, "damaged header");
  path = put_shard("minimum", 20240801, 7, INT32_MIN, 4, t, 4);
  assert_refused(path, ULY_ERR_DATA, path, "damaged header");
  path = put_shard("maximum", 20240801, 7, INT32_MAX, 4, t, 4);
  assert_refused(path, ULY_ERR_DATA, path, "truncated");
  path = put_shard("header-only", 20240520, 1, 4, 2, t, 0);
  assert_refused(path, ULY_ERR_DATA, path, "truncated");
  path = put_shard("no-tokens", 20240520, 1, 0, 2, t, 0);
  assert_refused(path, ULY_ERR_DATA, path, "holds no tokens");
  path = put_shard("version", 20240520, 7, 4, 2, t, 4);
  assert_refused(path, ULY_ERR_DATA, path, "version 7");
  path = put_shard("version32", 20240801, 1, 4, 4, t, 4);
  assert_refused(path, ULY_ERR_DATA, path, "version 1");
  path = scratch_put("magic-alone", "\x88\xd8\x34\x01", 4);
  assert_refused(path, ULY_ERR_DATA, path, "truncated");
  unsigned char bytes[1023] = {0x88, 0xd8, 0x34, 0x01, 1, 0, 0, 0};
  path = scratch_put("half-header", bytes, sizeof bytes);
  assert_refused(path, ULY_ERR_DATA, path, "1023 bytes");

  /* In a folder the message names the file. */
  make_folder("data");
  put_u16("data/a", t, 4);
  put_shard("data/b", 20240520, 1, 5, 2, t, 4);
  assert_refused(scratch_path("data"), ULY_ERR_DATA, scratch_path("data/b"), "truncated");
}

static void mixed_kinds(void **state) {
  (void)state;
  const uint32_t t[] = {1, 2, 3, 4};
  make_folder("one");
  put_text("one/a", "text");
  put_u16("one/b", t, 4);
  assert_refused(scratch_path("one"), ULY_ERR_DATA, scratch_path("one/b"), scratch_path("one/a"));
  make_folder("two");
  put_u16("two/a", t, 4);
  put_u16("two/b", t, 4);
  put_text("two/README.md", "text"); /* sorts first */
  assert_refused(scratch_path("two"), ULY_ERR_DATA, scratch_path("two/a"),
                 scratch_path("two/README.md"));
  make_folder("three");
  put_u16("three/a", t, 4);
  put_u32("three/b", t, 4);
  assert_refused(scratch_path("three"), ULY_ERR_DATA, scratch_path("three/b"),
                 "only files of one kind");
}

static void empty_and_missing(void **state) {
  (void)state;
  const char *path = put_text("empty", "");
  assert_refused(path, ULY_ERR_DATA, path, "is empty");
  make_folder("empties");
  put_text("empties/a", "");
  put_text("empties/b", "");
  path = scratch_path("empties");
  assert_refused(path, ULY_ERR_DATA, path, "all files of this folder");
  put_text("empties/c", "x");
  assert_stream(path, (const int32_t[]){256, 256, 'x', 256}, 4);

  make_folder("nothing");
  make_folder("nothing/sub");
  put_text("nothing/.hidden", "x");
  path = scratch_path("nothing");
  assert_refused(path, ULY_ERR_DATA, path, "no regular files");

  path = scratch_path("missing");
  assert_refused(path, ULY_ERR_IO, path, "No such file");
  assert_refused("", ULY_ERR_IO, "token file", "No such file");
  put_text("plain", "x");
  path = scratch_path("plain/below");
  assert_refused(path, ULY_ERR_IO, path, "Not a directory");
}

static void unreadable(void **state) {
  (void)state;
  make_folder("data");
  put_text("data/a", "x");
  assert_int_equal(symlink("b", scratch_path("data/b")), 0); /* a circle */
  assert_refused(scratch_path("data/b"), ULY_ERR_IO, scratch_path("data/b"), "cannot open");
  assert_refused(scratch_path("data"), ULY_ERR_IO, "'b'", scratch_path("data"));
  assert_int_equal(unlink(scratch_path("data/b")), 0);
  assert_int_equal(symlink("a", scratch_path("data/b")), 0); /* a good link is followed */
  assert_stream(scratch_path("data"), (const int32_t[]){'x', 256, 'x', 256}, 4);

  /* A FIFO must be refused and not waited for; in a folder it is no regular file. */
  assert_int_equal(mkfifo(scratch_path("data/pipe"), 0600), 0);
  const char *path = scratch_path("data/pipe");
  assert_refused(path, ULY_ERR_DATA, path, "not a regular file");
  assert_stream(scratch_path("data"), (const int32_t[]){'x', 256, 'x', 256}, 4);
  assert_refused("/dev/null", ULY_ERR_DATA, "/dev/null", "not a regular file");

  if (geteuid() == 0) return; /* root reads everything */
  assert_int_equal(chmod(scratch_path("data/a"), 0), 0);
  path = scratch_path("data/a");
  assert_refused(path, ULY_ERR_IO, path, "Permission denied");
  assert_refused(scratch_path("data"), ULY_ERR_IO, path, "Permission denied");
  assert_int_equal(chmod(scratch_path("data"), 0), 0);
  path = scratch_path("data");
  assert_refused(path, ULY_ERR_IO, path, "Permission denied");
  assert_int_equal(chmod(scratch_path("data"), 0700), 0);
}

/* Opening, refused or not, leaves no descriptor behind. */
static void descriptors_are_closed(void **state) {
  (void)state;
  put_text("x", "x");
  scratch_put("bad", "\x88\xd8\x34\x01", 4);
  int before = open("/dev/null", O_RDONLY);
  close(before);
  uly__tokens *kept = open_tokens(scratch_path("x")), *none;
  assert_int_equal(uly__tokens_open(scratch_path("bad"), &none), ULY_ERR_DATA);
  assert_int_equal(uly__tokens_open(scratch_path(""), &none), ULY_ERR_DATA);
  int after = open("/dev/null", O_RDONLY);
  close(after);
  assert_int_equal(before, after);
  uly__tokens_close(kept);
  uly__tokens_close(NULL);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, scratch_set_up, scratch_tear_down)
  const struct CMUnitTest tests[] = {
      TEST(ranges_are_checked),    TEST(changed_meanwhile), TEST(cut_while_read),
      TEST(vocabulary_is_checked), TEST(damaged_shards),    TEST(mixed_kinds),
      TEST(empty_and_missing),     TEST(unreadable),        TEST(descriptors_are_closed),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
