/* Tests turning text into token shards. The expected result is computed here from the same numbers
 * that made the text, and the shards are read back twice: byte by byte, by this file alone, and by
 * the reader that trains from them. */
#include <dirent.h>
#include <errno.h>
#include <stdbool.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "data/documents.h"
#include "data/token_file.h"
#include "testing.h"

enum { PATH_SIZE = 700, MAX_TOKENS = 4 << 20 };

static char folder[256];

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

/* ------------------------------------------------------------------------ files */

static void shell(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void shell(const char *format, ...) {
  char command[2000];
  va_list args;
  va_start(args, format);
  vsnprintf(command, sizeof command, format, args);
  va_end(args);
  assert_int_equal(system(command), 0);
}

static void clean(void) {
  shell("chmod -R u+rwx '%s' 2>/dev/null; rm -rf '%s'; mkdir -p '%s/in'", folder, folder, folder);
}

static const char *path_of(const char *name) {
  static char paths[8][PATH_SIZE]; /* several may stand in one call */
  static int next;
  char *path = paths[next++ % 8];
  snprintf(path, PATH_SIZE, "%s/%s", folder, name);
  return path;
}

static void write_file(const char *name, const void *bytes, size_t count) {
  FILE *file = fopen(path_of(name), "wb");
  assert_non_null(file);
  assert_int_equal(fwrite(bytes, 1, count, file), count);
  assert_int_equal(fclose(file), 0);
}

static void write_text(const char *name, const char *text) { write_file(name, text, strlen(text)); }

/* --------------------------------------------------------------------- expected */

static int32_t expected[MAX_TOKENS], found[MAX_TOKENS];
static int64_t num_expected;

static void expect_byte(int byte) { expected[num_expected++] = byte; }
static void expect_end(void) { expected[num_expected++] = 256; }
static void expect_document(const char *text) {
  for (; *text; text++) expect_byte((unsigned char)*text);
  expect_end();
}

/* Byte i of document d. */
static int byte_of(int64_t d, int64_t i) { return (int)((d * 131 + i * 7 + i / 251) % 256); }

/* ------------------------------------------------------------------------ shards */

/* Reads shard `index` by what facts about the format say; returns its tokens, 0 where there is no
 * such file. */
static int64_t parse_shard(const char *part, int index, int32_t *tokens) {
  char name[64];
  snprintf(name, sizeof name, "%s/%06d.bin", part, index);
  FILE *file = fopen(path_of(name), "rb");
  if (!file) return 0;
  unsigned char header[1024];
  assert_int_equal(fread(header, 1, sizeof header, file), sizeof header);
  int64_t words[256];
  for (int i = 0; i < 256; i++)
    words[i] = header[4 * i] | header[4 * i + 1] << 8 | header[4 * i + 2] << 16 |
               (int64_t)header[4 * i + 3] << 24;
  assert_int_equal(words[0], 20240520);
  assert_int_equal(words[1], 1);
  assert_int_equal(words[3], 257);
  for (int i = 4; i < 256; i++) assert_int_equal(words[i], 0);
  for (int64_t i = 0; i < words[2]; i++) {
    int low = fgetc(file), high = fgetc(file);
    assert_true(low >= 0 && high >= 0);
    tokens[i] = low | high << 8;
  }
  assert_int_equal(fgetc(file), EOF);
  assert_int_equal(fclose(file), 0);
  return words[2];
}

/* The shards of a part hold what is expected, all but the last shard_tokens each, and the report
 * says so. */
static void check_part(const char *part, int64_t shard_tokens, const uly_prepare_part *report) {
  int64_t count = 0, ends = 0, got;
  int num_shards = 0;
  while ((got = parse_shard(part, num_shards, found + count)) > 0) {
    assert_true(got <= shard_tokens);
    if (count + got < num_expected) assert_int_equal(got, shard_tokens);
    count += got;
    num_shards++;
  }
  assert_int_equal(count, num_expected);
  for (int64_t i = 0; i < count; i++) {
    if (found[i] != expected[i])
      fail_msg("token %lld is %d instead of %d", (long long)i, found[i], expected[i]);
    ends += found[i] == 256;
  }
  assert_int_equal(report->tokens, count);
  assert_int_equal(report->documents, ends);
  assert_int_equal(report->shards, num_shards);
  assert_int_equal(report->bytes, 1024 * num_shards + 2 * count);
  if (count == 0) return;

  uly__tokens *tokens;
  assert_ok(uly__tokens_open(path_of(part), &tokens));
  assert_int_equal(uly__tokens_count(tokens), count);
  memset(found, 0xff, sizeof found);
  assert_ok(uly__tokens_read(tokens, 0, count, 257, found));
  assert_memory_equal(found, expected, (size_t)count * sizeof *found);
  uly__tokens_close(tokens);
}

static int count_entries(const char *name) {
  DIR *entries = opendir(path_of(name));
  if (!entries) return -1;
  int num = 0;
  for (struct dirent *entry; (entry = readdir(entries));)
    num += strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
  closedir(entries);
  return num;
}

static uly_prepare_report report = {.size = sizeof report};

/* Prepares folder/in to folder/out. */
static uly_status prepare(uly_documents documents, int64_t shard_tokens) {
  const char *inputs[] = {path_of("in")};
  uly_prepare_config config = default_preparation();
  config.inputs = inputs;
  config.num_inputs = 1;
  config.out = path_of("out");
  config.documents = documents;
  config.shard_tokens = shard_tokens;
  config.any_bytes = documents == ULY_DOCUMENTS_FILE; /* files of all bytes */
  return uly_prepare(&config, &report);
}

/* A failure leaves no shards, hidden ones neither. */
static void check_nothing_left(void) {
  int entries = count_entries("out");
  if (entries > 0) fail_msg("%d entries are left", entries);
}

/* ------------------------------------------------------------------------- tests */

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
      write_file(name, bytes, (size_t)sizes[d]);
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
      "cd '%s/in' && mkdir -p b/deep .hidden && printf 1 >a.txt && printf 2 >b/2 && printf 3 "
      ">b/deep/3 && "
      "printf no >.no && printf no >.hidden/no && printf 4 >c && ln -s ../../a.txt b/deep/z && "
      "mkfifo pipe",
      folder);
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
  shell("mkfifo '%s/pipe' && (printf piped >'%s/pipe' &)", folder, folder);
  const char *inputs[] = {path_of("in/b"), path_of("pipe"), path_of("in")};
  uly_prepare_config config = default_preparation();
  config.inputs = inputs;
  config.num_inputs = 3;
  config.out = path_of("out");
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
  write_file("in/a", text, sizeof text - 1);
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
    write_file("in/a", text, sizeof text);
    for (int i = 0; i < PIECE + shift; i++) expect_byte('x');
    expect_end();
    for (int i = PIECE + shift + 2; i < (int)sizeof text; i++) expect_byte(text[i]);
    expect_end();
    assert_ok(prepare(ULY_DOCUMENTS_LINE, 100000));
    check_part("out/train", 100000, &report.train);
  }
}

static void test_jsonl(void **state) {
  (void)state;
  clean();
  write_text("in/a",
             "\xef\xbb\xbf{\"text\": \"one\\ntwo\", \"id\": 123456789012345678901234567890}\r\n"
             "\n  \t\n"
             "{\"meta\": {\"text\": \"no\"}, \"text\": \"\\u00e4\\ud83d\\ude00 \xc3\xa4\"}\n"
             "{\"text\": \"\"}\n"
             "{\"text\": \"a\\u0000b\"}");
  num_expected = 0;
  expect_document("one\ntwo");
  expect_document("\xc3\xa4\xf0\x9f\x98\x80 \xc3\xa4");
  expect_byte('a');
  expect_byte(0);
  expect_byte('b');
  expect_end();
  assert_ok(prepare(ULY_DOCUMENTS_JSONL, 1000));
  check_part("out/train", 1000, &report.train);
}

/* Lines that are longer than a piece, one after the other. */
static void test_long_jsonl(void **state) {
  (void)state;
  clean();
  num_expected = 0;
  FILE *file = fopen(path_of("in/a"), "w");
  assert_non_null(file);
  for (int d = 0; d < 6; d++) {
    fputs("{\"text\": \"", file);
    for (int64_t i = 0; i < 200000 * d + 1; i++) {
      int byte = 'a' + byte_of(d, i) % 26;
      fputc(byte, file);
      expect_byte(byte);
    }
    fputs("\"}\n", file);
    expect_end();
  }
  assert_int_equal(fclose(file), 0);
  assert_ok(prepare(ULY_DOCUMENTS_JSONL, 1 << 20));
  check_part("out/train", 1 << 20, &report.train);
}

static void test_bad_jsonl(void **state) {
  (void)state;
  static const struct {
    const char *text, *message;
  } cases[] = {
      {"{\"text\": \"a\"}\n\nnope\n", "in/a', line 3, column"},
      {"{\"text\": \"a\"\n", "line 1, column"},
      {"{\"text\": \"a\"} {}\n", "line 1, column"},
      {"{\"text\": \"a\", \"text\": \"b\"}\n", "line 1, column"},
      {"{\"text\": \"\xff\"}\n", "line 1, column"},
      {"{\"text\": \"\\ud800\"}\n", "line 1, column"},
      {"[\"text\"]\n", "line 1: the line is an array, but each line"},
      {"\"text\"\n", "line 1: the line is a string, but each line"},
      {"3\n", "line 1: the line is a number, but each line"},
      {"{}\n{\"body\": \"a\"}\n", "line 1: there is no \"text\""},
      {"{\"text\": \"a\"}\n{\"text\": 3}\n", "line 2: \"text\" is a number"},
      {"{\"text\": null}\n", "line 1: \"text\" is null"},
      {"{\"text\": [\"a\"]}\n", "line 1: \"text\" is an array"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    clean();
    write_text("in/a", cases[i].text);
    assert_fails(prepare(ULY_DOCUMENTS_JSONL, 1000), ULY_ERR_DATA, cases[i].message);
    check_nothing_left();
  }
  /* Deep nesting must not exhaust the stack. */
  clean();
  FILE *file = fopen(path_of("in/a"), "w");
  assert_non_null(file);
  for (int i = 0; i < 1000000; i++) fputc('[', file);
  assert_int_equal(fclose(file), 0);
  assert_fails(prepare(ULY_DOCUMENTS_JSONL, 1000), ULY_ERR_DATA, "line 1");
  /* A line without end; a file with holes takes no disk. */
  clean();
  write_text("in/a", "{\"text\": \"a\"}\n");
  file = fopen(path_of("in/a"), "a");
  assert_non_null(file);
  for (int i = 0; i < 1 << 16; i++) fputc('x', file);
  assert_int_equal(fclose(file), 0);
  assert_int_equal(truncate(path_of("in/a"), ULY_MAX_JSON_LINE + 100), 0);
  assert_fails(prepare(ULY_DOCUMENTS_JSONL, 1000), ULY_ERR_DATA,
               "line 2: the line is longer than 64 MiB");
  check_nothing_left();
}

/* Every kind of bad line is left out and counted, wherever it is, and the first is told of; the
 * texts of the others are there, and are held out as if the bad ones had never been. */
static void test_skip_bad(void **state) {
  (void)state;
  static const char *const bad[] = {
      "nope",
      "{\"text\": \"\\ud800\"}",
      "{\"text\": \"a\", \"text\": \"b\"}",
      "[1]",
      "{}",
      "{\"text\": \"\xff\"}",
      "{\"text\": 3}",
      "{\"text\": \"a\"",
  };
  enum { NUM = sizeof bad / sizeof *bad };
  clean();
  num_expected = 0;
  FILE *file = fopen(path_of("in/a"), "w");
  assert_non_null(file);
  for (int i = 0; i < NUM; i++) {
    fprintf(file, "{\"text\": \"good %d\"}\n%s\n", i, bad[i]);
    char text[32];
    snprintf(text, sizeof text, "good %d", i);
    expect_document(text);
  }
  /* One that is too long, over many pieces, and one behind it; and one without end. */
  for (int i = 0; i < ULY_MAX_JSON_LINE + (1 << 20); i++) fputc('x', file);
  fputs("\n{\"text\": \"behind\"}\n{\"text\": \"cut", file);
  expect_document("behind");
  assert_int_equal(fclose(file), 0);
  const char *inputs[] = {path_of("in/a")};
  uly_prepare_config config = default_preparation();
  config.inputs = inputs;
  config.num_inputs = 1;
  config.out = path_of("out");
  config.documents = ULY_DOCUMENTS_JSONL;
  assert_fails(uly_prepare(&config, &report), ULY_ERR_DATA, "prepare.skip_bad");
  check_nothing_left();
  config.skip_bad = 1;
  assert_ok(uly_prepare(&config, &report));
  assert_int_equal(report.skipped, NUM + 2);
  assert_non_null(strstr(report.first_skipped, "in/a', line 2, column"));
  check_part("out/train", config.shard_tokens, &report.train);
  /* Failures of another kind are none of a line. */
  clean();
  write_text("in/a", "PK\3\4");
  config.inputs = (const char *const[]){path_of("in/a")};
  config.out = path_of("out");
  assert_fails(uly_prepare(&config, &report), ULY_ERR_DATA, "a zip archive");
}

static void test_text_key(void **state) {
  (void)state;
  clean();
  write_text("in/a", "{\"text\": \"no\", \"body\": \"yes\"}\n");
  const char *inputs[] = {path_of("in/a")};
  uly_prepare_config config = default_preparation();
  config.inputs = inputs;
  config.num_inputs = 1;
  config.out = path_of("out");
  config.documents = ULY_DOCUMENTS_JSONL;
  config.text_key = "body";
  num_expected = 0;
  expect_document("yes");
  assert_ok(uly_prepare(&config, &report));
  check_part("out/train", config.shard_tokens, &report.train);
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
        file = fopen(path_of(name), "w");
        assert_non_null(file);
      }
      fprintf(file, "%05d\n", d);
    }
    assert_int_equal(fclose(file), 0);
    const char *inputs[] = {path_of("in")};
    uly_prepare_config config = default_preparation();
    config.inputs = inputs;
    config.num_inputs = 1;
    config.out = path_of("out");
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
  const char *inputs[] = {path_of("in/a")};
  uly_prepare_config config = default_preparation();
  config.inputs = inputs;
  config.num_inputs = 1;
  config.out = path_of("out");
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

  assert_int_equal(symlink("nowhere", path_of("in/link")), 0);
  assert_fails(prepare(ULY_DOCUMENTS_FILE, 100), ULY_ERR_IO,
               "in/link' is a symbolic link to nothing");
  assert_int_equal(unlink(path_of("in/link")), 0);
  assert_int_equal(symlink("link", path_of("in/link")), 0);
  assert_fails(prepare(ULY_DOCUMENTS_FILE, 100), ULY_ERR_IO, "in/link'");
  assert_int_equal(unlink(path_of("in/link")), 0);
  shell("mkdir '%s/in/deep' && ln -s .. '%s/in/deep/up'", folder, folder);
  assert_fails(prepare(ULY_DOCUMENTS_FILE, 100), ULY_ERR_IO,
               "deep/up' is a symbolic link to a folder that");
  shell("rm -r '%s/in/deep'", folder);
  check_nothing_left();

  const char *inputs[] = {path_of("in"), path_of("missing"), ""};
  uly_prepare_config config = default_preparation();
  config.inputs = inputs;
  config.num_inputs = 2;
  config.out = path_of("out");
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
  config.out = path_of("in/empty");
  assert_fails(uly_prepare(&config, &report), ULY_ERR_IO, "in/empty");
  check_nothing_left();
  if (geteuid() == 0) return; /* may read everything */
  write_text("in/secret", "x");
  assert_int_equal(chmod(path_of("in/secret"), 0), 0);
  assert_fails(prepare(ULY_DOCUMENTS_FILE, 100), ULY_ERR_IO, "in/secret': Permission denied");
  check_nothing_left();
}

/* What is there is never written over, and what a call that was killed has left is no hindrance. */
static void test_existing(void **state) {
  (void)state;
  clean();
  write_text("in/a", "text");
  shell("mkdir -p '%s/out/.train.tmp' && printf x >'%s/out/.train.tmp/000007.bin'", folder, folder);
  assert_ok(prepare(ULY_DOCUMENTS_FILE, 100));
  assert_int_equal(count_entries("out"), 1);
  assert_int_equal(count_entries("out/train"), 1);
  assert_fails(prepare(ULY_DOCUMENTS_FILE, 100), ULY_ERR_CONFIG, "out/train' exists already");
  shell("mv '%s/out/train' '%s/out/eval'", folder, folder);
  assert_fails(prepare(ULY_DOCUMENTS_FILE, 100), ULY_ERR_CONFIG, "out/eval' exists already");
  assert_int_equal(count_entries("out/eval"), 1);
}

/* Another process at work in the same folder: it locks the folder, and its shards are hidden
 * there. */
static void test_two_at_once(void **state) {
  (void)state;
  clean();
  write_text("in/a", "text");
  shell("mkdir -p '%s/out/.train.tmp'", folder);
  FILE *other = fopen(path_of("out"), "r");
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
  write_file("in/a", text, sizeof text);
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
  const char *base = getenv("TMPDIR");
  snprintf(folder, sizeof folder, "%.200s/ulysses-prepare-%ld", base ? base : "/tmp",
           (long)getpid());
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_files),       cmocka_unit_test(test_tree),
      cmocka_unit_test(test_inputs),      cmocka_unit_test(test_lines),
      cmocka_unit_test(test_long_lines),  cmocka_unit_test(test_jsonl),
      cmocka_unit_test(test_long_jsonl),  cmocka_unit_test(test_bad_jsonl),
      cmocka_unit_test(test_skip_bad),    cmocka_unit_test(test_text_key),
      cmocka_unit_test(test_held_out),    cmocka_unit_test(test_held_out_of_few),
      cmocka_unit_test(test_refusals),    cmocka_unit_test(test_existing),
      cmocka_unit_test(test_two_at_once), cmocka_unit_test(test_full_disk),
  };
  int failures = cmocka_run_group_tests(tests, NULL, NULL);
  shell("rm -rf '%s'", folder);
  return failures;
}
