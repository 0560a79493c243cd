/* What is kept between forward and backward, by recompute policy.
 *
 *   full            every block's input x
 *   keep-attention  also what attention made: qkv_heads, o_heads, o_tokens, lse
 *   none            also x_mid (after attention's residual), gate and up
 *
 * What is not kept has one place that all blocks share, and is computed again in backward. So forward
 * and backward use the same pointers under every policy. */
#ifndef ULY_STASH_H
#define ULY_STASH_H

#include "device/arena.h"
#include "model/config.h"

/* Shapes as in ulysses.h: the explicit buffers of attention. */
typedef struct uly__attention_record {
  void *qkv_heads; /* [N, (hq + 2 hkv) d] */
  void *o_heads;   /* [N, hq d] */
  void *o_tokens;  /* P blocks [T, hq_p d] */
  float *lse;      /* [hq, N] */
} uly__attention_record;

typedef struct uly__stash_layer {
  void *x; /* [T, h] */
  uly__attention_record attention;
  void *x_mid;     /* [T, h]; NULL unless kept */
  void *gate, *up; /* [T, f]; NULL unless kept */
} uly__stash_layer;

typedef struct uly__stash {
  uly__stash_layer *layers; /* [L] */
  void *x_final;            /* [T, h]: output of the last block */
  bool keeps_attention, keeps_mlp;
} uly__stash;

uly_status uly__stash_create(int num_layers, uly_recompute recompute, uly__stash *out);
void uly__stash_destroy(uly__stash *stash);

/* Carves what is kept from `activations`, and the place shared by what is not from `scratch`. */
void uly__stash_carve(uly__stash *stash, const uly__model_config *config, uly_dtype dtype,
                      int64_t num_tokens, uly_attention_bytes attention, uly__arena *activations,
                      uly__arena *scratch);

#endif
