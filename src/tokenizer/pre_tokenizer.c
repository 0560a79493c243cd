/* See pre_tokenizer.h. Pieces are handed from step to step one by one, so that no list of them
 * is kept; a step that changes a piece has a buffer of its own. */
#include "tokenizer/pre_tokenizer.h"

static uly_status run_step(uly__pre_tokenizer_run *run, int index, const unsigned char *text,
                           int64_t n, bool is_first);

void uly__pre_tokenizer_free(uly__pre_tokenizer *p) {
  for (int i = 0; i < p->num_steps; i++) {
    uly__pattern_free(p->steps[i].pattern);
    free(p->steps[i].string);
  }
  *p = (uly__pre_tokenizer){0};
}

/* --------------------------------------------------------------- byte-level characters */

/* Bytes that are printable characters of Latin-1 stand for themselves. */
static bool is_itself(uint32_t byte) {
  return (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
}

/* Returns the byte that a byte-level character stands for, or -1. Bytes that are not themselves are
 * 0 to 0x20, 0x7f to 0xa0, and 0xad, in this order. */
static int byte_of_character(uint32_t c) {
  if (c < 0x100) return is_itself(c) ? (int)c : -1;
  if (c <= 0x120) return (int)c - 0x100;
  if (c <= 0x142) return (int)c - 0x121 + 0x7f;
  return c == 0x143 ? 0xad : -1;
}

bool uly__bytes_of_characters(const void *text, int64_t n, uly__buffer *out) {
  const unsigned char *s = text;
  out->n = 0;
  for (int64_t i = 0; i < n;) {
    uint32_t c;
    i += uly__utf8_decode(s + i, &c);
    int byte = byte_of_character(c);
    if (byte < 0) {
      out->n = 0;
      return false;
    }
    out->bytes[out->n++] = (unsigned char)byte;
  }
  return true;
}

static uint32_t character_of_byte(uint32_t byte) {
  if (is_itself(byte)) return byte;
  return byte <= 0x20 ? 0x100 + byte : byte <= 0xa0 ? 0x121 + byte - 0x7f : 0x143;
}

int uly__byte_of_name(const unsigned char *name, int64_t n) {
  char digits[3] = {0};
  if (n != 6 || memcmp(name, "<0x", 3) != 0 || name[5] != '>') return -1;
  memcpy(digits, name + 3, 2);
  bool is_byte = strspn(digits, "0123456789abcdefABCDEF") == 2;
  return is_byte ? (int)strtol(digits, NULL, 16) : -1;
}

static uly_status change_to_characters(uly__buffer *out, const unsigned char *text, int64_t n) {
  out->n = 0;
  ULY_TRY(uly__buffer_reserve(out, 2 * n + 4));
  for (int64_t i = 0; i < n; i++)
    out->n += uly__utf8_encode(character_of_byte(text[i]), out->bytes + out->n);
  return ULY_OK;
}

static uly_status take_characters(uly__pre_tokenizer_run *run, const unsigned char *text,
                                  int64_t n) {
  uly__buffer *out = &run->changed[ULY__MOST_STEPS];
  out->n = 0;
  ULY_TRY(uly__buffer_reserve(out, n));
  (void)uly__bytes_of_characters(text, n, out); /* they are byte-level characters */
  return run->take(run->context, out->bytes, out->n);
}

/* ------------------------------------------------------------------------- dividing */

/* A piece on its way through a step. What came last may still be joined with what follows. */
typedef struct division {
  uly__pre_tokenizer_run *run;
  int step;
  const unsigned char *text;
  uly__behavior behavior;
  bool is_first;
  /* The piece that waits, or nothing where both are equal; and whether it is a match. */
  int64_t begin, end;
  bool was_match;
} division;

static uly_status hand_on(const division *d, int64_t begin, int64_t end) {
  if (begin == end) return ULY_OK;
  return run_step(d->run, d->step + 1, d->text + begin, end - begin, d->is_first && begin == 0);
}

/* Takes the next stretch, which is a match or lies between matches. */
static uly_status take(division *d, int64_t begin, int64_t end, bool is_match) {
  bool joins = false, was_match = d->was_match, is_new = d->begin == d->end;
  switch (d->behavior) {
    case ULY__ISOLATED: break;
    case ULY__REMOVED:
      if (is_match) begin = end;
      break;
    case ULY__MERGED_WITH_PREVIOUS: joins = is_match && !was_match; break;
    case ULY__MERGED_WITH_NEXT: joins = !is_match && was_match; break;
    case ULY__CONTIGUOUS: joins = is_match == was_match; break;
  }
  d->was_match = is_match;
  if (joins && !is_new) {
    d->end = end;
    return ULY_OK;
  }
  int64_t ready_begin = d->begin, ready_end = d->end;
  d->begin = begin;
  d->end = end;
  return hand_on(d, ready_begin, ready_end);
}

static int64_t find_string(const uly__step *step, const unsigned char *text, int64_t n,
                           int64_t from, int64_t *begin) {
  const unsigned char *found =
      memmem(text + from, (size_t)(n - from), step->string, (size_t)step->num_string);
  if (!found) return -1;
  *begin = found - text;
  return *begin + step->num_string;
}

/* Finds U+2581 (E2 96 81) any times, and what follows up to the next one. */
static int64_t find_marked(const unsigned char *text, int64_t n, int64_t at) {
  const unsigned char *found;
  while (n - at >= 3 && memcmp(text + at, ULY__SPACE_MARK, 3) == 0) at += 3;
  while ((found = memchr(text + at, 0xe2, (size_t)(n - at)))) {
    at = found - text;
    if (n - at >= 3 && found[1] == 0x96 && found[2] == 0x81) return at;
    at++;
  }
  return n;
}

static int64_t find_mark(const uly__scanned_text *s, int64_t at, int64_t *begin) {
  for (int length; at < s->n; at += length) {
    uint32_t c;
    *begin = at;
    length = uly__utf8_decode(s->text + at, &c);
    if (uly__is_punctuation(c)) return at + length;
  }
  return -1;
}

static int64_t find_classes(const uly__scanned_text *s, const uly__step *step, int64_t at,
                            int64_t *begin) {
  *begin = at = uly__skip(s, at, ULY__ANY & ~step->classes);
  int64_t end = step->most > 0 ? uly__skip_most(s, at, step->classes, step->most)
                               : uly__skip(s, at, step->classes);
  return end > at ? end : -1;
}

/* Finds the next match of a step; *end is -1 if there is none. */
static uly_status find(uly__pre_tokenizer_run *run, const uly__step *step,
                       const uly__scanned_text *s, int64_t from, int64_t *begin, int64_t *end) {
  switch (step->kind) {
    case ULY__STEP_SCANNER: *end = step->scan(s, from, begin); return ULY_OK;
    case ULY__STEP_MARKS: *begin = from, *end = find_marked(s->text, s->n, from); return ULY_OK;
    case ULY__STEP_STRING: *end = find_string(step, s->text, s->n, from, begin); return ULY_OK;
    case ULY__STEP_CLASSES: *end = find_classes(s, step, from, begin); return ULY_OK;
    case ULY__STEP_PUNCTUATION: *end = find_mark(s, from, begin); return ULY_OK;
    default: break;
  }
  return uly__pattern_find(step->pattern, run->matcher, s->text, s->n, from, begin, end);
}

static uly_status divide(uly__pre_tokenizer_run *run, int index, const unsigned char *text,
                         int64_t n, bool is_first) {
  const uly__step *step = &run->pre_tokenizer->steps[index];
  const uly__scanned_text s = {run->classes, text, n};
  division d = {run, index, text, step->behavior, is_first, .was_match = false};
  for (int64_t at = 0, begin, end; at < n; at = end) {
    ULY_TRY(find(run, step, &s, at, &begin, &end));
    if (end < 0) begin = end = n;
    if (begin > at) ULY_TRY(take(&d, at, begin, step->is_inverted));
    if (end > begin) ULY_TRY(take(&d, begin, end, !step->is_inverted));
  }
  return hand_on(&d, d.begin, d.end);
}

/* Divides where nothing is joined and the model takes the pieces: the usual case, without
 * detours. */
static uly_status divide_last(uly__pre_tokenizer_run *run, uly__scanner *scan,
                              const unsigned char *text, int64_t n) {
  const uly__scanned_text s = {run->classes, text, n};
  for (int64_t at = 0, begin, end; at < n; at = end) {
    end = scan(&s, at, &begin);
    if (end < 0) begin = end = n;
    if (begin > at) ULY_TRY(run->take(run->context, text + at, begin - at));
    if (end > begin) ULY_TRY(run->take(run->context, text + begin, end - begin));
  }
  return ULY_OK;
}

/* ------------------------------------------------------------------------- changing */

static uly_status replace_spaces(const uly__step *step, const unsigned char *text, int64_t n,
                                 bool is_first, uly__buffer *out) {
  int64_t length = step->num_string;
  bool has_prefix =
      n > 0 && (text[0] == ' ' || (n >= length && memcmp(text, step->string, (size_t)length) == 0));
  bool wants_prefix =
      step->prepend == ULY__PREPEND_ALWAYS || (step->prepend == ULY__PREPEND_FIRST && is_first);
  out->n = 0;
  if (wants_prefix && !has_prefix) ULY_TRY(uly__buffer_add(out, step->string, length));
  while (n > 0) {
    const unsigned char *space = memchr(text, ' ', (size_t)n);
    int64_t before = space ? space - text : n;
    ULY_TRY(uly__buffer_add(out, text, before));
    if (space) ULY_TRY(uly__buffer_add(out, step->string, length));
    text += before + (space != NULL);
    n -= before + (space != NULL);
  }
  return ULY_OK;
}

static uly_status put_space(const unsigned char *text, int64_t n, uly__buffer *out) {
  out->n = 0;
  if (n > 0 && text[0] != ' ') ULY_TRY(uly__buffer_add(out, " ", 1));
  return uly__buffer_add(out, text, n);
}

static uly_status run_step(uly__pre_tokenizer_run *run, int index, const unsigned char *text,
                           int64_t n, bool is_first) {
  const uly__pre_tokenizer *p = run->pre_tokenizer;
  if (index == p->num_steps)
    return p->has_bytes_step ? take_characters(run, text, n) : run->take(run->context, text, n);
  const uly__step *step = &p->steps[index];
  uly__buffer *out = &run->changed[index];
  switch (step->kind) {
    case ULY__STEP_SCANNER:
      if (index + 1 == p->num_steps && step->behavior == ULY__ISOLATED && !p->has_bytes_step)
        return divide_last(run, step->scan, text, n);
      break;
    case ULY__STEP_PREFIX: {
      if (n > 0 && text[0] == ' ') return run_step(run, index + 1, text, n, is_first);
      ULY_TRY(put_space(text, n, out));
      return run_step(run, index + 1, out->bytes, out->n, is_first);
    }
    case ULY__STEP_BYTES:
      ULY_TRY(change_to_characters(out, text, n));
      return run_step(run, index + 1, out->bytes, out->n, is_first);
    case ULY__STEP_METASPACE:
      ULY_TRY(replace_spaces(step, text, n, is_first, out));
      return run_step(run, index + 1, out->bytes, out->n, is_first);
    default: break;
  }
  return divide(run, index, text, n, is_first);
}

uly_status uly__pre_tokenizer_divide(uly__pre_tokenizer_run *run, const unsigned char *text,
                                     int64_t n, bool is_first) {
  return run_step(run, 0, text, n, is_first);
}
