/* See vocab.h. */
#include "tokenizer/vocab.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "base/printable.h"

enum { FIRST_CAPACITY = 1 << 10 };

static uint64_t hash_of(const uly__vocab *v, const void *bytes, int64_t n) {
  return XXH3_64bits_withSeed(bytes, (size_t)n, v->seed);
}

/* Returns the slot that holds these bytes, or the free one where they belong. */
static int64_t find_slot(const uly__vocab *v, const void *bytes, int64_t n) {
  int64_t mask = v->num_slots - 1;
  for (int64_t at = (int64_t)hash_of(v, bytes, n) & mask;; at = (at + 1) & mask) {
    int32_t id = v->slots[at];
    if (id < 0) return at;
    if (v->tokens[id].length == n && memcmp(v->bytes + v->tokens[id].begin, bytes, (size_t)n) == 0)
      return at;
  }
}

static uly_status grow_slots(uly__vocab *v) {
  if (v->num_used * 2 < v->num_slots) return ULY_OK;
  int64_t old = v->num_slots, num = old > 0 ? 4 * old : 4 * FIRST_CAPACITY;
  int32_t *before = v->slots, *slots = malloc((size_t)num * sizeof *slots);
  if (!slots) ULY_FAIL(ULY_ERR_MEMORY, "no memory for a vocabulary");
  memset(slots, -1, (size_t)num * sizeof *slots);
  if (old == 0 && getrandom(&v->seed, sizeof v->seed, GRND_NONBLOCK) < 0) v->seed = 0;
  v->slots = slots;
  v->num_slots = num;
  for (int64_t i = 0; i < old; i++)
    if (before[i] >= 0)
      slots[find_slot(v, v->bytes + v->tokens[before[i]].begin, v->tokens[before[i]].length)] =
          before[i];
  free(before);
  return ULY_OK;
}

static uly_status grow_tokens(uly__vocab *v, int64_t id) {
  if (id < v->capacity) return ULY_OK;
  int64_t capacity = v->capacity > 0 ? 2 * v->capacity : FIRST_CAPACITY;
  if (capacity <= id) capacity = id + 1;
  void *grown = realloc(v->tokens, (size_t)capacity * sizeof *v->tokens);
  if (!grown) ULY_FAIL(ULY_ERR_MEMORY, "no memory for a vocabulary");
  v->tokens = grown;
  for (; v->capacity < capacity; v->capacity++) v->tokens[v->capacity].begin = -1;
  return ULY_OK;
}

/* Keeps the bytes of a token. There is memory even if all tokens are empty, since NULL says that
 * there is no such token. */
static uly_status keep_bytes(uly__vocab *v, const void *bytes, int64_t n) {
  if (!v->bytes || v->num_bytes + n > v->bytes_capacity) {
    int64_t capacity = 2 * (v->num_bytes + n) + FIRST_CAPACITY;
    void *grown = realloc(v->bytes, (size_t)capacity);
    if (!grown) ULY_FAIL(ULY_ERR_MEMORY, "no memory for a vocabulary");
    v->bytes = grown;
    v->bytes_capacity = capacity;
  }
  if (n > 0) memcpy(v->bytes + v->num_bytes, bytes, (size_t)n);
  v->num_bytes += n;
  return ULY_OK;
}

/* Makes a name for messages of bytes that need not end with 0. */
static uly__printable name_of(const void *bytes, int64_t n) {
  char text[128];
  snprintf(text, sizeof text, "%.*s", n < 120 ? (int)n : 120, (const char *)bytes);
  return uly__make_printable(text);
}

uly_status uly__vocab_add(uly__vocab *v, int64_t id, const void *bytes, int64_t n, bool is_found) {
  if (id < 0 || id >= ULY__MAX_TOKENS)
    ULY_FAIL(ULY_ERR_DATA, "the id of the token '%s' is %lld, but ids are from 0 to %d",
             name_of(bytes, n).text, (long long)id, ULY__MAX_TOKENS - 1);
  if (n > INT32_MAX) ULY_FAIL(ULY_ERR_DATA, "a token has %lld bytes", (long long)n);
  ULY_TRY(grow_tokens(v, id));
  if (v->tokens[id].begin >= 0)
    ULY_FAIL(ULY_ERR_DATA, "two tokens have the id %lld: the second one is '%s'", (long long)id,
             name_of(bytes, n).text);
  ULY_TRY(grow_slots(v));
  ULY_TRY(keep_bytes(v, bytes, n));
  v->tokens[id].begin = v->num_bytes - n;
  v->tokens[id].length = (int32_t)n;
  v->num++;
  if (id >= v->end) v->end = id + 1;
  if (!is_found) return ULY_OK;
  int64_t slot = find_slot(v, bytes, n);
  if (v->slots[slot] >= 0)
    ULY_FAIL(ULY_ERR_DATA, "the token '%s' is there twice, with the ids %d and %lld",
             name_of(bytes, n).text, (int)v->slots[slot], (long long)id);
  v->slots[slot] = (int32_t)id;
  v->num_used++;
  return ULY_OK;
}

int32_t uly__vocab_find(const uly__vocab *v, const void *bytes, int64_t n) {
  return v->num_slots > 0 ? v->slots[find_slot(v, bytes, n)] : -1;
}

const unsigned char *uly__vocab_get(const uly__vocab *v, int64_t id, int64_t *n) {
  if (id < 0 || id >= v->end || v->tokens[id].begin < 0) return NULL;
  *n = v->tokens[id].length;
  return v->bytes + v->tokens[id].begin;
}

void uly__vocab_free(uly__vocab *v) {
  free(v->bytes);
  free(v->tokens);
  free(v->slots);
  *v = (uly__vocab){0};
}
