/* Byte-pair encoding (Sennrich et al., arXiv 1508.07909): a word begins as a list of symbols, and
 * the neighbours whose merge has the lowest rank (the leftmost of several) become one, until no
 * neighbours can be merged.
 *
 * The symbols of a byte-level model are bytes. Those of other models are characters; one that is
 * not a token becomes the tokens of its bytes, <0x00> to <0xFF>, if the model has byte fallback, or
 * else the unknown token. */
#ifndef ULY_BPE_H
#define ULY_BPE_H

#include "tokenizer/vocab.h"

typedef struct uly__bpe_pair {
  uint32_t left, right, rank, made;
} uly__bpe_pair;

typedef struct uly__bpe {
  /* Of a byte-level model, the bytes that a token stands for. */
  uly__vocab vocab;
  /* A hash table [num_slots], a power of two; a free slot has the rank ULY__NO_RANK. */
  uly__bpe_pair *pairs;
  int64_t num_slots, num_pairs;
  bool is_byte_level;
  /* Whether a word that is a token is taken as it is. */
  bool ignore_merges;
  /* Whether neighbouring unknown characters become one unknown token. */
  bool fuse_unk;
  bool byte_fallback;
  int32_t unk; /* or -1 */
  /* The token of each byte: as a symbol, or as a fallback; or -1. */
  int32_t bytes[256];
} uly__bpe;

#define ULY__NO_RANK UINT32_MAX

/* Adds the merge of two tokens. Lower ranks come first. A pair that is known already gets the new
 * rank, as in the package `tokenizers`. */
uly_status uly__bpe_add_pair(uly__bpe *bpe, int32_t left, int32_t right, uint32_t rank,
                             int32_t made);
void uly__bpe_free(uly__bpe *bpe);

/* What a thread needs to encode: symbols of a long word and a heap of merges. It begins as
 * zeros. */
typedef struct uly__bpe_scratch {
  uint32_t *symbols;     /* [capacity] */
  uint32_t *next, *last; /* neighbours of a symbol */
  uint64_t *heap;        /* [2 capacity] */
  int64_t capacity;
} uly__bpe_scratch;

void uly__bpe_scratch_free(uly__bpe_scratch *scratch);

/* Encodes a word of n bytes, at least 1, into out[n], and sets the number of tokens. Takes
 * O(n log n) steps. Returns ULY_ERR_MEMORY if a long word needs more than there is. */
uly_status uly__bpe_encode(const uly__bpe *bpe, uly__bpe_scratch *scratch,
                           const unsigned char *word, int64_t n, int32_t *out, int64_t *num);

#endif
