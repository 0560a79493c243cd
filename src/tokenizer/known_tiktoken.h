/* Lists what well-known files of the package `tiktoken` do not contain: the pattern and the special
 * tokens. */
#ifndef ULY_KNOWN_TIKTOKEN_H
#define ULY_KNOWN_TIKTOKEN_H

#include "tokenizer/vocab.h"

/* Special tokens: `name` alone if num is 0; or num of them, each `name`, a number counted from
 * `first`, and |>. */
typedef struct uly__rank_names {
  const char *name;
  int first, num;
  int64_t id; /* 0: the one after the previous */
} uly__rank_names;

typedef struct uly__known_ranks {
  const char *what;
  /* How to recognize the file: by the number of ranks, and by its name or the last token. */
  int64_t num;
  const char *file, *last;
  const char *pattern;
  /* Whether texts are first brought into the normalization form NFC. */
  bool uses_nfc;
  /* Goes before a text; or NULL. */
  const char *begin;
  const uly__rank_names *names; /* NULL ends them */
} uly__known_ranks;

/* Returns what is known about these ranks, in a file of this name; NULL if nothing is. */
const uly__known_ranks *uly__known_ranks_find(const uly__vocab *ranks, const char *file);

#endif
