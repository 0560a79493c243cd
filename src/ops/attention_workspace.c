/* Lays out the workspace of attention's backward: see attention_workspace.h. */
#include "ops/attention_workspace.h"

/* Returns the next `bytes`, from a multiple of 64 on. */
static void *carve(char *memory, int64_t *at, int64_t bytes) {
  void *here = memory ? memory + *at : NULL;
  *at += (bytes + 63) / 64 * 64;
  return here;
}

/* Returns the first address that is a multiple of 64. */
static char *align(void *memory) {
  return memory ? (char *)memory + (64 - (uintptr_t)memory % 64) % 64 : NULL;
}

static int64_t num_blocks(uly_token_run run) {
  return (run.count + ULY_ATTENTION_TILE - 1) / ULY_ATTENTION_TILE;
}

/* Returns the bytes of dQ's sums for one head. */
static int64_t d_q_bytes(const uly__attention_args *args) {
  int64_t width = (args->head_dim + 31) / 32 * 32;
  return num_blocks(args->queries) * ULY_ATTENTION_TILE * width * (int64_t)sizeof(float);
}

int64_t uly__attention_carve_sums(const uly__attention_args *args, void *memory,
                                  uly__attention_sums *out) {
  int64_t at = 0;
  char *base = align(memory);
  out->delta = carve(base, &at, args->num_q_heads * args->queries.count * (int64_t)sizeof(float));
  out->d_q = out->o = carve(base, &at, args->num_q_heads * d_q_bytes(args));
  return at + 64;
}

int64_t uly__attention_carve(const uly__attention_args *args, void *memory,
                             uly__attention_workspace *out) {
  int64_t tile = ULY_ATTENTION_TILE, blocks = num_blocks(args->keys);
  int64_t size = sizeof(float), at = 0;
  int uses = args->group_size < args->num_q_heads ? args->group_size : args->num_q_heads;
  bool in_passes = uses > 2;
  out->num_together = in_passes ? 1 : uses;
  char *base = align(memory);
  if (args->sums) {
    uly__attention_sums sums;
    uly__attention_carve_sums(args, args->sums, &sums);
    out->delta = sums.delta;
    out->d_q = sums.d_q;
  } else {
    out->delta = carve(base, &at, args->num_q_heads * args->queries.count * size);
    out->d_q = carve(base, &at, out->num_together * d_q_bytes(args));
  }
  out->d_kv = in_passes ? carve(base, &at, blocks * tile * 2 * args->head_dim * size) : NULL;
  out->progress = carve(base, &at, blocks * (int64_t)sizeof *out->progress);
  return at + 64;
}
