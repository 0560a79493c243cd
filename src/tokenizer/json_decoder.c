/* The decoder of a tokenizer.json. What its steps do to each token is done once, when the file is
 * read; what they do to the beginning of a text is left for decoding. */
#include <string.h>

#include "base/printable.h"
#include "tokenizer/tokenizer_json.h"

typedef enum kind { BYTE_LEVEL, BYTE_FALLBACK, REPLACE, STRIP, METASPACE } kind;

typedef struct part {
  kind kind;
  const char *what, *with;
  int64_t num_what, num_with;
  int64_t start, stop;
  /* Metaspace: the first token of a text loses what stands for spaces. */
  bool drops_first;
} part;

enum { MOST = 16 };

typedef struct decoder {
  part parts[MOST];
  int num;
  /* All tokens are one text from here on. */
  bool is_fused;
  uly__buffer a, b;
} decoder;

/* ---------------------------------------------------------------------------- reading */

static uly_status read_replace(const json_t *json, part *p) {
  bool is_regex;
  p->kind = REPLACE;
  ULY_TRY(uly__json_pattern(json, &p->what, &p->num_what, &is_regex));
  if (is_regex) ULY_FAIL(ULY_ERR_DATA, "the decoder Replace with a Regex is not supported");
  return uly__json_text(json, "content", &p->with, &p->num_with);
}

static uly_status read_strip(const json_t *json, part *p) {
  p->kind = STRIP;
  ULY_TRY(uly__json_text(json, "content", &p->what, &p->num_what));
  p->start = json_integer_value(json_object_get(json, "start"));
  p->stop = json_integer_value(json_object_get(json, "stop"));
  if (p->num_what == 0 || uly__utf8_length((unsigned char)p->what[0]) != p->num_what)
    ULY_FAIL(ULY_ERR_DATA, "the content of the decoder Strip is not one character");
  return ULY_OK;
}

static uly_status read_metaspace(const json_t *json, part *p) {
  const json_t *scheme = json_object_get(json, "prepend_scheme");
  p->kind = METASPACE;
  ULY_TRY(uly__json_text(json, "replacement", &p->what, &p->num_what));
  if (p->num_what == 0) ULY_FAIL(ULY_ERR_DATA, "the replacement of Metaspace is empty");
  ULY_TRY(uly__json_flag(json, "add_prefix_space", true, &p->drops_first));
  if (json_is_string(scheme)) p->drops_first = strcmp(json_string_value(scheme), "never") != 0;
  return ULY_OK;
}

/* Takes a Strip that comes when all tokens are one text. */
static uly_status strip_whole(const part *p, uly__joining *out) {
  if (p->stop > 0)
    ULY_FAIL(ULY_ERR_DATA, "the decoder Strip at the end of a text is not supported");
  if (out->num_stripped > 0) ULY_FAIL(ULY_ERR_DATA, "the decoder strips a text twice");
  out->num_stripped = p->start;
  memcpy(out->stripped, p->what, (size_t)p->num_what);
  return ULY_OK;
}

static uly_status read_part(const json_t *json, decoder *d, uly__joining *out) {
  part p = {0};
  const char *type;
  ULY_TRY(uly__json_text(json, "type", &type, NULL));
  if (strcmp(type, "Fuse") == 0) {
    d->is_fused = true;
    return ULY_OK;
  }
  if (strcmp(type, "ByteLevel") == 0)
    p.kind = BYTE_LEVEL;
  else if (strcmp(type, "ByteFallback") == 0)
    p.kind = BYTE_FALLBACK;
  else if (strcmp(type, "Replace") == 0)
    ULY_TRY(read_replace(json, &p));
  else if (strcmp(type, "Strip") == 0)
    ULY_TRY(read_strip(json, &p));
  else if (strcmp(type, "Metaspace") == 0)
    ULY_TRY(read_metaspace(json, &p));
  else
    ULY_FAIL(ULY_ERR_DATA,
             "the decoder %s is not supported: ByteLevel, ByteFallback, Fuse, Replace, Strip, "
             "Metaspace and a Sequence of these are",
             uly__make_printable(type).text);
  if (d->is_fused && p.kind == STRIP) return strip_whole(&p, out);
  if (d->is_fused) ULY_FAIL(ULY_ERR_DATA, "the decoder %s after Fuse is not supported", type);
  if (d->num == MOST) ULY_FAIL(ULY_ERR_DATA, "there are more than %d decoders", MOST);
  d->parts[d->num++] = p;
  return ULY_OK;
}

/* --------------------------------------------------------------------------- applying */

static uly_status replace(const part *p, const char *with, int64_t num_with,
                          const uly__buffer *from, uly__buffer *to) {
  for (int64_t at = 0; at < from->n;) {
    const unsigned char *found =
        memmem(from->bytes + at, (size_t)(from->n - at), p->what, (size_t)p->num_what);
    int64_t before = found ? found - from->bytes - at : from->n - at;
    ULY_TRY(uly__buffer_add(to, from->bytes + at, before));
    if (found) ULY_TRY(uly__buffer_add(to, with, num_with));
    at += before + (found ? p->num_what : 0);
  }
  return ULY_OK;
}

static uly_status strip(const part *p, const uly__buffer *from, uly__buffer *to) {
  int64_t begin = 0, end = from->n;
  for (int64_t i = 0; i < p->start && end - begin >= p->num_what; i++) {
    if (memcmp(from->bytes + begin, p->what, (size_t)p->num_what) != 0) break;
    begin += p->num_what;
  }
  for (int64_t i = 0; i < p->stop && end - begin >= p->num_what; i++) {
    if (memcmp(from->bytes + end - p->num_what, p->what, (size_t)p->num_what) != 0) break;
    end -= p->num_what;
  }
  return uly__buffer_add(to, from->bytes + begin, end - begin);
}

/* Turns byte-level characters into bytes; a token with other characters stays as it is. */
static uly_status to_bytes(const uly__buffer *from, uly__buffer *to) {
  ULY_TRY(uly__buffer_reserve(to, from->n));
  bool is_valid = uly__utf8_valid(from->bytes, from->n) == from->n; /* not after another one */
  if (is_valid && uly__bytes_of_characters(from->bytes, from->n, to)) return ULY_OK;
  return uly__buffer_add(to, from->bytes, from->n);
}

static uly_status fall_back(const uly__buffer *from, uly__buffer *to) {
  int value = uly__byte_of_name(from->bytes, from->n);
  unsigned char byte = (unsigned char)value;
  return value >= 0 ? uly__buffer_add(to, &byte, 1) : uly__buffer_add(to, from->bytes, from->n);
}

static uly_status apply(const part *p, bool is_first, const uly__buffer *from, uly__buffer *to) {
  switch (p->kind) {
    case BYTE_LEVEL: return to_bytes(from, to);
    case BYTE_FALLBACK: return fall_back(from, to);
    case REPLACE: return replace(p, p->with, p->num_with, from, to);
    case STRIP: return strip(p, from, to);
    case METASPACE: break;
  }
  return replace(p, " ", is_first && p->drops_first ? 0 : 1, from, to);
}

/* Finds out what a token stands for, and keeps it in out. */
static uly_status decode(decoder *d, const void *name, int64_t n, int64_t id, bool is_first,
                         uly__vocab *out) {
  d->a.n = 0;
  ULY_TRY(uly__buffer_add(&d->a, name, n));
  for (int i = 0; i < d->num; i++) {
    uly__buffer before = d->a;
    d->a = d->b;
    d->b = before;
    d->a.n = 0;
    ULY_TRY(apply(&d->parts[i], is_first, &d->b, &d->a));
  }
  return uly__vocab_add(out, id, d->a.bytes, d->a.n, false);
}

static bool minds_first(const decoder *d) {
  for (int i = 0; i < d->num; i++)
    if (d->parts[i].kind == METASPACE && d->parts[i].drops_first) return true;
  return false;
}

static uly_status decode_both(decoder *d, const void *name, int64_t n, int64_t id,
                              uly__joining *out) {
  ULY_TRY(decode(d, name, n, id, false, &out->bytes));
  return minds_first(d) ? decode(d, name, n, id, true, &out->first_bytes) : ULY_OK;
}

static uly_status decode_all(decoder *d, json_t *vocab, const uly__vocab *names,
                             const uly__vocab *changed, uly__joining *out) {
  const char *name;
  json_t *id;
  int64_t n;
  for (int64_t i = 0; i < names->end; i++) {
    const unsigned char *added = uly__vocab_get(changed, i, &n);
    if (!added) added = uly__vocab_get(names, i, &n);
    if (added) ULY_TRY(decode_both(d, added, n, i, out));
  }
  json_object_foreach(vocab, name, id) if (!uly__vocab_get(names, json_integer_value(id), &n))
      ULY_TRY(decode_both(d, name, (int64_t)strlen(name), json_integer_value(id), out));
  return ULY_OK;
}

uly_status uly__read_decoder(json_t *json, json_t *vocab, const uly__vocab *names,
                             const uly__vocab *changed, uly__joining *out) {
  decoder d = {0};
  json_t *list;
  ULY_TRY(uly__json_list(json, "decoders", &list));
  out->separator = json && !json_is_null(json) ? "" : " ";
  uly_status status = ULY_OK;
  for (size_t i = 0; status == ULY_OK && i < json_array_size(list); i++)
    status = read_part(json_array_get(list, i), &d, out);
  if (status == ULY_OK) status = decode_all(&d, vocab, names, changed, out);
  uly__buffer_free(&d.a);
  uly__buffer_free(&d.b);
  json_decref(list);
  return status;
}
