/* The tokenizer of uly_prepare: encodes documents for the shards, and goes with them. */
#ifndef ULY_PREPARE_TOKENS_H
#define ULY_PREPARE_TOKENS_H

#include "data/shard_writer.h"
#include "data/token_batches.h"

typedef struct uly__prepare_tokens uly__prepare_tokens;

/* Opens config->tokenizer, finds the token that ends documents, checks that no other tokenizer is
 * in config->out, and starts the threads. On failure *out is NULL. */
uly_status uly__prepare_tokens_open(const uly_prepare_config *config, const uly__batches_sink *sink,
                                    uly__prepare_tokens **out);
void uly__prepare_tokens_close(uly__prepare_tokens *tokens);
const uly__shard_tokens *uly__prepare_tokens_of(const uly__prepare_tokens *tokens);
/* See token_batches.h. */
uly_status uly__prepare_tokens_add(uly__prepare_tokens *tokens, const char *path, int part,
                                   const char *bytes, int64_t count, int64_t place);
uly_status uly__prepare_tokens_end_document(uly__prepare_tokens *tokens);
uly_status uly__prepare_tokens_finish(uly__prepare_tokens *tokens);
/* Writes the files of the tokenizer to a folder. */
uly_status uly__prepare_tokens_keep(const uly__prepare_tokens *tokens, const char *folder);

#endif
