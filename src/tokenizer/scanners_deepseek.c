/* Scanners of the three patterns that DeepSeek's tokenizers apply one after the other. */
#include "tokenizer/scanners.h"

/* \p{N}{1,3} */
int64_t uly__scan_numbers(const uly__scanned_text *s, int64_t at, int64_t *begin) {
  *begin = at = uly__skip(s, at, ULY__ANY & ~(unsigned)ULY__NUMBER);
  int64_t end = uly__skip_most(s, at, ULY__NUMBER, 3);
  return end > at ? end : -1;
}

/* Returns whether [U+4E00-U+9FA5 U+3040-U+309F U+30A0-U+30FF] begins at `at`. All of these have
 * three bytes. */
static inline bool is_ideograph(const uly__scanned_text *s, int64_t at) {
  uint32_t c;
  if (s->text[at] < 0xe3 || s->text[at] > 0xe9) return false;
  (void)uly__utf8_decode(s->text + at, &c);
  return (c >= 0x4e00 && c <= 0x9fa5) || (c >= 0x3040 && c <= 0x30ff);
}

int64_t uly__scan_ideographs(const uly__scanned_text *s, int64_t at, int64_t *begin) {
  while (at < s->n && !is_ideograph(s, at)) at++;
  if (at >= s->n) return -1;
  *begin = at;
  while (at < s->n && is_ideograph(s, at)) at += 3;
  return at;
}

static inline bool is_ascii_letter(unsigned char c) {
  return (c | 0x20) >= 'a' && (c | 0x20) <= 'z';
}

/* [ASCII punctuation][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|
 * \s*[\r\n]+|\s+(?!\S)|\s+ */
static int64_t match_at(const uly__scanned_text *s, int64_t at) {
  enum { WORD = ULY__LETTER | ULY__MARK, POINT = ULY__PUNCT | ULY__SYMBOL };
  int length, next;
  unsigned class = uly__class_at(s, at, &length);
  if (class & WORD) return uly__skip(s, at + length, WORD);
  if (class & POINT && length == 1 && at + 1 < s->n && is_ascii_letter(s->text[at + 1])) {
    int64_t end = at + 1;
    while (end < s->n && is_ascii_letter(s->text[end])) end++;
    return end;
  }
  if (!(class & (POINT | ULY__NEWLINE)) && uly__class_at(s, at + length, &next) & WORD)
    return uly__skip(s, at + length + next, WORD);
  int64_t points = at + (s->text[at] == ' '), end = uly__skip(s, points, POINT);
  if (end > points) {
    while (end < s->n && (s->text[end] == '\n' || s->text[end] == '\r')) end++;
    return end;
  }
  end = uly__skip(s, at, ULY__SPACE);
  int64_t line = uly__last_newline(s, at, end);
  if (line > at) return line;
  return end > at ? uly__leave_last_space(s, at, end) : at;
}

/* Controls, formats and numbers that no word follows are in no match. */
int64_t uly__scan_deepseek(const uly__scanned_text *s, int64_t at, int64_t *begin) {
  for (; at < s->n; at += uly__utf8_length(s->text[at])) {
    int64_t end = match_at(s, at);
    *begin = at;
    if (end > at) return end;
  }
  return -1;
}
