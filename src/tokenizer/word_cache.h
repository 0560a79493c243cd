/* Words that were encoded recently, and their tokens. Each thread has a cache of its own. */
#ifndef ULY_WORD_CACHE_H
#define ULY_WORD_CACHE_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

enum {
  ULY__SHORT_WORD = 15, /* bytes */
  ULY__SHORT_TOKENS = 3,
  ULY__LONG_WORD = 46,
  ULY__LONG_TOKENS = 20,
  ULY__SHORT_SETS = 1 << 14,
  ULY__LONG_SETS = 1 << 13
};

/* The key of a short word is 16 bytes, held in two integers: the word, padded with zeros, and its
 * length in the last byte. */
typedef struct uly__short_word {
  uint64_t key[2];
  int32_t num;
  int32_t tokens[ULY__SHORT_TOKENS];
} uly__short_word;

typedef struct uly__long_word {
  unsigned char length, num;
  unsigned char bytes[ULY__LONG_WORD];
  int32_t tokens[ULY__LONG_TOKENS];
} uly__long_word;

/* A zeroed cache is empty, since no word has length 0. */
typedef struct uly__word_cache {
  _Alignas(64) uly__short_word short_words[ULY__SHORT_SETS][2];
  uly__long_word long_words[ULY__LONG_SETS];
} uly__word_cache;

/* Makes the key of a word of 1 to 15 bytes. is_open: 16 bytes may be read at `word`. */
static inline void uly__word_key(const unsigned char *word, int64_t n, bool is_open,
                                 uint64_t key[2]) {
  key[0] = key[1] = 0;
  if (is_open)
    memcpy(key, word, 16);
  else
    memcpy(key, word, (size_t)n);
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
  memset((unsigned char *)key + n, 0, (size_t)(16 - n));
  ((unsigned char *)key)[15] = (unsigned char)n;
#else
  if (n < 8) {
    key[0] &= ((uint64_t)1 << (8 * n)) - 1;
    key[1] = 0;
  } else {
    key[1] &= ((uint64_t)1 << (8 * (n - 8))) - 1;
  }
  key[1] |= (uint64_t)n << 56;
#endif
}

/* Returns the two places where a short word may be. */
static inline uly__short_word *uly__short_set(uly__word_cache *cache, const uint64_t key[2]) {
  uint64_t mixed = (key[0] ^ (key[1] * 0x9e3779b97f4a7c15u)) * 0xd6e8feb86659fd93u;
  return cache->short_words[(mixed ^ mixed >> 29) >> 20 & (ULY__SHORT_SETS - 1)];
}

/* Returns the entry of a short word, or NULL. */
static inline const uly__short_word *uly__find_short(const uly__short_word *set,
                                                     const uint64_t key[2]) {
  if (set[0].key[0] == key[0] && set[0].key[1] == key[1]) return &set[0];
  if (set[1].key[0] == key[0] && set[1].key[1] == key[1]) return &set[1];
  return NULL;
}

static inline void uly__keep_short(uly__short_word *set, const uint64_t key[2],
                                   const int32_t *tokens, int64_t num) {
  if (num > ULY__SHORT_TOKENS) return;
  set[1] = set[0];
  set[0] = (uly__short_word){.key = {key[0], key[1]}, .num = (int32_t)num};
  memcpy(set[0].tokens, tokens, (size_t)num * sizeof *tokens);
}

/* Returns the place where a long word may be. */
static inline uly__long_word *uly__long_place(uly__word_cache *cache, const unsigned char *word,
                                              int64_t n) {
  return &cache->long_words[XXH3_64bits(word, (size_t)n) & (ULY__LONG_SETS - 1)];
}

static inline bool uly__is_long_word(const uly__long_word *place, const unsigned char *word,
                                     int64_t n) {
  return place->length == n && memcmp(place->bytes, word, (size_t)n) == 0;
}

static inline void uly__keep_long(uly__long_word *place, const unsigned char *word, int64_t n,
                                  const int32_t *tokens, int64_t num) {
  if (num > ULY__LONG_TOKENS) return;
  place->length = (unsigned char)n;
  place->num = (unsigned char)num;
  memcpy(place->bytes, word, (size_t)n);
  memcpy(place->tokens, tokens, (size_t)num * sizeof *tokens);
}

#endif
