/* Uploads the integers of a pass: see pass_input.h. */
#include "model/pass_input.h"

/* Returns the bytes of one integer for each token, of `size` bytes each. */
static int64_t bytes_of(const uly__input *input, size_t size) {
  return input->count * (int64_t)size;
}

static void *carve(const uly__input *input, size_t size, uly__arena *arena) {
  return uly__arena_carve(arena, uly__room_bytes(input->stream, bytes_of(input, size)));
}

void uly__input_carve(uly__input *input, uly__stream *stream, int64_t count, uly__arena *arena) {
  *input = (uly__input){.stream = stream, .count = count};
  input->token_room = carve(input, sizeof *input->tokens, arena);
  input->label_room = carve(input, sizeof *input->labels, arena);
  input->position_room = carve(input, sizeof *input->positions, arena);
}

void uly__input_set_tokens(uly__input *input, const int32_t *tokens, const int32_t *labels) {
  int64_t bytes = bytes_of(input, sizeof *tokens);
  input->tokens = uly__upload(input->stream, input->token_room, tokens, bytes);
  input->labels = labels ? uly__upload(input->stream, input->label_room, labels, bytes) : NULL;
}

void uly__input_set_positions(uly__input *input, const int64_t *positions) {
  input->positions = uly__upload(input->stream, input->position_room, positions,
                                 bytes_of(input, sizeof *positions));
}
