/* Shared by the tests that turn text into token shards. A test prepares the folder `in` of its
 * scratch folder to the folder `out`. The expected result is computed from the same numbers that
 * made the text, and the shards are read back twice: byte by byte, by parse_shard alone, and by the
 * reader that trains from them. */
#ifndef ULY_PREPARE_TESTING_H
#define ULY_PREPARE_TESTING_H

#include "testing.h"

enum { MAX_TOKENS = 4 << 20 };

/* The tokens of a part that are expected, and those that were read. */
extern int32_t expected[MAX_TOKENS], found[MAX_TOKENS];
extern int64_t num_expected;

extern uly_prepare_report report;

/* Runs a command in the scratch folder. */
void shell(const char *command);

/* Removes both folders, and makes an empty `in`. */
void clean(void);

void write_text(const char *name, const char *text);

/* Returns byte i of document d. */
int byte_of(int64_t d, int64_t i);

/* Add to what is expected: a byte, the end of a document, a text with its end. */
void expect_byte(int byte);
void expect_end(void);
void expect_document(const char *text);

/* Prepares `in` to `out`, and fills in the report. */
uly_status prepare(uly_documents documents, int64_t shard_tokens);

/* Reads shard `index` of a part ("out/train") by what facts about the format say. Returns the
 * number of its tokens, or 0 where there is no such file. */
int64_t parse_shard(const char *part, int index, int32_t *tokens);

/* Checks that the shards of a part hold what is expected, all but the last shard_tokens each, and
 * that the report says so. */
void check_part(const char *part, int64_t shard_tokens, const uly_prepare_part *about);

/* Returns the number of entries of a folder, or -1 if there is none. */
int count_entries(const char *name);

/* Checks that a failure has left no shards, hidden ones neither. */
void check_nothing_left(void);

#endif
