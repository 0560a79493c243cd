/* The tokens of a model: bytes by id, and ids by bytes. */
#ifndef ULY_VOCAB_H
#define ULY_VOCAB_H

#include <stdbool.h>

#include "base/status.h"

/* Ids are below this: tables by id stay small, whatever a file says. */
enum { ULY__MAX_TOKENS = 1 << 22 };

typedef struct uly__vocab {
  /* Bytes of all tokens, one after the other. */
  unsigned char *bytes;
  int64_t num_bytes, bytes_capacity;
  /* [capacity] where the bytes of each id are; begin is -1 if there is no such token. */
  struct {
    int64_t begin;
    int32_t length;
  } * tokens;
  int64_t capacity;
  /* Number of tokens; largest id + 1. */
  int64_t num, end;
  /* [num_slots], a power of two: ids, or -1; and a random seed, so that no file can make hashes
   * collide. */
  int32_t *slots;
  int64_t num_slots, num_used;
  uint64_t seed;
} uly__vocab;

/* Adds a token; uly__vocab_find finds it only if is_found. Returns ULY_ERR_DATA if the id is
 * negative, too large or taken, or if such bytes can be found already. */
uly_status uly__vocab_add(uly__vocab *vocab, int64_t id, const void *bytes, int64_t n,
                          bool is_found);
/* Returns the id of a token, or -1. */
int32_t uly__vocab_find(const uly__vocab *vocab, const void *bytes, int64_t n);
/* Returns a token's bytes, and their number in *n; NULL if there is no such token. */
const unsigned char *uly__vocab_get(const uly__vocab *vocab, int64_t id, int64_t *n);
void uly__vocab_free(uly__vocab *vocab);

#endif
