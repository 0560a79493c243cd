/* Lays out the workspace of attention's backward: see attention_workspace.h. */
#include "ops/attention_workspace.h"

/* Returns the next `bytes`, from a multiple of 64 on. */
static void *carve(char *memory, int64_t *at, int64_t bytes) {
  void *here = memory ? memory + *at : NULL;
  *at += (bytes + 63) / 64 * 64;
  return here;
}

int64_t uly__attention_carve(const uly__attention_args *args, void *memory,
                             uly__attention_workspace *out) {
  int64_t tile = ULY_ATTENTION_TILE, blocks = (args->num_tokens + tile - 1) / tile;
  int64_t width = (args->head_dim + 31) / 32 * 32, size = sizeof(float), at = 0;
  int uses = args->group_size < args->num_q_heads ? args->group_size : args->num_q_heads;
  bool in_passes = uses > 2;
  out->num_together = in_passes ? 1 : uses;
  /* Carving begins at the first address that is a multiple of 64. */
  char *base = memory ? (char *)memory + (64 - (uintptr_t)memory % 64) % 64 : NULL;
  out->delta = carve(base, &at, args->num_q_heads * args->num_tokens * size);
  out->d_q = carve(base, &at, out->num_together * blocks * tile * width * size);
  out->d_kv = in_passes ? carve(base, &at, blocks * tile * 2 * args->head_dim * size) : NULL;
  out->progress = carve(base, &at, blocks * (int64_t)sizeof *out->progress);
  return at + 64;
}
