/* Writes token shards, folder/000000.bin and so on: all but the last hold the same number of
 * tokens, and a document may continue in the next one. It holds no more than a buffer in memory,
 * whatever the number of tokens. */
#ifndef ULY_SHARD_WRITER_H
#define ULY_SHARD_WRITER_H

#include "base/status.h"

typedef struct uly__shard_writer uly__shard_writer;

/* The tokens of shards. */
typedef struct uly__shard_tokens {
  /* All are below it. They are written as uint16 if they fit, and as uint32 otherwise. */
  int64_t vocab;
  /* The token that ends each document. */
  int32_t end;
  /* Hash of their tokenizer (uly_tokenizer_info); 0: they are bytes. */
  uint64_t tokenizer;
} uly__shard_tokens;

/* Opens a writer for a folder that exists and is empty. shard_tokens, the number in each shard, is
 * from 1 to INT32_MAX. On failure *out is NULL. */
uly_status uly__shard_writer_open(const char *folder, int64_t shard_tokens,
                                  const uly__shard_tokens *tokens, uly__shard_writer **out);
/* Add the next tokens of the current document; bytes are the tokens 0 to 255. */
uly_status uly__shard_writer_add_bytes(uly__shard_writer *writer, const char *bytes, int64_t count);
uly_status uly__shard_writer_add(uly__shard_writer *writer, const int32_t *tokens, int64_t count);
/* Ends the document, with the token for it. */
uly_status uly__shard_writer_end_document(uly__shard_writer *writer);
/* Returns the number of tokens so far. */
int64_t uly__shard_writer_count(const uly__shard_writer *writer);
/* Completes and syncs the last shard, and sets *part to what was written in all. */
uly_status uly__shard_writer_finish(uly__shard_writer *writer, uly_prepare_part *part);
/* Closes the writer, even if it was not finished; accepts NULL. */
void uly__shard_writer_close(uly__shard_writer *writer);

#endif
