/* Shared by the tests of token files: files in the scratch folder of a test, and what they should
 * hold or be refused for. */
#ifndef ULY_TOKEN_FILE_TESTING_H
#define ULY_TOKEN_FILE_TESTING_H

#include "data/token_file.h"
#include "testing.h"

/* Write a file, and return its path: a text; a shard, which is the header's three numbers, then
 * count tokens of width bytes; valid shards with 2 and 4 bytes per token. */
const char *put_text(const char *name, const char *text);
const char *put_shard(const char *name, int32_t magic, int32_t version, int32_t promised, int width,
                      const uint32_t *tokens, int count);
const char *put_u16(const char *name, const uint32_t *tokens, int count);
const char *put_u32(const char *name, const uint32_t *tokens, int count);

void make_folder(const char *name);

uly__tokens *open_tokens(const char *path);

/* Checks that the message holds the name and the text. */
void assert_message(const char *name, const char *text);

/* Checks that a path cannot be opened, with this status and a message that holds the name and the
 * text. */
void assert_refused(const char *path, uly_status status, const char *name, const char *text);

/* Checks that every range [begin, begin + count) of the stream is what it should be, and that
 * nothing is written beyond it. */
void assert_stream(const char *path, const int32_t *expected, int64_t count);

#endif
