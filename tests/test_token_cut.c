/* Tests which tokens each rank holds: cuts into one run, and zigzags over a ring (chunks r and
 * 2R - 1 - r), whose rows are cut further. In every list, the value of a token
 * is its place in the stream, and every function is compared with a walk over the tokens. */
#include <stdbool.h>

#include "base/split.h"
#include "model/tiles.h"
#include "parallel/token_cut.h"
#include "testing.h"

enum { MAX_TOKENS = 700, MAX_RANKS = 12 };

static uint32_t seed = 5;

static int pick(int least, int most) {
  seed = seed * 1664525 + 1013904223;
  return least + (int)((seed >> 8) % (uint32_t)(most - least + 1));
}

/* Checks that every token is on one rank, and that all functions give the same place. */
static void check_cut(const uly__token_cut *cut) {
  static bool is_held[MAX_TOKENS];
  memset(is_held, 0, sizeof is_held);
  int64_t total = 0;
  for (int p = 0; p < cut->size; p++) {
    uly__token_cut of_rank = *cut; /* as rank p sees it */
    of_rank.rank = p;
    of_rank.count = uly__token_cut_count(cut, p);
    const uly_token_run *runs = uly__token_cut_runs(cut, p);
    int64_t t = 0;
    for (int r = 0; r < cut->num_runs; r++)
      for (int64_t at = runs[r].begin; at < runs[r].begin + runs[r].count; at++, t++) {
        int holder;
        int64_t place;
        uly__token_cut_find(cut, at, &holder, &place);
        assert_int_equal(holder, p);
        assert_int_equal(place, t);
        assert_int_equal(uly__token_cut_at(&of_rank, t), at);
        assert_true(t == 0 || uly__token_cut_at(&of_rank, t - 1) < at);
        assert_false(is_held[at]);
        is_held[at] = true;
      }
    assert_int_equal(t, of_rank.count);
    total += t;
  }
  assert_int_equal(total, cut->num_tokens);
}

/* Returns the run that holds this rank's token t. */
static int run_of(const uly__token_cut *cut, int64_t t) {
  const uly_token_run *runs = uly__token_cut_runs(cut, cut->rank);
  int r = 0;
  for (; t >= runs[r].count; r++) t -= runs[r].count;
  return r;
}

/* Returns a rank's segment s; without leaves it has one, which is everything. */
static uly__part segment_of(const uly__token_cut *cut, int64_t granule, int leaves, int64_t s) {
  if (!leaves) return (uly__part){0, cut->num_tokens};
  return uly__split(cut->num_tokens, granule, leaves, (int64_t)cut->rank * leaves / cut->size + s);
}

/* Checks that the tiles are this rank's tokens in their order, that none reaches over the end of a
 * run or of a segment, and that none is shorter than it must be. */
static void check_tiles(const uly__token_cut *cut, int64_t granule, int leaves, int64_t rows) {
  uly__tiles tiles;
  assert_ok(uly__tiles_create(cut, granule, leaves, rows, &tiles));
  int64_t t = 0, longest = 0;
  int segment = 0;
  for (int64_t i = 0; i < tiles.num; i++) {
    uly__tile_range tile = tiles.list[i];
    assert_int_equal(tile.begin, t);
    assert_in_range(tile.rows, 1, rows);
    if (tile.rows > longest) longest = tile.rows;
    t += tile.rows;
    int run = run_of(cut, tile.begin);
    int64_t first = uly__token_cut_at(cut, tile.begin), last = uly__token_cut_at(cut, t - 1);
    assert_int_equal(run_of(cut, t - 1), run);
    assert_int_equal(last - first, tile.rows - 1);
    while (segment_of(cut, granule, leaves, segment).count == 0) segment++;
    uly__part part = segment_of(cut, granule, leaves, segment);
    assert_true(first >= part.begin && last < part.begin + part.count);
    bool ends = t == cut->count || last == part.begin + part.count - 1;
    assert_int_equal(tile.ends_segment, ends ? segment : -1);
    assert_true(tile.rows == rows || ends || run_of(cut, t) != run);
    segment += ends;
  }
  assert_int_equal(t, cut->count);
  assert_int_equal(tiles.rows, longest);
  assert_int_equal(tiles.num_segments, leaves ? leaves / cut->size : 1);
  uly__tiles_destroy(&tiles);
}

static void test_one_run(void **state) {
  (void)state;
  for (int i = 0; i < 400; i++) {
    int size = pick(1, MAX_RANKS), rank = pick(0, size - 1);
    int64_t num_tokens = i % 4 ? pick(1, MAX_TOKENS) : pick(1, size); /* or fewer than ranks */
    int64_t unit = pick(1, 40);
    uly__token_cut cut;
    assert_ok(uly__token_cut_create(1, size, rank, num_tokens, unit, &cut));
    assert_int_equal(cut.num_runs, 1);
    for (int p = 0; p < size; p++) {
      uly__part part = uly__split(num_tokens, unit, size, p);
      assert_int_equal(uly__token_cut_runs(&cut, p)->begin, part.begin);
      assert_int_equal(uly__token_cut_count(&cut, p), part.count);
    }
    check_cut(&cut);
    check_tiles(&cut, unit, 0, pick(1, 100));
    check_tiles(&cut, unit, size * pick(1, 5), pick(1, 100));
    uly__token_cut_destroy(&cut);
  }
}

/* Checks that the rows of the ranks of Ulysses, one after the other, are the two chunks of their
 * rank of the ring. */
static void check_zigzag(const uly__token_cut *cut, int ring, int ulysses, int64_t unit) {
  for (int r = 0; r < ring; r++) {
    int64_t rows[MAX_TOKENS], num = 0, begin = 0;
    for (int i = 0; i < 2; i++) {
      uly__part chunk = uly__split(cut->num_tokens, unit, 2 * ring, i == 0 ? r : 2 * ring - 1 - r);
      for (int64_t at = 0; at < chunk.count; at++) rows[num++] = chunk.begin + at;
    }
    for (int u = 0; u < ulysses; u++) {
      uly__token_cut of_rank = *cut;
      of_rank.rank = u + ulysses * r;
      of_rank.count = uly__token_cut_count(cut, of_rank.rank);
      uly__part part = uly__split(num, unit, ulysses, u);
      assert_int_equal(part.begin, begin);
      assert_int_equal(part.count, of_rank.count);
      for (int64_t t = 0; t < part.count; t++)
        assert_int_equal(uly__token_cut_at(&of_rank, t), rows[begin + t]);
      begin += part.count;
    }
    assert_int_equal(begin, num);
  }
}

static void test_two_runs(void **state) {
  (void)state;
  for (int i = 0; i < 400; i++) {
    int ring = pick(2, 8), ulysses = pick(1, 4), rank = pick(0, ring * ulysses - 1);
    int64_t unit = pick(1, 40), num_tokens = i % 4 ? pick(1, MAX_TOKENS) : pick(1, 2 * ring);
    uly__token_cut cut;
    assert_ok(uly__token_cut_create(ring, ulysses, rank, num_tokens, unit, &cut));
    assert_int_equal(cut.num_runs, 2);
    check_cut(&cut);
    check_zigzag(&cut, ring, ulysses, unit);
    check_tiles(&cut, 0, 0, pick(1, 100));
    uly__token_cut_destroy(&cut);
  }
}

/* Checks that the last token of a stream, from which a prompt is continued, is on the first rank of
 * a zigzag. */
static void test_last_token(void **state) {
  (void)state;
  uly__token_cut zigzag, cut;
  assert_ok(uly__token_cut_create(4, 1, 2, 83, 1, &zigzag));
  int holder;
  int64_t t;
  uly__token_cut_find(&zigzag, 82, &holder, &t);
  assert_int_equal(holder, 0);
  assert_int_equal(t, uly__token_cut_count(&zigzag, 0) - 1);
  uly__token_cut_destroy(&zigzag);
  assert_ok(uly__token_cut_create(1, 4, 0, 83, 0, &cut)); /* tiles of one token */
  uly__token_cut_find(&cut, 82, &holder, &t);
  assert_int_equal(holder, 3);
  assert_int_equal(t, uly__token_cut_count(&cut, 3) - 1);
  uly__token_cut_destroy(&cut);
}

/* Under a causal mask, the ranks of a ring attend to the same number of pairs of a query and a key,
 * to within a tile of queries with all keys. */
static void test_balance(void **state) {
  (void)state;
  const int64_t lengths[] = {16384, 16383, 100000, 4321};
  for (int i = 0; i < 4; i++)
    for (int ring = 2; ring <= 8; ring++) {
      int64_t N = lengths[i], least = INT64_MAX, most = 0, tile = 64;
      uly__token_cut cut;
      assert_ok(uly__token_cut_create(ring, 1, 0, N, tile, &cut));
      for (int p = 0; p < ring; p++) {
        const uly_token_run *runs = uly__token_cut_runs(&cut, p);
        int64_t pairs = 0;
        for (int r = 0; r < cut.num_runs; r++)
          for (int64_t at = runs[r].begin; at < runs[r].begin + runs[r].count; at++)
            pairs += at + 1;
        least = pairs < least ? pairs : least;
        most = pairs > most ? pairs : most;
      }
      assert_true(most - least <= tile * N);
      if (N % (2 * ring * tile) == 0) assert_true(most == least);
      uly__token_cut_destroy(&cut);
    }
}

static void test_refusals(void **state) {
  (void)state;
  uly__token_cut cut;
  int64_t many = ((int64_t)1 << 40) + 1;
  assert_fails(uly__token_cut_create(1, 2, 0, 0, 1, &cut), ULY_ERR_CONFIG, "at least one token");
  assert_fails(uly__token_cut_create(1, 2, 0, many, 1, &cut), ULY_ERR_CONFIG,
               "at most 2^40 tokens");
  assert_fails(uly__token_cut_create(1, 2, 0, 5, -1, &cut), ULY_ERR_CONFIG, "from 0 to 2^40");
  assert_fails(uly__token_cut_create(1, 2, 0, 5, many, &cut), ULY_ERR_CONFIG, "from 0 to 2^40");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_one_run),    cmocka_unit_test(test_two_runs),
      cmocka_unit_test(test_last_token), cmocka_unit_test(test_balance),
      cmocka_unit_test(test_refusals),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
