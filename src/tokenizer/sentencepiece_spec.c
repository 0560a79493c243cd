/* See sentencepiece_spec.h. The file is a protocol buffer (sentencepiece_model.proto); the table
 * is a double array of darts-clone, whose units are 32 bits. */
#include "tokenizer/sentencepiece_spec.h"

#include <endian.h>
#include <stdlib.h>
#include <string.h>

/* A message, or what is left of it. */
typedef struct message {
  const unsigned char *at, *end;
} message;

typedef struct field {
  uint64_t number, value;
  message bytes; /* of a field that has a length */
  bool has_bytes;
} field;

static bool read_varint(message *m, uint64_t *value) {
  *value = 0;
  for (int shift = 0; m->at < m->end && shift < 64; shift += 7) {
    unsigned char byte = *m->at++;
    *value |= (uint64_t)(byte & 0x7f) << shift;
    if (byte < 0x80) return true;
  }
  return false;
}

/* Reads the next field; returns false if it is broken. */
static bool read_field(message *m, field *f) {
  uint64_t key, length;
  *f = (field){0};
  if (!read_varint(m, &key)) return false;
  f->number = key >> 3;
  switch (key & 7) {
    case 0: return read_varint(m, &f->value);
    case 1: length = 8; break;
    case 5: length = 4; break;
    case 2:
      if (!read_varint(m, &length)) return false;
      f->has_bytes = true;
      break;
    default: return false;
  }
  if (length > (uint64_t)(m->end - m->at)) return false;
  f->bytes = (message){m->at, m->at + length};
  m->at += length;
  return true;
}

/* --------------------------------------------------------------- the table of characters */

typedef struct table {
  const unsigned char *units;
  uint32_t num;
  uint64_t num_text; /* bytes of the texts that follow */
} table;

static uint32_t unit_at(const table *t, uint32_t i) {
  uint32_t unit;
  memcpy(&unit, t->units + 4 * (size_t)i, sizeof unit);
  return le32toh(unit);
}

/* Returns where the children of a unit are: at this place, with any change of the last 8 bits. */
static uint32_t children_of(const table *t, uint32_t i) {
  uint32_t unit = unit_at(t, i);
  return i ^ ((unit >> 10) << ((unit & 1 << 9) >> 6));
}

/* Checks a unit that can be reached: its children lie in the table, and its text in the texts. */
static bool is_sound(const table *t, uint32_t i) {
  uint32_t base = children_of(t, i);
  if ((base | 0xff) >= t->num) return false;
  bool has_leaf = unit_at(t, i) >> 8 & 1;
  return !has_leaf || (unit_at(t, base) & 0x7fffffff) < t->num_text;
}

/* Walks through all that can be reached from the first unit. *joins_spaces says whether a space is
 * followed by something, or follows something. */
static bool walk(const table *t, unsigned char *is_seen, uint32_t *open, bool *joins_spaces) {
  uint32_t num_open = 1;
  open[0] = 0;
  is_seen[0] = 1;
  while (num_open > 0) {
    uint32_t i = open[--num_open];
    if (!is_sound(t, i)) return false;
    uint32_t base = children_of(t, i);
    for (uint32_t label = 1; label < 256; label++) {
      uint32_t child = base ^ label;
      if (is_seen[child] || (unit_at(t, child) & (0x80000000u | 0xff)) != label) continue;
      is_seen[child] = 1;
      *joins_spaces |= (label == ' ' && i != 0) || (unit_at(t, i) & 0xff) == ' ';
      open[num_open++] = child;
    }
  }
  return true;
}

static uly_status check_table(message bytes, bool *joins_spaces) {
  uint32_t size = 0;
  size_t left = (size_t)(bytes.end - bytes.at);
  if (left == 0) return ULY_OK;
  if (left >= 4) memcpy(&size, bytes.at, 4);
  size = le32toh(size);
  if (left < 5 || size < 1024 || size % 4 != 0 || size >= left - 4 || bytes.end[-1] != '\0')
    ULY_FAIL(ULY_ERR_DATA, "the table of characters of the model has an impossible size");
  table t = {bytes.at + 4, size / 4, left - 4 - size};
  unsigned char *is_seen = calloc(t.num, 1);
  uint32_t *open = malloc(t.num * sizeof *open);
  bool is_good = is_seen && open && walk(&t, is_seen, open, joins_spaces);
  uly_status status = is_seen && open ? ULY_OK : ULY_ERR_MEMORY;
  free(is_seen);
  free(open);
  if (status != ULY_OK) ULY_FAIL(status, "no memory to check a SentencePiece model");
  if (!is_good)
    ULY_FAIL(ULY_ERR_DATA, "the table of characters of the model points outside itself");
  return ULY_OK;
}

/* ---------------------------------------------------------------------------- messages */

enum { TRAINER_SPEC = 2, NORMALIZER_SPEC = 3, DENORMALIZER_SPEC = 5 };

static uly_status broken(void) {
  ULY_FAIL(ULY_ERR_DATA,
           "this is neither a tokenizer.json, nor ranks of tiktoken, nor a SentencePiece model");
}

/* TrainerSpec: model_type (2 is BPE), treat_whitespace_as_suffix, unk_surface. */
static uly_status read_trainer(message m, uly__sentencepiece_spec *out) {
  for (field f; m.at < m.end;) {
    if (!read_field(&m, &f)) return broken();
    if (f.number == 3) out->is_bpe = f.value == 2;
    if (f.number == 24) out->has_suffixes = f.value != 0;
    size_t n = (size_t)(f.bytes.end - f.bytes.at);
    if (f.number != 44 || !f.has_bytes) continue;
    if (n >= sizeof out->unknown)
      ULY_FAIL(ULY_ERR_DATA, "the text of the unknown token has %zu bytes", n);
    memcpy(out->unknown, f.bytes.at, n);
    out->unknown[n] = '\0';
  }
  return ULY_OK;
}

/* NormalizerSpec: precompiled_charsmap, and three flags. */
static uly_status read_normalizer(message m, uly__sentencepiece_spec *out) {
  for (field f; m.at < m.end;) {
    if (!read_field(&m, &f)) return broken();
    if (f.number == 2 && f.has_bytes) ULY_TRY(check_table(f.bytes, &out->joins_spaces));
    if (f.number == 3) out->adds_prefix = f.value != 0;
    if (f.number == 4) out->drops_spaces = f.value != 0;
    if (f.number == 5) out->escapes_spaces = f.value != 0;
  }
  return ULY_OK;
}

uly_status uly__sentencepiece_check(const char *bytes, int64_t n, uly__sentencepiece_spec *out) {
  message m = {(const unsigned char *)bytes, (const unsigned char *)bytes + n};
  uly__sentencepiece_spec unused = {0};
  *out = (uly__sentencepiece_spec){
      .adds_prefix = true, .drops_spaces = true, .escapes_spaces = true, .unknown = " \u2047 "};
  if (n == 0) return broken();
  for (field f; m.at < m.end;) {
    if (!read_field(&m, &f)) return broken();
    if (!f.has_bytes) continue;
    if (f.number == TRAINER_SPEC) ULY_TRY(read_trainer(f.bytes, out));
    if (f.number == NORMALIZER_SPEC) ULY_TRY(read_normalizer(f.bytes, out));
    if (f.number == DENORMALIZER_SPEC) ULY_TRY(read_normalizer(f.bytes, &unused));
  }
  return ULY_OK;
}
