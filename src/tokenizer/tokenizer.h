/* A tokenizer, and its parts: what the readers of files fill, and what encodes and decodes.
 *
 *   text -> added tokens are found -> what is between them is normalized, and searched again for
 *   added tokens that are to be found in normalized text -> divided into words -> tokens of each
 *   word
 *
 * This is the order of the package `tokenizers`. A SentencePiece model does all of it by itself. */
#ifndef ULY_TOKENIZER_H
#define ULY_TOKENIZER_H

#include <pthread.h>

#include "tokenizer/added_tokens.h"
#include "tokenizer/bpe.h"
#include "tokenizer/normalizer.h"
#include "tokenizer/pre_tokenizer.h"
#include "tokenizer/sentencepiece.h"
#include "tokenizer/sentencepiece_spec.h"

/* What encoding needs besides the tokenizer; used by one thread at a time. */
typedef struct uly__encoder uly__encoder;

/* How the tokens of a text are put together. */
typedef struct uly__joining {
  /* The bytes that each token stands for, after another one, and as the first one of a text where
   * that differs. */
  uly__vocab bytes, first_bytes;
  /* A token is the first one as long as the text is empty. */
  bool first_is_empty;
  /* Goes between tokens. */
  const char *separator;
  /* A text loses up to num_stripped of the characters `stripped` at its beginning. If that is
   * empty, the first num_stripped tokens count as the first one. */
  int64_t num_stripped;
  char stripped[5];
} uly__joining;

/* Where a text may be cut: see text_cuts.h. */
typedef enum uly__cut {
  ULY__CUT_NOWHERE,
  ULY__CUT_LETTER,       /* after a letter */
  ULY__CUT_LETTER_SPACE, /* after a letter, before a space */
  ULY__CUT_SPACE,        /* before a space */
  ULY__CUT_SENTENCEPIECE /* before a space that becomes the prefix */
} uly__cut;

struct uly_tokenizer {
  uly_tokenizer_info info;
  /* Found in the text as it is, and in normalized text. */
  uly__added added[2];
  /* Names of added tokens by their ids; and, of those that are found in normalized text and that
   * the normalizer changes, the changed names, which are what they decode to. */
  uly__vocab names, changed_names;
  /* Ids of special tokens, which decoding may leave out. */
  int32_t *special;
  int num_special;
  uly__normalizer normalizer;
  uly__pre_tokenizer pre_tokenizer;
  uly__bpe bpe;
  /* Does all of the encoding, if it is not NULL; and what its file says. */
  uly__sentencepiece *sentencepiece;
  uly__sentencepiece_spec spec;
  uint64_t file_hash;
  uly__cut cut;
  uly__joining joining;
  /* What stands around a text. */
  int32_t *before, *after;
  int num_before, num_after;
  /* A list of the encoders that no thread uses at present. */
  pthread_mutex_t lock;
  uly__encoder *encoders;
};

/* Opens a tokenizer as uly_tokenizer_open does, but without its warnings. */
uly_status uly__tokenizer_open_silently(const char *path, uly_tokenizer **out);

/* Take an encoder for the calling thread and give it back. */
uly_status uly__encoder_take(const uly_tokenizer *tokenizer, uly__encoder **out);
void uly__encoder_return(const uly_tokenizer *tokenizer, uly__encoder *encoder);
void uly__encoder_free(uly__encoder *encoder);
/* Returns the encoder after this one in the list. */
uly__encoder *uly__encoder_next(const uly__encoder *encoder);

/* Sorts the list of special tokens, in which decoding searches. */
void uly__tokenizer_sort_special(uly_tokenizer *tokenizer);

/* Appends the tokens of a text, as uly_tokenizer_encode does, with an encoder that the calling
 * thread has taken. Besides the flags of uly_tokenizer_encode there is one more: the text continues
 * one that was encoded before, at a place that uly__tokenizer_cut gave. */
enum { ULY__TOKENIZE_CONTINUES = 1 << 16 };
uly_status uly__encoder_encode(uly__encoder *encoder, const char *text, int64_t num_bytes,
                               unsigned flags, uly_token_list *tokens);

#endif
