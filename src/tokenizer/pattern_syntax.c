/* Translates the syntax of patterns: see pattern.h. The sources are the documents RE of
 * Oniguruma, whose Ruby syntax the package `tokenizers` uses, those of Rust's regex and
 * fancy-regex, and pcre2pattern(3). */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "base/printable.h"
#include "tokenizer/pattern.h"

#define WORD_ITEMS "\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}\\p{Join_Control}"

/* A translation under way. */
typedef struct translation {
  const char *pattern, *at;
  uly__dialect dialect;
  char *out;
  size_t num, capacity;
  /* Where in `out` the last thing begins that can be repeated. */
  size_t atom;
  /* Where in `out` the groups begin that are open. */
  size_t groups[100];
  int num_groups;
} translation;

static uly_status refuse(const translation *t, const char *what) {
  ULY_FAIL(ULY_ERR_DATA, "the pattern '%s' uses %s, which is not supported",
           uly__make_printable(t->pattern).text, what);
}

static uly_status insert(translation *t, size_t place, const char *text, size_t n) {
  if (t->num + n + 1 > t->capacity) {
    size_t capacity = 2 * (t->num + n) + 64;
    char *grown = realloc(t->out, capacity);
    if (!grown) ULY_FAIL(ULY_ERR_MEMORY, "no memory for a pattern");
    t->out = grown;
    t->capacity = capacity;
  }
  memmove(t->out + place + n, t->out + place, t->num - place);
  memcpy(t->out + place, text, n);
  t->num += n;
  t->out[t->num] = '\0';
  return ULY_OK;
}

static uly_status put(translation *t, const char *text) {
  return insert(t, t->num, text, strlen(text));
}

/* Copies the next n bytes. */
static uly_status copy(translation *t, size_t n) {
  t->at += n;
  return insert(t, t->num, t->at - n, n);
}

/* -------------------------------------------------------------------------- escapes */

static bool is_category(const char *name, size_t n) {
  static const char *const names[] = {"C",  "Cc", "Cf", "Cn", "Co", "Cs", "L",  "Ll", "Lm", "Lo",
                                      "Lt", "Lu", "M",  "Mc", "Me", "Mn", "N",  "Nd", "Nl", "No",
                                      "P",  "Pc", "Pd", "Pe", "Pf", "Pi", "Po", "Ps", "S",  "Sc",
                                      "Sk", "Sm", "So", "Z",  "Zl", "Zp", "Zs"};
  for (size_t i = 0; i < sizeof names / sizeof *names; i++)
    if (strlen(names[i]) == n && strncmp(names[i], name, n) == 0) return true;
  return false;
}

/* Takes the name of a property after \p or \P: in braces, or of one letter. A name that is no
 * general category is taken for a script. */
static uly_status take_property(translation *t) {
  bool negated = *t->at == 'P';
  const char *name = ++t->at;
  size_t n = 1;
  if (*name == '{') {
    const char *end = strchr(++name, '}');
    if (!end) return refuse(t, "\\p without a name");
    n = (size_t)(end - name);
    t->at = end + 1;
    if (*name == '^') name++, n--, negated = !negated;
  } else if (isalpha((unsigned char)*name)) {
    t->at++;
  } else {
    return refuse(t, "\\p without a name");
  }
  char text[80];
  if (n == 0 || n > 40 || strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_") < n)
    return refuse(t, "a property with an unusual name");
  snprintf(text, sizeof text, "\\%c{%s%.*s}", negated ? 'P' : 'p',
           is_category(name, n) ? "" : "sc:", (int)n, name);
  return put(t, text);
}

/* Takes a character that is given by its number: \x41, \x{1F600} or \u0041. */
static uly_status take_number(translation *t) {
  bool is_long = t->at[0] == 'u', in_braces = t->at[1] == '{';
  const char *digits = t->at + 1 + in_braces;
  size_t n = strspn(digits, "0123456789abcdefABCDEF");
  if (!in_braces && n > (is_long ? 4 : 2)) n = is_long ? 4 : 2;
  unsigned long value = n > 0 && n < 7 ? strtoul(digits, NULL, 16) : 0;
  if (n == 0 || n > 6 || (in_braces && digits[n] != '}') || (!in_braces && is_long && n < 4) ||
      (!in_braces && !is_long && value > 0x7f) || value > 0x10ffff)
    return refuse(t, "the number of a character in an unusual form");
  char text[32];
  snprintf(text, sizeof text, "\\x{%.*s}", (int)n, digits);
  t->at = digits + n + in_braces;
  return put(t, text);
}

/* Takes \ and what follows, in a class or outside. */
static uly_status take_escape(translation *t, bool in_class) {
  char c = *++t->at;
  char what[48];
  switch (c) {
    case 'p':
    case 'P': return take_property(t);
    case 'x':
    case 'u': return take_number(t);
    case 's': return t->at++, put(t, "\\p{White_Space}");
    case 'S': return t->at++, put(t, "\\P{White_Space}");
    case 'd': return t->at++, put(t, "\\p{Nd}");
    case 'D': return t->at++, put(t, "\\P{Nd}");
    case 'w': return t->at++, put(t, in_class ? WORD_ITEMS : "[" WORD_ITEMS "]");
    case 'v': return t->at++, put(t, "\\x0b");
    case 'n':
    case 'r':
    case 't':
    case 'f': return t->at--, copy(t, 2);
    default: break;
  }
  if (c == 'W' && !in_class) return t->at++, put(t, "[^" WORD_ITEMS "]");
  if ((c == 'A' || c == 'z') && !in_class) return t->at--, copy(t, 2);
  if (ispunct((unsigned char)c) || c == ' ') return t->at--, copy(t, 2);
  if (!isalnum((unsigned char)c)) return refuse(t, "a \\ at an unusual place");
  snprintf(what, sizeof what, "\\%c%s", c, in_class ? " in a class" : "");
  return refuse(t, what);
}

/* -------------------------------------------------------------------------- classes */

static uly_status take_class(translation *t) {
  ULY_TRY(copy(t, t->at[1] == '^' ? 2 : 1));
  if (*t->at == ']') return refuse(t, "a class that begins with ]");
  while (*t->at != ']') {
    if (*t->at == '\0') return refuse(t, "a class without an end");
    if (*t->at == '[') return refuse(t, "a class in a class");
    if (t->at[0] == '&' && t->at[1] == '&') return refuse(t, "&& in a class");
    if (t->dialect == ULY__RUST && (*t->at == '-' || *t->at == '~') && t->at[1] == *t->at)
      return refuse(t, "-- or ~~ in a class");
    ULY_TRY(*t->at == '\\' ? take_escape(t, true) : copy(t, 1));
  }
  return copy(t, 1);
}

/* ----------------------------------------------------------------- groups, repetition */

static uly_status open_group(translation *t) {
  static const char *const known[] = {"(?:", "(?i:", "(?=", "(?!", "(?<=", "(?<!", "(?>"};
  if (t->num_groups == (int)(sizeof t->groups / sizeof *t->groups))
    return refuse(t, "groups that are nested too deeply");
  t->groups[t->num_groups++] = t->num;
  for (size_t i = 0; i < sizeof known / sizeof *known; i++)
    if (strncmp(t->at, known[i], strlen(known[i])) == 0) return copy(t, strlen(known[i]));
  if (strncmp(t->at, "(?i)", 4) == 0) {
    if (t->num > 0) return refuse(t, "(?i) after its beginning");
    t->num_groups--;
    return copy(t, 4);
  }
  if (t->at[1] == '?' || t->at[1] == '*') return refuse(t, "a special kind of group");
  t->at++;
  return put(t, "(?:"); /* what a group has matched is of no use here */
}

/* Returns the bytes of a repetition {n}, {n,} or {n,m} at s, or 0. */
static size_t counted(const char *s) {
  size_t n = 1 + strspn(s + 1, "0123456789");
  if (n == 1) return 0;
  if (s[n] == ',') n += 1 + strspn(s + n + 1, "0123456789");
  return s[n] == '}' ? n + 1 : 0;
}

/* Takes {...}, and what may follow it. */
static uly_status take_counted(translation *t) {
  size_t n = counted(t->at);
  if (n == 0) {
    if (t->at[1] == ',') return refuse(t, "{,n}");
    t->atom = t->num;
    t->at++;
    return put(t, "\\{");
  }
  bool is_range = memchr(t->at, ',', n) != NULL;
  ULY_TRY(copy(t, n));
  if (*t->at == '?' && !is_range && t->dialect == ULY__ONIGURUMA) return refuse(t, "{n}?");
  if (*t->at == '?') return copy(t, 1);
  if (*t->at != '+' || t->dialect != ULY__ONIGURUMA) return *t->at == '+' ? copy(t, 1) : ULY_OK;
  t->at++;
  ULY_TRY(insert(t, t->atom, "(?:", 3));
  return put(t, ")+");
}

static uly_status take_one(translation *t) {
  char c = *t->at;
  switch (c) {
    case '*':
    case '+':
    case '?': {
      ULY_TRY(copy(t, 1));
      return *t->at == '+' || *t->at == '?' ? copy(t, 1) : ULY_OK;
    }
    case '{': return take_counted(t);
    case '|': return copy(t, 1);
    case '(': return open_group(t);
    case ')':
      if (t->num_groups == 0) return refuse(t, "a ) without its (");
      t->atom = t->groups[--t->num_groups];
      return copy(t, 1);
    default: break;
  }
  t->atom = t->num;
  if (c == '[') return take_class(t);
  if (c == '\\') return take_escape(t, false);
  if (c == ']') return t->at++, put(t, "\\]");
  size_t n = 1;
  while (((unsigned char)t->at[n] & 0xc0) == 0x80) n++; /* the rest of a character */
  return copy(t, n);
}

uly_status uly__pattern_translate(const char *pattern, uly__dialect dialect, char **out) {
  translation t = {.pattern = pattern, .at = pattern, .dialect = dialect};
  *out = NULL;
  uly_status status = put(&t, "");
  while (status == ULY_OK && *t.at) status = take_one(&t);
  if (status == ULY_OK)
    *out = t.out;
  else
    free(t.out);
  return status;
}
