/* A model that was trained, and how, for the commands that use it. */
#ifndef ULYSSES_CLI_TRAINED_H
#define ULYSSES_CLI_TRAINED_H

#include "options/options.h"

typedef struct trained {
  options options;
  char *checkpoint; /* a single checkpoint's folder; owned */
  int64_t vocab;
} trained;

/* The number of tokens in the vocabulary of bytes, and the token that ends a document. */
enum { BYTE_VOCAB = 257, END_OF_DOCUMENT = 256 };

/* Reads the options of EVAL or GENERATE, and finds the checkpoint. Window, sparse, pack, seq_len,
 * dtype and seed are those that the checkpoint was trained with, unless flags say otherwise: a
 * model that was trained with a window is not used without it by mistake. All ranks must find the
 * same. The message of a failure is last_failure. Collective. */
uly_status trained_find(trained *t, command cmd, int argc, char *const *argv);
void trained_free(trained *t);

/* Returns whether a signal came to any rank; the same on all. Collective. */
bool trained_is_stopped(uly_mesh *mesh);

#endif
