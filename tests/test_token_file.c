/* Tests token files: values against hand-made streams, across file boundaries, for both kinds;
 * where documents begin and what ends them; and hashes. What is refused is in
 * test_token_file_refused.c. */
#include <fcntl.h>
#include <stdbool.h>
#include <unistd.h>

#include "token_file_testing.h"

/* ---- Values */

static void text_file(void **state) {
  (void)state;
  const unsigned char bytes[] = {'h', 'i', 0, 255, 128, '\n'};
  const int32_t expected[] = {'h', 'i', 0, 255, 128, '\n', 256};
  assert_stream(scratch_put("a.txt", bytes, sizeof bytes), expected, 7);
  assert_stream(put_text("short", "abc"), (const int32_t[]){'a', 'b', 'c', 256}, 4);
}

static void text_folder(void **state) {
  (void)state;
  make_folder("data");
  make_folder("data/sub");
  put_text("data/sub/inner", "must not be read");
  put_text("data/.hidden", "must not be read");
  /* By bytes: "B" < "a" < "a.b" < "ab" < 0xc3; files 10 before 9. */
  put_text("data/a", "1");
  put_text("data/ab", "2");
  put_text("data/B", "34");
  put_text("data/a.b", "");
  put_text("data/\xc3\xa4", "5");
  put_text("data/9", "6");
  put_text("data/10", "789");
  const int32_t expected[] = {'7', '8', '9', 256, '6', 256, '3', '4',
                              256, '1', 256, 256, '2', 256, '5', 256};
  assert_stream(scratch_path("data"), expected, 16);
  assert_stream(scratch_path("data/"), expected, 16);
}

static void shards_u16(void **state) {
  (void)state;
  const uint32_t first[] = {0, 1, 50256, 65535}, second[] = {7}, third[] = {40000, 3, 2};
  const int32_t expected[] = {0, 1, 50256, 65535, 7, 40000, 3, 2};
  assert_stream(put_u16("one.bin", first, 4), expected, 4);
  make_folder("data");
  put_u16("data/c", third, 3);
  put_u16("data/a", first, 4);
  put_u16("data/b", second, 1);
  assert_stream(scratch_path("data"), expected, 8);
}

static void shards_u32(void **state) {
  (void)state;
  const uint32_t first[] = {0, 128255, 0x7fffffff}, second[] = {65536, 5};
  const int32_t expected[] = {0, 128255, 0x7fffffff, 65536, 5};
  make_folder("data");
  put_u32("data/train_000001.bin", second, 2);
  put_u32("data/train_000000.bin", first, 3);
  assert_stream(scratch_path("data"), expected, 5);
}

/* A shard as llm.c's write_datafile lays it out, byte by byte. */
static void shard_by_hand(void **state) {
  (void)state;
  static const unsigned char head[] = {0x88, 0xd8, 0x34, 0x01, 1, 0, 0, 0, 2, 0, 0, 0};
  unsigned char bytes[1028] = {0};
  memcpy(bytes, head, sizeof head);
  memcpy(bytes + 1024, "\x50\xc4\x0f\x00", 4);
  assert_stream(scratch_put("hand.bin", bytes, sizeof bytes), (const int32_t[]){50256, 15}, 2);
}

/* Long enough for the vector loops; every token is a function of its place. */
static void long_ranges(void **state) {
  (void)state;
  enum { num_files = 9 };
  make_folder("data");
  int64_t count = 0;
  for (int f = 0; f < num_files; f++) {
    static unsigned char bytes[100000];
    size_t size = (size_t)(10007 * f);
    for (size_t i = 0; i < size; i++) bytes[i] = (unsigned char)((i * 7 + (size_t)f) % 251);
    char name[32];
    snprintf(name, sizeof name, "data/%d", f);
    scratch_put(name, bytes, size);
    count += (int64_t)size + 1;
  }
  int32_t *expected = malloc((size_t)count * 4), *out = malloc((size_t)count * 4);
  assert_true(expected && out);
  int64_t place = 0;
  for (int f = 0; f < num_files; f++) {
    for (int i = 0; i < 10007 * f; i++) expected[place++] = (i * 7 + f) % 251;
    expected[place++] = 256;
  }
  assert_int_equal(place, count);
  uly__tokens *tokens = open_tokens(scratch_path("data"));
  assert_int_equal(uly__tokens_count(tokens), count);
  for (int64_t begin = 0; begin < count; begin += 4999) {
    assert_ok(uly__tokens_read(tokens, begin, count - begin, ULY_TEXT_VOCAB, out));
    assert_memory_equal(out, expected + begin, (size_t)(count - begin) * 4);
  }
  uly__tokens_close(tokens);
  free(expected);
  free(out);
}

static void many_files(void **state) {
  (void)state;
  make_folder("data");
  int32_t expected[6000], out[6000];
  for (int i = 0; i < 3000; i++) {
    char name[32], byte = (char)('a' + i % 26);
    snprintf(name, sizeof name, "data/%06d", i);
    scratch_put(name, &byte, 1);
    expected[2 * i] = byte;
    expected[2 * i + 1] = 256;
  }
  uly__tokens *tokens = open_tokens(scratch_path("data"));
  assert_int_equal(uly__tokens_count(tokens), 6000);
  assert_ok(uly__tokens_read(tokens, 0, 6000, 257, out));
  assert_memory_equal(out, expected, sizeof expected);
  for (int64_t i = 0; i < 6000; i++) {
    assert_ok(uly__tokens_read(tokens, i, 1, 257, out));
    assert_int_equal(out[0], expected[i]);
  }
  uly__tokens_close(tokens);
}

/* Two files of 3 GiB with holes: places and counts beyond 32 bits. */
static void beyond_4_gib(void **state) {
  (void)state;
  const int64_t size = (int64_t)3 << 30;
  make_folder("data");
  for (int f = 0; f < 2; f++) {
    int fd = open(scratch_path(f ? "data/b" : "data/a"), O_WRONLY | O_CREAT, 0600);
    assert_true(fd >= 0);
    if (pwrite(fd, f ? "yz" : "wx", 2, size - 2) != 2) {
      close(fd);
      skip(); /* a file system or a limit that does not allow such files */
    }
    close(fd);
  }
  uly__tokens *tokens = open_tokens(scratch_path("data"));
  assert_int_equal(uly__tokens_count(tokens), 2 * size + 2);
  int32_t out[5];
  assert_ok(uly__tokens_read(tokens, size - 2, 5, 257, out));
  assert_memory_equal(out, ((const int32_t[]){'w', 'x', 256, 0, 0}), sizeof out);
  assert_ok(uly__tokens_read(tokens, 2 * size - 2, 4, 257, out));
  assert_memory_equal(out, ((const int32_t[]){0, 'y', 'z', 256}), 16);
  assert_int_equal(uly__tokens_read(tokens, 2 * size + 1, 2, 257, out), ULY_ERR_INTERNAL);
  uly__tokens_close(tokens);
}

/* ---- Documents */

/* Sets the fourth number of a shard's header: 1 + the token that ends documents. */
static const char *say_end(const char *path, int32_t number) {
  FILE *file = fopen(path, "r+b");
  assert_non_null(file);
  assert_int_equal(fseek(file, 12, SEEK_SET), 0);
  for (int b = 0; b < 4; b++) fputc((int)((uint32_t)number >> 8 * b & 255), file);
  assert_int_equal(fclose(file), 0);
  return path;
}

static int64_t end_of(const char *path) {
  uly__tokens *tokens = open_tokens(path);
  int64_t end = uly__tokens_end(tokens);
  uly__tokens_close(tokens);
  return end;
}

static void ends_of_documents(void **state) {
  (void)state;
  static const uint32_t t[4] = {1, 2, 3, 4};
  assert_int_equal(end_of(put_text("text", "abc")), 256);
  assert_int_equal(end_of(put_u16("plain", t, 4)), -1);
  assert_int_equal(end_of(say_end(put_u16("u16", t, 4), 1)), 0);
  assert_int_equal(end_of(say_end(scratch_path("u16"), 65536)), 65535);
  assert_int_equal(end_of(say_end(put_u32("u32", t, 4), INT32_MAX)), INT32_MAX - 1);
  const char *path = scratch_path("u16");
  assert_refused(say_end(path, 65537), ULY_ERR_DATA, path,
                 "it says that token 65536 ends documents");
  assert_refused(say_end(path, -1), ULY_ERR_DATA, path, "it says that token -2 ends documents");
  assert_refused(say_end(path, INT32_MIN), ULY_ERR_DATA, path, "damaged header");
  make_folder("data");
  say_end(put_u16("data/a", t, 4), 5);
  path = say_end(put_u16("data/b", t, 4), 5);
  assert_int_equal(end_of(scratch_path("data")), 4);
  say_end(path, 6);
  assert_refused(scratch_path("data"), ULY_ERR_DATA, path, "token 5 ends documents");
  say_end(path, 0);
  assert_refused(scratch_path("data"), ULY_ERR_DATA, path, "token -1 ends documents");
}

/* Of a part of the stream, against a walk over its tokens. */
static void assert_documents(const uly__tokens *tokens, int64_t begin, int64_t count, int64_t end) {
  int32_t *all = malloc((size_t)count * sizeof *all);
  int64_t *found = malloc((size_t)count * sizeof *found), num, expected = 1;
  assert_ok(uly__tokens_read(tokens, begin, count, INT64_MAX, all));
  assert_ok(uly__tokens_documents(tokens, begin, count, end, found, &num));
  assert_int_equal(found[0], 0);
  for (int64_t i = 1; i < count; i++) {
    if (all[i - 1] != end) continue;
    assert_true(expected < num);
    assert_int_equal(found[expected++], i);
  }
  assert_int_equal(num, expected);
  free(all), free(found);
}

static void documents(void **state) {
  (void)state;
  make_folder("data");
  put_text("data/a", "one\ntwo\n");
  put_text("data/b", "");
  put_text("data/c", "");
  char text[9000];
  for (size_t i = 0; i < sizeof text; i++) text[i] = i % 4096 < 4095 ? 'x' : '\n';
  scratch_put("data/d", text, sizeof text);
  uly__tokens *tokens = open_tokens(scratch_path("data"));
  int64_t count = uly__tokens_count(tokens);
  static const int64_t ends[] = {256, '\n', 'x', 'y'};
  for (int i = 0; i < 4; i++) {
    assert_documents(tokens, 0, count, ends[i]);
    for (int64_t begin = 0; begin < 13; begin++)
      for (int64_t size = 1; size < 15; size++) assert_documents(tokens, begin, size, ends[i]);
    for (int64_t size = 4094; size < 4100; size++) assert_documents(tokens, 3, size, ends[i]);
  }
  int64_t found[14], num;
  assert_ok(uly__tokens_documents(tokens, 0, 13, 256, found, &num)); /* 9 tokens, 1, 1, 2 */
  assert_int_equal(num, 4);
  assert_int_equal(found[1], 9);
  assert_int_equal(found[2], 10);
  assert_int_equal(found[3], 11);
  assert_int_equal(uly__tokens_documents(tokens, count, 2, 256, found, &num), ULY_ERR_INTERNAL);
  uly__tokens_close(tokens);
}

/* ---- Hash */

static uint64_t hash_of(const char *path) {
  uly__tokens *tokens = open_tokens(path);
  uint64_t hash = uly__tokens_hash(tokens);
  uly__tokens_close(tokens);
  return hash;
}

/* Contents in the order of the files count, and where one ends and the next begins; names do not.
 * */
static void hash(void **state) {
  (void)state;
  make_folder("one");
  make_folder("two");
  put_text("one/a", "12");
  put_text("one/b", "345");
  put_text("two/x", "12");
  put_text("two/y", "345");
  uint64_t first = hash_of(scratch_path("one"));
  assert_int_equal(hash_of(scratch_path("one")), first);
  assert_int_equal(hash_of(scratch_path("two")), first);
  assert_int_equal(rename(scratch_path("two/x"), scratch_path("two/z")), 0); /* another order */
  assert_int_not_equal(hash_of(scratch_path("two")), first);
  put_text("one/a", "13");
  assert_int_not_equal(hash_of(scratch_path("one")), first);
  put_text("one/a", "123");
  put_text("one/b", "45");
  assert_int_not_equal(hash_of(scratch_path("one")), first);
  put_text("one/a", "12");
  put_text("one/b", "345");
  assert_int_equal(hash_of(scratch_path("one")), first);
  put_text("one/c", "");
  assert_int_not_equal(hash_of(scratch_path("one")), first);
  assert_int_equal(hash_of(scratch_path("one/a")), hash_of(put_text("other", "12")));
}

/* Each byte of a file of at most 4 MiB counts; of a longer one the first, the last, and each
 * stretch of a few hundredths of it, whatever its length. */
static void hash_of_long_files(void **state) {
  (void)state;
  static char text[(8 << 20) + 12345];
  memset(text, 'x', sizeof text);
  const size_t sizes[] = {65536, 65537, 4 << 20, (4 << 20) + 1, sizeof text};
  for (int i = 0; i < 5; i++) {
    size_t size = sizes[i];
    bool is_whole = size <= 4 << 20;
    uint64_t first = hash_of(scratch_put("long", text, size));
    const size_t places[] = {0, 1, size / 2, size - 2, size - 1, 65535};
    for (int j = 0; j < 6; j++) {
      if (!is_whole && places[j] == size / 2) continue;
      text[places[j]] = 'y';
      assert_int_not_equal(hash_of(scratch_put("long", text, size)), first);
      text[places[j]] = 'x';
    }
    for (int part = 0; part < 50; part++) {
      memset(text + size / 50 * (size_t)part, 'y', size / 50);
      assert_int_not_equal(hash_of(scratch_put("long", text, size)), first);
      memset(text + size / 50 * (size_t)part, 'x', size / 50);
    }
    assert_int_equal(hash_of(scratch_put("long", text, size)), first);
    assert_int_not_equal(hash_of(scratch_put("long", text, size - 1)), first);
  }
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, scratch_set_up, scratch_tear_down)
  const struct CMUnitTest tests[] = {
      TEST(text_file),         TEST(text_folder), TEST(shards_u16), TEST(shards_u32),
      TEST(shard_by_hand),     TEST(long_ranges), TEST(many_files), TEST(beyond_4_gib),
      TEST(ends_of_documents), TEST(documents),   TEST(hash),       TEST(hash_of_long_files),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
