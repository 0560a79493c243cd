/* Writes text as token shards: each byte is a token, and ULY_TEXT_END_OF_DOCUMENT ends each
 * document. The shards are folder/000000.bin, ..., of uint16 tokens; all but the last hold the same
 * number, and a document may continue in the next one. It holds no more than a buffer in memory,
 * whatever the size of the text. */
#ifndef ULY_SHARD_WRITER_H
#define ULY_SHARD_WRITER_H

#include "base/status.h"

typedef struct uly__shard_writer uly__shard_writer;

/* Opens a writer for a folder that exists and is empty. shard_tokens is from 1 to INT32_MAX. On
 * failure *out is NULL. */
uly_status uly__shard_writer_open(const char *folder, int64_t shard_tokens,
                                  uly__shard_writer **out);
/* Adds the next bytes of the current document. */
uly_status uly__shard_writer_add(uly__shard_writer *writer, const char *bytes, int64_t count);
uly_status uly__shard_writer_end_document(uly__shard_writer *writer);
/* Completes and syncs the last shard, and sets *part to what was written in all. */
uly_status uly__shard_writer_finish(uly__shard_writer *writer, uly_prepare_part *part);
/* Closes the writer, even if it was not finished; accepts NULL. */
void uly__shard_writer_close(uly__shard_writer *writer);

#endif
