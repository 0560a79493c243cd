/* Tests text that comes in parts which may end within characters: what is printed at any moment is
 * UTF-8. What replaces damaged text is what Python's errors="replace" gives. */
#include "../cli/common/utf8.h"

#include "testing.h"

static const struct {
  const char *text, *printed, *visible;
} cases[] = {
    {"plain", "plain", "plain"},
    {"a b\tc\n", "a b\tc\n",
     "a\xe2\x90\xa3"
     "b\\tc\\n"},
    {"\xc3\xa4\xe7\xa5\x9e\xf0\x9f\x8e\x89", "\xc3\xa4\xe7\xa5\x9e\xf0\x9f\x8e\x89",
     "\xc3\xa4\xe7\xa5\x9e\xf0\x9f\x8e\x89"},
    {"\\\x1b\x7f\r", "\\\x1b\x7f\r", "\\\\\\x1b\\x7f\\r"},
    {"\xc2\x85", "\xc2\x85", "\\xc2\\x85"},
    {"a\xff"
     "b",
     "a\xef\xbf\xbd"
     "b",
     "a\\xffb"},
    {"\x80\x80", "\xef\xbf\xbd\xef\xbf\xbd", "\\x80\\x80"},
    {"\xe7\xa5", "\xef\xbf\xbd", "\\xe7\\xa5"},
    {"\xe7\xa5"
     "a",
     "\xef\xbf\xbd"
     "a",
     "\\xe7\\xa5"
     "a"},
    {"\xf0\x9f\x8e\xf0\x9f\x8e\x89", "\xef\xbf\xbd\xf0\x9f\x8e\x89",
     "\\xf0\\x9f\\x8e\xf0\x9f\x8e\x89"},
    {"\xc0\xaf\xed\xa0\x80\xf4\x90\x80\x80",
     "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef"
     "\xbf\xbd\xef\xbf\xbd",
     "\\xc0\\xaf\\xed\\xa0\\x80\\xf4\\x90\\x80\\x80"},
    {"\xe0\x9f\xbf\xf5", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd",
     "\\xe0\\x9f\\xbf\\xf5"},
};

enum { NUM_CASES = sizeof cases / sizeof *cases };

/* Prints a text of which n bytes are there, from `from` on, and returns where the next call
 * begins. */
static int64_t print_part(const char *text, int64_t from, int64_t n, bool is_end, char *out) {
  char *printed = NULL;
  size_t length = 0;
  FILE *file = open_memstream(&printed, &length);
  int64_t count = utf8_print(file, text + from, n - from, is_end);
  fclose(file);
  for (size_t at = 0; at < length;) {
    int bytes = utf8_character(printed + at, (int64_t)(length - at));
    if (bytes <= 0) fail_msg("the output is cut within a character");
    at += (size_t)bytes;
  }
  strcat(out, printed);
  free(printed);
  return from + count;
}

/* Wherever a text is cut into three parts, the parts print the same together. */
static void test_parts(void **state) {
  (void)state;
  for (int i = 0; i < NUM_CASES; i++) {
    int64_t n = (int64_t)strlen(cases[i].text);
    for (int64_t first = 0; first <= n; first++)
      for (int64_t second = first; second <= n; second++) {
        char out[256] = "";
        int64_t at = print_part(cases[i].text, 0, first, false, out);
        assert_true(at <= first && first - at < 4);
        at = print_part(cases[i].text, at, second, false, out);
        assert_int_equal(print_part(cases[i].text, at, n, true, out), n);
        assert_string_equal(out, cases[i].printed);
      }
  }
}

static void test_visible(void **state) {
  (void)state;
  for (int i = 0; i < NUM_CASES; i++) {
    int64_t n = (int64_t)strlen(cases[i].text);
    json_t *visible = utf8_json_visible(cases[i].text, n), *text = utf8_json(cases[i].text, n);
    assert_string_equal(json_string_value(visible), cases[i].visible);
    assert_string_equal(json_string_value(text), cases[i].printed);
    json_decref(visible);
    json_decref(text);
  }
  json_t *text = utf8_json("a\0b", 3);
  assert_int_equal(json_string_length(text), 3);
  json_decref(text);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_parts), cmocka_unit_test(test_visible)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
