/* The integers of a pass, as ops read them. The host makes them in its own memory; this is the one
 * place where they are uploaded. */
#ifndef ULY_PASS_INPUT_H
#define ULY_PASS_INPUT_H

#include "device/arena.h"
#include "device/device.h"

typedef struct uly__input {
  uly__stream *stream;
  int64_t count;                  /* T */
  const int32_t *tokens, *labels; /* [T] each */
  const int64_t *positions;       /* [T] */
  /* Rooms on a device that has memory of its own. */
  void *token_room, *label_room, *position_room;
} uly__input;

/* Carves what `count` tokens need on the device. */
void uly__input_carve(uly__input *input, uly__stream *stream, int64_t count, uly__arena *arena);

/* Set what the next passes read, from arrays in the host's memory: tokens and labels (NULL if a
 * pass has none); and positions. The arrays must stay as they are until the last of these passes
 * has ended. */
void uly__input_set_tokens(uly__input *input, const int32_t *tokens, const int32_t *labels);
void uly__input_set_positions(uly__input *input, const int64_t *positions);

#endif
