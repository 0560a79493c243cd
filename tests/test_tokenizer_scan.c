/* Tests the hand-written scanners: on random texts they find the matches that PCRE2 finds for their
 * patterns. Characters are taken from all classes, and often from those that patterns name. */
#include "testing.h"
#include "tokenizer/scanners.h"

enum { NUM_TEXTS = 20000, MOST = 24 };

static uint64_t seed = 88172645463325252u;

static uint32_t draw(uint32_t below) {
  seed ^= seed << 13, seed ^= seed >> 7, seed ^= seed << 17;
  return (uint32_t)(seed >> 33) % below;
}

static bool matches(const char *pattern, const unsigned char *text, int64_t n) {
  uly__pattern *compiled;
  uly__matcher *matcher;
  int64_t begin, end;
  assert_ok(uly__pattern_compile(pattern, ULY__ONIGURUMA, &compiled));
  assert_ok(uly__matcher_create(&matcher));
  assert_ok(uly__pattern_find(compiled, matcher, text, n, 0, &begin, &end));
  uly__matcher_free(matcher);
  uly__pattern_free(compiled);
  return begin >= 0;
}

/* Fills flags[0x110000] with bit `bit` for the characters that a class of PCRE2 contains. */
static void find_members(const char *pattern, int bit, uint16_t *flags) {
  enum { ALL = 0x110000 };
  uly__pattern *compiled;
  uly__matcher *matcher;
  assert_ok(uly__pattern_compile(pattern, ULY__ONIGURUMA, &compiled));
  assert_ok(uly__matcher_create(&matcher));
  for (uint32_t c = 0; c < ALL; c++) {
    unsigned char text[4];
    int64_t begin, end;
    if (c >= 0xd800 && c < 0xe000) continue;
    assert_ok(
        uly__pattern_find(compiled, matcher, text, uly__utf8_encode(c, text), 0, &begin, &end));
    if (begin == 0) flags[c] |= (uint16_t)(1 << bit);
  }
  uly__matcher_free(matcher);
  uly__pattern_free(compiled);
}

/* Characters on whose class both libraries agree: all but those that one of them does not know. */
static unsigned char *is_known;

static void test_classes(void **state) {
  (void)state;
  static const char *const patterns[] = {"[\\p{Lu}\\p{Lt}]", "\\p{Ll}",      "[\\p{Lm}\\p{Lo}]",
                                         "\\p{M}",           "\\p{N}",       "\\p{P}",
                                         "\\p{S}",           "[^\\S\\r\\n]", "[\\r\\n]"};
  enum { UNASSIGNED = 9, NUM = sizeof patterns / sizeof *patterns };
  uint16_t *flags = calloc(0x110000, sizeof *flags);
  const uly__class_table *classes = uly__class_table_get();
  int num_new = 0;
  is_known = calloc(0x110000, 1);
  assert_true(flags && is_known && classes);
  for (int i = 0; i < NUM; i++) find_members(patterns[i], i, flags);
  uint16_t *unassigned = calloc(0x110000, sizeof *unassigned);
  find_members("\\p{Cn}", 0, unassigned);
  for (uint32_t c = 0; c < 0x110000; c++) {
    uint16_t class = (uint16_t)uly__class_of(classes, c);
    if (c >= 0xd800 && c < 0xe000) continue;
    is_known[c] = class == (flags[c] ? flags[c] : ULY__OTHER);
    if (!is_known[c] && !unassigned[c]) fail_msg("U+%04X is in other classes", (unsigned)c);
    num_new += !is_known[c];
  }
  /* Unicode 14 lacks ten thousand characters of Unicode 16. */
  assert_true(num_new < 11000);
  assert_true(matches("\\s", (const unsigned char *)"\xc2\x85", 2));      /* U+0085 */
  assert_false(matches("\\s", (const unsigned char *)"\xe1\xa0\x8e", 3)); /* U+180E */
  assert_false(matches("\\s", (const unsigned char *)"\xe2\x80\x8b", 3)); /* U+200B */
  assert_false(matches("\\s", (const unsigned char *)"\x1c", 1));
  free(flags);
  free(unassigned);
}

static uint32_t draw_character(void) {
  static const char ascii[] = "'''''sStTrReEvVmMlLdDaZ 0127\r\n\t  /.,-_(<\x0b\x1c\x01\x7f";
  static const uint32_t odd[] = {
      0x17f, 0x212a, 0x85,   0xa0,   0x2028, 0x3000,  0x180e, 0x200b,  0x301,    0x903,  0x20dd,
      0x1c5, 0x2b0,  0x5d0,  0x4e00, 0x9fa5, 0x9fa6,  0x30fb, 0x3041,  0x309b,   0x30a0, 0x2160,
      0xb2,  0x660,  0x2019, 0xab,   0x20ac, 0x1f600, 0xfe0f, 0xe0001, 0x10ffff, 0x1d7d8};
  uint32_t kind = draw(10);
  if (kind < 5) return (unsigned char)ascii[draw(sizeof ascii - 1)];
  if (kind < 8) return odd[draw(sizeof odd / sizeof *odd)];
  for (;;) {
    uint32_t c = kind == 8 ? draw(0x3100) : draw(0x20000);
    if (is_known[c]) return c;
  }
}

static int64_t draw_text(unsigned char *text) {
  int64_t n = 0;
  for (int left = 1 + (int)draw(MOST); left > 0;) {
    uint32_t c = draw_character();
    for (int times = draw(4) == 0 ? 1 + (int)draw(5) : 1; times > 0 && left > 0; times--, left--)
      n += uly__utf8_encode(c, text + n);
  }
  return n;
}

/* Compares all matches in one text, in memory of its size. */
static void compare(const uly__known_pattern *known, const uly__pattern *pattern,
                    uly__matcher *matcher, const unsigned char *drawn, int64_t n) {
  unsigned char *text = malloc((size_t)n);
  memcpy(text, drawn, (size_t)n);
  const uly__scanned_text scan = {uly__class_table_get(), text, n};
  for (int64_t at = 0, begin, end, found = 0, stop = 0; at < n; at = end) {
    assert_ok(uly__pattern_find(pattern, matcher, text, n, at, &begin, &end));
    stop = known->scan(&scan, at, &found);
    if (stop != end || (end >= 0 && found != begin)) {
      for (int64_t i = 0; i < n; i++) print_error("%02x ", text[i]);
      fail_msg("%s, from %lld: %lld to %lld, but PCRE2 finds %lld to %lld", known->pattern,
               (long long)at, (long long)found, (long long)stop, (long long)begin, (long long)end);
    }
    if (end < 0) break;
  }
  free(text);
}

static void test_scanners(void **state) {
  (void)state;
  uly__matcher *matcher;
  const uly__known_pattern *known;
  assert_ok(uly__matcher_create(&matcher));
  int num = 0;
  for (; (known = uly__known_pattern_get(num)); num++) {
    uly__pattern *pattern;
    uly__dialect dialect = known->is_rust ? ULY__RUST : ULY__ONIGURUMA;
    assert_ok(uly__pattern_compile(known->pattern, dialect, &pattern));
    assert_ptr_equal(uly__known_pattern_find(known->pattern, dialect), known);
    if (known->is_rust) assert_null(uly__known_pattern_find(known->pattern, ULY__ONIGURUMA));
    for (int i = 0; i < NUM_TEXTS; i++) {
      unsigned char text[4 * MOST];
      int64_t n = draw_text(text);
      compare(known, pattern, matcher, text, n);
    }
    uly__pattern_free(pattern);
  }
  assert_true(num >= 11);
  uly__matcher_free(matcher);
}

static void test_translation(void **state) {
  (void)state;
  static const struct {
    const char *pattern;
    uly__dialect dialect;
    const char *translated;
  } cases[] = {
      {"a\\s[^\\s\\p{L}]\\S", ULY__ONIGURUMA,
       "a\\p{White_Space}[^\\p{White_Space}\\p{L}]\\P{White_Space}"},
      {"x(a|b\\d){1,3}+y", ULY__ONIGURUMA, "x(?:(?:a|b\\p{Nd}){1,3})+y"},
      {"\\p{N}{1,3}+", ULY__RUST, "\\p{N}{1,3}+"},
      {"[\\p{Han}]\\pL\\p{^Lu}", ULY__RUST, "[\\p{sc:Han}]\\p{L}\\P{Lu}"},
      {"\\u0041\\x{1F600}{]", ULY__ONIGURUMA, "\\x{0041}\\x{1F600}\\{\\]"},
      {"(?i:'s)|é+?", ULY__ONIGURUMA, "(?i:'s)|é+?"},
  };
  static const struct {
    const char *pattern, *why;
  } refused[] = {{"\\bx", "\\b"},
                 {"[[:alpha:]]", "a class in a class"},
                 {"[a&&b]", "&&"},
                 {"(?<n>x)", "special kind of group"},
                 {"\\h", "\\h"},
                 {"(a)\\1", "\\1"},
                 {"x{,3}", "{,n}"},
                 {"x\\K", "\\K"},
                 {"\\p{}", "unusual name"},
                 {"a\\", "unusual place"},
                 {"[ab", "without an end"},
                 {"a)", "without its ("},
                 {"(a", "not valid"},
                 {"a*", "matches an empty text"},
                 {"\\p{Nonsense}", "not valid"}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    char *translated;
    uly__pattern *pattern;
    assert_ok(uly__pattern_translate(cases[i].pattern, cases[i].dialect, &translated));
    assert_string_equal(translated, cases[i].translated);
    free(translated);
    assert_ok(uly__pattern_compile(cases[i].pattern, cases[i].dialect, &pattern));
    uly__pattern_free(pattern);
  }
  for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
    uly__pattern *pattern;
    assert_fails(uly__pattern_compile(refused[i].pattern, ULY__ONIGURUMA, &pattern), ULY_ERR_DATA,
                 refused[i].why);
    assert_null(pattern);
  }
}

/* Patterns that would take exponential time end with an error. */
static void test_hostile(void **state) {
  (void)state;
  static const char *const patterns[] = {"(a+)+b", "(a|a)+b", "(a|aa)+b",
                                         "(?:a{0,9}a{0,9}){0,99}b"};
  enum { N = 5000 };
  unsigned char *text = malloc(N);
  uly__matcher *matcher;
  memset(text, 'a', N);
  assert_ok(uly__matcher_create(&matcher));
  for (size_t i = 0; i < sizeof patterns / sizeof *patterns; i++) {
    uly__pattern *pattern;
    int64_t begin, end;
    text[N - 1] = 'c';
    assert_ok(uly__pattern_compile(patterns[i], ULY__ONIGURUMA, &pattern));
    uly_status status = uly__pattern_find(pattern, matcher, text, N, 0, &begin, &end);
    if (status != ULY_OK) assert_fails(status, ULY_ERR_DATA, "takes too long");
    uly__pattern_free(pattern);
  }
  uly__matcher_free(matcher);
  free(text);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_classes), cmocka_unit_test(test_scanners),
      cmocka_unit_test(test_translation), cmocka_unit_test(test_hostile)};
  int result = cmocka_run_group_tests(tests, NULL, NULL);
  free(is_known);
  return result;
}
