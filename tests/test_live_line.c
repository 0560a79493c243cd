/* Tests the line of progress that is rewritten in place: it is never as wide as the terminal, and
 * leaves nothing of the line before it. */
#include "../cli/common/live_line.h"

#include <unistd.h>

#include "testing.h"

static void test_lines(void **state) {
  (void)state;
  static const char expected[] = "0123456\r       \rab\r  \rother\nc\r \rd\n";
  char found[sizeof expected + 16] = {0};
  const char *path = scratch_path("out");
  live_line line = {.is_live = true, .width = 8};
  fflush(stdout);
  int out = dup(STDOUT_FILENO);
  assert_non_null(freopen(path, "w", stdout));
  live_line_show(&line, "0123456789");
  live_line_show(&line, "ab");
  live_line_clear(&line);
  live_line_clear(&line); /* there is nothing left to clear */
  puts("other");
  live_line_end(&line); /* nor to end */
  live_line_show(&line, "c");
  live_line_show(&line, "d");
  live_line_end(&line);
  fflush(stdout);
  assert_true(dup2(out, STDOUT_FILENO) >= 0);
  close(out);
  FILE *file = fopen(path, "r");
  assert_non_null(file);
  assert_int_equal(fread(found, 1, sizeof found - 1, file), sizeof expected - 1);
  fclose(file);
  assert_string_equal(found, expected);
}

static void test_kinds(void **state) {
  (void)state;
  assert_false(live_line_open(PROGRESS_PLAIN).is_live);
  assert_true(live_line_open(PROGRESS_LIVE).is_live);
  assert_true(live_line_open(PROGRESS_LIVE).width > 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(test_lines, scratch_set_up, scratch_tear_down),
      cmocka_unit_test(test_kinds)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
