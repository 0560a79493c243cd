/* See normal_forms.h. utf8proc knows how characters decompose and compose; the order of marks is
 * made here, since utf8proc takes O(n^2) steps to sort n marks. */
#include "tokenizer/normal_forms.h"

#include <pthread.h>
#include <stdbool.h>
#include <utf8proc.h>

#include "tokenizer/utf8_text.h"

enum { NUM_CHARACTERS = 0x110000, NUM_FORMS = 4, LONGEST = 32, FEW_MARKS = 16 };

/* A bit for each form in which a character may change or join what comes before it. */
static unsigned char changes[NUM_CHARACTERS];

static const struct {
  int options;
  bool composes, is_compatible;
} forms[NUM_FORMS] = {
    [ULY__NFC] = {UTF8PROC_STABLE | UTF8PROC_COMPOSE, true, false},
    [ULY__NFD] = {UTF8PROC_STABLE | UTF8PROC_DECOMPOSE, false, false},
    [ULY__NFKC] = {UTF8PROC_STABLE | UTF8PROC_COMPOSE | UTF8PROC_COMPAT, true, true},
    [ULY__NFKD] = {UTF8PROC_STABLE | UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT, false, true},
};

/* Marks one character: what it becomes by itself, and the characters that others are composed of,
 * but for the first. */
static void look_at(utf8proc_int32_t c) {
  for (int form = 0; form < NUM_FORMS; form++) {
    utf8proc_int32_t parts[LONGEST];
    int options = forms[form].options, boundary = UTF8PROC_BOUNDCLASS_START;
    utf8proc_ssize_t n =
        utf8proc_decompose_char(c, parts, LONGEST, (utf8proc_option_t)options, &boundary);
    for (utf8proc_ssize_t i = 1; forms[form].composes && i < n; i++)
      changes[parts[i]] |= (unsigned char)(1 << form);
    if (n > 0) n = utf8proc_normalize_utf32(parts, n, (utf8proc_option_t)options);
    if (n != 1 || parts[0] != c) changes[c] |= (unsigned char)(1 << form);
  }
}

static void make_changes(void) {
  for (utf8proc_int32_t c = 0; c < NUM_CHARACTERS; c++) {
    const utf8proc_property_t *p = utf8proc_get_property(c);
    bool is_syllable = c >= 0xac00 && c < 0xd7a4;
    if (p->combining_class != 0) changes[c] = (1 << NUM_FORMS) - 1;
    if (p->decomp_seqindex != UINT16_MAX || is_syllable) look_at(c);
  }
}

static const unsigned char *get_changes(void) {
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  (void)pthread_once(&once, make_changes);
  return changes;
}

int64_t uly__form_unchanged(uly__form form, const unsigned char *text, int64_t n) {
  const unsigned char *table = get_changes();
  int64_t last = 0;
  for (int64_t i = 0; i < n;) {
    uint64_t eight;
    for (; i + 8 <= n; last = i + 7, i += 8) {
      memcpy(&eight, text + i, sizeof eight);
      if (eight & 0x8080808080808080u) break;
    }
    if (i >= n) break;
    uint32_t c;
    int length = uly__utf8_decode(text + i, &c);
    if (table[c] >> form & 1) return last;
    last = i;
    i += length;
  }
  return n;
}

/* ------------------------------------------------------------------------- segments */

typedef struct characters {
  utf8proc_int32_t *at;
  int64_t n, capacity;
} characters;

static uly_status decompose(characters *list, uint32_t c, uly__form form) {
  if (list->n + LONGEST > list->capacity) {
    int64_t capacity = 2 * list->capacity + 8 * LONGEST;
    void *grown = realloc(list->at, (size_t)capacity * sizeof *list->at);
    if (!grown) ULY_FAIL(ULY_ERR_MEMORY, "no memory to normalize a text");
    list->at = grown;
    list->capacity = capacity;
  }
  int boundary = UTF8PROC_BOUNDCLASS_START;
  utf8proc_ssize_t n = utf8proc_decompose_char((utf8proc_int32_t)c, list->at + list->n, LONGEST,
                                               (utf8proc_option_t)forms[form].options, &boundary);
  if (n < 0 || n > LONGEST)
    ULY_FAIL(ULY_ERR_INTERNAL, "U+%04X decomposes into %lld characters", (unsigned)c, (long long)n);
  list->n += n;
  return ULY_OK;
}

static int order_of(utf8proc_int32_t c) { return utf8proc_get_property(c)->combining_class; }

/* Sorts a few marks by their class, which is stable: equal ones keep their order. */
static void sort_few(utf8proc_int32_t *marks, int64_t n) {
  for (int64_t i = 1; i < n; i++) {
    utf8proc_int32_t moving = marks[i];
    int64_t at = i;
    for (; at > 0 && order_of(marks[at - 1]) > order_of(moving); at--) marks[at] = marks[at - 1];
    marks[at] = moving;
  }
}

/* Sorts many marks by counting those of each class. */
static uly_status sort_many(utf8proc_int32_t *marks, int64_t n) {
  int64_t places[257] = {0};
  utf8proc_int32_t *sorted = malloc((size_t)n * sizeof *sorted);
  if (!sorted) ULY_FAIL(ULY_ERR_MEMORY, "no memory to normalize a text");
  for (int64_t i = 0; i < n; i++) places[order_of(marks[i]) + 1]++;
  for (int i = 0; i < 256; i++) places[i + 1] += places[i];
  for (int64_t i = 0; i < n; i++) sorted[places[order_of(marks[i])]++] = marks[i];
  for (int64_t i = 0; i < n; i++) marks[i] = sorted[i];
  free(sorted);
  return ULY_OK;
}

static uly_status sort_marks(characters *list) {
  for (int64_t i = 0; i < list->n;) {
    int64_t end = i;
    while (end < list->n && order_of(list->at[end]) != 0) end++;
    if (end - i > FEW_MARKS)
      ULY_TRY(sort_many(list->at + i, end - i));
    else
      sort_few(list->at + i, end - i);
    i = end + 1;
  }
  return ULY_OK;
}

static uly_status normalize_segment(characters *list, uly__form form, const unsigned char *text,
                                    int64_t n, uly__buffer *out) {
  list->n = 0;
  for (int64_t i = 0; i < n;) {
    uint32_t c;
    i += uly__utf8_decode(text + i, &c);
    ULY_TRY(decompose(list, c, form));
  }
  ULY_TRY(sort_marks(list));
  list->n = utf8proc_normalize_utf32(list->at, list->n, (utf8proc_option_t)forms[form].options);
  ULY_TRY(uly__buffer_reserve(out, 4 * list->n));
  for (int64_t i = 0; i < list->n; i++)
    out->n += uly__utf8_encode((uint32_t)list->at[i], out->bytes + out->n);
  return ULY_OK;
}

/* Returns where the segment ends whose first character is at `at`: at the next one that nothing
 * changes. */
static int64_t end_segment(uly__form form, const unsigned char *text, int64_t n, int64_t at) {
  const unsigned char *table = get_changes();
  uint32_t c;
  at += uly__utf8_length(text[at]);
  for (int length; at < n; at += length) {
    length = uly__utf8_decode(text + at, &c);
    if (!(table[c] >> form & 1)) break;
  }
  return at;
}

static uly_status apply(characters *list, uly__form form, const unsigned char *text, int64_t n,
                        uly__buffer *out) {
  for (int64_t i = 0; i < n;) {
    int64_t same = uly__form_unchanged(form, text + i, n - i);
    ULY_TRY(uly__buffer_add(out, text + i, same));
    i += same;
    if (i >= n) break;
    int64_t end = end_segment(form, text, n, i);
    ULY_TRY(normalize_segment(list, form, text + i, end - i, out));
    i = end;
  }
  return ULY_OK;
}

uly_status uly__form_apply(uly__form form, const unsigned char *text, int64_t n, uly__buffer *out) {
  characters list = {0};
  uly_status status = apply(&list, form, text, n, out);
  free(list.at);
  return status;
}
