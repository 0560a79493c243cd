/* Decodes one token at a time after a prompt: computes its logits from a cache of the keys and
 * values before it.
 *
 * The ranks that share a sequence cut every product by its outputs: a rank computes some of them,
 * and all ranks gather all. Queries, keys and values need no gathering, since a rank attends with
 * its own heads. So each number is computed by one rank, from the same inputs, in the same order:
 * the logits have the same bits on any number of such ranks.
 *
 * Tensor parallelism gives each of its ranks a share of the heads, of the inner features and of the
 * vocabulary. The products of a share are cut as above; what the shares add to the residual stream
 * is summed in the order of their ranks, so the bits depend on the number of shares.
 *
 * In a pipeline, a token goes from stage to stage, each of which caches the keys and values of its
 * layers, and the last one sends the logits to all.
 *
 * Legend: h, f, V, d as in model.h; Hq, f of this share; P ranks. */
#ifndef ULY_DECODE_H
#define ULY_DECODE_H

#include "infer/cache.h"
#include "infer/shared_vector.h"
#include "model/model_plan.h"

typedef struct uly__decoder {
  uly__model *model;
  uly__cache cache;
  /* The token that is decoded and its position, in the host's memory; and both as ops read them. */
  int32_t token;
  int64_t position;
  const int32_t *prompt; /* [T]: while it goes through at once */
  uly__input input;
  /* Divided over the ranks of the sequence: heads, f and V of this share, and h. Divided over the
   * shares of tensor parallelism: the whole vocabulary. */
  uly__shared_vector heads, hidden, inner, logits, vocab;
  uly__part *parts; /* of all of them */
  /* Workspace. Storage type: */
  void *x, *mid, *n; /* [h] */
  void *q, *k, *v;   /* of my heads */
  void *o;           /* [Hq d] */
  void *gate, *up;   /* of my part of f */
  void *act;         /* [f] */
  float *wide;       /* [most inputs of a product]: widened */
  float *sum;        /* [h] */
  float *angles;     /* [d]: of RoPE; NULL: learned positions */
  float *attention;  /* workspace */
  /* [largest part], [P][largest part]: for a gather, of any type. */
  void *mine, *of_all;
  float *all_logits; /* [V] */
  /* [V]: where the host reads them; and the room for them in its memory. */
  const float *next_logits;
  float *host_logits;
} uly__decoder;

/* Creates the decoder of a model that was made for `run`, with room for `capacity` tokens. From
 * then on the model's forward pass calls the decoder after each block. */
uly_status uly__decoder_create(uly__model *model, const uly__model_run *run, int64_t capacity,
                               uly__decoder **out);
void uly__decoder_destroy(uly__decoder *decoder);
void uly__decoder_carve(uly__decoder *decoder, uly__arena *activations, uly__arena *scratch,
                        uly__arena *host);

/* The next two functions leave the logits of the next token in decoder->next_logits, on all ranks.
 * Failures are noted in the model. Collective over all ranks.
 *
 * Decodes the whole prompt at once, in place of N calls of uly__decode; tokens are this rank's,
 * [T]. */
void uly__prefill(uly__decoder *decoder, const int32_t *tokens);
/* Decodes the token at position cache.num_tokens, which must be below the capacity. */
void uly__decode(uly__decoder *decoder, int32_t token);

#endif
