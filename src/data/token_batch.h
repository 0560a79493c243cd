/* A batch of text, and its tokens: pieces of documents that one thread encodes. A long document has
 * pieces in several batches. */
#ifndef ULY_TOKEN_BATCH_H
#define ULY_TOKEN_BATCH_H

#include <stdbool.h>

#include "tokenizer/tokenizer.h"

/* A piece is all that a batch holds of one document. Its text ends where that of the next
 * begins. */
typedef struct uly__batch_piece {
  int64_t begin;
  /* Where its text begins in its file, and where the path of that is in `paths`. */
  int64_t place, path;
  /* A number that the user of the batch gave its document. */
  int part;
  /* They say whether it continues a document of the batch before, and whether the document ends
   * with it. */
  bool continues, ends;
  /* Where its tokens end. */
  int64_t end_token;
} uly__batch_piece;

typedef struct uly__batch {
  char *text; /* [num_text] */
  int64_t num_text, capacity;
  uly__batch_piece *pieces; /* [num_pieces] */
  int64_t num_pieces, piece_capacity;
  char *paths; /* texts that end with 0 */
  int64_t num_paths, path_capacity;
  /* What encoding leaves: the tokens, or a failure and its message. */
  uly_token_list tokens;
  uly_status status;
  char message[1024];
} uly__batch;

/* Empties a batch, and keeps its memory. */
void uly__batch_clear(uly__batch *batch);
void uly__batch_free(uly__batch *batch);

/* Begins a piece of a document of the file `path`. */
uly_status uly__batch_begin(uly__batch *batch, const char *path, int part, int64_t place,
                            bool continues);
/* Appends bytes to the last piece. */
uly_status uly__batch_add(uly__batch *batch, const char *bytes, int64_t count);
/* Returns the last piece. */
uly__batch_piece *uly__batch_last(const uly__batch *batch);
/* Moves bytes of the last piece, from byte `cut` of it on, to an empty batch, where they continue
 * the document. If `cut` is 0, the whole piece moves. */
uly_status uly__batch_move(uly__batch *batch, int64_t cut, uly__batch *to);

/* Encodes all pieces, and leaves the outcome in the batch. flags: ULY_TOKENIZE_REPLACE or 0. */
void uly__batch_encode(uly__batch *batch, uly__encoder *encoder, unsigned flags);

#endif
