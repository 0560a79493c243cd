/* What a mask hides within a tile.
 *
 * The probability of a hidden pair is 0 because 0 is written there: no sentinel goes through the
 * arithmetic of scores. In the products that sum over such zeros, 0 times an infinity or NaN would
 * still not be 0. So a tile that hides some pairs multiplies rows from which all that is not finite
 * was taken out, and then adds it, pair by pair, where it is seen. Looking for it costs less than a
 * hundredth of a tile, and full tiles do not look.
 *
 * Legend: as in tile_words.h; a row is summed over, a lane is not. */
#ifndef ULY_TILE_HIDDEN_H
#define ULY_TILE_HIDDEN_H

#include "ops/mask.h"
#include "ops/tile_groups.h"

/* Returns x where the lane's bit is set, and 0 elsewhere. */
ULY_INLINE vec only_lanes(vec x, uint64_t bits) {
  ivec bit;
  for (int i = 0; i < WIDTH; i++) bit[i] = 1 << i;
  ivec chosen = (bit & (int32_t)(bits & ((1u << WIDTH) - 1))) != 0;
  return (vec)((ivec)x & chosen);
}

/* Writes as bits which keys of a block each query of a block sees; queries beyond the last see
 * nothing, and keys beyond the last are seen by none. query, key: rows. */
static void load_seen(const uly__attention_args *a, int head, int64_t query, int64_t num_queries,
                      int64_t key, int64_t num_keys, uint64_t *seen) {
  uint64_t keys = UINT64_MAX >> (LANES - num_keys);
  for (int64_t i = 0; i < num_queries; i++)
    seen[i] = keys & uly__mask_bits(a->mask, a->first_q_head + head, a->queries.begin + query + i,
                                    a->keys.begin + key);
  for (int64_t i = num_queries; i < LANES; i++) seen[i] = 0;
}

/* Rows of a block that a product sums over. */
typedef struct summed_rows {
  head_rows rows;
  const word *pairs;  /* [count / PER_WORD] rows */
  const word *finite; /* infinities and NaN are 0 */
  int64_t ld, finite_ld;
  bool leaves_out; /* finite differs from pairs */
} summed_rows;

#ifdef ULY_BF16_DOT

/* Returns whether all rows are finite. Pairs of rows lie one after the other, with zeros beyond
 * their ends. */
static bool all_finite(const summed_rows *x, int d) {
  const __m512i magnitude = _mm512_set1_epi16(0x7fff);
  __m512i largest = _mm512_setzero_si512();
  for (int64_t i = 0; i < num_words(x->rows.count) * x->ld; i += WIDTH)
    largest =
        _mm512_max_epu16(largest, _mm512_and_si512(magnitude, _mm512_loadu_si512(x->pairs + i)));
  (void)d;
  return _mm512_cmpge_epu16_mask(largest, _mm512_set1_epi16(0x7f80)) == 0;
}

ULY_INLINE word only_finite(word pair) {
  word low = (pair & 0x7f80) == 0x7f80 ? 0 : pair & 0xffff;
  return low | ((pair & 0x7f800000) == 0x7f800000 ? 0 : pair & 0xffff0000);
}

/* Returns element `half` of a word. */
ULY_INLINE float element(word pair, int64_t half) {
  return uly__bf16_to_f32((uint16_t)(pair >> 16 * half));
}

#else

static bool all_finite(const summed_rows *x, int d) {
  vec sum[2] = {{0}}; /* NaN if anything is not finite */
  float rest = 0;
  for (int64_t r = 0; r < x->rows.count; r++) {
    const word *row = x->pairs + r * x->ld;
    int i = 0;
    for (; i + 2 * WIDTH <= d; i += 2 * WIDTH) {
      sum[0] += load_vec(row + i) * 0.0f;
      sum[1] += load_vec(row + i + WIDTH) * 0.0f;
    }
    for (; i + WIDTH <= d; i += WIDTH) sum[0] += load_vec(row + i) * 0.0f;
    for (; i < d; i++) rest += row[i] * 0.0f;
  }
  sum[0] += sum[1];
  for (int i = 0; i < WIDTH; i++) rest += sum[0][i];
  return rest == 0.0f;
}

ULY_INLINE word only_finite(word x) { return isfinite(x) ? x : 0; }

ULY_INLINE float element(word x, int64_t half) {
  (void)half;
  return x;
}

#endif

/* Fills in `finite`. The buffer has LANES x MAX_D words, and may be where pairs is. */
static void find_finite(summed_rows *x, int d, word *buffer) {
  x->finite = x->pairs;
  x->finite_ld = x->ld;
  x->leaves_out = !all_finite(x, d);
  if (!x->leaves_out) return;
  x->finite = buffer;
  x->finite_ld = padded(d);
  for (int64_t r = 0; r < num_words(x->rows.count); r++)
    for (int i = 0; i < d; i++) buffer[r * x->finite_ld + i] = only_finite(x->pairs[r * x->ld + i]);
}

/* Returns the weight of a row in a lane, from pairs of rows [count / PER_WORD][LANES]. */
static float weight_in_pairs(const word *weights, int64_t row, int64_t lane) {
  return element(weights[row / PER_WORD * LANES + lane], row % PER_WORD);
}

/* A product whose rows had to be finite: c[i][lane] += sum of weight(row, lane) x[row][i]. */
typedef struct hidden_product {
  const summed_rows *x;
  const word *weights;
  float (*weight)(const word *weights, int64_t row, int64_t lane);
  float *c;
  int64_t c_i, c_lane;  /* distances in c */
  const uint64_t *seen; /* [query] bits of visible keys */
  bool rows_are_queries;
} hidden_product;

/* Adds the values of the rows that are not finite, where they are seen. */
__attribute__((noinline, cold)) static void add_left_out(const uly__attention_args *a,
                                                         hidden_product p) {
  head_rows rows = p.x->rows;
  for (int64_t row = 0; row < rows.count; row++)
    for (int i = 0; i < a->head_dim; i++) {
      float value = uly__load(rows.x, a->dtype, row * rows.stride + i);
      if (isfinite(value)) continue;
      for (int64_t lane = 0; lane < LANES; lane++) {
        bool is_seen = (p.rows_are_queries ? p.seen[row] >> lane : p.seen[lane] >> row) & 1;
        if (is_seen) p.c[i * p.c_i + lane * p.c_lane] += p.weight(p.weights, row, lane) * value;
      }
    }
}

#endif
