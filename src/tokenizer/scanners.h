/* Scanners: hand-written code for the patterns that most tokenizers use. Each of them finds the
 * same matches as its regular expression, which the test `tokenizer_scan` compares with PCRE2. */
#ifndef ULY_SCANNERS_H
#define ULY_SCANNERS_H

#include "tokenizer/character_classes.h"
#include "tokenizer/pattern.h"

/* A text of n bytes of valid UTF-8. Nothing is before its beginning or after its end. */
typedef struct uly__scanned_text {
  const uly__class_table *classes;
  const unsigned char *text;
  int64_t n;
} uly__scanned_text;

/* Finds the first match that begins at or after `from`, which is less than n: returns where it
 * ends, and where it begins in *begin; -1 if there is none. */
typedef int64_t uly__scanner(const uly__scanned_text *scan, int64_t from, int64_t *begin);

typedef struct uly__known_pattern {
  const char *pattern;
  uly__scanner *scan;
  /* A word always ends after a letter, in the way that text_cuts.h describes. */
  bool ends_letters;
  /* The pattern means something else in Oniguruma. */
  bool is_rust;
} uly__known_pattern;

/* Returns the entry of a pattern, or NULL if it is not known. */
const uly__known_pattern *uly__known_pattern_find(const char *pattern, uly__dialect dialect);
/* Returns entry i, or NULL at the end of the list. */
const uly__known_pattern *uly__known_pattern_get(int i);

extern const char uly__gpt2_pattern[], uly__r50k_pattern[], uly__cl100k_pattern[];
extern const char uly__llama3_pattern[], uly__qwen2_pattern[], uly__qwen35_pattern[];
extern const char uly__o200k_pattern[];

uly__scanner uly__scan_gpt2;
uly__scanner uly__scan_cl100k, uly__scan_llama3, uly__scan_qwen2, uly__scan_qwen35;
uly__scanner uly__scan_o200k, uly__scan_tekken;
uly__scanner uly__scan_numbers, uly__scan_ideographs, uly__scan_deepseek;

/* ---- What the scanners share. */

/* Returns the class of the character at `at`, and its bytes in *length; 0 at the end. */
static inline unsigned uly__class_at(const uly__scanned_text *s, int64_t at, int *length) {
  uint32_t c;
  if (at >= s->n) {
    *length = 0;
    return 0;
  }
  *length = uly__utf8_decode(s->text + at, &c);
  return uly__class_of(s->classes, c);
}

/* Returns the end of the characters from `at` on that are in a set of classes; at most `most`. */
static inline int64_t uly__skip_most(const uly__scanned_text *s, int64_t at, unsigned classes,
                                     int most) {
  for (int length; most > 0 && uly__class_at(s, at, &length) & classes; at += length) most--;
  return at;
}

static inline int64_t uly__skip(const uly__scanned_text *s, int64_t at, unsigned classes) {
  const uint16_t *ascii = s->classes->pages[s->classes->page_of[0]];
  for (;;) {
    while (at < s->n && s->text[at] < 0x80 && ascii[s->text[at]] & classes) at++;
    if (at >= s->n || s->text[at] < 0x80) return at;
    int length;
    if (!(uly__class_at(s, at, &length) & classes)) return at;
    at += length;
  }
}

/* Returns the end of 's, 't, 're, 've, 'm, 'll or 'd at `at`, the position of the apostrophe, or
 * `at` if there is none of them. `folds` says that capitals count as well, and the long s. */
static inline int64_t uly__skip_contraction(const uly__scanned_text *s, int64_t at, bool folds) {
  const unsigned char *t = s->text + at;
  int64_t left = s->n - at;
  unsigned char bit = folds ? 0x20 : 0;
  if (left < 2) return at;
  unsigned char a = t[1] | bit, b = left > 2 ? t[2] | bit : 0;
  if (a == 's' || a == 't' || a == 'm' || a == 'd') return at + 2;
  if ((a == 'r' && b == 'e') || (a == 'v' && b == 'e') || (a == 'l' && b == 'l')) return at + 3;
  return folds && left > 2 && t[1] == 0xc5 && t[2] == 0xbf ? at + 3 : at;
}

/* Returns the end of a match of \s+(?!\S)|\s+ in white space from `at` to `end`: the last character
 * belongs to what follows. */
static inline int64_t uly__leave_last_space(const uly__scanned_text *s, int64_t at, int64_t end) {
  if (end >= s->n) return end;
  int64_t last = end - 1;
  while ((s->text[last] & 0xc0) == 0x80) last--;
  return last > at ? last : end;
}

/* Returns the end of a match of \s*[\r\n]+ in white space from `at` to `end`, or `at`. */
static inline int64_t uly__last_newline(const uly__scanned_text *s, int64_t at, int64_t end) {
  while (end > at && s->text[end - 1] != '\n' && s->text[end - 1] != '\r') end--;
  return end;
}

#endif
