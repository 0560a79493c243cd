/* See pattern.h. */
#include "tokenizer/pattern.h"

#include <stdlib.h>
#include <string.h>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "base/printable.h"

struct uly__pattern {
  pcre2_code *code;
  char *text; /* for messages */
};

struct uly__matcher {
  pcre2_match_data *data;
  pcre2_match_context *context;
  pcre2_jit_stack *stack;
};

enum {
  LONGEST = 1 << 14,      /* bytes of a pattern */
  JIT_STACK = 1 << 20,    /* bytes */
  HEAP_KIB = 64 << 10,    /* of the interpreter */
  STEPS_ALWAYS = 1000000, /* of a match, besides: */
  STEPS_PER_BYTE = 16,    /* of the text that is left */
  MOST_STEPS = 2000000000
};

/* Compiles with the rules of the dialect: in Oniguruma's, ^ and $ are about lines. */
static pcre2_code *compile(const char *translated, uly__dialect dialect, int *error,
                           size_t *offset) {
  pcre2_compile_context *context = pcre2_compile_context_create(NULL);
  if (!context) return NULL;
  uint32_t options = PCRE2_UTF | PCRE2_UCP | PCRE2_NEVER_BACKSLASH_C;
  options |= dialect == ULY__ONIGURUMA ? PCRE2_MULTILINE : PCRE2_DOLLAR_ENDONLY;
  (void)pcre2_set_newline(context, PCRE2_NEWLINE_LF);
  (void)pcre2_set_max_pattern_length(context, 4 * LONGEST);
  (void)pcre2_set_parens_nest_limit(context, 100);
  pcre2_code *code =
      pcre2_compile((PCRE2_SPTR)translated, PCRE2_ZERO_TERMINATED, options, error, offset, context);
  pcre2_compile_context_free(context);
  return code;
}

static uly_status check(const uly__pattern *pattern) {
  uint32_t is_empty = 0;
  (void)pcre2_pattern_info(pattern->code, PCRE2_INFO_MATCHEMPTY, &is_empty);
  if (is_empty)
    ULY_FAIL(ULY_ERR_DATA, "the pattern '%s' matches an empty text, which divides nothing",
             uly__make_printable(pattern->text).text);
  return ULY_OK;
}

static uly_status compile_translated(const char *translated, uly__dialect dialect,
                                     uly__pattern *pattern) {
  int error = PCRE2_ERROR_NOMEMORY;
  size_t offset = 0;
  pattern->code = compile(translated, dialect, &error, &offset);
  if (!pattern->code) {
    char why[256] = "";
    (void)pcre2_get_error_message(error, (PCRE2_UCHAR *)why, sizeof why);
    ULY_FAIL(ULY_ERR_DATA, "the pattern '%s' is not valid: %s",
             uly__make_printable(pattern->text).text, why);
  }
  /* Without JIT, for which a machine may be unsuited, matching is slower and gives the same. */
  (void)pcre2_jit_compile(pattern->code, PCRE2_JIT_COMPLETE);
  return check(pattern);
}

uly_status uly__pattern_compile(const char *text, uly__dialect dialect, uly__pattern **out) {
  char *translated;
  *out = NULL;
  if (strlen(text) > LONGEST)
    ULY_FAIL(ULY_ERR_DATA, "a pattern has %zu bytes, but at most %d are supported", strlen(text),
             LONGEST);
  ULY_TRY(uly__pattern_translate(text, dialect, &translated));
  uly__pattern *pattern = calloc(1, sizeof *pattern);
  if (pattern) pattern->text = strdup(text);
  uly_status status = pattern && pattern->text
                          ? compile_translated(translated, dialect, pattern)
                          : uly_fail(ULY_ERR_MEMORY, "no memory for a pattern");
  free(translated);
  if (status == ULY_OK)
    *out = pattern;
  else
    uly__pattern_free(pattern);
  return status;
}

void uly__pattern_free(uly__pattern *pattern) {
  if (!pattern) return;
  pcre2_code_free(pattern->code);
  free(pattern->text);
  free(pattern);
}

uly_status uly__matcher_create(uly__matcher **out) {
  uly__matcher *m = calloc(1, sizeof *m);
  *out = m;
  if (!m) ULY_FAIL(ULY_ERR_MEMORY, "no memory to match patterns");
  m->data = pcre2_match_data_create(1, NULL);
  m->context = pcre2_match_context_create(NULL);
  m->stack = pcre2_jit_stack_create(1 << 15, JIT_STACK, NULL);
  if (!m->data || !m->context) {
    uly__matcher_free(m);
    *out = NULL;
    ULY_FAIL(ULY_ERR_MEMORY, "no memory to match patterns");
  }
  if (m->stack) pcre2_jit_stack_assign(m->context, NULL, m->stack);
  (void)pcre2_set_heap_limit(m->context, HEAP_KIB);
  return ULY_OK;
}

void uly__matcher_free(uly__matcher *m) {
  if (!m) return;
  pcre2_match_data_free(m->data);
  pcre2_match_context_free(m->context);
  pcre2_jit_stack_free(m->stack);
  free(m);
}

uly_status uly__pattern_find(const uly__pattern *pattern, uly__matcher *m,
                             const unsigned char *text, int64_t n, int64_t from, int64_t *begin,
                             int64_t *end) {
  int64_t steps = STEPS_ALWAYS + STEPS_PER_BYTE * (n - from);
  (void)pcre2_set_match_limit(m->context, (uint32_t)(steps < MOST_STEPS ? steps : MOST_STEPS));
  int got = pcre2_match(pattern->code, text, (size_t)n, (size_t)from, PCRE2_NO_UTF_CHECK, m->data,
                        m->context);
  if (got == PCRE2_ERROR_JIT_STACKLIMIT)
    got = pcre2_match(pattern->code, text, (size_t)n, (size_t)from,
                      PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT, m->data, m->context);
  *begin = *end = -1;
  if (got == PCRE2_ERROR_NOMATCH) return ULY_OK;
  if (got < 0) {
    char why[256] = "";
    (void)pcre2_get_error_message(got, (PCRE2_UCHAR *)why, sizeof why);
    ULY_FAIL(ULY_ERR_DATA, "the pattern '%s' takes too long to match at byte %lld of a text: %s",
             uly__make_printable(pattern->text).text, (long long)from, why);
  }
  const size_t *found = pcre2_get_ovector_pointer(m->data);
  *begin = (int64_t)found[0];
  *end = (int64_t)found[1];
  /* Only \K, which is refused, could make a match that ends before it begins. */
  return ULY_OK;
}
