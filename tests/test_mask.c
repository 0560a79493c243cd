/* Compares masks as kernels read them with their definition, written out as a table of all pairs:
 * random masks of every kind and intersection, at sizes that nothing divides. Also tests what is
 * refused. */
#include "ops/mask.h"

#include "random_mask.h"
#include "testing.h"

enum { NUM_CASES = 400, MAX_TOKENS = 130, MAX_HEADS = 3 };

/* xorshift64* */
static uint64_t random_state = 0x9e3779b97f4a7c15u;

static int pick(int lowest, int largest) {
  random_state ^= random_state >> 12;
  random_state ^= random_state << 25;
  random_state ^= random_state >> 27;
  return lowest + (int)(random_state * 2685821657736338717u >> 33) % (largest - lowest + 1);
}

typedef struct mask_case {
  int64_t N;
  int num_heads;
  uly_mask desc;
  uly__mask *mask;
  bool sees[MAX_HEADS][MAX_TOKENS][MAX_TOKENS];
} mask_case;

static mask_case c;

static void describe(char *text, size_t size) {
  const uly_block_layout *l = c.desc.blocks;
  snprintf(text, size, "N %lld, kind %d, window %lld, %lld documents, blocks of %lld in %d layouts",
           (long long)c.N, (int)c.desc.kind, (long long)c.desc.window, (long long)c.desc.num_docs,
           l ? (long long)l->block : 0, l ? l->num_layouts : 0);
}

static void expect(int64_t got, int64_t expected, const char *what, int head, int64_t a, int64_t b,
                   int64_t x, int64_t y) {
  if (got == expected) return;
  char text[256];
  describe(text, sizeof text);
  fail_msg("%s of head %d at %lld %lld %lld %lld: %lld, not %lld (%s)", what, head, (long long)a,
           (long long)b, (long long)x, (long long)y, (long long)got, (long long)expected, text);
}

static void make_case(int parts) {
  c.N = pick(0, 9) == 0 ? pick(1, 3) : pick(1, MAX_TOKENS);
  c.num_heads = pick(1, MAX_HEADS);
  c.desc = random_mask(parts, c.N, c.num_heads, pick);
  assert_ok(uly__mask_create(&c.desc, c.N, c.num_heads, &c.mask));
  for (int head = 0; head < c.num_heads; head++)
    for (int64_t q = 0; q < c.N; q++)
      for (int64_t k = 0; k < c.N; k++) c.sees[head][q][k] = mask_lets_see(&c.desc, head, q, k);
}

static int64_t visible(int head, int64_t q_begin, int64_t q_end, int64_t k_begin, int64_t k_end) {
  int64_t num = 0;
  for (int64_t q = q_begin; q < q_end; q++)
    for (int64_t k = k_begin; k < k_end; k++) num += c.sees[head][q][k];
  return num;
}

static int64_t min64(int64_t a, int64_t b) { return a < b ? a : b; }

static void check_pairs(void) {
  double pairs = 0;
  for (int head = 0; head < c.num_heads; head++) {
    pairs += (double)visible(head, 0, c.N, 0, c.N);
    for (int64_t q = 0; q < c.N; q++)
      for (int64_t k = 0; k < c.N; k++)
        expect(uly__mask_sees(c.mask, head, q, k), c.sees[head][q][k], "sees", head, q, k, 0, 0);
  }
  expect((int64_t)uly__mask_pairs(c.mask, c.num_heads), (int64_t)pairs, "pairs", 0, 0, 0, 0, 0);
}

static void check_bits(void) {
  for (int head = 0; head < c.num_heads; head++)
    for (int64_t q = 0; q < c.N; q++) {
      int64_t key = pick(0, 1) ? pick(0, (int)c.N - 1) : pick(0, (int)c.N - 1) / 64 * 64;
      uint64_t expected = 0;
      for (int64_t i = 0; i < 64 && key + i < c.N; i++)
        expected |= (uint64_t)c.sees[head][q][key + i] << i;
      expect((int64_t)uly__mask_bits(c.mask, head, q, key), (int64_t)expected, "bits", head, q, key,
             0, 0);
    }
}

/* The kinds of tiles; and that the next tile is the next one that is not skipped, both ways. */
static void check_tiles(void) {
  int64_t rows = pick(1, 70), tile = pick(0, 1) ? pick(1, 70) : 64;
  int64_t origin = pick(0, 1) ? pick(0, (int)c.N - 1) : 0;
  if (c.desc.blocks && pick(0, 1)) rows = c.desc.blocks->block;
  for (int head = 0; head < c.num_heads; head++)
    for (int64_t a = 0; a < c.N; a += rows) {
      int64_t a_end = min64(a + rows, c.N), next_key = c.N, next_query = c.N;
      for (int64_t b = origin + (c.N - 1 - origin) / tile * tile; b >= origin; b -= tile) {
        int64_t b_end = min64(b + tile, c.N), all = (a_end - a) * (b_end - b);
        int64_t num = visible(head, a, a_end, b, b_end), back = visible(head, b, b_end, a, a_end);
        expect(uly__mask_tile(c.mask, head, a, a_end, b, b_end),
               num == 0     ? ULY_TILE_SKIP
               : num == all ? ULY_TILE_FULL
                            : ULY_TILE_PARTIAL,
               "tile", head, a, a_end, b, b_end);
        if (num > 0) next_key = b;
        if (back > 0) next_query = b;
        int64_t key = uly__mask_next_keys(c.mask, head, a, a_end, origin, b, tile);
        int64_t query = uly__mask_next_queries(c.mask, head, a, a_end, origin, b, tile);
        expect(min64(key, c.N), next_key, "next keys", head, a, a_end, b, tile);
        expect(min64(query, c.N), next_query, "next queries", head, a, a_end, b, tile);
      }
    }
}

static void test_random_cases(void **state) {
  (void)state;
  for (int i = 0; i < NUM_CASES; i++) {
    make_case(i % 16);
    check_pairs();
    check_bits();
    for (int t = 0; t < 3; t++) check_tiles();
    uly__mask_destroy(c.mask);
    free_random_mask(&c.desc);
  }
}

/* The plan's copies outlive what the caller gave. */
static void test_copies(void **state) {
  (void)state;
  make_case(WITH_WINDOW | WITH_DOCUMENTS | WITH_HEAD_BLOCKS);
  free_random_mask(&c.desc);
  c.desc = *uly__mask_desc(c.mask);
  check_pairs();
  for (int head = 0; head < c.num_heads; head++)
    for (int64_t q = 0; q < c.N; q++)
      for (int64_t k = 0; k < c.N; k++)
        assert_int_equal(mask_lets_see(&c.desc, head, q, k), c.sees[head][q][k]);
  uly__mask_destroy(c.mask);
}

/* A layout need not list the diagonal, as long as every query sees some key. */
static void test_without_diagonal(void **state) {
  (void)state;
  int64_t row_begin[] = {0, 1, 2, 3};
  int32_t cols[] = {1, 2, 0};
  uly_block_layout layout = {sizeof layout, 4, 3, 1, row_begin, cols};
  c.N = 10;
  c.num_heads = 1;
  c.desc = (uly_mask){.blocks = &layout};
  assert_ok(uly__mask_create(&c.desc, c.N, 1, &c.mask));
  for (int64_t q = 0; q < c.N; q++)
    for (int64_t k = 0; k < c.N; k++) c.sees[0][q][k] = mask_lets_see(&c.desc, 0, q, k);
  check_pairs();
  for (int t = 0; t < 20; t++) check_tiles();
  uly__mask_destroy(c.mask);
  uly__mask *mask;
  c.desc.kind = ULY_MASK_CAUSAL;
  assert_fails(uly__mask_create(&c.desc, c.N, 1, &mask), ULY_ERR_CONFIG, "row 0 of layout 0");
  c.desc.kind = ULY_MASK_FULL;
  c.desc.window = 4; /* query 3 sees key 4; query 0 no longer does */
  assert_fails(uly__mask_create(&c.desc, c.N, 1, &mask), ULY_ERR_CONFIG, "query 0");
}

/* 2^40 tokens: what took a step for each hidden tile, or for each token, would not end. */
static void test_long_stream(void **state) {
  (void)state;
  int64_t N = (int64_t)1 << 40, starts[] = {0, 5, N / 2 + 7, N - 100};
  uly_mask desc = {.kind = ULY_MASK_CAUSAL, .window = 1000};
  uly__mask *mask;
  assert_ok(uly__mask_create(&desc, N, 2, &mask));
  assert_int_equal(uly__mask_next_keys(mask, 0, N - 64, N, 0, 0, 64), N - 64 - 1024);
  assert_int_equal(uly__mask_next_queries(mask, 0, 0, 64, 0, 0, 64), 0);
  assert_int_equal(uly__mask_next_queries(mask, 0, 0, 64, 0, 1088, 64), N);
  double pairs = 2 * (1000.0 * 1001 / 2 + (double)(N - 1000) * 1000);
  assert_true(uly__mask_pairs(mask, 2) == pairs);
  uly__mask_destroy(mask);
  desc = (uly_mask){.doc_start = starts, .num_docs = 4};
  assert_ok(uly__mask_create(&desc, N, 1, &mask));
  assert_int_equal(uly__mask_next_keys(mask, 0, N - 64, N, 0, 0, 64), (N - 100) / 64 * 64);
  assert_int_equal(uly__mask_next_queries(mask, 0, 0, 5, 0, 64, 64), N);
  uly__mask_destroy(mask);
  /* Two blocks of 2^39, the second of which does not see the first. */
  int64_t row_begin[] = {0, 1, 2};
  int32_t cols[] = {0, 1};
  uly_block_layout layout = {sizeof layout, N / 2, 2, 1, row_begin, cols};
  desc = (uly_mask){.blocks = &layout};
  assert_ok(uly__mask_create(&desc, N, 1, &mask));
  assert_int_equal(uly__mask_next_keys(mask, 0, N - 64, N, 0, 0, 64), N / 2);
  assert_int_equal(uly__mask_next_queries(mask, 0, 0, 64, 0, N / 2, 64), N);
  assert_true(uly__mask_pairs(mask, 3) == 3 * 2 * 0x1p39 * 0x1p39);
  uly__mask_destroy(mask);
}

static void refuse_mask(uly_mask desc, const char *message) {
  uly__mask *mask;
  assert_fails(uly__mask_create(&desc, 10, 4, &mask), ULY_ERR_CONFIG, message);
  assert_null(mask);
}

static void refuse_layout(int64_t block, int64_t num_blocks, int num_layouts, const int64_t *begin,
                          const int32_t *cols, const char *message) {
  uly_block_layout layout = {sizeof layout, block, num_blocks, num_layouts, begin, cols};
  refuse_mask((uly_mask){.blocks = &layout}, message);
}

static void test_refusals(void **state) {
  (void)state;
  int64_t late[] = {1, 5}, twice[] = {0, 5, 5}, outside[] = {0, 10};
  refuse_mask((uly_mask){.kind = (uly_mask_kind)9}, "mask.kind is 9");
  refuse_mask((uly_mask){.window = -1}, "mask.window is -1");
  refuse_mask((uly_mask){.doc_start = late}, "doc_start is given, but num_docs is 0");
  refuse_mask((uly_mask){.num_docs = 2}, "doc_start is NULL, but num_docs is 2");
  refuse_mask((uly_mask){.num_docs = -1}, "num_docs is -1, but");
  refuse_mask((uly_mask){.doc_start = late, .num_docs = 2}, "first document starts at token 1");
  refuse_mask((uly_mask){.doc_start = twice, .num_docs = 3}, "document 2 starts at token 5");
  refuse_mask((uly_mask){.doc_start = outside, .num_docs = 2}, "document 1 starts at token 10");
  int64_t good[] = {0, 1, 3, 5}, shifted[] = {1, 1, 3, 5}, back[] = {0, 2, 1, 5};
  int64_t empty[] = {0, 1, 1, 3};
  int32_t cols[] = {0, 0, 1, 1, 2}, unsorted[] = {0, 1, 0, 1, 2}, wide[] = {0, 0, 1, 1, 3};
  int32_t negative[] = {-1, 0, 1, 1, 2};
  refuse_layout(0, 3, 1, good, cols, "blocks of 0");
  refuse_layout(4, 4, 1, good, cols, "need 3 blocks");
  refuse_layout(4, 3, 2, good, cols, "2 layouts for 4 query heads");
  refuse_layout(4, 3, 1, NULL, cols, "must have both row_begin");
  refuse_layout(4, 3, 1, good, NULL, "must have both row_begin and cols");
  refuse_layout(4, 3, 1, shifted, cols, "row_begin[0]");
  refuse_layout(4, 3, 1, back, unsorted, "row 1 of layout 0 ends before");
  refuse_layout(4, 3, 1, good, wide, "row 2 of layout 0 lists block 3");
  refuse_layout(4, 3, 1, good, negative, "row 0 of layout 0 lists block -1");
  refuse_layout(4, 3, 1, good, unsorted, "row 1 of layout 0 lists block 0 after block 1");
  refuse_layout(4, 3, 1, empty, cols,
                "row 1 of layout 0, with the rest of the mask, leaves query 4");
}

/* --- ready-made layouts */

/* Whether the pattern lists a block, but for random ones. */
static bool pattern_lists(const uly_sparse *s, uly_mask_kind kind, int64_t row, int64_t col) {
  int64_t distance = row > col ? row - col : col - row;
  if (kind == ULY_MASK_CAUSAL && col > row) return false;
  if (s->pattern == ULY_SPARSE_STRIDED) return distance < s->local || distance % s->local == 0;
  if (s->pattern == ULY_SPARSE_FIXED)
    return row / s->local == col / s->local || col % s->local >= s->local - s->global;
  return distance < s->local || row < s->global || col < s->global;
}

static bool lists(const uly_block_layout *l, int64_t row, int64_t col) {
  for (int64_t i = l->row_begin[row]; i < l->row_begin[row + 1]; i++)
    if (l->cols[i] == col) return true;
  return false;
}

static void check_layout(const uly_sparse *s, uly_mask_kind kind, const uly_block_layout *l) {
  int64_t M = l->num_blocks;
  for (int64_t i = 0; i < l->num_layouts * M; i++) {
    int64_t row = i % M, others = 0, drawn = 0;
    for (int64_t col = 0; col < M; col++) {
      bool listed = lists(l, i, col), wanted = pattern_lists(s, kind, row, col);
      bool allowed = kind == ULY_MASK_FULL || col <= row;
      if (listed != wanted && (s->pattern != ULY_SPARSE_BIGBIRD || !listed || !allowed))
        fail_msg("pattern %d, kind %d, block %lld, local %lld, global %lld: row %lld, block %lld",
                 (int)s->pattern, (int)kind, (long long)s->block, (long long)s->local,
                 (long long)s->global, (long long)row, (long long)col);
      others += allowed && !wanted;
      drawn += listed && !wanted;
    }
    int64_t random = s->pattern == ULY_SPARSE_BIGBIRD ? min64(s->random, others) : 0;
    assert_int_equal(drawn, random);
  }
}

static void test_layouts(void **state) {
  (void)state;
  for (int i = 0; i < 400; i++) {
    uly_sparse s = {.pattern = ULY_SPARSE_LONGFORMER + i % 4,
                    .block = pick(1, 9),
                    .local = pick(1, 12),
                    .global = pick(0, 4),
                    .random = pick(0, 5),
                    .seed = (uint64_t)i};
    uly_mask_kind kind = pick(0, 1) ? ULY_MASK_CAUSAL : ULY_MASK_FULL;
    int64_t N = pick(1, MAX_TOKENS);
    int num_layouts = pick(1, 3);
    uly_block_layout *l;
    assert_ok(uly_block_layout_create(&s, kind, N, num_layouts, &l));
    check_layout(&s, kind, l);
    uly__mask *mask; /* accepts it: in order, and nobody without a key */
    assert_ok(uly__mask_create(&(uly_mask){.kind = kind, .blocks = l}, N, num_layouts, &mask));
    uly__mask_destroy(mask);
    uly_block_layout_destroy(l);
  }
}

/* Where local is not given. */
static void test_local_default(void **state) {
  (void)state;
  for (int pattern = ULY_SPARSE_LONGFORMER; pattern <= ULY_SPARSE_BIGBIRD; pattern++) {
    uly_sparse s = {.pattern = (uly_sparse_pattern)pattern, .block = 2, .global = 1};
    uly_block_layout *l;
    assert_ok(uly_block_layout_create(&s, ULY_MASK_CAUSAL, 75, 1, &l)); /* 38 blocks */
    s.local = pattern == ULY_SPARSE_STRIDED || pattern == ULY_SPARSE_FIXED ? 7 : 4;
    check_layout(&s, ULY_MASK_CAUSAL, l);
    uly_block_layout_destroy(l);
  }
}

/* Random blocks: the same for the same seed, others for another seed, head or
 * row; from everywhere. */
static void test_random_blocks(void **state) {
  (void)state;
  enum { M = 1000, R = 3, LISTED = 2 * M * (R + 1) };
  uly_sparse s = {.pattern = ULY_SPARSE_BIGBIRD, .block = 1, .local = 1, .random = R, .seed = 5};
  uly_block_layout *a, *b, *other;
  assert_ok(uly_block_layout_create(&s, ULY_MASK_FULL, M, 2, &a));
  assert_ok(uly_block_layout_create(&s, ULY_MASK_FULL, M, 2, &b));
  s.seed++;
  assert_ok(uly_block_layout_create(&s, ULY_MASK_FULL, M, 2, &other));
  assert_int_equal(a->row_begin[2 * M], LISTED);
  assert_memory_equal(a->cols, b->cols, LISTED * sizeof *a->cols);
  int same_seed = 0, same_head = 0, same_row = 0;
  double sum = 0;
  for (int i = 0; i < M * (R + 1); i++) {
    same_seed += a->cols[i] == other->cols[i];
    same_head += a->cols[i] == a->cols[M * (R + 1) + i];
    same_row += i > R && a->cols[i] == a->cols[i - R - 1];
    sum += a->cols[i];
  }
  /* The diagonal is the same always. */
  assert_true(same_seed < M + M / 20 && same_head < M + M / 20 && same_row < M / 20);
  assert_true(sum / (M * (R + 1)) > 480 && sum / (M * (R + 1)) < 520);
  uly_block_layout_destroy(a);
  uly_block_layout_destroy(b);
  uly_block_layout_destroy(other);
}

static void refuse_sparse(uly_sparse s, int64_t num_tokens, const char *message) {
  uly_block_layout *l;
  assert_fails(uly_block_layout_create(&s, ULY_MASK_CAUSAL, num_tokens, 1, &l), ULY_ERR_CONFIG,
               message);
  assert_null(l);
}

static void test_layout_refusals(void **state) {
  (void)state;
  uly_sparse good = {.pattern = ULY_SPARSE_LONGFORMER, .block = 4}, s = good;
  refuse_sparse((uly_sparse){.block = 4}, 9, "sparse.pattern is 0");
  s.reserved[3] = -1;
  refuse_sparse(s, 9, "sparse.reserved[3] is -1");
  s = good;
  s.block = 0;
  refuse_sparse(s, 9, "sparse.block is 0");
  s = good, s.local = -1;
  refuse_sparse(s, 9, "sparse.local -1");
  s = good, s.global = -2;
  refuse_sparse(s, 9, "sparse.global -2");
  s = good, s.random = -3;
  refuse_sparse(s, 9, "sparse.random -3");
  refuse_sparse(good, 0, "0 tokens");
  refuse_sparse(good, (int64_t)1 << 40, "larger blocks");
  s = good, s.global = 1 << 20;
  refuse_sparse(s, 1 << 22, "the limit is 2^31");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_random_cases),     cmocka_unit_test(test_copies),
      cmocka_unit_test(test_without_diagonal), cmocka_unit_test(test_long_stream),
      cmocka_unit_test(test_refusals),         cmocka_unit_test(test_layouts),
      cmocka_unit_test(test_local_default),    cmocka_unit_test(test_random_blocks),
      cmocka_unit_test(test_layout_refusals),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
