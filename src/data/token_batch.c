/* See token_batch.h. */
#include "data/token_batch.h"

#include <stdlib.h>
#include <string.h>

#include "tokenizer/utf8_text.h"

void uly__batch_clear(uly__batch *batch) {
  batch->num_text = batch->num_pieces = batch->num_paths = batch->tokens.num = 0;
  batch->status = ULY_OK;
}

void uly__batch_free(uly__batch *batch) {
  free(batch->text);
  free(batch->pieces);
  free(batch->paths);
  uly_token_list_free(&batch->tokens);
}

/* Makes room for `more` elements of `width` bytes. */
static uly_status reserve(void *list, int64_t num, int64_t more, size_t width, int64_t *capacity) {
  void *old;
  if (num + more <= *capacity) return ULY_OK;
  memcpy(&old, list, sizeof old);
  int64_t grown = num + more + *capacity / 2;
  void *moved = realloc(old, (size_t)grown * width);
  if (!moved) ULY_FAIL(ULY_ERR_MEMORY, "no memory for %lld bytes of text", (long long)grown);
  memcpy(list, &moved, sizeof moved);
  *capacity = grown;
  return ULY_OK;
}

uly__batch_piece *uly__batch_last(const uly__batch *batch) {
  return batch->num_pieces > 0 ? &batch->pieces[batch->num_pieces - 1] : NULL;
}

/* Finds where the path is among those of the batch: that of the last piece, or a new one. */
static uly_status place_path(uly__batch *batch, const char *path, int64_t *place) {
  const uly__batch_piece *last = uly__batch_last(batch);
  int64_t count = (int64_t)strlen(path) + 1;
  if (last && strcmp(batch->paths + last->path, path) == 0) {
    *place = last->path;
    return ULY_OK;
  }
  ULY_TRY(reserve(&batch->paths, batch->num_paths, count, 1, &batch->path_capacity));
  memcpy(batch->paths + batch->num_paths, path, (size_t)count);
  *place = batch->num_paths;
  batch->num_paths += count;
  return ULY_OK;
}

uly_status uly__batch_begin(uly__batch *batch, const char *path, int part, int64_t place,
                            bool continues) {
  int64_t path_place;
  ULY_TRY(place_path(batch, path, &path_place));
  ULY_TRY(
      reserve(&batch->pieces, batch->num_pieces, 1, sizeof *batch->pieces, &batch->piece_capacity));
  batch->pieces[batch->num_pieces++] = (uly__batch_piece){.begin = batch->num_text,
                                                          .place = place,
                                                          .path = path_place,
                                                          .part = part,
                                                          .continues = continues};
  return ULY_OK;
}

uly_status uly__batch_add(uly__batch *batch, const char *bytes, int64_t count) {
  ULY_TRY(reserve(&batch->text, batch->num_text, count, 1, &batch->capacity));
  memcpy(batch->text + batch->num_text, bytes, (size_t)count);
  batch->num_text += count;
  return ULY_OK;
}

uly_status uly__batch_move(uly__batch *batch, int64_t cut, uly__batch *to) {
  const uly__batch_piece *last = uly__batch_last(batch);
  int64_t begin = last->begin + cut;
  ULY_TRY(uly__batch_begin(to, batch->paths + last->path, last->part, last->place + cut,
                           last->continues || cut > 0));
  ULY_TRY(uly__batch_add(to, batch->text + begin, batch->num_text - begin));
  batch->num_text = begin;
  if (cut == 0) batch->num_pieces--;
  return ULY_OK;
}

/* ------------------------------------------------------------------------- encoding */

/* Fails because of the text of a piece, and says where in its file the reason is. */
static uly_status fail_piece(const uly__batch *batch, const uly__batch_piece *piece, int64_t count,
                             uly_status status) {
  const char *text = batch->text + piece->begin;
  int64_t valid = uly__utf8_valid((const unsigned char *)text, count);
  if (status != ULY_ERR_DATA || valid == count) return status;
  ULY_FAIL(ULY_ERR_DATA,
           "'%s': byte %lld is not UTF-8, which the tokenizer reads: convert the file (iconv -f "
           "LATIN1 -t UTF-8), or let prepare.any_bytes replace such bytes by U+FFFD",
           batch->paths + piece->path, (long long)(piece->place + valid));
}

static uly_status encode_piece(uly__batch *batch, uly__batch_piece *piece, int64_t end,
                               uly__encoder *encoder, unsigned flags) {
  if (piece->continues) flags |= ULY__TOKENIZE_CONTINUES;
  uly_status status = uly__encoder_encode(encoder, batch->text + piece->begin, end - piece->begin,
                                          flags, &batch->tokens);
  piece->end_token = batch->tokens.num;
  return status == ULY_OK ? ULY_OK : fail_piece(batch, piece, end - piece->begin, status);
}

void uly__batch_encode(uly__batch *batch, uly__encoder *encoder, unsigned flags) {
  uly_status status = ULY_OK;
  batch->tokens.size = sizeof batch->tokens;
  for (int64_t i = 0; i < batch->num_pieces && status == ULY_OK; i++) {
    bool is_last = i + 1 == batch->num_pieces;
    int64_t end = is_last ? batch->num_text : batch->pieces[i + 1].begin;
    status = encode_piece(batch, &batch->pieces[i], end, encoder, flags);
  }
  batch->status = status;
  if (status != ULY_OK) snprintf(batch->message, sizeof batch->message, "%s", uly_last_error());
}
