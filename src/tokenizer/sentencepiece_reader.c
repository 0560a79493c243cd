/* Reads a tokenizer.model of SentencePiece. */
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "base/printable.h"
#include "tokenizer/tokenizer_readers.h"

/* Puts the text that a piece stands for into `text`: marks become spaces, a byte is itself. */
static uly_status text_of(const char *piece, int64_t n, uly__piece_kind kind,
                          const uly__sentencepiece_spec *spec, uly__buffer *text) {
  int byte = -1;
  text->n = 0;
  switch (kind) {
    case ULY__PIECE_CONTROL: return ULY_OK;
    case ULY__PIECE_UNKNOWN:
      return uly__buffer_add(text, spec->unknown, (int64_t)strlen(spec->unknown));
    case ULY__PIECE_BYTE: {
      byte = uly__byte_of_name((const unsigned char *)piece, n);
      if (byte < 0)
        ULY_FAIL(ULY_ERR_DATA, "the piece '%s' does not name a byte",
                 uly__make_printable(piece).text);
      unsigned char one = (unsigned char)byte;
      return uly__buffer_add(text, &one, 1);
    }
    case ULY__PIECE_TEXT: break;
  }
  for (int64_t at = 0; at < n;) {
    bool is_mark = n - at >= ULY__NUM_SPACE_MARK &&
                   memcmp(piece + at, ULY__SPACE_MARK, ULY__NUM_SPACE_MARK) == 0;
    ULY_TRY(uly__buffer_add(text, is_mark ? " " : piece + at, 1));
    at += is_mark ? ULY__NUM_SPACE_MARK : 1;
  }
  return ULY_OK;
}

/* Reads a piece. At the beginning of a text, where the model has put a space, it loses one. */
static uly_status read_piece(int64_t id, const uly__sentencepiece_spec *spec, uly__buffer *text,
                             uly_tokenizer *t) {
  uly__piece_kind kind;
  int64_t n;
  const char *piece = uly__sentencepiece_get(t->sentencepiece, id, &n, &kind);
  ULY_TRY(uly__vocab_add(&t->names, id, piece, n, true));
  ULY_TRY(text_of(piece, n, kind, spec, text));
  ULY_TRY(uly__vocab_add(&t->joining.bytes, id, text->bytes, text->n, false));
  if (kind == ULY__PIECE_CONTROL) t->special[t->num_special++] = (int32_t)id;
  bool loses = kind == ULY__PIECE_TEXT && n >= ULY__NUM_SPACE_MARK &&
               memcmp(piece, ULY__SPACE_MARK, ULY__NUM_SPACE_MARK) == 0 &&
               (spec->adds_prefix || spec->drops_spaces);
  if (!loses) return ULY_OK;
  return uly__vocab_add(&t->joining.first_bytes, id, text->bytes + 1, text->n - 1, false);
}

static uly_status read_pieces(const uly__sentencepiece_spec *spec, uly_tokenizer *t) {
  int64_t num = uly__sentencepiece_num(t->sentencepiece);
  uly__buffer text = {0};
  t->special = malloc((size_t)(num + 1) * sizeof *t->special);
  if (!t->special) ULY_FAIL(ULY_ERR_MEMORY, "no memory for %lld pieces", (long long)num);
  uly_status status = ULY_OK;
  for (int64_t id = 0; status == ULY_OK && id < num; id++) status = read_piece(id, spec, &text, t);
  uly__buffer_free(&text);
  return status;
}

uly_status uly__tokenizer_read_sentencepiece(const char *bytes, int64_t n,
                                             uly_tokenizer *tokenizer) {
  uly_tokenizer *t = tokenizer;
  char why[256];
  ULY_TRY(uly__sentencepiece_check(bytes, n, &t->spec));
  t->sentencepiece = uly__sentencepiece_load(bytes, n, why, sizeof why);
  if (!t->sentencepiece)
    ULY_FAIL(ULY_ERR_DATA, "this is not a SentencePiece model: %s", uly__make_printable(why).text);
  t->joining.separator = "";
  t->joining.first_is_empty = true;
  t->joining.num_stripped = t->spec.drops_spaces ? INT64_MAX : 1;
  ULY_TRY(read_pieces(&t->spec, t));
  t->info.bos = uly__sentencepiece_bos(t->sentencepiece);
  t->info.eos = uly__sentencepiece_eos(t->sentencepiece);
  t->info.unk = uly__sentencepiece_unk(t->sentencepiece);
  if (t->info.bos >= 0) {
    t->before = malloc(sizeof *t->before);
    if (!t->before) ULY_FAIL(ULY_ERR_MEMORY, "no memory for a tokenizer");
    t->before[t->num_before++] = (int32_t)t->info.bos;
  }
  snprintf(t->info.kind, sizeof t->info.kind, "SentencePiece");
  t->file_hash = XXH3_64bits(bytes, (size_t)n);
  return ULY_OK;
}
