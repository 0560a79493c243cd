/* Pre-tokenizers: steps that divide a text into words, each of which the model encodes by itself.
 * A step divides every piece that the step before it made. */
#ifndef ULY_PRE_TOKENIZER_H
#define ULY_PRE_TOKENIZER_H

#include "tokenizer/byte_buffer.h"
#include "tokenizer/scanners.h"

/* What becomes of a match: a piece of its own, nothing, a part of the piece before or after it, or
 * a part of one piece with its neighbours that match. */
typedef enum uly__behavior {
  ULY__ISOLATED,
  ULY__REMOVED,
  ULY__MERGED_WITH_PREVIOUS,
  ULY__MERGED_WITH_NEXT,
  ULY__CONTIGUOUS
} uly__behavior;

typedef enum uly__step_kind {
  ULY__STEP_SCANNER,     /* divides at matches of `scan` */
  ULY__STEP_PATTERN,     /* of `pattern` */
  ULY__STEP_STRING,      /* of `string` */
  ULY__STEP_CLASSES,     /* of runs of `classes` */
  ULY__STEP_PUNCTUATION, /* of single punctuation characters */
  ULY__STEP_PREFIX,      /* puts a space before a piece */
  ULY__STEP_BYTES,       /* bytes to byte-level characters */
  /* Divides before each U+2581 that follows another character. It comes from no file: the library
   * adds it where no merge joins the two, so that it keeps words short and changes no tokens. */
  ULY__STEP_MARKS,
  ULY__STEP_METASPACE /* replaces spaces by `string` */
} uly__step_kind;

/* Which pieces get `string` before them in ULY__STEP_METASPACE. */
typedef enum uly__prepend {
  ULY__PREPEND_ALWAYS,
  ULY__PREPEND_FIRST,
  ULY__PREPEND_NEVER
} uly__prepend;

typedef struct uly__step {
  uly__step_kind kind;
  uly__behavior behavior;
  /* Whether what is between matches counts as the matches. */
  bool is_inverted;
  const uly__known_pattern *known;
  uly__scanner *scan;
  uly__pattern *pattern;
  unsigned classes;
  /* The most characters in a match. */
  int most;
  uly__prepend prepend;
  char *string;
  int64_t num_string;
} uly__step;

enum { ULY__MOST_STEPS = 16 };

typedef struct uly__pre_tokenizer {
  uly__step steps[ULY__MOST_STEPS];
  int num_steps;
  /* The model's symbols are bytes. If ULY__STEP_BYTES is among the steps, words come out of the
   * last one in byte-level characters and are turned back. */
  bool is_byte_level, has_bytes_step;
} uly__pre_tokenizer;

void uly__pre_tokenizer_free(uly__pre_tokenizer *pre_tokenizer);

/* The work of a thread on a text. */
typedef struct uly__pre_tokenizer_run {
  const uly__pre_tokenizer *pre_tokenizer;
  const uly__class_table *classes;
  uly__matcher *matcher;
  /* Receives a word; its bytes are valid only during the call. */
  uly_status (*take)(void *context, const unsigned char *word, int64_t n);
  void *context;
  uly__buffer changed[ULY__MOST_STEPS + 1];
} uly__pre_tokenizer_run;

/* Divides a text of valid UTF-8 and hands on its words. is_first: the text is the beginning of what
 * is encoded. */
uly_status uly__pre_tokenizer_divide(uly__pre_tokenizer_run *run, const unsigned char *text,
                                     int64_t n, bool is_first);

/* Converts byte-level characters (U+0021 to U+0143), in valid UTF-8, to the bytes that they stand
 * for. Most bytes are the same characters of Latin-1; the others have those from U+0100 on.
 * Replaces the contents of out, which must have room for n bytes. Returns false, and leaves out
 * empty, if a character stands for no byte, as in names of special tokens. */
bool uly__bytes_of_characters(const void *text, int64_t n, uly__buffer *out);
/* Returns the byte that a token of n bytes, <0x00> to <0xFF>, is named after, or -1. */
int uly__byte_of_name(const unsigned char *name, int64_t n);

#endif
