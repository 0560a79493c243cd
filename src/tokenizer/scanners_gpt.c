/* Scanners of the patterns of GPT-2, GPT-4 (cl100k), GPT-4o (o200k), and of the models whose
 * patterns are made after them. */
#include "tokenizer/scanners.h"

/* '...| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+ */
int64_t uly__scan_gpt2(const uly__scanned_text *s, int64_t at, int64_t *begin) {
  *begin = at;
  if (s->text[at] == '\'') {
    int64_t end = uly__skip_contraction(s, at, false);
    if (end > at) return end;
  }
  int length;
  int64_t word = at + (s->text[at] == ' ');
  unsigned class = uly__class_at(s, word, &length);
  if (class & ULY__LETTER) return uly__skip(s, word + length, ULY__LETTER);
  if (class & ULY__NUMBER) return uly__skip(s, word + length, ULY__NUMBER);
  unsigned rest = ULY__ANY & ~(unsigned)(ULY__SPACE | ULY__LETTER | ULY__NUMBER);
  if (class & rest) return uly__skip(s, word + length, rest);
  return uly__leave_last_space(s, at, uly__skip(s, at, ULY__SPACE));
}

/* Matches what patterns since GPT-4 do with white space: \s*[\r\n]+|\s+(?!\S)|\s+ */
static inline int64_t scan_space(const uly__scanned_text *s, int64_t at) {
  int64_t end = uly__skip(s, at, ULY__SPACE), line = uly__last_newline(s, at, end);
  return line > at ? line : uly__leave_last_space(s, at, end);
}

/* Matches  ?[^\s\p{L}\p{N}]+[\r\n]*, or returns `at`. `slash` adds / to what may follow. */
static inline int64_t scan_punctuation(const uly__scanned_text *s, int64_t at, unsigned word,
                                       bool slash) {
  unsigned rest = ULY__ANY & ~(unsigned)(ULY__SPACE | ULY__NUMBER) & ~word;
  int64_t begin = at + (s->text[at] == ' '), end = uly__skip(s, begin, rest);
  if (end == begin) return at;
  while (end < s->n &&
         (s->text[end] == '\n' || s->text[end] == '\r' || (slash && s->text[end] == '/')))
    end++;
  return end;
}

/* (?i:'...)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,digits}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|
 * \s+(?!\S)|\s+, where `word` stands for \p{L}; \s++$ comes before \s*[\r\n]+ if ends_whole. */
static inline int64_t scan_gpt4(const uly__scanned_text *s, int64_t at, unsigned word, int digits,
                                bool ends_whole) {
  if (s->text[at] == '\'') {
    int64_t end = uly__skip_contraction(s, at, true);
    if (end > at) return end;
  }
  int length, next;
  unsigned class = uly__class_at(s, at, &length);
  if (class & word) return uly__skip(s, at + length, word);
  if (class & ULY__NUMBER) return uly__skip_most(s, at + length, ULY__NUMBER, digits - 1);
  if (!(class & ULY__NEWLINE) && uly__class_at(s, at + length, &next) & word)
    return uly__skip(s, at + length + next, word);
  int64_t end = scan_punctuation(s, at, word, false);
  if (end > at) return end;
  if (ends_whole && uly__skip(s, at, ULY__SPACE) == s->n) return s->n;
  return scan_space(s, at);
}

int64_t uly__scan_cl100k(const uly__scanned_text *s, int64_t at, int64_t *begin) {
  *begin = at;
  return scan_gpt4(s, at, ULY__LETTER, 3, true);
}

int64_t uly__scan_llama3(const uly__scanned_text *s, int64_t at, int64_t *begin) {
  *begin = at;
  return scan_gpt4(s, at, ULY__LETTER, 3, false);
}

int64_t uly__scan_qwen2(const uly__scanned_text *s, int64_t at, int64_t *begin) {
  *begin = at;
  return scan_gpt4(s, at, ULY__LETTER, 1, false);
}

int64_t uly__scan_qwen35(const uly__scanned_text *s, int64_t at, int64_t *begin) {
  *begin = at;
  return scan_gpt4(s, at, ULY__LETTER | ULY__MARK, 1, false);
}

enum {
  /* [\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}] and [\p{Ll}\p{Lm}\p{Lo}\p{M}] */
  UPPER = ULY__UPPER | ULY__CASELESS | ULY__MARK,
  LOWER = ULY__LOWER | ULY__CASELESS | ULY__MARK
};

/* Matches UPPER*LOWER+, or returns `at`. If no lower-case letter follows the first part, it gives
 * back what comes after its last character that is in both. */
static inline int64_t scan_lower(const uly__scanned_text *s, int64_t at) {
  int64_t upper = at, both = at;
  unsigned class;
  for (int length; (class = uly__class_at(s, upper, &length)) & UPPER;) {
    upper += length;
    if (!(class & ULY__UPPER)) both = upper;
  }
  return class & ULY__LOWER ? uly__skip(s, upper, LOWER) : both;
}

/* [^\r\n\p{L}\p{N}]?UPPER*LOWER+(?i:'...)?|[^\r\n\p{L}\p{N}]?UPPER+LOWER*(?i:'...)?|
 * \p{N}{1,digits}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+ */
static inline int64_t scan_gpt4o(const uly__scanned_text *s, int64_t at, int digits,
                                 bool contracts) {
  int length;
  unsigned class = uly__class_at(s, at, &length);
  if (class & ULY__NUMBER) return uly__skip_most(s, at + length, ULY__NUMBER, digits - 1);
  bool has_prefix = !(class & (ULY__NEWLINE | ULY__LETTER));
  int64_t word = has_prefix ? at + length : at, end = scan_lower(s, word);
  if (end == word && class & ULY__MARK) end = scan_lower(s, word = at); /* a mark is no prefix */
  if (end == word) end = uly__skip(s, word, ULY__UPPER);
  if (end > word) {
    if (contracts && end < s->n && s->text[end] == '\'') end = uly__skip_contraction(s, end, true);
    return end;
  }
  end = scan_punctuation(s, at, ULY__LETTER, true);
  return end > at ? end : scan_space(s, at);
}

int64_t uly__scan_o200k(const uly__scanned_text *s, int64_t at, int64_t *begin) {
  *begin = at;
  return scan_gpt4o(s, at, 3, true);
}

int64_t uly__scan_tekken(const uly__scanned_text *s, int64_t at, int64_t *begin) {
  *begin = at;
  return scan_gpt4o(s, at, 1, false);
}
