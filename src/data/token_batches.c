/* See token_batches.h. */
#include "data/token_batches.h"

#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "data/token_batch.h"
#include "tokenizer/text_cuts.h"

/* The bytes and pieces with which a batch is full. */
enum { BATCH_BYTES = 1 << 18, BATCH_PIECES = 1 << 14 };

typedef struct worker {
  uly__batches *batches;
  uly__encoder *encoder;
  pthread_t thread;
} worker;

/* A place in the ring. */
typedef struct slot {
  uly__batch batch;
  bool is_done;
} slot;

struct uly__batches {
  const uly_tokenizer *tokenizer;
  unsigned flags;
  uly__batches_sink sink;
  slot *ring; /* [num_slots] */
  int64_t num_slots;
  worker *workers; /* [num_workers] */
  int num_workers;
  uly__encoder *encoder; /* of the calling thread */
  /* The lock is for the members up to the empty line, and for is_done. */
  pthread_mutex_t lock;
  pthread_cond_t is_filled, is_done;
  /* Numbers of batches that were filled, and that a thread has taken. */
  int64_t num_filled, num_taken;
  bool ends;

  int64_t num_retired; /* handed on */
  /* Whether a document has begun and not ended. */
  bool is_open;
  /* Bytes of text that a batch has before it is cut. */
  int64_t limit;
};

/* ------------------------------------------------------------------------- threads */

static slot *slot_at(const uly__batches *b, int64_t index) {
  return &b->ring[index % b->num_slots];
}

/* Takes the next batch and encodes it. The caller holds the lock, which is released meanwhile. */
static void encode_next(uly__batches *b, uly__encoder *encoder) {
  slot *s = slot_at(b, b->num_taken++);
  (void)pthread_mutex_unlock(&b->lock);
  uly__batch_encode(&s->batch, encoder, b->flags);
  (void)pthread_mutex_lock(&b->lock);
  s->is_done = true;
  (void)pthread_cond_signal(&b->is_done);
}

static void *work(void *context) {
  worker *w = context;
  uly__batches *b = w->batches;
  (void)pthread_mutex_lock(&b->lock);
  while (!b->ends) {
    if (b->num_taken < b->num_filled)
      encode_next(b, w->encoder);
    else
      (void)pthread_cond_wait(&b->is_filled, &b->lock);
  }
  (void)pthread_mutex_unlock(&b->lock);
  return NULL;
}

static int count_cores(void) {
  cpu_set_t set;
  return sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
}

static uly_status start_workers(uly__batches *b, int num) {
  b->workers = calloc((size_t)num + 1, sizeof *b->workers);
  if (!b->workers) ULY_FAIL(ULY_ERR_MEMORY, "no memory for %d threads", num);
  for (int i = 0; i < num; i++) {
    worker *w = &b->workers[i];
    w->batches = b;
    ULY_TRY(uly__encoder_take(b->tokenizer, &w->encoder));
    int error = pthread_create(&w->thread, NULL, work, w);
    if (error) {
      uly__encoder_return(b->tokenizer, w->encoder);
      ULY_FAIL(ULY_ERR_MEMORY, "cannot start thread %d of %d to encode text: %s", i + 1, num + 1,
               strerror(error));
    }
    b->num_workers++;
  }
  return ULY_OK;
}

static uly_status start(uly__batches *b, int num_threads) {
  b->num_slots = 2 * (int64_t)num_threads + 1;
  b->ring = calloc((size_t)b->num_slots, sizeof *b->ring);
  if (!b->ring) ULY_FAIL(ULY_ERR_MEMORY, "no memory to encode text");
  ULY_TRY(uly__encoder_take(b->tokenizer, &b->encoder));
  return start_workers(b, num_threads - 1);
}

uly_status uly__batches_create(const uly_tokenizer *tokenizer, int num_threads, unsigned flags,
                               const uly__batches_sink *sink, uly__batches **out) {
  *out = NULL;
  uly__batches *b = calloc(1, sizeof *b);
  if (!b) ULY_FAIL(ULY_ERR_MEMORY, "no memory to encode text");
  b->tokenizer = tokenizer;
  b->flags = flags;
  b->sink = *sink;
  b->limit = BATCH_BYTES;
  (void)pthread_mutex_init(&b->lock, NULL);
  (void)pthread_cond_init(&b->is_filled, NULL);
  (void)pthread_cond_init(&b->is_done, NULL);
  uly_status status = start(b, num_threads > 0 ? num_threads : count_cores());
  if (status == ULY_OK)
    *out = b;
  else
    uly__batches_destroy(b);
  return status;
}

void uly__batches_destroy(uly__batches *b) {
  if (!b) return;
  (void)pthread_mutex_lock(&b->lock);
  b->ends = true;
  (void)pthread_cond_broadcast(&b->is_filled);
  (void)pthread_mutex_unlock(&b->lock);
  for (int i = 0; i < b->num_workers; i++) {
    (void)pthread_join(b->workers[i].thread, NULL);
    uly__encoder_return(b->tokenizer, b->workers[i].encoder);
  }
  if (b->encoder) uly__encoder_return(b->tokenizer, b->encoder);
  for (int64_t i = 0; b->ring && i < b->num_slots; i++) uly__batch_free(&b->ring[i].batch);
  (void)pthread_cond_destroy(&b->is_filled);
  (void)pthread_cond_destroy(&b->is_done);
  (void)pthread_mutex_destroy(&b->lock);
  free(b->workers);
  free(b->ring);
  free(b);
}

/* -------------------------------------------------------------------------- the ring */

/* Hands on the tokens of a batch, or its failure. */
static uly_status hand_on(const uly__batches *b, const uly__batch *batch) {
  int64_t token = 0;
  if (batch->status != ULY_OK) {
    uly__set_last_error(batch->message);
    return batch->status;
  }
  for (int64_t i = 0; i < batch->num_pieces; i++) {
    const uly__batch_piece *piece = &batch->pieces[i];
    ULY_TRY(b->sink.add(b->sink.context, piece->part, batch->tokens.tokens + token,
                        piece->end_token - token));
    if (piece->ends) ULY_TRY(b->sink.end(b->sink.context, piece->part));
    token = piece->end_token;
  }
  return ULY_OK;
}

/* Waits until the oldest batch is done, and empties it. */
static uly_status retire(uly__batches *b) {
  slot *oldest = slot_at(b, b->num_retired);
  (void)pthread_mutex_lock(&b->lock);
  while (!oldest->is_done) {
    if (b->num_taken < b->num_filled)
      encode_next(b, b->encoder);
    else
      (void)pthread_cond_wait(&b->is_done, &b->lock);
  }
  (void)pthread_mutex_unlock(&b->lock);
  uly_status status = hand_on(b, &oldest->batch);
  uly__batch_clear(&oldest->batch);
  oldest->is_done = false;
  b->num_retired++;
  return status;
}

/* Lets the threads have the batch that was filled last. */
static void submit(uly__batches *b) {
  (void)pthread_mutex_lock(&b->lock);
  b->num_filled++;
  (void)pthread_cond_signal(&b->is_filled);
  (void)pthread_mutex_unlock(&b->lock);
}

/* Submits the batch that is being filled. What it holds of a document that has not ended goes on in
 * the next batch, from byte `cut` of its last piece on. */
static uly_status begin_next(uly__batches *b, int64_t cut) {
  if (b->num_filled + 1 - b->num_retired == b->num_slots) ULY_TRY(retire(b));
  uly__batch *full = &slot_at(b, b->num_filled)->batch;
  uly__batch *next = &slot_at(b, b->num_filled + 1)->batch;
  if (b->is_open) ULY_TRY(uly__batch_move(full, cut, next));
  b->limit = next->num_text < BATCH_BYTES / 2 ? BATCH_BYTES : 2 * next->num_text;
  submit(b);
  return ULY_OK;
}

/* ------------------------------------------------------------------------- documents */

/* Submits what there is of the current document and those before it. If the document may not be cut
 * anywhere, and is alone in the batch, the batch grows. */
static uly_status divide(uly__batches *b, const uly__batch *batch) {
  const uly__batch_piece *last = uly__batch_last(batch);
  const char *text = batch->text + last->begin;
  int64_t cut = uly__tokenizer_cut(b->tokenizer, text, batch->num_text - last->begin);
  if (cut > 0 || last->begin > 0) return begin_next(b, cut);
  if (batch->num_text >= ULY__MOST_UNCUT)
    ULY_FAIL(ULY_ERR_DATA,
             "'%s': after byte %lld there are more than %d MiB of text that the tokenizer cannot "
             "take in parts: divide it into documents",
             batch->paths + last->path, (long long)last->place, ULY__MOST_UNCUT >> 20);
  b->limit = 2 * batch->num_text;
  return ULY_OK;
}

static uly_status add_part(uly__batches *b, const char *path, int part, const char *bytes,
                           int64_t count, int64_t place) {
  uly__batch *batch = &slot_at(b, b->num_filled)->batch;
  if (b->is_open && batch->num_text >= b->limit) {
    ULY_TRY(divide(b, batch));
    batch = &slot_at(b, b->num_filled)->batch;
  }
  if (!b->is_open) ULY_TRY(uly__batch_begin(batch, path, part, place, false));
  b->is_open = true;
  return uly__batch_add(batch, bytes, count);
}

uly_status uly__batches_add(uly__batches *b, const char *path, int part, const char *bytes,
                            int64_t count, int64_t place) {
  for (int64_t at = 0; at < count; at += BATCH_BYTES) {
    int64_t num = count - at < BATCH_BYTES ? count - at : BATCH_BYTES;
    ULY_TRY(add_part(b, path, part, bytes + at, num, place + at));
  }
  return ULY_OK;
}

uly_status uly__batches_end_document(uly__batches *b) {
  uly__batch *batch = &slot_at(b, b->num_filled)->batch;
  uly__batch_last(batch)->ends = true;
  b->is_open = false;
  bool is_full = batch->num_text >= BATCH_BYTES || batch->num_pieces >= BATCH_PIECES;
  return is_full ? begin_next(b, 0) : ULY_OK;
}

uly_status uly__batches_finish(uly__batches *b) {
  ULY_TRY(begin_next(b, 0));
  while (b->num_retired < b->num_filled) ULY_TRY(retire(b));
  return ULY_OK;
}
