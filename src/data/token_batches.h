/* Turns documents into tokens with several threads, in bounded memory. The tokens come out in the
 * order of the documents, and are the same with any number of threads.
 *
 * The calling thread fills batches, one after the other in a ring. The other threads encode them.
 * When the ring is full, the calling thread encodes with them until the oldest batch is done, hands
 * on its tokens, and fills it again. */
#ifndef ULY_TOKEN_BATCHES_H
#define ULY_TOKEN_BATCHES_H

#include "tokenizer/tokenizer.h"

typedef struct uly__batches uly__batches;

/* Takes the tokens, in the thread that calls the functions below. `part` is that of the
 * document. */
typedef struct uly__batches_sink {
  void *context;
  /* Takes the next tokens of the current document. */
  uly_status (*add)(void *context, int part, const int32_t *tokens, int64_t count);
  uly_status (*end)(void *context, int part);
} uly__batches_sink;

/* Starts the threads. num_threads includes the calling thread; 0: as many as there are cores for
 * the process. flags: ULY_TOKENIZE_REPLACE or 0. On failure *out is NULL. */
uly_status uly__batches_create(const uly_tokenizer *tokenizer, int num_threads, unsigned flags,
                               const uly__batches_sink *sink, uly__batches **out);
/* Ends the threads; accepts NULL. Batches that were not handed on are dropped. */
void uly__batches_destroy(uly__batches *batches);

/* Adds the next bytes of the current document, which begin at byte `place` of the file `path`.
 * Errors in the text of earlier documents may be reported by any of these calls: ULY_ERR_DATA if a
 * text is not UTF-8, with the file and the place, or if a document has more than ULY__MOST_UNCUT
 * bytes without a place at which it may be cut (uly__tokenizer_cut). */
uly_status uly__batches_add(uly__batches *batches, const char *path, int part, const char *bytes,
                            int64_t count, int64_t place);
/* Ends the current document, which has at least one byte. */
uly_status uly__batches_end_document(uly__batches *batches);
/* Hands on everything that is left. */
uly_status uly__batches_finish(uly__batches *batches);

enum { ULY__MOST_UNCUT = 1 << 28 };

#endif
