/* What the file of a SentencePiece model says that libsentencepiece does not pass on; and a check
 * of the normalization table in it (precompiled_charsmap), which the library reads without bounds
 * checks. */
#ifndef ULY_SENTENCEPIECE_SPEC_H
#define ULY_SENTENCEPIECE_SPEC_H

#include <stdbool.h>

#include "base/status.h"

typedef struct uly__sentencepiece_spec {
  bool is_bpe;
  /* Texts get a space before them; spaces at the ends and more than one in a row are dropped. */
  bool adds_prefix, drops_spaces;
  /* Spaces are written as U+2581; they come after words (treat_whitespace_as_suffix). */
  bool escapes_spaces, has_suffixes;
  /* The table of characters changes spaces together with what is beside them. */
  bool joins_spaces;
  /* What the unknown token stands for. */
  char unknown[64];
} uly__sentencepiece_spec;

/* Reads the bytes of a model. Returns ULY_ERR_DATA if they are not those of one, or if its
 * normalization table is not sound. */
uly_status uly__sentencepiece_check(const char *bytes, int64_t n, uly__sentencepiece_spec *out);

#endif
