/* Shares key/value heads that several blocks need. */
#ifndef ULY_SHARED_KV_H
#define ULY_SHARED_KV_H

#include "parallel/seq_attention.h"

/* Returns whether some key/value head is in two blocks: then no block may be used before all are
 * projected and uly__attention_share_kv has been called. */
bool uly__attention_shares_kv(const uly_attention *plan);
/* Copy key/value heads that several blocks need from the first block that holds them to the others;
 * and sum their gradients in f32 into the first. */
void uly__attention_share_kv(const uly_attention *plan, void *qkv);
void uly__attention_sum_kv(const uly_attention *plan, void *d_qkv);

#endif
