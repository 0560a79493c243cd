/* Training data as one long stream of tokens, read from files.
 *
 * A path is a file or a folder (all its regular files, sorted by name byte by byte, not
 * descending into subfolders, names starting with '.' left out). Two kinds of files:
 *   text    any file without a known magic: each byte is a token (0..255), and
 *           every file ends with the end-of-document token 256
 *   shards  llm.c's: 256 int32 header (magic 20240520, version 1: uint16 tokens;
 *           magic 20240801, version 7: uint32 tokens; third int: token count; then ours, which
 *           are 0 in files that do not say it: 1 + the token that ends each document, and the
 *           tokenizer, see shard_header.h)
 * Kinds may not be mixed in one folder, nor shards of both widths, which come from different
 * tokenizers, nor shards that say different things about the end of documents or their tokenizer.
 * An empty text file in a folder is one end-of-document token; text without a single byte in all,
 * and a shard without tokens, are errors. A file whose size changes later gives an error. This code
 * knows no ranks: it is handed (offset, count). */
#ifndef ULY_TOKEN_FILE_H
#define ULY_TOKEN_FILE_H

#include "base/status.h"

#define ULY_TEXT_VOCAB 257
#define ULY_TEXT_END_OF_DOCUMENT 256

typedef struct uly__tokens uly__tokens;

/* The kind of the files: bytes of text, or shards of tokens of this width. */
typedef enum uly__token_kind {
  ULY_TOKENS_TEXT = 0,
  ULY_TOKENS_U16,
  ULY_TOKENS_U32
} uly__token_kind;

/* Opens the files, and checks every header and size. The messages of ULY_ERR_DATA and ULY_ERR_IO
 * name the file. On failure *out is NULL. */
uly_status uly__tokens_open(const char *path, uly__tokens **out);
void uly__tokens_close(uly__tokens *tokens);

uly__token_kind uly__tokens_kind(const uly__tokens *tokens);
int uly__tokens_num_files(const uly__tokens *tokens);

/* Fails with ULY_ERR_DATA if a text file evidently is not text (plain_text.h), or begins with a
 * byte-order mark of UTF-8, which would be three more tokens. `option` is the member with which the
 * bytes would be taken as they are. */
uly_status uly__tokens_check_text(const uly__tokens *tokens, const char *option);

/* Returns the number of tokens of the whole stream. */
int64_t uly__tokens_count(const uly__tokens *tokens);

/* Returns the token that ends each document, or -1 if the shards do not say. */
int64_t uly__tokens_end(const uly__tokens *tokens);

/* Return the hash of the tokenizer that made the shards (uly_tokenizer_info), and its vocabulary; 0
 * if the shards do not say. */
uint64_t uly__tokens_tokenizer(const uly__tokens *tokens);
int64_t uly__tokens_vocab(const uly__tokens *tokens);

/* Copies tokens [begin, begin + count) of the stream to out[count], widened to int32. ULY_ERR_DATA,
 * naming file and place, if a token is not below vocab_size; ULY_ERR_INTERNAL if the range does not
 * lie within the stream. Several threads may read at once. After a failure the contents of out are
 * undefined. */
uly_status uly__tokens_read(const uly__tokens *tokens, int64_t begin, int64_t count,
                            int64_t vocab_size, int32_t *out);

/* Finds where documents begin in tokens [begin, begin + count), count at least 1, counted from
 * begin: at 0, and after each token `end` except at the last of these tokens. doc_start: [count],
 * of which *num_docs are set. Errors are those of uly__tokens_read. */
uly_status uly__tokens_documents(const uly__tokens *tokens, int64_t begin, int64_t count,
                                 int64_t end, int64_t *doc_start, int64_t *num_docs);

/* Returns a hash of the files' contents in their order (uly__source_hash), whatever their names
 * are: it tells on resume whether the data are the same. */
uint64_t uly__tokens_hash(const uly__tokens *tokens);
/* Returns the hash that older checkpoints know the data by: an XXH3 over the names (without
 * folders) and the sizes. */
uint64_t uly__tokens_name_hash(const uly__tokens *tokens);

#endif
