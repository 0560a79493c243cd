/* The buffers of the simple calls of ulysses.h on a plan. */
#ifndef ULY_SIMPLE_ATTENTION_H
#define ULY_SIMPLE_ATTENTION_H

#include "parallel/seq_attention.h"

/* Frees the buffers, if the plan has any. */
void uly__attention_free_simple(uly_attention *plan);

#endif
