/* Random masks of every kind, and what they mean by the definition of ulysses.h, with loops. */
#ifndef ULY_RANDOM_MASK_H
#define ULY_RANDOM_MASK_H

#include <stdbool.h>

#include "ulysses.h"

/* Parts of a mask that a random one may have. */
enum { WITH_WINDOW = 1, WITH_DOCUMENTS = 2, WITH_BLOCKS = 4, WITH_HEAD_BLOCKS = 8 };

/* pick(a, b): a random number from a to b, both included. Every row of a layout lists its own
 * block. */
uly_mask random_mask(int parts, int64_t num_tokens, int num_q_heads, int (*pick)(int, int));
void free_random_mask(uly_mask *mask);

bool mask_lets_see(const uly_mask *mask, int head, int64_t query, int64_t key);

#endif
