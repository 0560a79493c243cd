/* Tests a scan of all tokens: it finds what a walk over the tokens finds, in one part or in many,
 * for every length of the windows; and a file remembers it, or is ignored. */
#include <sys/stat.h>
#include <unistd.h>

#include "data/token_scan.h"
#include "testing.h"

enum { COUNT = 3000, END = 5, NUM_FILES = 7 };

static int32_t stream[COUNT];

static uint64_t draw(uint64_t *seed) {
  *seed = *seed * 6364136223846793005u + 1442695040888963407u;
  return *seed >> 33;
}

/* Runs of END of many lengths, some of them over the border of two files; the largest token is in
 * the middle. */
static uly__tokens *make_tokens(void) {
  uly__tokens *tokens;
  uint64_t seed = 3;
  assert_int_equal(mkdir(scratch_path("data"), 0700), 0);
  for (int64_t at = 0; at < COUNT;)
    for (int64_t left = 1 + (int64_t)(draw(&seed) % 12), is_end = draw(&seed) % 3 == 0;
         left > 0 && at < COUNT; left--)
      stream[at++] = is_end ? END : (int32_t)(draw(&seed) % 900);
  stream[COUNT / 2] = 999;
  for (int64_t at = 2000; at < 2300; at++) stream[at] = END;
  for (int64_t at = COUNT - 200; at < COUNT; at++) stream[at] = END;
  for (int i = 0; i < NUM_FILES; i++) {
    static char bytes[1024 + 2 * COUNT];
    int64_t begin = i * COUNT / NUM_FILES, end = (i + 1) * COUNT / NUM_FILES;
    int32_t header[3] = {20240520, 1, (int32_t)(end - begin)};
    char name[32];
    memset(bytes, 0, 1024);
    memcpy(bytes, header, sizeof header);
    for (int64_t at = begin; at < end; at++) {
      uint16_t token = (uint16_t)stream[at];
      memcpy(bytes + 1024 + 2 * (at - begin), &token, 2);
    }
    snprintf(name, sizeof name, "data/%d", i);
    scratch_put(name, bytes, (size_t)(1024 + 2 * (end - begin)));
  }
  assert_ok(uly__tokens_open(scratch_path("data"), &tokens));
  return tokens;
}

/* Against a walk over the stream. */
static void assert_scan(const uly__scan *scan, int64_t window, int64_t num_windows) {
  int64_t num_ends = 0, num_blank = 0, num_others = 0;
  for (int64_t at = 0; at < COUNT; at++) num_ends += stream[at] == END;
  assert_int_equal(scan->num_ends, num_ends);
  assert_int_equal(scan->largest, 999);
  for (int64_t i = 0; i < num_windows; i++) {
    bool is_blank = true;
    for (int64_t at = i * window; at < (i + 1) * window; at++) is_blank &= stream[at] == END;
    assert_int_equal(uly__scan_is_blank(scan, i), is_blank);
    if (is_blank)
      assert_int_equal(scan->blank[num_blank++], i);
    else
      assert_int_equal(uly__scan_find(scan, num_others++), i);
  }
  assert_int_equal(scan->num_blank, num_blank);
}

static void test_values(void **state) {
  (void)state;
  uly__tokens *tokens = make_tokens();
  for (int64_t window = 1; window < 40; window++) {
    int64_t num_windows = (COUNT - 1) / window;
    uly__scan_request request = {1000, END, window, num_windows};
    for (int parts = 1; parts <= 5; parts++) {
      uly__scan scan = {.largest = -1};
      for (int p = 0; p < parts; p++) {
        int64_t begin = num_windows * p / parts * window;
        int64_t end = p + 1 < parts ? num_windows * (p + 1) / parts * window : COUNT;
        assert_ok(uly__scan_tokens(tokens, begin, end - begin, &request, &scan));
      }
      assert_scan(&scan, window, num_windows);
      uly__scan_free(&scan);
    }
  }
  uly__tokens_close(tokens);
}

static void test_vocabulary(void **state) {
  (void)state;
  uly__tokens *tokens = make_tokens();
  uly__scan scan = {.largest = -1};
  uly__scan_request request = {.vocab = 999, .end = -1};
  assert_fails(uly__scan_tokens(tokens, 0, COUNT, &request, &scan), ULY_ERR_DATA,
               "is 999, not below the vocabulary size 999");
  uly__scan_free(&scan);
  uly__tokens_close(tokens);
}

/* ------------------------------------------------------------------------------ memory */

static uly__scan make_scan(int64_t largest, int64_t num_blank) {
  uly__scan scan = {.largest = largest, .num_ends = 7};
  for (int64_t i = 0; i < num_blank; i++) assert_ok(uly__scan_add_blank(&scan, 3 * i * i + 1));
  return scan;
}

static void assert_recalls(const char *path, const uly__scan_key *key, const uly__scan *expected) {
  uly__scan found = {.largest = -1};
  assert_true(uly__scan_recall(path, key, &found));
  assert_int_equal(found.largest, expected->largest);
  assert_int_equal(found.num_ends, expected->num_ends);
  assert_int_equal(found.num_blank, expected->num_blank);
  for (int64_t i = 0; i < found.num_blank; i++)
    assert_int_equal(found.blank[i], expected->blank[i]);
  uly__scan_free(&found);
}

static void assert_knows_nothing(const char *path, const uly__scan_key *key) {
  uly__scan found = {.largest = -1};
  assert_false(uly__scan_recall(path, key, &found));
  assert_int_equal(found.largest, -1);
  assert_int_equal(found.num_blank, 0);
  assert_null(found.blank);
}

static void test_memory(void **state) {
  (void)state;
  const char *path = scratch_path("scan.json");
  const uly__scan_key keys[2] = {{UINT64_MAX - 5, 256, 4096}, {17, -1, 0}};
  uly__scan scans[2] = {make_scan(50256, 9), make_scan(0, 0)};
  const uly__scan *both[2] = {&scans[0], &scans[1]};
  assert_knows_nothing(path, &keys[0]);
  assert_ok(uly__scan_remember(path, keys, both, 2));
  for (int i = 0; i < 2; i++) {
    uly__scan_key other[3] = {keys[i], keys[i], keys[i]};
    assert_recalls(path, &keys[i], &scans[i]);
    other[0].hash++, other[1].end++, other[2].window++;
    for (int j = 0; j < 3; j++) assert_knows_nothing(path, &other[j]);
  }
  assert_ok(uly__scan_remember(path, &keys[1], &both[1], 1));
  assert_knows_nothing(path, &keys[0]);
  assert_recalls(path, &keys[1], &scans[1]);
  assert_fails(uly__scan_remember("/no/such/folder/scan.json", keys, both, 2), ULY_ERR_IO,
               "/no/such/folder/scan.json");
  for (int i = 0; i < 2; i++) uly__scan_free(&scans[i]);
}

static void test_damaged_memory(void **state) {
  (void)state;
  const uly__scan_key key = {17, 256, 4096};
  static const char *const texts[] = {
      "",
      "words",
      "[]",
      "{\"version\":1}",
      "{\"version\":1,\"scans\":7}",
      ("{\"version\":2,\"scans\":[{\"content\":\"0000000000000011\",\"doc_end\":256,"
       "\"seq_len\":4096,\"largest\":9,\"documents_ended\":1,\"without_label\":[]}]}"),
      ("{\"version\":1,\"scans\":[{\"content\":\"0000000000000011\",\"doc_end\":256,"
       "\"seq_len\":4096,\"largest\":-9,\"documents_ended\":1,\"without_label\":[]}]}"),
      ("{\"version\":1,\"scans\":[{\"content\":\"0000000000000011\",\"doc_end\":256,"
       "\"seq_len\":4096,\"largest\":9,\"documents_ended\":1,\"without_label\":[4,4]}]}"),
      ("{\"version\":1,\"scans\":[{\"content\":\"0000000000000011\",\"doc_end\":256,"
       "\"seq_len\":4096,\"largest\":9,\"documents_ended\":1,\"without_label\":[1,\"2\"]}]}"),
      ("{\"version\":1,\"scans\":[{\"content\":\"0000000000000011\",\"doc_end\":256,"
       "\"seq_len\":4096,\"largest\":9,\"documents_ended\":1}]}"),
  };
  for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
    assert_knows_nothing(scratch_put("scan.json", texts[i], strlen(texts[i])), &key);
  const char *good =
      "{\"version\":1,\"scans\":[{\"content\":\"0000000000000011\",\"doc_end\":256,"
      "\"seq_len\":4096,\"largest\":9,\"documents_ended\":1,\"without_label\":[4,5]}]}";
  for (size_t length = 0; length < strlen(good); length++)
    assert_knows_nothing(scratch_put("scan.json", good, length), &key);
  uly__scan found = {.largest = -1};
  assert_true(uly__scan_recall(scratch_put("scan.json", good, strlen(good)), &key, &found));
  uly__scan_free(&found);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, scratch_set_up, scratch_tear_down)
  const struct CMUnitTest tests[] = {
      TEST(test_values),
      TEST(test_vocabulary),
      TEST(test_memory),
      TEST(test_damaged_memory),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
