/* What decoding does with one token, as fast as memory gives the weights and the cache. Compiled
 * once for each instruction set (ULY_ISA).
 *
 * Bits: an element of a product is one row's sum, in an order that the length of the row fixes; a
 * head's attention is summed within chunks of CHUNK keys, and chunk after chunk. So neither depends
 * on how rows and heads are dealt to ranks and threads. */
#include <math.h>

#include "base/integers.h"
#include "ops/instruction_set.h"
#include "ops/mask.h"
#include "ops/ops.h"
#include "ops/vectors.h"

/* Products with fewer bytes are not worth a second thread. */
enum { SERIAL_BYTES = 1 << 15 };

/* Widens WIDTH elements from i on. */
ULY_INLINE vec widen(const void *x, uly_dtype dtype, int64_t i) {
  if (dtype == ULY_F32) return load_vec((const float *)x + i);
  return widen_bf16((const uint16_t *)x + i);
}

/* Widens the last `count` < WIDTH elements, followed by zeros. */
ULY_INLINE vec widen_end(const void *x, uly_dtype dtype, int64_t i, int64_t count) {
  float end[WIDTH] = {0};
  for (int64_t j = 0; j < count; j++) end[j] = uly__load(x, dtype, i + j);
  return load_vec(end);
}

ULY_INLINE float sum_lanes(vec x) {
  float lanes[WIDTH];
  *vec_at(lanes) = x;
  for (int half = WIDTH / 2; half > 0; half /= 2)
    for (int i = 0; i < half; i++) lanes[i] += lanes[i + half];
  return lanes[0];
}

/* ---------------------------------------------------------------------------- product */

/* Rows that are summed side by side. The rows after them are prefetched meanwhile: rows are too
 * short for the hardware to foresee where each of them continues. */
enum { ROWS_AT_ONCE = 4, LINE = 64 };

ULY_INLINE void ask_for(const void *x, int64_t bytes) {
  for (int64_t i = 0; i < bytes; i += LINE) __builtin_prefetch((const char *)x + i, 0, 2);
}

ULY_INLINE void dot_rows(int rows, int64_t cols, int64_t ld, uly_dtype dtype, const void *w,
                         const float *x, float *y) {
  vec sum[ROWS_AT_ONCE][2] = {{{0}}};
  int64_t i = 0;
  for (; i + 2 * WIDTH <= cols; i += 2 * WIDTH) {
    vec x0 = load_vec(x + i), x1 = load_vec(x + i + WIDTH);
#pragma GCC unroll 4
    for (int r = 0; r < rows; r++) {
      ask_for(uly__at(w, dtype, (r + rows) * ld + i), 2 * WIDTH * uly__dtype_bytes(dtype));
      sum[r][0] += widen(w, dtype, r * ld + i) * x0;
      sum[r][1] += widen(w, dtype, r * ld + i + WIDTH) * x1;
    }
  }
  for (; i < cols; i += WIDTH) {
    int64_t count = uly__min(WIDTH, cols - i);
    vec x0 = widen_end(x, ULY_F32, i, count);
#pragma GCC unroll 4
    for (int r = 0; r < rows; r++) sum[r][0] += widen_end(w, dtype, r * ld + i, count) * x0;
  }
#pragma GCC unroll 4
  for (int r = 0; r < rows; r++) y[r] = sum_lanes(sum[r][0] + sum[r][1]);
}

/* Multiplies up to ROWS_AT_ONCE rows. */
ULY_INLINE void dot_some(int64_t rows, int64_t cols, int64_t ld, uly_dtype dtype, const void *w,
                         const float *x, float *y) {
  if (rows == ROWS_AT_ONCE)
    dot_rows(ROWS_AT_ONCE, cols, ld, dtype, w, x, y);
  else
    for (int64_t r = 0; r < rows; r++)
      dot_rows(1, cols, ld, dtype, uly__at(w, dtype, r * ld), x, y + r);
}

static void matvec(uly__stream *stream, int64_t rows, int64_t cols, int64_t ld, uly_dtype dtype,
                   const void *w, const float *x, float *y) {
  (void)stream;
#pragma omp parallel for schedule(static) if (rows * cols * uly__dtype_bytes(dtype) > SERIAL_BYTES)
  for (int64_t r = 0; r < rows; r += ROWS_AT_ONCE) {
    int64_t count = uly__min(ROWS_AT_ONCE, rows - r);
    if (dtype == ULY_F32)
      dot_some(count, cols, ld, ULY_F32, (const float *)w + r * ld, x, y + r);
    else
      dot_some(count, cols, ld, ULY_BF16, (const uint16_t *)w + r * ld, x, y + r);
  }
}

/* -------------------------------------------------------------------------- attention */

enum { CHUNK = ULY_ATTEND_CHUNK, TILE = ULY_ATTENTION_TILE };

/* The result for some of the keys of a head. Scores are q.k, or -q.k if the scale is negative. */
typedef struct partial {
  float *out;         /* [d]: sum of exp2((score - largest) to_log2) v */
  float largest, sum; /* -infinity and 0 at first */
} partial;

/* Returns the factor that turns a sum that is relative to the score `from` into one relative to
 * `to`. */
static float rebase(const uly__attend_one *a, float from, float to) {
  return from == to ? 1.0f : exp2f((from - to) * uly__attention_to_log2(a->scale));
}

/* Returns the place of a partial result in the workspace. */
static float *place(const uly__attend_one *a, int head, int64_t chunk) {
  return a->workspace +
         (head * uly__attend_num_chunks(a->capacity) + chunk) * uly__attend_width(a->head_dim);
}

/* Computes scores[i] = q k_i, with the sign of the scale. */
ULY_INLINE void score_keys(const uly__attend_one *a, uly_dtype dtype, const float *q, const void *k,
                           int64_t count, float *scores) {
  int d = a->head_dim;
  float sign = a->scale < 0 ? -1.0f : 1.0f;
  for (int64_t key = 0; key < count; key++) {
    vec sum = {0};
    int i = 0;
    for (; i + WIDTH <= d; i += WIDTH) sum += load_vec(q + i) * widen(k, dtype, key * d + i);
    if (i < d) sum += load_vec(q + i) * widen_end(k, dtype, key * d + i, d - i);
    scores[key] = sum_lanes(sum) * sign;
  }
}

/* Adds to out the sum over the keys of p v, for `vectors` WIDTHs of elements from i on; the last
 * may be short. */
ULY_INLINE void add_values(int vectors, uly_dtype dtype, const float *p, const void *v,
                           int64_t count, int d, int i, float *out) {
  vec sum[4];
  for (int j = 0; j < vectors; j++) sum[j] = load_vec(out + i + j * WIDTH);
  for (int64_t key = 0; key < count; key++)
#pragma GCC unroll 4
    for (int j = 0; j < vectors; j++) {
      int64_t at = key * d + i + j * WIDTH, left = d - i - j * WIDTH;
      sum[j] += p[key] * (left < WIDTH ? widen_end(v, dtype, at, left) : widen(v, dtype, at));
    }
  for (int j = 0; j < vectors; j++) *vec_at(out + i + j * WIDTH) = sum[j];
}

/* Moves *begin to the next visible key, and returns the end of its stretch; if there is no such
 * key, returns *begin. */
static int next_stretch(uint64_t seen, int *begin) {
  uint64_t left = *begin < 64 ? seen >> *begin : 0;
  if (left == 0) return *begin;
  *begin += __builtin_ctzll(left);
  uint64_t hidden = ~(seen >> *begin);
  return hidden ? *begin + __builtin_ctzll(hidden) : 64;
}

/* Adds to out the sum over the keys of p v. */
ULY_INLINE void add_all_values(uly_dtype dtype, const float *p, const void *v, int64_t count, int d,
                               float *out) {
  int i = 0;
  for (; i + 4 * WIDTH <= d; i += 4 * WIDTH) add_values(4, dtype, p, v, count, d, i, out);
  for (; i < d; i += WIDTH) add_values(1, dtype, p, v, count, d, i, out);
}

/* Attends to a tile. Hidden keys and values are not read. */
ULY_INLINE void attend_tile(const uly__attend_one *a, uly_dtype dtype, int head, int64_t key,
                            const float *q, partial *to) {
  int64_t kv = (head + a->group_offset) / a->group_size, d = a->head_dim;
  int64_t at = (kv * a->capacity + key) * d;
  uint64_t seen = uly__mask_bits(a->mask, a->first_q_head + head, a->query, key);
  float p[TILE], largest = to->largest, to_log2 = uly__attention_to_log2(a->scale);
  for (int i = 0; i < TILE; i++) p[i] = -INFINITY;
  for (int begin = 0, end; (end = next_stretch(seen, &begin)) > begin; begin = end)
    score_keys(a, dtype, q, uly__at(a->k, dtype, at + begin * d), end - begin, p + begin);
  for (int i = 0; i < TILE; i++)
    largest = p[i] > largest || p[i] != p[i] ? p[i] : largest; /* a NaN stays */
  float base = largest == -INFINITY ? 0 : largest;             /* -infinity - 0 is not NaN */
  float shrink = rebase(a, to->largest, base);
  vec sum = {0};
  for (int i = 0; i < TILE; i += WIDTH) {
    vec *x = vec_at(p + i);
    *x = exp2_vec((*x - base) * to_log2);
    sum += *x;
  }
  to->largest = largest;
  to->sum = to->sum * shrink + sum_lanes(sum);
  for (int i = 0; i < d; i++) to->out[i] *= shrink;
  for (int begin = 0, end; (end = next_stretch(seen, &begin)) > begin; begin = end)
    add_all_values(dtype, p + begin, uly__at(a->v, dtype, at + begin * d), end - begin, (int)d,
                   to->out);
}

ULY_INLINE void attend_chunk(const uly__attend_one *a, uly_dtype dtype, int head, int64_t chunk) {
  float q[ULY_MAX_HEAD_DIM + WIDTH] = {0}, out[ULY_MAX_HEAD_DIM + WIDTH] = {0};
  int d = a->head_dim, mask_head = a->first_q_head + head;
  int64_t begin = chunk * CHUNK, end = uly__min(begin + CHUNK, a->query + 1), query = a->query;
  partial to = {.out = out, .largest = -INFINITY};
  for (int i = 0; i < d; i++) q[i] = uly__load(a->q, dtype, (int64_t)head * d + i);
  int64_t key = uly__mask_next_keys(a->mask, mask_head, query, query + 1, 0, begin, TILE);
  while (key < end) {
    attend_tile(a, dtype, head, key, q, &to);
    key = uly__mask_next_keys(a->mask, mask_head, query, query + 1, 0, key + TILE, TILE);
  }
  float *kept = place(a, head, chunk);
  kept[0] = to.largest;
  kept[1] = to.sum;
  memcpy(kept + 2, out, (size_t)d * sizeof *out);
}

/* Joins chunk after chunk. */
static void join_chunks(const uly__attend_one *a, int head, int64_t first, int64_t last) {
  float out[ULY_MAX_HEAD_DIM] = {0}, largest = -INFINITY, sum = 0;
  int d = a->head_dim;
  for (int64_t chunk = first; chunk <= last; chunk++) {
    const float *part = place(a, head, chunk);
    if (part[1] == 0) continue; /* no key of it counts */
    float larger = largest > part[0] ? largest : part[0];
    float keep = rebase(a, largest, larger), add = rebase(a, part[0], larger);
    for (int i = 0; i < d; i++) out[i] = out[i] * keep + part[2 + i] * add;
    sum = sum * keep + part[1] * add;
    largest = larger;
  }
  for (int i = 0; i < d; i++) uly__store(a->o, a->dtype, (int64_t)head * d + i, out[i] / sum);
}

/* Returns the chunk of the first key that any head sees. */
static int64_t first_chunk(const uly__attend_one *a) {
  int64_t first = a->query / CHUNK;
  for (int head = 0; head < a->num_q_heads; head++)
    first = uly__min(first, uly__mask_next_keys(a->mask, a->first_q_head + head, a->query,
                                                a->query + 1, 0, 0, CHUNK) /
                                CHUNK);
  return first;
}

/* Attends. A thread takes a chunk through all query heads that share its key/value head, so that it
 * is read from memory once. */
static void attend_one(uly__stream *stream, const uly__attend_one *a) {
  (void)stream;
  int64_t first = first_chunk(a), last = a->query / CHUNK;
#pragma omp parallel for collapse(2) schedule(dynamic)
  for (int kv = 0; kv < a->num_kv_heads; kv++)
    for (int64_t chunk = first; chunk <= last; chunk++) {
      int64_t begin = uly__max((int64_t)kv * a->group_size - a->group_offset, 0);
      int64_t end = uly__min((int64_t)(kv + 1) * a->group_size - a->group_offset, a->num_q_heads);
      for (int64_t head = begin; head < end; head++) {
        if (a->dtype == ULY_F32)
          attend_chunk(a, ULY_F32, (int)head, chunk);
        else
          attend_chunk(a, ULY_BF16, (int)head, chunk);
      }
    }
  for (int head = 0; head < a->num_q_heads; head++) join_chunks(a, head, first, last);
}

void ULY_FOR_ISA(uly__one_token)(uly__ops *table) {
  table->matvec = matvec;
  table->attend_one = attend_one;
}
