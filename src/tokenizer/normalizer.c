/* See normalizer.h. */
#include "tokenizer/normalizer.h"

#include <utf8proc.h>

#include "tokenizer/character_classes.h"

void uly__normalizer_free(uly__normalizer *normalizer) {
  for (int i = 0; i < normalizer->num_changes; i++) {
    free(normalizer->changes[i].what);
    free(normalizer->changes[i].with);
    uly__pattern_free(normalizer->changes[i].pattern);
  }
  *normalizer = (uly__normalizer){0};
}

/* U+0130 is the only character whose lower case is two: i and a dot above. */
static uly_status lowercase(const unsigned char *text, int64_t n, uly__buffer *out) {
  ULY_TRY(uly__buffer_reserve(out, 2 * n));
  for (int64_t i = 0; i < n;) {
    uint32_t c;
    i += uly__utf8_decode(text + i, &c);
    if (c == 0x130) {
      memcpy(out->bytes + out->n, "i\xcc\x87", 3);
      out->n += 3;
    } else {
      c = (uint32_t)utf8proc_tolower((utf8proc_int32_t)c);
      out->n += uly__utf8_encode(c, out->bytes + out->n);
    }
  }
  return ULY_OK;
}

static uly_status strip_accents(const uly__class_table *classes, const unsigned char *text,
                                int64_t n, uly__buffer *out) {
  ULY_TRY(uly__buffer_reserve(out, n));
  for (int64_t i = 0, length; i < n; i += length) {
    uint32_t c;
    length = uly__utf8_decode(text + i, &c);
    if (!(uly__class_of(classes, c) & ULY__MARK)) ULY_TRY(uly__buffer_add(out, text + i, length));
  }
  return ULY_OK;
}

static uly_status strip(const uly__class_table *classes, const uly__change *change,
                        const unsigned char *text, int64_t n, uly__buffer *out) {
  int64_t begin = n, end = 0;
  for (int64_t i = 0, length; i < n; i += length) {
    uint32_t c;
    length = uly__utf8_decode(text + i, &c);
    if (uly__class_of(classes, c) & ULY__SPACE) continue;
    if (i < begin) begin = i;
    end = i + length;
  }
  if (!change->left) begin = 0;
  if (!change->right) end = n;
  return end > begin ? uly__buffer_add(out, text + begin, end - begin) : ULY_OK;
}

/* Finds what is to be replaced; *begin is -1 if there is no more of it. */
static uly_status find(const uly__change *change, uly__matcher *matcher, const unsigned char *text,
                       int64_t n, int64_t from, int64_t *begin, int64_t *end) {
  if (change->pattern)
    return uly__pattern_find(change->pattern, matcher, text, n, from, begin, end);
  const unsigned char *found =
      change->num_what == 1
          ? memchr(text + from, (unsigned char)change->what[0], (size_t)(n - from))
          : memmem(text + from, (size_t)(n - from), change->what, (size_t)change->num_what);
  *begin = found ? found - text : -1;
  *end = *begin + change->num_what;
  return ULY_OK;
}

static uly_status replace(const uly__change *change, uly__matcher *matcher,
                          const unsigned char *text, int64_t n, uly__buffer *out) {
  for (int64_t at = 0, begin, end; at < n; at = end) {
    ULY_TRY(find(change, matcher, text, n, at, &begin, &end));
    if (begin < 0) return uly__buffer_add(out, text + at, n - at);
    ULY_TRY(uly__buffer_add(out, text + at, begin - at));
    ULY_TRY(uly__buffer_add(out, change->with, change->num_with));
  }
  return ULY_OK;
}

static uly_status apply(const uly__change *change, uly__matcher *matcher, const unsigned char *text,
                        int64_t n, uly__buffer *out) {
  const uly__class_table *classes = uly__class_table_get();
  if (!classes) ULY_FAIL(ULY_ERR_MEMORY, "no memory to classify characters");
  switch (change->kind) {
    case ULY__CHANGE_FORM: return uly__form_apply(change->form, text, n, out);
    case ULY__CHANGE_LOWERCASE: return lowercase(text, n, out);
    case ULY__CHANGE_STRIP_ACCENTS: return strip_accents(classes, text, n, out);
    case ULY__CHANGE_STRIP: return strip(classes, change, text, n, out);
    case ULY__CHANGE_REPLACE: return replace(change, matcher, text, n, out);
    case ULY__CHANGE_PREPEND: break;
  }
  if (n > 0) ULY_TRY(uly__buffer_add(out, change->with, change->num_with));
  return uly__buffer_add(out, text, n);
}

/* Returns whether a change would leave the text as it is; false if only making it would tell. */
static bool is_unchanged(const uly__change *change, const unsigned char *text, int64_t n,
                         bool continues) {
  if (change->kind == ULY__CHANGE_PREPEND) return continues;
  return change->kind == ULY__CHANGE_FORM && uly__form_unchanged(change->form, text, n) == n;
}

uly_status uly__normalize(const uly__normalizer *normalizer, uly__matcher *matcher,
                          uly__buffer buffers[2], const unsigned char *text, int64_t n,
                          bool continues, const unsigned char **out, int64_t *num) {
  for (int i = 0; i < normalizer->num_changes; i++) {
    const uly__change *change = &normalizer->changes[i];
    if (is_unchanged(change, text, n, continues)) continue;
    uly__buffer *to = &buffers[text == buffers[0].bytes];
    to->n = 0;
    ULY_TRY(apply(change, matcher, text, n, to));
    text = to->bytes;
    n = to->n;
  }
  *out = text;
  *num = n;
  return ULY_OK;
}
