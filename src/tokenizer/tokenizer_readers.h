/* Readers of the files of tokenizers. Each fills what uly_tokenizer_open has made; messages do not
 * name the file. */
#ifndef ULY_TOKENIZER_READERS_H
#define ULY_TOKENIZER_READERS_H

#include "tokenizer/tokenizer.h"

enum { ULY__MOST_TOKENIZER_BYTES = 1 << 27 };

/* Reads a tokenizer.json. */
uly_status uly__tokenizer_read_json(const char *bytes, int64_t n, uly_tokenizer *out);
/* Reads a vocab.json and a merges.txt, which must be those of GPT-2: such files do not say how
 * texts are divided into words. */
uly_status uly__tokenizer_read_gpt2(const char *vocab, int64_t num_vocab, const char *merges,
                                    int64_t num_merges, uly_tokenizer *out);
/* Reads a file of ranks of `tiktoken`; file is its name without folders. */
uly_status uly__tokenizer_read_tiktoken(const char *text, int64_t n, const char *file,
                                        const uly_tokenizer_config *config,
                                        uly_tokenizer *tokenizer);

/* Reads a tokenizer.model of SentencePiece. */
uly_status uly__tokenizer_read_sentencepiece(const char *bytes, int64_t n,
                                             uly_tokenizer *tokenizer);

/* Sets the ids of tokens that begin and end a text: what tokenizer_config.json in the folder says,
 * or the usual names. Members of the file that are not as expected are left alone, since they
 * change no token of a text. */
void uly__tokenizer_find_ends(const char *folder, uly_tokenizer *tokenizer);

/* Warns, once, if tokenizer_config.json or added_tokens.json in the folder names tokens that the
 * tokenizer does not have, or has with other ids. */
void uly__tokenizer_warn_of_elsewhere(const char *folder, const uly_tokenizer *tokenizer);

/* Computes tokenizer->info.hash. */
void uly__tokenizer_hash(uly_tokenizer *tokenizer);

#endif
