/* Masks, checked and indexed.
 *
 * The band of query q is [q - before, q + after] within q's document. Both its ends grow with q,
 * and q lies in it; so the bands of neighbouring queries cover one interval together, and the two
 * outer queries say all about the queries between them. Seen from a key it is the same picture with
 * before and after exchanged, and with the layouts' lists by key block: a `view` is one of the two,
 * so that every function on ranges is written once. */
#include "ops/mask.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/integers.h"
#include "base/status.h"

/* What a query sees of the keys, or a key of the queries. */
typedef struct view {
  int64_t before, after; /* the farthest visible token */
  int64_t *begin;        /* [num_layouts * M + 1]; NULL: no layout */
  int32_t *blocks;       /* block b of layout h sees blocks[begin[h * M + b]], ... */
} view;

struct uly__mask {
  uly_mask desc;           /* its pointers are to the copies */
  uly_block_layout layout; /* desc.blocks */
  int64_t num_tokens;
  /* The copy made at creation; desc has the documents in use. */
  int64_t *doc_start;
  view of_query, of_key;
};

typedef struct range {
  int64_t begin, end;
} range;

/* ------------------------------------------------------------------------ the band */

static range document(const uly__mask *m, int64_t token) {
  const int64_t *doc_start = m->desc.doc_start;
  int64_t first = 0, num = m->desc.num_docs; /* the document is one of these */
  while (num > 1) {
    int64_t half = num / 2;
    first = doc_start[first + half] <= token ? first + half : first;
    num -= half;
  }
  int64_t next = first + 1;
  return (range){doc_start[first], next < m->desc.num_docs ? doc_start[next] : m->num_tokens};
}

static range band(const uly__mask *m, const view *side, int64_t token) {
  range r = {uly__max(token - side->before, 0), uly__min(token + side->after + 1, m->num_tokens)};
  if (m->desc.num_docs > 0) {
    range doc = document(m, token);
    r = (range){uly__max(r.begin, doc.begin), uly__min(r.end, doc.end)};
  }
  return r;
}

/* Returns what the tokens of [begin, end) see together, within `limit`. It may be empty: end <=
 * begin. */
static range joint_band(const uly__mask *m, const view *side, int64_t begin, int64_t end,
                        range limit) {
  return (range){uly__max(band(m, side, begin).begin, limit.begin),
                 uly__min(band(m, side, end - 1).end, limit.end)};
}

/* ---------------------------------------------------------------------- the layouts */

typedef struct list {
  const int32_t *first, *end;
} list;

/* Returns what a block lists, from block `from` on. */
static list listed_from(const uly__mask *m, const view *side, int head, int64_t block,
                        int64_t from) {
  int64_t row = (m->layout.num_layouts == 1 ? 0 : head) * m->layout.num_blocks + block;
  const int32_t *first = side->blocks + side->begin[row];
  const int32_t *end = side->blocks + side->begin[row + 1];
  /* The block that is sought is one of these, or after them. */
  for (int64_t num = end - first; num > 0;) {
    int64_t half = num / 2;
    if (first[half] < from) {
      first += half + 1;
      num -= half + 1;
    } else {
      num = half;
    }
  }
  return (list){first, end};
}

static int64_t count_listed(const uly__mask *m, const view *side, int head, int64_t block,
                            int64_t from, int64_t to) {
  return listed_from(m, side, head, block, to).first -
         listed_from(m, side, head, block, from).first;
}

/* Returns the tokens of a block that lie in [begin, end). */
static range part_of_block(const uly__mask *m, int64_t block, int64_t begin, int64_t end) {
  int64_t first = block * m->layout.block;
  return (range){uly__max(begin, first), uly__min(end, first + m->layout.block)};
}

/* ---------------------------------------------------------------------------- tiles */

bool uly__mask_sees(const uly__mask *m, int head, int64_t query, int64_t key) {
  range seen = band(m, &m->of_query, query);
  if (key < seen.begin || key >= seen.end) return false;
  if (!m->desc.blocks) return true;
  int64_t block = key / m->layout.block;
  list keys = listed_from(m, &m->of_query, head, query / m->layout.block, block);
  return keys.first < keys.end && *keys.first == block;
}

uly__tile uly__mask_tile(const uly__mask *m, int head, int64_t q_begin, int64_t q_end,
                         int64_t k_begin, int64_t k_end) {
  const view *side = &m->of_query;
  range first = band(m, side, q_begin), last = band(m, side, q_end - 1);
  if (k_end <= first.begin || k_begin >= last.end) return ULY_TILE_SKIP;
  bool all = k_begin >= last.begin && k_end <= first.end, some = false;
  if (!m->desc.blocks) return all ? ULY_TILE_FULL : ULY_TILE_PARTIAL;
  int64_t B = m->layout.block;
  for (int64_t row = q_begin / B; row * B < q_end; row++) {
    range queries = part_of_block(m, row, q_begin, q_end);
    range keys = joint_band(m, side, queries.begin, queries.end, (range){k_begin, k_end});
    if (keys.end <= keys.begin) continue; /* not full by the band already */
    int64_t from = keys.begin / B, to = (keys.end - 1) / B + 1;
    int64_t listed = count_listed(m, side, head, row, from, to);
    some |= listed > 0;
    all &= listed == to - from;
  }
  if (!some) return ULY_TILE_SKIP;
  return all ? ULY_TILE_FULL : ULY_TILE_PARTIAL;
}

/* Returns where the tile of a token begins. */
static int64_t tile_of(int64_t token, int64_t origin, int64_t tile) {
  return origin + (token - origin) / tile * tile;
}

static int64_t next_tile(const uly__mask *m, const view *side, int head, int64_t begin, int64_t end,
                         int64_t origin, int64_t at, int64_t tile) {
  range seen = joint_band(m, side, begin, end, (range){0, m->num_tokens});
  at = uly__max(at, tile_of(uly__max(seen.begin, origin), origin, tile));
  if (at >= seen.end) return m->num_tokens;
  if (!m->desc.blocks) return at;
  int64_t B = m->layout.block, nearest = m->num_tokens;
  assert(B > 0);
  for (int64_t row = begin / B; row * B < end; row++) {
    range tokens = part_of_block(m, row, begin, end);
    seen = joint_band(m, side, tokens.begin, tokens.end, (range){at, nearest});
    list blocks = listed_from(m, side, head, row, seen.begin / B);
    if (blocks.first == blocks.end) continue;
    int64_t first = uly__max(seen.begin, *blocks.first * B);
    if (first < seen.end) nearest = first;
  }
  return nearest < m->num_tokens ? tile_of(nearest, origin, tile) : m->num_tokens;
}

int64_t uly__mask_next_keys(const uly__mask *m, int head, int64_t q_begin, int64_t q_end,
                            int64_t origin, int64_t key, int64_t tile) {
  return next_tile(m, &m->of_query, head, q_begin, q_end, origin, key, tile);
}

int64_t uly__mask_next_queries(const uly__mask *m, int head, int64_t k_begin, int64_t k_end,
                               int64_t origin, int64_t query, int64_t tile) {
  return next_tile(m, &m->of_key, head, k_begin, k_end, origin, query, tile);
}

/* Returns a word with bits [from, to) set, 0 <= from < to <= 64. */
static uint64_t ones(int64_t from, int64_t to) {
  return (UINT64_MAX << from) & (UINT64_MAX >> (64 - to));
}

uint64_t uly__mask_bits(const uly__mask *m, int head, int64_t query, int64_t key) {
  range seen = band(m, &m->of_query, query);
  seen = (range){uly__max(seen.begin, key), uly__min(seen.end, key + 64)};
  if (seen.end <= seen.begin) return 0;
  uint64_t bits = ones(seen.begin - key, seen.end - key), listed = 0;
  if (!m->desc.blocks) return bits;
  int64_t B = m->layout.block;
  list blocks = listed_from(m, &m->of_query, head, query / B, seen.begin / B);
  for (const int32_t *b = blocks.first; b < blocks.end && *b * B < seen.end; b++) {
    range keys = part_of_block(m, *b, key, key + 64);
    listed |= ones(keys.begin - key, keys.end - key);
  }
  return bits & listed;
}

/* ---------------------------------------------------------------------------- pairs */

/* Holds differences of counts up to 2^80, which must be exact. */
__extension__ typedef __int128 int128;

/* Counts the pairs with query - key <= most among n queries and m keys, counted from 0 each. Key k
 * has k + most + 1 such queries, but not below 0 and at most n: there are any from key `some` on,
 * and all n from key `all` on. */
static int128 pairs_up_to(int64_t n, int64_t m, int64_t most) {
  int64_t some = uly__min(uly__max(-most, 0), m), all = uly__min(uly__max(n - most - 1, 0), m);
  int128 lowest = some + most + 1, highest = all + most;
  return (all - some) * (lowest + highest) / 2 + (int128)(m - all) * n;
}

/* Counts the pairs of two ranges of one document that the band lets through. */
static double pairs_between(const uly__mask *m, range queries, range keys) {
  int64_t n = queries.end - queries.begin, num_keys = keys.end - keys.begin;
  if (n <= 0 || num_keys <= 0) return 0;
  int64_t shift = keys.begin - queries.begin;
  return (double)(pairs_up_to(n, num_keys, m->of_query.before + shift) -
                  pairs_up_to(n, num_keys, -m->of_query.after - 1 + shift));
}

/* Counts the same for ranges that are equal or do not overlap. A document that has tokens of both
 * has all tokens between them: only those from the first key on matter, up to the one that holds
 * the last key. */
static double pairs_in(const uly__mask *m, range queries, range keys) {
  if (m->desc.num_docs == 0) return pairs_between(m, queries, keys);
  double sum = 0;
  int64_t begin = uly__max(queries.begin, document(m, keys.begin).begin), end = 0;
  for (int64_t query = begin; query < queries.end && end < keys.end; query = end) {
    range doc = document(m, query);
    end = doc.end;
    sum += pairs_between(
        m, (range){uly__max(queries.begin, doc.begin), uly__min(queries.end, doc.end)},
        (range){uly__max(keys.begin, doc.begin), uly__min(keys.end, doc.end)});
  }
  return sum;
}

static double pairs_of_layout(const uly__mask *m, int layout) {
  int64_t M = m->layout.num_blocks, N = m->num_tokens;
  const int64_t *begin = m->of_query.begin + layout * M;
  double sum = 0;
  for (int64_t row = 0; row < M; row++)
    for (int64_t i = begin[row]; i < begin[row + 1]; i++)
      sum +=
          pairs_in(m, part_of_block(m, row, 0, N), part_of_block(m, m->of_query.blocks[i], 0, N));
  return sum;
}

double uly__mask_pairs(const uly__mask *m, int num_q_heads) {
  range all = {0, m->num_tokens};
  if (!m->desc.blocks) return num_q_heads * pairs_in(m, all, all);
  double sum = 0;
  for (int i = 0; i < m->layout.num_layouts; i++) sum += pairs_of_layout(m, i);
  return m->layout.num_layouts == 1 ? num_q_heads * sum : sum;
}

/* -------------------------------------------------------------------------- checking */

static uly_status check_documents(const int64_t *doc_start, int64_t num_docs, int64_t N) {
  if (num_docs < 0)
    ULY_FAIL(ULY_ERR_CONFIG, "num_docs is %lld, but it must not be negative", (long long)num_docs);
  if (!doc_start != (num_docs == 0))
    ULY_FAIL(ULY_ERR_CONFIG, "doc_start is %s, but num_docs is %lld: give both, or neither",
             doc_start ? "given" : "NULL", (long long)num_docs);
  if (num_docs > 0 && doc_start[0] != 0)
    ULY_FAIL(ULY_ERR_CONFIG, "the first document starts at token %lld: it must start at 0",
             (long long)doc_start[0]);
  for (int64_t i = 1; i < num_docs; i++)
    if (doc_start[i] <= doc_start[i - 1] || doc_start[i] >= N)
      ULY_FAIL(ULY_ERR_CONFIG,
               "document %lld starts at token %lld: starts must ascend (the one before is %lld) "
               "and lie within the %lld tokens of the stream",
               (long long)i, (long long)doc_start[i], (long long)doc_start[i - 1], (long long)N);
  return ULY_OK;
}

static uly_status check_layout(const uly_block_layout *l, int64_t N, int num_q_heads) {
  if (l->block < 1)
    ULY_FAIL(ULY_ERR_CONFIG,
             "a layout has blocks of %lld tokens, but a block must have at least one",
             (long long)l->block);
  int64_t M = (N - 1) / l->block + 1;
  if (l->num_blocks != M || M > INT32_MAX)
    ULY_FAIL(ULY_ERR_CONFIG,
             "a layout has %lld blocks of %lld tokens, but %lld tokens need %lld blocks (at most "
             "2^31 - 1)",
             (long long)l->num_blocks, (long long)l->block, (long long)N, (long long)M);
  if (l->num_layouts != 1 && l->num_layouts != num_q_heads)
    ULY_FAIL(ULY_ERR_CONFIG,
             "there are %d layouts for %d query heads: give one, or one for each head",
             l->num_layouts, num_q_heads);
  if (!l->row_begin || !l->cols)
    ULY_FAIL(ULY_ERR_CONFIG, "a layout must have both row_begin and cols");
  if (l->row_begin[0] != 0)
    ULY_FAIL(ULY_ERR_CONFIG, "row_begin[0] of a layout is %lld: it must be 0",
             (long long)l->row_begin[0]);
  for (int64_t row = 0; row < l->num_layouts * M; row++) {
    if (l->row_begin[row + 1] < l->row_begin[row])
      ULY_FAIL(ULY_ERR_CONFIG, "row %lld of layout %lld ends before it begins",
               (long long)(row % M), (long long)(row / M));
    for (int64_t i = l->row_begin[row]; i < l->row_begin[row + 1]; i++) {
      if (l->cols[i] < 0 || l->cols[i] >= M)
        ULY_FAIL(ULY_ERR_CONFIG,
                 "row %lld of layout %lld lists block %lld, but blocks are numbered from 0 to %lld",
                 (long long)(row % M), (long long)(row / M), (long long)l->cols[i],
                 (long long)M - 1);
      if (i > l->row_begin[row] && l->cols[i] <= l->cols[i - 1])
        ULY_FAIL(ULY_ERR_CONFIG,
                 "row %lld of layout %lld lists block %lld after block %lld: they must ascend",
                 (long long)(row % M), (long long)(row / M), (long long)l->cols[i],
                 (long long)l->cols[i - 1]);
    }
  }
  return ULY_OK;
}

/* Checks that every query sees some key. A row that lists its own block lets every query see
 * itself; the queries of others are tried. */
static uly_status check_all_see(const uly__mask *m) {
  int64_t M = m->layout.num_blocks;
  for (int layout = 0; layout < m->layout.num_layouts; layout++)
    for (int64_t row = 0; row < M; row++) {
      if (count_listed(m, &m->of_query, layout, row, row, row + 1) > 0) continue;
      range queries = part_of_block(m, row, 0, m->num_tokens);
      for (int64_t q = queries.begin; q < queries.end; q++)
        if (next_tile(m, &m->of_query, layout, q, q + 1, 0, 0, 1) >= m->num_tokens)
          ULY_FAIL(ULY_ERR_CONFIG,
                   "row %lld of layout %d, with the rest of the mask, leaves query %lld without a "
                   "key: list block %lld, so that the query sees itself",
                   (long long)row, layout, (long long)q, (long long)row);
    }
  return ULY_OK;
}

/* -------------------------------------------------------------------------- creation */

static uly_status copy(const void *from, int64_t count, size_t size, void *out) {
  void *to = malloc((size_t)count * size + 1);
  if (!to) ULY_FAIL(ULY_ERR_MEMORY, "no memory for a mask's list of %lld", (long long)count);
  memcpy(to, from, (size_t)count * size);
  memcpy(out, &to, sizeof to);
  return ULY_OK;
}

/* Makes the lists by key block. Rows are visited in order, so every list ascends. */
static uly_status transpose(uly__mask *m) {
  int64_t M = m->layout.num_blocks, rows = m->layout.num_layouts * M;
  const view *from = &m->of_query;
  view *to = &m->of_key;
  to->begin = calloc((size_t)rows + 2, sizeof *to->begin);
  to->blocks = malloc((size_t)from->begin[rows] * sizeof *to->blocks + 1);
  if (!to->begin || !to->blocks) ULY_FAIL(ULY_ERR_MEMORY, "no memory for a mask's layout");
  /* begin is shifted by one place while the lists grow: begin[b + 1] is where the list of b
   * continues. */
  int64_t *next = to->begin + 1;
  for (int64_t row = 0; row < rows; row++)
    for (int64_t i = from->begin[row]; i < from->begin[row + 1]; i++)
      next[row / M * M + from->blocks[i] + 1]++;
  for (int64_t b = 1; b <= rows; b++) next[b] += next[b - 1];
  for (int64_t row = 0; row < rows; row++)
    for (int64_t i = from->begin[row]; i < from->begin[row + 1]; i++)
      to->blocks[next[row / M * M + from->blocks[i]]++] = (int32_t)(row % M);
  return ULY_OK;
}

static uly_status fill(uly__mask *m, const uly_mask *mask, int64_t N, int num_q_heads) {
  if (mask->kind != ULY_MASK_FULL && mask->kind != ULY_MASK_CAUSAL)
    ULY_FAIL(ULY_ERR_CONFIG, "mask.kind is %d, but it must be ULY_MASK_FULL or ULY_MASK_CAUSAL",
             (int)mask->kind);
  if (mask->window < 0)
    ULY_FAIL(ULY_ERR_CONFIG, "mask.window is %lld, but it must not be negative (0: none)",
             (long long)mask->window);
  ULY_TRY(check_documents(mask->doc_start, mask->num_docs, N));
  int64_t reach = mask->window > 0 ? uly__min(mask->window, N) - 1 : N - 1;
  m->num_tokens = N;
  m->desc = (uly_mask){.size = sizeof m->desc,
                       .kind = mask->kind,
                       .window = mask->window,
                       .num_docs = mask->num_docs};
  m->of_query.before = m->of_key.after = reach;
  m->of_query.after = m->of_key.before = mask->kind == ULY_MASK_CAUSAL ? 0 : reach;
  if (mask->num_docs > 0) {
    ULY_TRY(copy(mask->doc_start, mask->num_docs, sizeof *m->doc_start, &m->doc_start));
    m->desc.doc_start = m->doc_start;
  }
  if (!mask->blocks) return ULY_OK;
  ULY_TRY(check_layout(mask->blocks, N, num_q_heads));
  m->layout = *mask->blocks;
  m->layout.size = sizeof m->layout;
  int64_t rows = m->layout.num_layouts * m->layout.num_blocks;
  view *side = &m->of_query;
  ULY_TRY(copy(m->layout.row_begin, rows + 1, sizeof *side->begin, &side->begin));
  ULY_TRY(copy(m->layout.cols, side->begin[rows], sizeof *side->blocks, &side->blocks));
  m->layout.row_begin = side->begin;
  m->layout.cols = side->blocks;
  m->desc.blocks = &m->layout;
  ULY_TRY(check_all_see(m));
  return transpose(m);
}

uly_status uly__mask_create(const uly_mask *mask, int64_t num_tokens, int num_q_heads,
                            uly__mask **out) {
  *out = NULL;
  uly__mask *m = calloc(1, sizeof *m);
  if (!m) ULY_FAIL(ULY_ERR_MEMORY, "no memory for a mask");
  uly_status status = fill(m, mask, num_tokens, num_q_heads);
  if (status != ULY_OK)
    uly__mask_destroy(m);
  else
    *out = m;
  return status;
}

void uly__mask_destroy(uly__mask *m) {
  if (!m) return;
  free(m->doc_start);
  free(m->of_query.begin);
  free(m->of_query.blocks);
  free(m->of_key.begin);
  free(m->of_key.blocks);
  free(m);
}

uly_status uly__mask_set_documents(uly__mask *m, const int64_t *doc_start, int64_t num_docs) {
  uly_mask before = m->desc;
  ULY_TRY(check_documents(doc_start, num_docs, m->num_tokens));
  m->desc.doc_start = doc_start;
  m->desc.num_docs = num_docs;
  uly_status status = m->desc.blocks ? check_all_see(m) : ULY_OK;
  if (status != ULY_OK) m->desc = before;
  return status;
}

const uly_mask *uly__mask_desc(const uly__mask *m) { return &m->desc; }
