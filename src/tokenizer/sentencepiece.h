/* A C interface to libsentencepiece, which is written in C++. */
#ifndef ULY_SENTENCEPIECE_H
#define ULY_SENTENCEPIECE_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct uly__sentencepiece uly__sentencepiece;

/* What a piece stands for. */
typedef enum uly__piece_kind {
  ULY__PIECE_TEXT,
  ULY__PIECE_UNKNOWN,
  ULY__PIECE_CONTROL,
  ULY__PIECE_BYTE
} uly__piece_kind;

/* Loads a model from the bytes of its file, which uly__sentencepiece_check has accepted. Returns
 * NULL if that fails, and the reason in why. */
uly__sentencepiece *uly__sentencepiece_load(const char *bytes, int64_t n, char *why,
                                            int64_t capacity);
void uly__sentencepiece_free(uly__sentencepiece *model);

int64_t uly__sentencepiece_num(const uly__sentencepiece *model);
/* Returns a null-terminated piece, valid as long as the model, and its number of bytes and kind. */
const char *uly__sentencepiece_get(const uly__sentencepiece *model, int64_t id, int64_t *n,
                                   uly__piece_kind *kind);
/* Return the ids of the pieces that begin and end a text and that stand for unknown ones, or -1. */
int64_t uly__sentencepiece_bos(const uly__sentencepiece *model);
int64_t uly__sentencepiece_eos(const uly__sentencepiece *model);
int64_t uly__sentencepiece_unk(const uly__sentencepiece *model);

/* Encodes a text and passes the ids to `take`. Returns whether that succeeded. */
int uly__sentencepiece_encode(const uly__sentencepiece *model, const char *text, int64_t n,
                              void (*take)(void *context, const int *ids, int64_t num),
                              void *context);

#ifdef __cplusplus
}
#endif

#endif
