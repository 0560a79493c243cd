/* See bpe.h. Short words are merged in a list that is searched from its beginning, long
 * ones with a heap of the merges that are possible. */
#include "tokenizer/bpe.h"

#include <stdlib.h>
#include <string.h>

#include "tokenizer/utf8_text.h"

/* Symbols up to which searching the list is faster than a heap; and for which memory is kept. */
enum { SHORT = 64, MOST_KEPT = 1 << 20, FIRST_SLOTS = 1 << 12 };

/* ---------------------------------------------------------------------------- pairs */

static uint64_t slot_of(const uly__bpe *bpe, uint32_t left, uint32_t right) {
  uint64_t key = (uint64_t)left << 32 | right;
  return (key * 0x9e3779b97f4a7c15u) >> 32 & (uint64_t)(bpe->num_slots - 1);
}

static inline const uly__bpe_pair *find_pair(const uly__bpe *bpe, uint32_t left, uint32_t right) {
  static const uly__bpe_pair none = {0, 0, ULY__NO_RANK, 0};
  if (bpe->num_slots == 0) return &none;
  for (uint64_t at = slot_of(bpe, left, right);; at = (at + 1) & (uint64_t)(bpe->num_slots - 1)) {
    const uly__bpe_pair *pair = &bpe->pairs[at];
    if ((pair->left == left && pair->right == right) || pair->rank == ULY__NO_RANK) return pair;
  }
}

/* Puts pairs into a table of `num` slots. */
static uly_status resize(uly__bpe *bpe, int64_t num) {
  uly__bpe old = *bpe;
  bpe->pairs = malloc((size_t)num * sizeof *bpe->pairs);
  if (!bpe->pairs) {
    bpe->pairs = old.pairs;
    ULY_FAIL(ULY_ERR_MEMORY, "no memory for %lld merges", (long long)num);
  }
  bpe->num_slots = num;
  memset(bpe->pairs, -1, (size_t)num * sizeof *bpe->pairs);
  for (int64_t i = 0; i < old.num_slots; i++)
    if (old.pairs[i].rank != ULY__NO_RANK)
      *(uly__bpe_pair *)find_pair(bpe, old.pairs[i].left, old.pairs[i].right) = old.pairs[i];
  free(old.pairs);
  return ULY_OK;
}

uly_status uly__bpe_add_pair(uly__bpe *bpe, int32_t left, int32_t right, uint32_t rank,
                             int32_t made) {
  if (2 * (bpe->num_pairs + 1) > bpe->num_slots)
    ULY_TRY(resize(bpe, bpe->num_slots > 0 ? 2 * bpe->num_slots : FIRST_SLOTS));
  uly__bpe_pair *pair = (uly__bpe_pair *)find_pair(bpe, (uint32_t)left, (uint32_t)right);
  bpe->num_pairs += pair->rank == ULY__NO_RANK;
  *pair = (uly__bpe_pair){(uint32_t)left, (uint32_t)right, rank, (uint32_t)made};
  return ULY_OK;
}

void uly__bpe_free(uly__bpe *bpe) {
  uly__vocab_free(&bpe->vocab);
  free(bpe->pairs);
  *bpe = (uly__bpe){0};
}

/* ---------------------------------------------------------------------- short words */

/* Merges symbols[n] in place, and returns how many are left. */
static int merge_short(const uly__bpe *bpe, uint32_t *symbols, int n) {
  uint32_t ranks[SHORT], made[SHORT];
  for (int i = 0; i + 1 < n; i++) {
    const uly__bpe_pair *pair = find_pair(bpe, symbols[i], symbols[i + 1]);
    ranks[i] = pair->rank;
    made[i] = pair->made;
  }
  while (n > 1) {
    uint32_t lowest = ULY__NO_RANK;
    for (int i = 0; i < n - 1; i++) lowest = ranks[i] < lowest ? ranks[i] : lowest;
    if (lowest == ULY__NO_RANK) break;
    int at = 0;
    while (ranks[at] != lowest) at++;
    symbols[at] = made[at];
    for (int i = at + 1; i < n - 1; i++) symbols[i] = symbols[i + 1];
    for (int i = at + 1; i < n - 2; i++) ranks[i] = ranks[i + 1], made[i] = made[i + 1];
    n--;
    for (int i = at > 0 ? at - 1 : 0; i <= at && i + 1 < n; i++) {
      const uly__bpe_pair *pair = find_pair(bpe, symbols[i], symbols[i + 1]);
      ranks[i] = pair->rank;
      made[i] = pair->made;
    }
  }
  return n;
}

/* ----------------------------------------------------------------------- long words */

/* A merge that is possible, of the symbol at a place and its neighbour, is a number: its rank above
 * its place, so that the lowest number comes first. Each node of the heap has four children. */
#define NO_MERGE UINT64_MAX
#define NOWHERE UINT32_MAX

enum { CHILDREN = 4 };

static void sift_down(uint64_t *heap, int64_t n, int64_t at) {
  uint64_t moving = heap[at];
  for (int64_t first; (first = CHILDREN * at + 1) < n;) {
    int64_t lowest = first, end = first + CHILDREN < n ? first + CHILDREN : n;
    for (int64_t child = first + 1; child < end; child++)
      if (heap[child] < heap[lowest]) lowest = child;
    if (heap[lowest] >= moving) break;
    heap[at] = heap[lowest];
    at = lowest;
  }
  heap[at] = moving;
}

static void push(uint64_t *heap, int64_t *n, uint64_t added) {
  int64_t at = (*n)++;
  for (int64_t parent; at > 0 && heap[parent = (at - 1) / CHILDREN] > added; at = parent)
    heap[at] = heap[parent];
  heap[at] = added;
}

/* Returns the merge of the symbol at `at` with its neighbour, or NO_MERGE. */
static uint64_t look_up(const uly__bpe *bpe, const uly__bpe_scratch *s, uint32_t at) {
  const uly__bpe_pair *pair = find_pair(bpe, s->symbols[at], s->symbols[s->next[at]]);
  return pair->rank == ULY__NO_RANK ? NO_MERGE : (uint64_t)pair->rank << 32 | at;
}

static void push_pair(const uly__bpe *bpe, const uly__bpe_scratch *s, uint32_t at, int64_t *n) {
  uint64_t found = look_up(bpe, s, at);
  if (found != NO_MERGE) push(s->heap, n, found);
}

/* Merges a symbol with its neighbour, unless either has changed since the merge was found. */
static void merge_one(const uly__bpe *bpe, uly__bpe_scratch *s, uint64_t merge, int64_t *num) {
  uint32_t at = (uint32_t)merge, gone = s->next[at];
  if (s->symbols[at] == NOWHERE || gone == NOWHERE) return;
  const uly__bpe_pair *pair = find_pair(bpe, s->symbols[at], s->symbols[gone]);
  if (pair->rank != merge >> 32) return;
  uint32_t after = s->next[gone];
  s->symbols[at] = pair->made;
  s->symbols[gone] = NOWHERE;
  s->next[at] = after;
  if (after != NOWHERE) s->last[after] = at;
  if (s->last[at] != NOWHERE) push_pair(bpe, s, s->last[at], num);
  if (after != NOWHERE) push_pair(bpe, s, at, num);
}

/* Merges the symbols of a long word. Each merge takes one from the heap, adds at most two, and
 * removes a symbol, so the heap never holds more than 2 n. */
static void merge_long(const uly__bpe *bpe, uly__bpe_scratch *s, uint32_t n) {
  int64_t num = 0;
  for (uint32_t i = 0; i < n; i++) {
    s->next[i] = i + 1 < n ? i + 1 : NOWHERE;
    s->last[i] = i > 0 ? i - 1 : NOWHERE;
  }
  for (uint32_t i = 0; i + 1 < n; i++) {
    s->heap[num] = look_up(bpe, s, i);
    num += s->heap[num] != NO_MERGE;
  }
  for (int64_t i = num > 1 ? (num - 2) / CHILDREN : -1; i >= 0; i--) sift_down(s->heap, num, i);
  while (num > 0) {
    uint64_t merge = s->heap[0];
    s->heap[0] = s->heap[--num];
    if (num > 0) sift_down(s->heap, num, 0);
    merge_one(bpe, s, merge, &num);
  }
}

static uly_status grow_scratch(uly__bpe_scratch *s, int64_t n) {
  if (n <= s->capacity) return ULY_OK;
  int64_t capacity = n + n / 2;
  uly__bpe_scratch_free(s);
  s->symbols = malloc((size_t)capacity * sizeof *s->symbols);
  s->next = malloc((size_t)capacity * sizeof *s->next);
  s->last = malloc((size_t)capacity * sizeof *s->last);
  s->heap = malloc((size_t)capacity * 2 * sizeof *s->heap);
  s->capacity = capacity;
  if (s->symbols && s->next && s->last && s->heap) return ULY_OK;
  uly__bpe_scratch_free(s);
  ULY_FAIL(ULY_ERR_MEMORY, "no memory to encode a word of %lld bytes", (long long)n);
}

void uly__bpe_scratch_free(uly__bpe_scratch *s) {
  free(s->symbols);
  free(s->next);
  free(s->last);
  free(s->heap);
  *s = (uly__bpe_scratch){0};
}

/* -------------------------------------------------------------------------- symbols */

/* Adds the tokens of a character's bytes, and returns whether the model has all of them. */
static bool fall_back(const uly__bpe *bpe, const unsigned char *bytes, int n, uint32_t *out,
                      int64_t *num) {
  if (!bpe->byte_fallback) return false;
  for (int i = 0; i < n; i++)
    if (bpe->bytes[bytes[i]] < 0) return false;
  for (int i = 0; i < n; i++) out[(*num)++] = (uint32_t)bpe->bytes[bytes[i]];
  return true;
}

/* Turns the characters of a word into symbols. An unknown one waits until the next known one, so
 * that others can join it; bytes do not end the waiting, as in the package `tokenizers`. */
static int64_t take_characters(const uly__bpe *bpe, const unsigned char *word, int64_t n,
                               uint32_t *out) {
  int64_t num = 0;
  bool is_unknown = false;
  for (int64_t i = 0, length; i < n; i += length) {
    length = uly__utf8_length(word[i]);
    int32_t id = uly__vocab_find(&bpe->vocab, word + i, length);
    if (id >= 0) {
      if (is_unknown) out[num++] = (uint32_t)bpe->unk;
      is_unknown = false;
      out[num++] = (uint32_t)id;
    } else if (!fall_back(bpe, word + i, (int)length, out, &num) && bpe->unk >= 0) {
      if (is_unknown && !bpe->fuse_unk) out[num++] = (uint32_t)bpe->unk;
      is_unknown = true;
    }
  }
  if (is_unknown) out[num++] = (uint32_t)bpe->unk;
  return num;
}

static int64_t take_bytes(const uly__bpe *bpe, const unsigned char *word, int64_t n,
                          uint32_t *out) {
  int64_t num = 0;
  bool is_unknown = false;
  for (int64_t i = 0; i < n; i++) {
    int32_t id = bpe->bytes[word[i]];
    bool is_new = id >= 0 || (is_unknown && !bpe->fuse_unk);
    if (is_unknown && is_new) out[num++] = (uint32_t)bpe->unk;
    is_unknown = id < 0 && bpe->unk >= 0;
    if (id >= 0) out[num++] = (uint32_t)id;
  }
  if (is_unknown) out[num++] = (uint32_t)bpe->unk;
  return num;
}

static int64_t take_symbols(const uly__bpe *bpe, const unsigned char *word, int64_t n,
                            uint32_t *out) {
  return bpe->is_byte_level ? take_bytes(bpe, word, n, out) : take_characters(bpe, word, n, out);
}

static uly_status encode_long(const uly__bpe *bpe, uly__bpe_scratch *s, const unsigned char *word,
                              int64_t n, int32_t *out, int64_t *num) {
  if (n > INT32_MAX)
    ULY_FAIL(ULY_ERR_DATA, "a word has %lld bytes, but at most %d are encoded at once",
             (long long)n, INT32_MAX);
  ULY_TRY(grow_scratch(s, n));
  int64_t num_symbols = take_symbols(bpe, word, n, s->symbols);
  merge_long(bpe, s, (uint32_t)num_symbols);
  *num = 0;
  for (uint32_t at = num_symbols > 0 ? 0 : NOWHERE; at != NOWHERE; at = s->next[at])
    out[(*num)++] = (int32_t)s->symbols[at];
  if (s->capacity > MOST_KEPT) uly__bpe_scratch_free(s);
  return ULY_OK;
}

uly_status uly__bpe_encode(const uly__bpe *bpe, uly__bpe_scratch *scratch,
                           const unsigned char *word, int64_t n, int32_t *out, int64_t *num) {
  *num = 1;
  if (bpe->ignore_merges && (out[0] = uly__vocab_find(&bpe->vocab, word, n)) >= 0) return ULY_OK;
  if (n > SHORT) return encode_long(bpe, scratch, word, n, out, num);
  uint32_t symbols[SHORT];
  *num = take_symbols(bpe, word, n, symbols);
  *num = merge_short(bpe, symbols, (int)*num);
  memcpy(out, symbols, (size_t)*num * sizeof *out);
  return ULY_OK;
}
