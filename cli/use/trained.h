/* A model that was trained, and how, for the commands that use it. */
#ifndef ULYSSES_CLI_TRAINED_H
#define ULYSSES_CLI_TRAINED_H

#include "use/use_options.h"

typedef struct trained {
  /* The folder of a checkpoint, or a Hugging Face folder; owned. */
  char *checkpoint;
  int64_t vocab;
  uint64_t seed;        /* of its training */
  bool is_weights_only; /* it is a Hugging Face folder */
} trained;

/* The number of tokens in the vocabulary of bytes, and the number of the token that ends a
 * document. */
enum { BYTE_VOCAB = 257, END_OF_DOCUMENT = 256 };

/* Reads the options of EVAL or GENERATE, and finds the checkpoint. Window, sparse, pack, seq_len,
 * dtype and seed are those that the checkpoint was trained with, unless flags say otherwise: a
 * model that was trained with a window is not used without it by mistake. A Hugging Face folder
 * says nothing about training, so these have their defaults, but sequences are no longer than the
 * model has positions. All ranks must find the same. o: the first member of a cleared struct of
 * options. Collective. */
uly_status trained_find(trained *t, use_options *o, command cmd, int argc, char *const *argv);

#endif
