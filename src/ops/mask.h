/* Masks tell which keys a query sees, per pair and per tile. Kernels know nothing else about masks.
 *
 * Kind, window and documents let through one interval of keys for each query, the *band*; a
 * block-sparse layout lets through the blocks that a row lists. `head` is the query head among all
 * Hq; ranges [begin, end) are not empty and lie within the stream. */
#ifndef ULY_MASK_H
#define ULY_MASK_H

#include <stdbool.h>

#include "ulysses.h"

/* The words for patterns of blocks, in the order of uly_sparse_pattern; the last is NULL. */
extern const char *const uly__sparse_names[];

typedef enum uly__tile { ULY_TILE_SKIP, ULY_TILE_PARTIAL, ULY_TILE_FULL } uly__tile;

/* A checked mask, with copies of everything that the descriptor points to, and also the layouts'
 * lists by key block. Its size is that of the descriptor's lists, whatever N is. */
typedef struct uly__mask uly__mask;

/* Creates a mask. Returns ULY_ERR_CONFIG, saying what is wrong and where, for lists that are not in
 * order and for layouts under which a query would see no key. */
uly_status uly__mask_create(const uly_mask *mask, int64_t num_tokens, int num_q_heads,
                            uly__mask **out);
void uly__mask_destroy(uly__mask *mask);

/* Replaces the documents of the mask; with 0 and NULL there is one document. The list is not
 * copied, and must stay as it is while the mask uses it. Returns ULY_ERR_CONFIG as above, and then
 * leaves the mask as it was. */
uly_status uly__mask_set_documents(uly__mask *mask, const int64_t *doc_start, int64_t num_docs);

/* Returns the descriptor, whose pointers point to the copies, except for documents that were
 * set. */
const uly_mask *uly__mask_desc(const uly__mask *mask);

bool uly__mask_sees(const uly__mask *mask, int head, int64_t query, int64_t key);

/* Returns whether none, some or all of the pairs of a tile see each other. */
uly__tile uly__mask_tile(const uly__mask *mask, int head, int64_t q_begin, int64_t q_end,
                         int64_t k_begin, int64_t k_end);

/* Tiles of keys begin at `origin` and every `tile` tokens after it. Returns where the first tile
 * begins, at or after `key` (also a beginning), of which a query of [q_begin, q_end) sees some key;
 * num_tokens or more if there is none. Steps over hidden keys at once, however many there are. */
int64_t uly__mask_next_keys(const uly__mask *mask, int head, int64_t q_begin, int64_t q_end,
                            int64_t origin, int64_t key, int64_t tile);

/* Returns the same for tiles of queries, some of which see a key of [k_begin, k_end). */
int64_t uly__mask_next_queries(const uly__mask *mask, int head, int64_t k_begin, int64_t k_end,
                               int64_t origin, int64_t query, int64_t tile);

/* Returns a word whose bit i says whether the query sees key + i. Bits of keys beyond the stream
 * are 0. */
uint64_t uly__mask_bits(const uly__mask *mask, int head, int64_t query, int64_t key);

/* Returns the number of pairs that see each other, over all query heads. */
double uly__mask_pairs(const uly__mask *mask, int num_q_heads);

#endif
