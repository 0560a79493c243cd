/* Tests the two exchanges on values that say where they belong: every element encodes (token, kind,
 * head, element), and each side is compared with the layout that ulysses.h promises, computed
 * without communication. Also tests the arithmetic of splits. */
#include "base/split.h"
#include "testing.h"

static uly_mesh *mesh;
static int size;

static void test_split(void **state) {
  (void)state;
  for (int64_t total = 0; total < 40; total++)
    for (int64_t unit = 1; unit < 9; unit++)
      for (int64_t parts = 1; parts < 9; parts++) {
        int64_t next = 0, most = 0, least = total;
        for (int64_t i = 0; i < parts; i++) {
          uly__part part = uly__split(total, unit, parts, i);
          assert_int_equal(part.begin, next);
          assert_true(part.count >= 0 && (part.begin % unit == 0 || part.count == 0));
          next += part.count;
          if (part.count > most) most = part.count;
          if (part.count < least) least = part.count;
        }
        assert_int_equal(next, total);
        assert_true(most - least < 2 * unit); /* a tile, and the short end of the stream */
      }
  assert_int_equal(uly__split((int64_t)1 << 40, 128, 3, 1).begin % 128, 0); /* no 32-bit index */
}

/* Exact in f32: below 2^24. */
static float code(int64_t token, int kind, int head, int element) {
  return (float)(((token * 3 + kind) * 16 + head) * 8 + element);
}

/* Checks or fills one row of (q_count + 2 kv_count) heads. */
static void visit_row(float *x, uly_attention_block b, int d, int64_t token, int fill) {
  for (int column = 0; column < b.q_count + 2 * b.kv_count; column++) {
    int kind = column < b.q_count ? 0 : column < b.q_count + b.kv_count ? 1 : 2;
    int head = kind == 0   ? b.q_begin + column
               : kind == 1 ? b.kv_begin + column - b.q_count
                           : b.kv_begin + column - b.q_count - b.kv_count;
    for (int e = 0; e < d; e++) {
      float expected = code(token, kind, head, e);
      if (fill)
        x[column * d + e] = expected;
      else
        assert_float_equal(x[column * d + e], expected, 0);
    }
  }
}

static void check_exchange(int64_t N, int q_heads, int kv_heads, int d, int64_t tile, int rounds) {
  uly_attention *plan;
  uly_attention_desc desc = {.size = sizeof desc,
                             .num_tokens = N,
                             .num_q_heads = q_heads,
                             .num_kv_heads = kv_heads,
                             .head_dim = d,
                             .token_tile = tile,
                             .head_groups = rounds * size};
  assert_ok(uly_attention_create(mesh, &desc, &plan));
  uly_attention_bytes bytes = get_bytes(plan);
  int num_groups = uly_attention_num_blocks(plan), first = uly_mesh_rank(mesh) * rounds;
  int64_t begin, T;
  get_tokens(plan, &begin, &T);
  float *tokens = calloc(1, (size_t)bytes.qkv_tokens + 1),
        *heads = calloc(1, (size_t)bytes.qkv_heads);
  float *back = calloc(1, (size_t)bytes.qkv_tokens + 1);
  int q_seen = 0, kv_seen = 0;
  assert_int_equal(num_groups, rounds * size);
  for (int g = 0; g < num_groups; g++) {
    uly_attention_block b = get_block(plan, g);
    assert_int_equal(b.q_begin, q_seen);
    assert_int_equal(b.kv_begin + b.kv_shared, kv_seen);
    q_seen += b.q_count;
    kv_seen = b.kv_begin + b.kv_count;
    for (int64_t t = 0; t < T; t++)
      visit_row(tokens + b.qkv_offset + t * b.qkv_stride, b, d, begin + t, 1);
  }
  assert_int_equal(q_seen, q_heads);
  assert_int_equal(kv_seen, kv_heads);
  assert_ok(uly_attention_qkv_to_heads(plan, ULY_TRAFFIC_ATTENTION_FORWARD, tokens, heads));
  for (int g = first; g < first + rounds; g++) {
    uly_attention_block b = get_block(plan, g);
    for (int64_t t = 0; t < N; t++)
      visit_row(heads + b.qkv_heads_offset + t * b.qkv_stride, b, d, t, 0);
  }
  assert_ok(uly_attention_qkv_to_tokens(plan, ULY_TRAFFIC_ATTENTION_BACKWARD, heads, back));
  assert_memory_equal(back, tokens, (size_t)bytes.qkv_tokens);

  /* Outputs: query heads alone. */
  for (int g = first; g < first + rounds; g++) {
    uly_attention_block b = get_block(plan, g);
    b.kv_count = 0;
    for (int64_t t = 0; t < N; t++)
      visit_row(heads + b.o_heads_offset + t * b.o_stride, b, d, t, 1);
  }
  assert_ok(uly_attention_o_to_tokens(plan, ULY_TRAFFIC_ATTENTION_FORWARD, heads, back));
  for (int g = 0; g < num_groups; g++) {
    uly_attention_block b = get_block(plan, g);
    b.kv_count = 0;
    for (int64_t t = 0; t < T; t++)
      visit_row(back + b.o_offset + t * b.o_stride, b, d, begin + t, 0);
  }
  memset(heads, 0, (size_t)bytes.o_heads);
  assert_ok(uly_attention_o_to_heads(plan, ULY_TRAFFIC_ATTENTION_BACKWARD, back, heads));
  for (int g = first; g < first + rounds; g++) {
    uly_attention_block b = get_block(plan, g);
    b.kv_count = 0;
    for (int64_t t = 0; t < N; t++)
      visit_row(heads + b.o_heads_offset + t * b.o_stride, b, d, t, 0);
  }
  free(tokens);
  free(heads);
  free(back);
  uly_attention_destroy(plan);
}

static void test_exchange(void **state) {
  (void)state;
  int64_t lengths[] = {1, 7, 8, 64, 133};
  int q_heads[] = {8, 9, 12, 15}, kv_heads[] = {1, 3, 4, 5};
  for (int n = 0; n < 5; n++)
    for (int q = 0; q < 4; q++)
      for (int kv = 0; kv < 4; kv++)
        for (int64_t tile = 0; tile < 12; tile += 5)
          for (int rounds = 1; rounds <= 3 && rounds * size <= q_heads[q]; rounds++)
            if (q_heads[q] % kv_heads[kv] == 0)
              check_exchange(lengths[n], q_heads[q], kv_heads[kv], n % 2 ? 4 : 5, tile, rounds);
}

/* Shared heads: copied from the first holder to the others, and summed back. */
static void test_shared_heads(void **state) {
  (void)state;
  for (int kv_heads = 1; kv_heads <= 8; kv_heads++) {
    int q_heads = kv_heads * ((8 + kv_heads - 1) / kv_heads);
    uly_attention *plan;
    uly_attention_desc desc = {.size = sizeof desc,
                               .num_tokens = 29,
                               .num_q_heads = q_heads,
                               .num_kv_heads = kv_heads,
                               .head_dim = 2};
    assert_ok(uly_attention_create(mesh, &desc, &plan));
    uly_attention_bytes bytes = get_bytes(plan);
    float *x = malloc((size_t)bytes.qkv_tokens + 1);
    int64_t begin, T;
    int holders[8] = {0};
    get_tokens(plan, &begin, &T);
    for (int p = 0; p < size; p++) {
      uly_attention_block b = get_block(plan, p);
      for (int i = 0; i < b.kv_count; i++) holders[b.kv_begin + i]++;
      for (int64_t t = 0; t < T; t++) {
        visit_row(x + b.qkv_offset + t * b.qkv_stride, b, 2, begin + t, 1);
        for (int e = 0; e < 2 && b.kv_shared; e++) { /* not the first holder: to be overwritten */
          x[b.qkv_offset + t * b.qkv_stride + b.q_count * 2 + e] = -1;
          x[b.qkv_offset + t * b.qkv_stride + (b.q_count + b.kv_count) * 2 + e] = -1;
        }
      }
    }
    uly_attention_share_kv(plan, x);
    for (int p = 0; p < size; p++) {
      uly_attention_block b = get_block(plan, p);
      for (int64_t t = 0; t < T; t++)
        visit_row(x + b.qkv_offset + t * b.qkv_stride, b, 2, begin + t, 0);
    }
    uly_attention_sum_kv(plan, x); /* each holder held the same: the first now has a multiple */
    for (int p = 0; p < size; p++) {
      uly_attention_block b = get_block(plan, p);
      for (int i = b.kv_shared; i < b.kv_count; i++)
        for (int64_t t = 0; t < T; t++)
          for (int which = 0; which < 2; which++) {
            const float *head =
                x + b.qkv_offset + t * b.qkv_stride + (b.q_count + which * b.kv_count + i) * 2;
            float expected = code(begin + t, 1 + which, b.kv_begin + i, 1);
            assert_float_equal(head[1], expected * (float)holders[b.kv_begin + i], 0);
          }
    }
    free(x);
    uly_attention_destroy(plan);
  }
}

int main(int argc, char **argv) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_split),
      cmocka_unit_test(test_exchange),
      cmocka_unit_test(test_shared_heads),
  };
  begin_ranks(&argc, &argv, &mesh);
  size = uly_mesh_size(mesh);
  int failed = cmocka_run_group_tests(tests, NULL, NULL);
  return end_ranks(mesh, failed);
}
