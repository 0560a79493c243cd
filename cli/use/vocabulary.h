/* Says what the tokens of a model stand for (the text that a tokenizer gives, bytes, or nothing
 * that is known), and which of them end a text. */
#ifndef ULYSSES_CLI_VOCABULARY_H
#define ULYSSES_CLI_VOCABULARY_H

#include "use/trained.h"

enum { MAX_ENDS = 64 };

typedef struct vocabulary {
  uly_tokenizer *tokenizer; /* NULL: none */
  bool is_bytes;
  int64_t size;       /* of the model's */
  const char *folder; /* of the model; borrowed */
  int64_t ends[MAX_ENDS];
  int num_ends;
} vocabulary;

/* Opens the tokenizer: --tokenizer, or the one in the model's folder, if there is one. The tokens
 * that end a text are those of generation_config.json in the model's folder, or else of config.json
 * there, or else the one of the tokenizer; --pack adds the one that ends a document. The caller
 * closes the vocabulary even after a failure. Not collective. */
uly_status vocabulary_open(const generate_options *o, const trained *t, vocabulary *v);
void vocabulary_close(vocabulary *v);

/* Returns whether the token ends a text. */
bool vocabulary_is_end(const vocabulary *v, int64_t token);

#endif
