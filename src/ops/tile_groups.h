/* The tokens of attention as tiles take them: blocks of LANES, groups of blocks, rows of a head.
 *
 * A tile is LANES x LANES pairs of tokens. One side, the *lanes*, lies across vector registers:
 * queries in forward, keys in backward. The lanes' rows are transposed once; the other side is read
 * in its own layout. A thread takes a group of blocks of lanes: what it reads of the other side
 * comes from memory, and is packed, once for all of them.
 *
 * Exponentials are powers of 2. */
#ifndef ULY_TILE_GROUPS_H
#define ULY_TILE_GROUPS_H

#include <omp.h>

#include "base/integers.h"
#include "ops/tile_words.h"

static int64_t num_blocks(uly_token_run run) { return (run.count + LANES - 1) / LANES; }

/* Blocks of a group, and their total width: together with what a thread holds of them, they fit
 * into its second-level cache. */
enum { MAX_GROUP = 4, GROUP_WIDTH = 512 };

/* Groups that a thread should get at least, so that all threads end at about the same time. */
enum { GROUPS_OF_A_THREAD = 8 };

/* Returns the largest size of a group that leaves each thread enough groups of `blocks`. */
static int64_t group_size(const uly__attention_args *a, int64_t blocks, int64_t for_a_thread) {
  int64_t size = MAX_GROUP, enough = for_a_thread * omp_get_max_threads();
  while (size > 1 && (size * padded(a->head_dim) > GROUP_WIDTH || blocks / size < enough))
    size /= 2;
  return size;
}

static int64_t num_groups(int64_t blocks, int64_t size) { return (blocks + size - 1) / size; }

static int kv_head(const uly__attention_args *a, int q_head) {
  return (q_head + a->group_offset) / a->group_size;
}

/* A tensor's head: its rows are tokens of a run. */
typedef struct head_tensor {
  const void *x;
  int64_t stride, count;
  int head;
} head_tensor;

/* Returns rows `begin` and after, of one block. */
static head_rows block_rows(const uly__attention_args *a, head_tensor t, int64_t begin) {
  return (head_rows){uly__at(t.x, a->dtype, begin * t.stride + (int64_t)t.head * a->head_dim),
                     t.stride, uly__min(LANES, t.count - begin)};
}

/* Prefetches the block that begins there, if any, since it will be needed soon. */
static void prefetch_block(const uly__attention_args *a, head_tensor t, int64_t begin) {
  int64_t element = uly__dtype_bytes(a->dtype);
  if (begin < t.count)
    prefetch_rows(block_rows(a, t, begin), a->head_dim * element, t.stride * element);
}

/* Return a query head of q, or of o; and a key/value head of k or v. */
static head_tensor q_head_of(const uly__attention_args *a, const void *q, int head) {
  return (head_tensor){q, a->q_stride, a->queries.count, head};
}
static head_tensor o_head_of(const uly__attention_args *a, const void *o, int head) {
  return (head_tensor){o, a->o_stride, a->queries.count, head};
}
static head_tensor kv_head_of(const uly__attention_args *a, const void *kv, int head) {
  return (head_tensor){kv, a->kv_stride, a->keys.count, head};
}

/* Returns whether none, some or all pairs of a range of query rows and one of key rows see each
 * other. */
static uly__tile tile_between(const uly__attention_args *a, int head, int64_t q_begin,
                              int64_t num_queries, int64_t k_begin, int64_t num_keys) {
  int64_t q = a->queries.begin + q_begin, k = a->keys.begin + k_begin;
  return uly__mask_tile(a->mask, a->first_q_head + head, q, q + num_queries, k, k + num_keys);
}

/* Writes x[lane][d] = factor[lane] * lanes[d][LANES], in the storage type. Not inlined: in forward,
 * which calls it once, it took registers from the loops over tiles (4% of forward in bf16). */
__attribute__((noinline)) static void store_lanes(const uly__attention_args *a, head_rows to,
                                                  const float *factor, const float *lanes) {
  for (int64_t lane = 0; lane < to.count; lane++) {
    void *row = uly__at(to.x, a->dtype, lane * to.stride);
    for (int i = 0; i < a->head_dim; i++)
      uly__store(row, a->dtype, i, factor[lane] * lanes[i * LANES + lane]);
  }
}

/* Tiles between two polls: about a tenth of a millisecond. */
enum { POLL_TILES = 16 };

/* Polls on the thread that called for attention; *tiles are those that a thread has done since it
 * last polled. */
static void poll(const uly__attention_args *a, int64_t *tiles) {
  if (*tiles < POLL_TILES || !a->poll || omp_get_thread_num() != 0) return;
  a->poll(a->poll_context);
  *tiles = 0;
}

#endif
