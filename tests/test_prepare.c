/* Tests turning text into token shards: documents that are files or lines, and which are held out;
 * inputs that are refused; folders that exist, and disks that are full. JSON lines are in
 * test_prepare_jsonl.c. */
#include <errno.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "prepare_testing.h"

/* The linker gives these calls to the functions below (-Wl,--wrap): a disk that is full. */
static int64_t bytes_left = -1; /* until it is; -1: never */

ssize_t __real_pwrite(int fd, const void *bytes, size_t count, off_t offset);
ssize_t __wrap_pwrite(int fd, const void *bytes, size_t count, off_t offset);
int __wrap_fsync(int fd);

ssize_t __wrap_pwrite(int fd, const void *bytes, size_t count, off_t offset) {
  if (bytes_left < 0) return __real_pwrite(fd, bytes, count, offset);
  if (bytes_left == 0) {
    errno = ENOSPC;
    return -1;
  }
  if ((int64_t)count > bytes_left) count = (size_t)bytes_left;
  bytes_left -= (int64_t)count;
  return __real_pwrite(fd, bytes, count, offset);
}

int __wrap_fsync(int fd) {
  (void)fd; /* nothing here outlives the system */
  return 0;
}

/* Files of all sizes around the buffers' and the shards', of bytes that tell their file and
 * place. */
static void test_files(void **state) {
  (void)state;
  static const int64_t sizes[] = {1, 2, 99, 100, 101, 0, 65535, 65536, 65537, 300000, 7};
  static const int64_t shards[] = {100, 65536, 65537, 1 << 20};
  static unsigned char bytes[300000];
  for (size_t s = 0; s < sizeof shards / sizeof *shards; s++) {
    clean();
    num_expected = 0;
    for (int64_t d = 0; d < 11; d++) {
      char name[64];
      for (int64_t i = 0; i < sizes[d]; i++) bytes[i] = (unsigned char)byte_of(d, i);
      snprintf(name, sizeof name, "in/%02d.txt", (int)d);
      scratch_put(name, bytes, (size_t)sizes[d]);
      for (int64_t i = 0; i < sizes[d]; i++) expect_byte(byte_of(d, i));
      if (sizes[d] > 0) expect_end();
    }
    assert_ok(prepare(ULY_DOCUMENTS_FILE, shards[s]));
    check_part("out/train", shards[s], &report.train);
    assert_int_equal(report.files, 11);
    assert_int_equal(report.eval.documents, 0);
    assert_int_equal(count_entries("out"), 1);
  }
}

/* Subfolders in the order of names; hidden names are left out; links are followed; a pipe that is
 * met is not. */
static void test_tree(void **state) {
  (void)state;
  clean();
  shell(
      "cd in && mkdir -p b/deep .hidden && printf 1 >a.txt && printf 2 >b/2 && printf 3 "
      ">b/deep/3 && "
      "printf no >.no && printf no >.hidden/no && printf 4 >c && ln -s ../../a.txt b/deep/z && "
      "mkfifo pipe");
  num_expected = 0;
  expect_document("1");
  expect_document("2");
  expect_document("3");
  expect_document("1");
  expect_document("4");
  assert_ok(prepare(ULY_DOCUMENTS_FILE, 4));
  check_part("out/train", 4, &report.train);
  assert_int_equal(report.files, 5);
}

/* Inputs in the order in which they are given, a pipe among them. */
static void test_inputs(void **state) {
  (void)state;
  clean();
  write_text("in/b", "second");
  write_text("in/a", "first");
  shell("mkfifo pipe && (printf piped >pipe &)");
  const char *inputs[] = {scratch_path("in/b"), scratch_path("pipe"), scratch_path("in")};
  uly_prepare_config config = default_preparation();
  config.inputs = inputs;
  config.num_inputs = 3;
  config.out = scratch_path("out");
  num_expected = 0;
  expect_document("second");
  expect_document("piped");
  expect_document("first");
  expect_document("second");
  assert_ok(uly_prepare(&config, &report));
  check_part("out/train", config.shard_tokens, &report.train);
}

static void test_lines(void **state) {
  (void)state;
  static const char text[] = "one\n\ntwo\r\n\r\n\rthree\r\r\n  \nfo\0ur\nend\r";
  clean();
  scratch_put("in/a", text, sizeof text - 1);
  write_text("in/b", "no newline");
  num_expected = 0;
  expect_document("one");
  expect_document("two");
  expect_document("\rthree\r");
  expect_document("  ");
  for (int i = 0; i < 5; i++) expect_byte("fo\0ur"[i]);
  expect_end();
  expect_document("end\r");
  expect_document("no newline");
  assert_ok(prepare(ULY_DOCUMENTS_LINE, 3));
  check_part("out/train", 3, &report.train);
}

/* A line that is larger than every buffer, with the ends of lines at the ends of pieces. */
static void test_long_lines(void **state) {
  (void)state;
  enum { PIECE = 1 << 18 };
  static char text[3 * PIECE + 5];
  for (int shift = -2; shift <= 2; shift++) {
    clean();
    num_expected = 0;
    memset(text, 'x', sizeof text);
    text[PIECE + shift] = '\r';
    text[PIECE + shift + 1] = '\n';
    text[3 * PIECE + shift] = '\r'; /* no end */
    scratch_put("in/a", text, sizeof text);
    for (int i = 0; i < PIECE + shift; i++) expect_byte('x');
    expect_end();
    for (int i = PIECE + shift + 2; i < (int)sizeof text; i++) expect_byte(text[i]);
    expect_end();
    assert_ok(prepare(ULY_DOCUMENTS_LINE, 100000));
    check_part("out/train", 100000, &report.train);
  }
}

/* Each document is in one part, in order; the same ones again; about the share; others with another
 * seed, and the same ones however the documents are laid out in files. */
static void test_held_out(void **state) {
  (void)state;
  enum { NUM = 4000 };
  static bool held_out[3][NUM];
  for (int run = 0; run < 3; run++) {
    clean();
    FILE *file = NULL;
    for (int d = 0; d < NUM; d++) {
      if (d % (run == 1 ? 1000 : NUM) == 0) {
        char name[32];
        if (file) assert_int_equal(fclose(file), 0);
        snprintf(name, sizeof name, "in/%d", d / 1000);
        file = fopen(scratch_path(name), "w");
        assert_non_null(file);
      }
      fprintf(file, "%05d\n", d);
    }
    assert_int_equal(fclose(file), 0);
    const char *inputs[] = {scratch_path("in")};
    uly_prepare_config config = default_preparation();
    config.inputs = inputs;
    config.num_inputs = 1;
    config.out = scratch_path("out");
    config.documents = ULY_DOCUMENTS_LINE;
    config.held_out = 0.1;
    config.seed = run == 2 ? 2 : 1;
    config.shard_tokens = 1000;
    assert_ok(uly_prepare(&config, &report));
    assert_int_equal(report.train.documents + report.eval.documents, NUM);
    /* Deviation of the count: 19. */
    assert_in_range(report.eval.documents, 400 - 100, 400 + 100);
    int64_t count = 0, got;
    for (int i = 0; (got = parse_shard("out/eval", i, found + count)) > 0; i++) count += got;
    for (int64_t at = 0; at < count; at += 6) {
      int d = 0;
      for (int i = 0; i < 5; i++) d = 10 * d + (found[at + i] - '0');
      assert_in_range(d, 0, NUM - 1);
      held_out[run][d] = true;
    }
    num_expected = 0;
    for (int part = 0; part < 2; part++) {
      num_expected = 0;
      for (int d = 0; d < NUM; d++) {
        char text[16];
        snprintf(text, sizeof text, "%05d", d);
        if (held_out[run][d] == (part == 1)) expect_document(text);
      }
      check_part(part ? "out/eval" : "out/train", 1000, part ? &report.eval : &report.train);
    }
  }
  assert_memory_equal(held_out[0], held_out[1], sizeof held_out[0]);
  assert_memory_not_equal(held_out[0], held_out[2], sizeof held_out[0]);
}

static void test_held_out_of_few(void **state) {
  (void)state;
  clean();
  write_text("in/a", "only one\n");
  const char *inputs[] = {scratch_path("in/a")};
  uly_prepare_config config = default_preparation();
  config.inputs = inputs;
  config.num_inputs = 1;
  config.out = scratch_path("out");
  config.held_out = 0.5;
  assert_fails(uly_prepare(&config, &report), ULY_ERR_CONFIG, "of 1 in all");
  check_nothing_left();
}

static void test_refusals(void **state) {
  (void)state;
  clean();
  assert_fails(prepare(ULY_DOCUMENTS_FILE, 100), ULY_ERR_DATA, "no text in 0 files");
  write_text("in/empty", "");
  assert_fails(prepare(ULY_DOCUMENTS_FILE, 100), ULY_ERR_DATA, "no text in 1 file");
  write_text("in/blank", "\n\n\r\n");
  assert_fails(prepare(ULY_DOCUMENTS_LINE, 100), ULY_ERR_DATA, "no text in 2 files");
  assert_fails(prepare(ULY_DOCUMENTS_FILE, 0), ULY_ERR_CONFIG, "prepare.shard_tokens is 0");
  assert_fails(prepare(ULY_DOCUMENTS_FILE, (int64_t)1 << 31), ULY_ERR_CONFIG,
               "prepare.shard_tokens");
  check_nothing_left();

  assert_int_equal(symlink("nowhere", scratch_path("in/link")), 0);
  assert_fails(prepare(ULY_DOCUMENTS_FILE, 100), ULY_ERR_IO,
               "in/link' is a symbolic link to nothing");
  assert_int_equal(unlink(scratch_path("in/link")), 0);
  assert_int_equal(symlink("link", scratch_path("in/link")), 0);
  assert_fails(prepare(ULY_DOCUMENTS_FILE, 100), ULY_ERR_IO, "in/link'");
  assert_int_equal(unlink(scratch_path("in/link")), 0);
  shell("mkdir in/deep && ln -s .. in/deep/up");
  assert_fails(prepare(ULY_DOCUMENTS_FILE, 100), ULY_ERR_IO,
               "deep/up' is a symbolic link to a folder that");
  shell("rm -r in/deep");
  check_nothing_left();

  const char *inputs[] = {scratch_path("in"), scratch_path("missing"), ""};
  uly_prepare_config config = default_preparation();
  config.inputs = inputs;
  config.num_inputs = 2;
  config.out = scratch_path("out");
  assert_fails(uly_prepare(&config, &report), ULY_ERR_IO, "missing': No such file");
  config.inputs = inputs + 2;
  config.num_inputs = 1;
  assert_fails(uly_prepare(&config, &report), ULY_ERR_IO, "No such file");
  config.num_inputs = 0;
  assert_fails(uly_prepare(&config, &report), ULY_ERR_CONFIG, "no files");
  config.inputs = (const char *const[]){inputs[0], NULL};
  config.num_inputs = 2;
  assert_fails(uly_prepare(&config, &report), ULY_ERR_CONFIG,
               "input 1 of those to prepare is NULL");
  config.inputs = inputs;
  config.num_inputs = 1;
  config.held_out = 1;
  assert_fails(uly_prepare(&config, &report), ULY_ERR_CONFIG, "prepare.held_out is 1");
  config.held_out = 0;
  config.out = scratch_path("in/empty");
  assert_fails(uly_prepare(&config, &report), ULY_ERR_IO, "in/empty");
  check_nothing_left();
  if (geteuid() == 0) return; /* may read everything */
  write_text("in/secret", "x");
  assert_int_equal(chmod(scratch_path("in/secret"), 0), 0);
  assert_fails(prepare(ULY_DOCUMENTS_FILE, 100), ULY_ERR_IO, "in/secret': Permission denied");
  check_nothing_left();
}

/* What is there is never written over, and what a call that was killed has left is no hindrance. */
static void test_existing(void **state) {
  (void)state;
  clean();
  write_text("in/a", "text");
  shell("mkdir -p out/.train.tmp && printf x >out/.train.tmp/000007.bin");
  assert_ok(prepare(ULY_DOCUMENTS_FILE, 100));
  assert_int_equal(count_entries("out"), 1);
  assert_int_equal(count_entries("out/train"), 1);
  assert_fails(prepare(ULY_DOCUMENTS_FILE, 100), ULY_ERR_CONFIG, "out/train' exists already");
  shell("mv out/train out/eval");
  assert_fails(prepare(ULY_DOCUMENTS_FILE, 100), ULY_ERR_CONFIG, "out/eval' exists already");
  assert_int_equal(count_entries("out/eval"), 1);
}

/* Another process at work in the same folder: it locks the folder, and its shards are hidden
 * there. */
static void test_two_at_once(void **state) {
  (void)state;
  clean();
  write_text("in/a", "text");
  shell("mkdir -p out/.train.tmp");
  FILE *other = fopen(scratch_path("out"), "r");
  assert_non_null(other);
  assert_int_equal(flock(fileno(other), LOCK_EX), 0);
  assert_fails(prepare(ULY_DOCUMENTS_FILE, 100), ULY_ERR_IO, "another process");
  assert_int_equal(count_entries("out/.train.tmp"), 0);
  fclose(other);
  assert_ok(prepare(ULY_DOCUMENTS_FILE, 100));
}

static void test_full_disk(void **state) {
  (void)state;
  static char text[3000];
  clean();
  memset(text, 'x', sizeof text);
  scratch_put("in/a", text, sizeof text);
  int64_t all = 4 * 2048 + 2 * 3001; /* the headers twice */
  for (int64_t room = 0; room < all; room += 211) {
    bytes_left = room;
    uly_status status = prepare(ULY_DOCUMENTS_FILE, 800);
    bytes_left = -1;
    if (status != ULY_ERR_IO)
      fail_msg("a disk of %lld bytes: %s", (long long)room, uly_status_name(status));
    assert_non_null(strstr(uly_last_error(), ".bin': No space left"));
    check_nothing_left();
  }
  bytes_left = all;
  assert_ok(prepare(ULY_DOCUMENTS_FILE, 800));
  bytes_left = -1;
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, scratch_set_up, scratch_tear_down)
  const struct CMUnitTest tests[] = {
      TEST(test_files),           TEST(test_tree),       TEST(test_inputs),
      TEST(test_lines),           TEST(test_long_lines), TEST(test_held_out),
      TEST(test_held_out_of_few), TEST(test_refusals),   TEST(test_existing),
      TEST(test_two_at_once),     TEST(test_full_disk),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
