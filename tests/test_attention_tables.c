/* Compares attention of every kernel table that this CPU runs with that of the reference table, in
 * both storage types, with masks of every kind, at odd lengths and strides; and tests that it polls
 * and that large scores stay finite. test_attention_kernels.c compares attention with f64. */
#include <math.h>
#include <omp.h>

#include "kernel_tables.h"
#include "ops/mask.h"
#include "random_mask.h"

static uint32_t random_state = 1;

static int pick(int lowest, int largest) {
  random_state = random_state * 1664525u + 1013904223u;
  return lowest + (int)(random_state >> 8) % (largest - lowest + 1);
}

/* parts: those of random_mask. Rows have 3 + pad more elements than their heads need: pairs of bf16
 * want it even. Freed by free_case. */
static uly__attention_args attention_case(uly_dtype dtype, int64_t N, int d, uly_mask_kind kind,
                                          int parts, int pad) {
  /* Ragged: my 5 query heads, of 9 in all, begin in the middle of a group of 3. */
  uly__attention_args a = {.queries = {0, N},
                           .keys = {0, N},
                           .num_q_heads = 5,
                           .num_kv_heads = 2,
                           .head_dim = d,
                           .first_q_head = 4,
                           .group_size = 3,
                           .group_offset = 1,
                           .dtype = dtype,
                           .scale = 0.3f,
                           .q_stride = 9 * d + 3 + pad,
                           .kv_stride = 9 * d + 3 + pad,
                           .o_stride = 5 * d + 1 + pad,
                           .softmax_stride = N};
  char *qkv = values(N * a.q_stride, dtype, 1);
  a.q = qkv;
  a.k = qkv + 5 * d * uly__dtype_bytes(dtype);
  a.v = qkv + 7 * d * uly__dtype_bytes(dtype);
  a.d_o = values(N * a.o_stride, dtype, 2);
  uly_mask desc = random_mask(parts, N, 9, pick);
  desc.kind = kind;
  uly__mask *mask;
  assert_ok(uly__mask_create(&desc, N, 9, &mask));
  a.mask = mask;
  free_random_mask(&desc);
  return a;
}

static void free_case(uly__attention_args *a) {
  free((void *)(uintptr_t)a->q), free((void *)(uintptr_t)a->d_o);
  uly__mask_destroy((uly__mask *)(uintptr_t)a->mask);
}

static void run_attention(const uly__ops *ops, uly__attention_args a, void *o, char *d_qkv,
                          uly__softmax_row *softmax) {
  int64_t bytes = uly__dtype_bytes(a.dtype);
  uly__attention_workspace unused;
  void *workspace = malloc((size_t)uly__attention_carve(&a, NULL, &unused));
  a.o = o;
  a.softmax = softmax;
  ops->attention_forward(uly__stream_get(), &a);
  a.d_q = d_qkv;
  a.d_k = d_qkv + 5 * a.head_dim * bytes;
  a.d_v = d_qkv + 7 * a.head_dim * bytes;
  ops->attention_backward(uly__stream_get(), &a, workspace);
  free(workspace);
}

/* Holds what forward and backward write. The padding of rows has values too, which must stay. */
typedef struct attention_outputs {
  void *o;
  char *d_qkv;
  uly__softmax_row *softmax;
} attention_outputs;

static attention_outputs attend(const uly__ops *ops, uly__attention_args a) {
  attention_outputs out = {.o = values(a.queries.count * a.o_stride, a.dtype, 3),
                           .d_qkv = values(a.queries.count * a.q_stride, a.dtype, 4),
                           .softmax = calloc((size_t)a.queries.count * 5, sizeof *out.softmax)};
  run_attention(ops, a, out.o, out.d_qkv, out.softmax);
  return out;
}

static void free_outputs(attention_outputs *out) {
  free(out->o), free(out->d_qkv), free(out->softmax);
}

/* Compares every table with the reference, which is slow: it runs once. */
static void compare_attention(uly__attention_args a) {
  int64_t N = a.queries.count;
  attention_outputs expected = attend(&reference, a);
  for (int i = 0; i < num_tables; i++) {
    attention_outputs found = attend(&tables[i], a);
    same("attention o", table_names[i], found.o, expected.o, N * a.o_stride, a.dtype);
    same("attention softmax", table_names[i], found.softmax, expected.softmax, N * 10, ULY_F32);
    same("attention d_qkv", table_names[i], found.d_qkv, expected.d_qkv, N * a.q_stride, a.dtype);
    free_outputs(&found);
  }
  free_outputs(&expected);
  free_case(&a);
}

static const int mask_parts[] = {0, WITH_WINDOW, WITH_DOCUMENTS | WITH_HEAD_BLOCKS, WITH_BLOCKS};

static void test_attention(void **state) {
  (void)state;
  int64_t lengths[] = {1, 63, 64, 65, 200};
  int dims[] = {1, 8, 34, 64, 256};
  int stride = case_stride();
  for (int dtype = 0; dtype < 2; dtype++)
    for (int i = 0; i < 5; i++)
      for (int turn = 0; turn < 16; turn += stride) { /* full and causal, alone and with more */
        uly__attention_args a =
            attention_case((uly_dtype)dtype, lengths[i], dims[(i + turn) % 5],
                           (uly_mask_kind)(turn % 2), mask_parts[turn / 2 % 4], turn / 8);
        if (turn % 3 == 0) a.scale = -a.scale;
        compare_attention(a);
      }
}

/* Long enough for a thread to take four blocks of keys or queries at a time, or two; the last group
 * is short. */
static void test_attention_in_groups(void **state) {
  (void)state;
  static const struct {
    int threads, d, parts;
    int64_t N;
  } cases[] = {{1, 8, 2, 2060}, {1, 34, 1, 1030}, {2, 8, 0, 2060}};
  for (int i = 0; i<6; i += case_stride()> 1 ? 3 : 1) {
    omp_set_num_threads(cases[i / 2].threads);
    compare_attention(attention_case((uly_dtype)(i % 2), cases[i / 2].N, cases[i / 2].d,
                                     ULY_MASK_CAUSAL, mask_parts[cases[i / 2].parts], 1));
  }
  omp_set_num_threads(3);
}

static void count_poll(void *count) { (*(int *)count)++; }

/* Exchanges that run beside attention are driven by its polls: also where a window leaves few tiles
 * in a row. */
static void test_attention_polls(void **state) {
  (void)state;
  enum { N = 2048, D = 8 };
  for (int i = 0; i < num_tables; i++)
    for (int64_t window = 0; window <= 64; window += 64) {
      uly__attention_args a = attention_case(ULY_BF16, N, D, ULY_MASK_CAUSAL, 0, 1);
      uly_mask mask = {.kind = ULY_MASK_CAUSAL, .window = window};
      uly__mask *index;
      int count = 0;
      assert_ok(uly__mask_create(&mask, N, 9, &index));
      uly__mask_destroy((uly__mask *)(uintptr_t)a.mask);
      a.mask = index;
      a.poll = count_poll;
      a.poll_context = &count;
      omp_set_num_threads(1);
      void *o = values(N * a.o_stride, ULY_BF16, 3);
      char *d_qkv = values(N * a.q_stride, ULY_BF16, 4);
      uly__softmax_row *softmax = calloc((size_t)N * 5, sizeof *softmax);
      a.o = o;
      a.softmax = softmax;
      tables[i].attention_forward(uly__stream_get(), &a);
      int forward = count, blocks = N / 64;
      int tiles = 5 * (window ? 2 * blocks - 1 : blocks * (blocks + 1) / 2);
      run_attention(&tables[i], a, o, d_qkv, softmax);
      int backward = count - 2 * forward;
      if (forward < tiles / 32 || backward < tiles / 32 || count > 3 * tiles)
        fail_msg("%s, window %d: %d polls of forward, %d of backward, for %d tiles", table_names[i],
                 (int)window, forward, backward, tiles);
      omp_set_num_threads(3);
      free(o), free(d_qkv), free(softmax);
      free_case(&a);
    }
}

/* Scores of a thousand overflow an exponential that is not shifted by the maximum. */
static void test_large_scores(void **state) {
  (void)state;
  for (int i = 0; i < num_tables; i++) {
    uly__attention_args a = attention_case(ULY_F32, 100, 16, ULY_MASK_CAUSAL, 0, 0);
    a.scale = 1e4f;
    float o[100 * 81];
    uly__softmax_row softmax[500];
    char *d_qkv = calloc(100 * (size_t)a.q_stride, 4);
    memset(o, 0, sizeof o);
    run_attention(&tables[i], a, o, d_qkv, softmax);
    for (int j = 0; j < 100 * 81; j++) assert_true(isfinite(o[j]));
    for (int64_t j = 0; j < 100 * a.q_stride; j++) assert_true(isfinite(((float *)d_qkv)[j]));
    free(d_qkv);
    free_case(&a);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_attention),
      cmocka_unit_test(test_attention_in_groups),
      cmocka_unit_test(test_attention_polls),
      cmocka_unit_test(test_large_scores),
  };
  if (!find_tables()) return 1;
  return cmocka_run_group_tests(tests, NULL, NULL);
}
