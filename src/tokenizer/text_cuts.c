/* See text_cuts.h. */
#include "tokenizer/text_cuts.h"

/* -------------------------------------------------------------------- what is possible */

/* Returns whether the normalizer looks at characters one by one or is a normalization form. */
static bool changes_in_place(const uly__normalizer *normalizer) {
  for (int i = 0; i < normalizer->num_changes; i++) {
    uly__change_kind kind = normalizer->changes[i].kind;
    if (kind != ULY__CHANGE_FORM && kind != ULY__CHANGE_LOWERCASE &&
        kind != ULY__CHANGE_STRIP_ACCENTS)
      return false;
  }
  return true;
}

/* Returns whether the normalizer only turns spaces into U+2581, and puts one before a text. */
static bool marks_spaces(const uly__normalizer *normalizer) {
  bool replaces = false;
  for (int i = 0; i < normalizer->num_changes; i++) {
    const uly__change *c = &normalizer->changes[i];
    if (!c->with || strcmp(c->with, ULY__SPACE_MARK) != 0) return false;
    bool is_replace = c->kind == ULY__CHANGE_REPLACE && !c->pattern && strcmp(c->what, " ") == 0;
    if (!is_replace && c->kind != ULY__CHANGE_PREPEND) return false;
    replaces |= is_replace;
  }
  return replaces;
}

/* Returns whether this is Metaspace: all spaces become U+2581. */
static bool is_metaspace(const uly__pre_tokenizer *p) {
  if (p->num_steps == 0 || p->steps[0].kind != ULY__STEP_METASPACE) return false;
  if (strcmp(p->steps[0].string, ULY__SPACE_MARK) != 0) return false;
  return p->num_steps == 1 ||
         (p->num_steps == 2 && p->steps[1].kind == ULY__STEP_STRING &&
          p->steps[1].behavior == ULY__MERGED_WITH_NEXT && !p->steps[1].is_inverted &&
          strcmp(p->steps[1].string, ULY__SPACE_MARK) == 0);
}

static bool has_mark_at(const unsigned char *bytes, int64_t n, int64_t at) {
  return at >= 0 && n - at >= ULY__NUM_SPACE_MARK &&
         memcmp(bytes + at, ULY__SPACE_MARK, ULY__NUM_SPACE_MARK) == 0;
}

/* Returns whether a U+2581 comes after another character in these bytes. */
static bool has_inner_mark(const unsigned char *bytes, int64_t n) {
  for (int64_t at = 1; at < n; at++)
    if (has_mark_at(bytes, n, at) && !has_mark_at(bytes, n, at - ULY__NUM_SPACE_MARK)) return true;
  return false;
}

/* Returns whether no merge joins another character to a U+2581 after it. */
static bool keeps_marks_first(const uly__bpe *bpe) {
  for (int64_t i = 0; i < bpe->num_slots; i++) {
    const uly__bpe_pair *pair = &bpe->pairs[i];
    int64_t num_left = 0, num_right = 0;
    if (pair->rank == ULY__NO_RANK) continue;
    const unsigned char *left = uly__vocab_get(&bpe->vocab, pair->left, &num_left);
    const unsigned char *right = uly__vocab_get(&bpe->vocab, pair->right, &num_right);
    if (!has_mark_at(left, num_left, num_left - ULY__NUM_SPACE_MARK) &&
        has_mark_at(right, num_right, 0))
      return false;
  }
  return !bpe->ignore_merges &&
         uly__vocab_find(&bpe->vocab, ULY__SPACE_MARK, ULY__NUM_SPACE_MARK) >= 0;
}

static bool has_inner_marks(const uly__vocab *pieces) {
  for (int64_t i = 0, n; i < pieces->end; i++) {
    const unsigned char *piece = uly__vocab_get(pieces, i, &n);
    if (piece && has_inner_mark(piece, n)) return true;
  }
  return false;
}

/* Returns how the steps divide: all of them at the known places, or not. */
static uly__cut find_words(const uly__pre_tokenizer *p) {
  bool ends = false, has_prefix = false;
  for (int i = 0; i < p->num_steps; i++) {
    const uly__step *s = &p->steps[i];
    bool is_plain = s->behavior == ULY__ISOLATED && !s->is_inverted;
    has_prefix |= s->kind == ULY__STEP_PREFIX;
    if (s->kind == ULY__STEP_PREFIX) continue;
    if (!is_plain || !(s->kind == ULY__STEP_SCANNER ||
                       (s->kind == ULY__STEP_CLASSES && s->classes == ULY__NUMBER)))
      return ULY__CUT_NOWHERE;
    ends = s->kind == ULY__STEP_SCANNER && s->known->ends_letters;
  }
  if (!ends || p->has_bytes_step) return ULY__CUT_NOWHERE;
  return has_prefix ? ULY__CUT_LETTER_SPACE : ULY__CUT_LETTER;
}

static uly__cut find_cut(const uly_tokenizer *t) {
  const uly__sentencepiece_spec *spec = &t->spec;
  if (t->sentencepiece) {
    bool is_possible = spec->is_bpe && spec->adds_prefix && spec->escapes_spaces &&
                       !spec->has_suffixes && !spec->joins_spaces && !has_inner_marks(&t->names);
    return is_possible ? ULY__CUT_SENTENCEPIECE : ULY__CUT_NOWHERE;
  }
  /* Names in normalized text are not looked for in the text as it is. */
  if (t->added[1].num_tokens > 0 && t->normalizer.num_changes > 0) return ULY__CUT_NOWHERE;
  bool is_marked = t->pre_tokenizer.num_steps == 0
                       ? marks_spaces(&t->normalizer)
                       : changes_in_place(&t->normalizer) && is_metaspace(&t->pre_tokenizer);
  if (is_marked && keeps_marks_first(&t->bpe)) return ULY__CUT_SPACE;
  return changes_in_place(&t->normalizer) ? find_words(&t->pre_tokenizer) : ULY__CUT_NOWHERE;
}

void uly__tokenizer_find_cuts(uly_tokenizer *t) {
  uly__pre_tokenizer *p = &t->pre_tokenizer;
  t->cut = find_cut(t);
  if (t->cut == ULY__CUT_SPACE && p->num_steps < 2)
    p->steps[p->num_steps++] = (uly__step){.kind = ULY__STEP_MARKS};
}

/* ------------------------------------------------------------------------ the place */

/* The characters around a place. */
typedef struct border {
  const unsigned char *before, *after;
  int num_before, num_after;
  uint32_t last, first;
} border;

/* Looks at the characters before and after a place; returns false unless both are valid. */
static bool look_around(const unsigned char *text, int64_t n, int64_t at, border *b) {
  int64_t begin = at - 1;
  if ((text[at] & 0xc0) == 0x80) return false;
  while (begin > 0 && at - begin < 4 && (text[begin] & 0xc0) == 0x80) begin--;
  b->before = text + begin;
  b->after = text + at;
  b->num_before = (int)(at - begin);
  b->num_after = uly__utf8_length(text[at]);
  if (uly__utf8_valid(b->before, b->num_before) != b->num_before || b->num_after > n - at ||
      uly__utf8_length(b->before[0]) != b->num_before ||
      uly__utf8_valid(b->after, b->num_after) != b->num_after)
    return false;
  (void)uly__utf8_decode(b->before, &b->last);
  (void)uly__utf8_decode(b->after, &b->first);
  return true;
}

static bool is_unchanged(const uly_tokenizer *t, const border *b) {
  for (int i = 0; i < t->normalizer.num_changes; i++) {
    const uly__change *c = &t->normalizer.changes[i];
    if (c->kind != ULY__CHANGE_FORM) continue;
    if (uly__form_unchanged(c->form, b->before, b->num_before) != b->num_before ||
        uly__form_unchanged(c->form, b->after, b->num_after) != b->num_after)
      return false;
  }
  return true;
}

/* Returns whether a place lies between a letter and something else. Steps before the last one may
 * not divide here, but the last one divides what they make. */
static bool is_after_letter(const uly_tokenizer *t, const uly__class_table *classes,
                            const border *b) {
  enum { AFTER = ULY__NUMBER | ULY__PUNCT | ULY__SYMBOL | ULY__SPACE };
  return uly__class_of(classes, b->last) & ULY__LETTER && b->first != '\'' &&
         uly__class_of(classes, b->first) & AFTER &&
         (t->cut == ULY__CUT_LETTER || b->first == ' ') && is_unchanged(t, b);
}

static bool is_ascii_word(uint32_t c) {
  return (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z');
}

static bool is_safe(const uly_tokenizer *t, const uly__class_table *classes,
                    const unsigned char *text, int64_t n, int64_t at) {
  border b;
  if (t->cut != ULY__CUT_LETTER && text[at] != ' ') return false;
  if (!look_around(text, n, at, &b)) return false;
  switch (t->cut) {
    case ULY__CUT_LETTER:
    case ULY__CUT_LETTER_SPACE:
      if (!is_after_letter(t, classes, &b)) return false;
      break;
    case ULY__CUT_SPACE:
      if (b.last == ' ' || b.last == 0x2581 || uly__class_of(classes, b.last) & ULY__MARK ||
          !is_unchanged(t, &b))
        return false;
      break;
    case ULY__CUT_SENTENCEPIECE:
      if (!is_ascii_word(b.last) || at + 1 >= n || !is_ascii_word(text[at + 1])) return false;
      break;
    case ULY__CUT_NOWHERE: return false;
  }
  return !uly__added_touches(&t->added[0], text, n, at) &&
         !uly__added_touches(&t->added[1], text, n, at);
}

int64_t uly__tokenizer_cut(const uly_tokenizer *t, const char *text, int64_t n) {
  const uly__class_table *classes = uly__class_table_get();
  const unsigned char *bytes = (const unsigned char *)text;
  int64_t longest =
      t->added[0].longest > t->added[1].longest ? t->added[0].longest : t->added[1].longest;
  if (!classes || t->cut == ULY__CUT_NOWHERE) return 0;
  /* Names that reach up to the cut lie within the text that is known. */
  for (int64_t at = n - 1 - longest; at > longest; at--)
    if (is_safe(t, classes, bytes, n, at)) return at;
  return 0;
}
