/* Tests attention with a share of the heads, as each rank of tensor parallelism has one: which
 * heads a plan has and how large its buffers are; and that the results are those of the same heads
 * in a plan of all heads, to the bit. Attention needs no communication over tp, so ranks compute
 * one share after the other here, on meshes whose extents are changed by hand. */
#include <math.h>

#include "parallel/head_share.h"
#include "parallel/seq_attention.h"
#include "random_mask.h"
#include "testing.h"

static uly_mesh *mesh;
static int size;

/* Makes a mesh one of T ranks of tp, of which this rank is number `index`. */
static void set_tp(uly_mesh *changed, int T, int index) {
  changed->rank = changed->rank / changed->extent[0] * T + index;
  changed->extent[0] = T;
}

static uly_attention_desc describe(int64_t N, int Hq, int Hkv, int d) {
  return (uly_attention_desc){.size = sizeof(uly_attention_desc),
                              .num_tokens = N,
                              .num_q_heads = Hq,
                              .num_kv_heads = Hkv,
                              .head_dim = d};
}

/* --------------------------------------------------------------- what a plan has, offline */

/* Checks that key/value heads [kv_begin, + kv_count) are those that these query heads use. */
static void check_uses(int uses, int q_begin, int q_count, int kv_begin, int kv_count) {
  assert_true(q_count > 0);
  for (int q = q_begin; q < q_begin + q_count; q++)
    assert_in_range(q / uses, kv_begin, kv_begin + kv_count - 1);
  assert_int_equal(q_begin / uses, kv_begin);
  assert_int_equal((q_begin + q_count - 1) / uses, kv_begin + kv_count - 1);
}

/* Returns the elements of a row of Q, K and V in blocks first, first + 1, ... */
static int64_t row_elements(const uly_attention *plan, int first, int num) {
  int64_t heads = 0;
  for (int b = first; b < first + num; b++)
    heads += plan->blocks[b].q_count + 2 * (int64_t)plan->blocks[b].kv_count;
  return heads * plan->desc.head_dim;
}

static int64_t whole_lines(int64_t bytes) { return (bytes + 63) / 64 * 64; }

static void check_blocks(const uly_attention *plan) {
  int uses = plan->desc.num_q_heads / plan->desc.num_kv_heads, next = plan->heads.q_begin;
  int kv_end = plan->heads.kv_begin;
  for (int b = 0; b < plan->num_blocks; b++) {
    const uly__head_block *block = &plan->blocks[b];
    assert_int_equal(block->q_begin, next);
    check_uses(uses, block->q_begin, block->q_count, block->kv_begin, block->kv_count);
    assert_int_equal(block->kv_begin + block->kv_shared, kv_end);
    next += block->q_count;
    kv_end = block->kv_begin + block->kv_count;
  }
  assert_int_equal(next, plan->heads.q_begin + plan->heads.q_count);
  assert_int_equal(kv_end, plan->heads.kv_begin + plan->heads.kv_count);
}

/* Checks that what is kept for backward, and the log-sum-exp, are as large as the heads of the
 * share need. */
static void check_sizes(uly_attention *plan) {
  uly__block_range own = plan->scheme->attended(plan);
  int64_t T = plan->cut.count, rows = plan->rows.count, e = sizeof(float), hq = 0;
  int64_t d = plan->desc.head_dim;
  for (int b = own.first; b < own.first + own.num; b++) hq += plan->blocks[b].q_count;
  uly__arena arena, with_lse;
  uly__seq_kept kept;
  uly__arena_init(&arena, "kept", "", false);
  plan->scheme->carve_kept(plan, &arena, &kept);
  assert_int_equal(arena.peak, whole_lines(rows * row_elements(plan, own.first, own.num) * e) +
                                   whole_lines(rows * hq * d * e) + whole_lines(rows * hq * 2 * e));
  uly__arena_init(&arena, "work", "", false);
  uly__arena_init(&with_lse, "work", "", false);
  plan->scheme->carve_work(plan, 0, &arena);
  plan->scheme->carve_work(plan, ULY_SEQ_LSE, &with_lse);
  int64_t lse = whole_lines(T * plan->heads.q_count * e);
  if (plan->scheme == &uly__scheme_ulysses) {
    lse += whole_lines(rows * hq * e);
    assert_int_equal(plan->scheme->outputs_bytes(plan), T * plan->heads.q_count * d * e);
  }
  assert_int_equal(with_lse.peak - arena.peak, lse);
}

/* Checks that only heads of the share are sent. */
static void check_sent(const uly_attention *plan, int U, int p) {
  if (plan->scheme == &uly__scheme_local) return;
  int rounds = plan->num_blocks / U;
  int64_t e = sizeof(float), tokens = 0, outputs = 0, d = plan->desc.head_dim;
  for (int other = 0; other < U; other++) {
    if (other == p) continue;
    tokens += plan->cut.count * row_elements(plan, other * rounds, rounds) * e;
    for (int b = p * rounds; b < (p + 1) * rounds; b++)
      outputs += uly__token_cut_count(&plan->cut, plan->cut.rank - p + other) *
                 plan->blocks[b].q_count * d * e;
  }
  assert_int_equal(uly__attention_sent(plan, false).heads, tokens + outputs);
}

typedef struct layout {
  int T, U, R;
  bool gathers;
} layout;

static uly_mesh *make_offline(layout l, int p, int index) {
  uly_mesh *offline;
  assert_ok(uly_mesh_create_offline(
      MESH(.ulysses = l.U, .ring = l.gathers ? 0 : l.R, .gather = l.gathers ? l.R : 0), p,
      &offline));
  set_tp(offline, l.T, index);
  assert_int_equal(uly__mesh_index(offline, ULY_AXIS_TP), index);
  assert_int_equal(uly__mesh_index(offline, ULY_AXES_SP), p);
  return offline;
}

/* Plans the shares of all ranks of tp at place p of the sequence. They succeed together, or are
 * refused together. */
static void check_shares(layout l, int p, uly_attention_desc desc, const uly__seq_scheme *scheme) {
  int Hq = desc.num_q_heads, uses = Hq / desc.num_kv_heads, next = 0;
  bool fits = l.T <= Hq && l.U <= Hq / l.T && desc.head_groups <= Hq / l.T &&
              (scheme == &uly__scheme_ulysses || l.U == 1);
  for (int t = 0; t < l.T; t++) {
    uly_mesh *offline = make_offline(l, p, t);
    uly_attention *plan;
    uly_status status = uly__attention_plan(offline, &desc, scheme, &plan);
    assert_int_equal(status, fits ? ULY_OK : ULY_ERR_CONFIG);
    if (fits) {
      assert_int_equal(plan->heads.q_begin, next);
      assert_in_range(plan->heads.q_count, Hq / l.T, (Hq - 1) / l.T + 1);
      next += plan->heads.q_count;
      check_uses(uses, plan->heads.q_begin, plan->heads.q_count, plan->heads.kv_begin,
                 plan->heads.kv_count);
      check_blocks(plan);
      check_sizes(plan);
      check_sent(plan, l.U, p % l.U);
      assert_int_equal(plan->num_blocks, desc.head_groups ? desc.head_groups : l.U);
      assert_int_equal(plan->desc.num_q_heads, Hq);
      assert_true(uly__attention_pairs(plan, 0) == (double)Hq * (double)(41 * 41));
      uly__attention_destroy(plan);
    } else {
      assert_null(plan);
    }
    uly_mesh_destroy(offline);
  }
  if (fits) assert_int_equal(next, Hq);
}

static void test_shares(void **state) {
  (void)state;
  for (int Hq = 1; Hq <= 12; Hq++)
    for (int Hkv = 1; Hkv <= Hq; Hkv++)
      for (int i = 0; i < 5 * 3 * 3 && Hq % Hkv == 0; i++) {
        layout l = {
            .T = 1 + i % 5, .U = 1 + i / 5 % 3, .R = i / 15 > 0 ? 2 : 1, .gathers = i >= 30};
        int p = (Hq + i) % (l.U * l.R);
        uly_attention_desc desc = describe(41, Hq, Hkv, 3);
        for (int rounds = 0; rounds <= 3; rounds++) {
          desc.head_groups = rounds * l.U;
          check_shares(l, p, desc, &uly__scheme_ulysses);
          check_shares(l, p, desc, &uly__scheme_local);
        }
      }
}

/* The groups of a model are the same on all ranks of tp, and each of them has as many heads. */
static void test_groups(void **state) {
  (void)state;
  for (int i = 0; i < 12 * 5 * 3 * 5; i++) {
    int Hq = 1 + i % 12, U = 1 + i / 60 % 3, rounds = i / 180, groups = -1;
    layout l = {.T = 1 + i / 12 % 5, .U = U, .R = 1};
    uly_attention_desc desc = describe(41, Hq, Hq, 256);
    for (int t = 0; t < l.T; t++) {
      uly_mesh *offline = make_offline(l, 0, t);
      desc.head_groups = 0;
      const uly__seq_scheme *scheme = uly__attention_choose(offline, &desc);
      uly_status status = scheme->deal_heads(offline, rounds, &desc);
      bool fits = l.T <= Hq && (rounds > 1 ? rounds : 1) * U <= Hq / l.T;
      assert_int_equal(status, fits ? ULY_OK : ULY_ERR_CONFIG);
      if (t == 0) groups = desc.head_groups;
      assert_int_equal(desc.head_groups, groups);
      if (fits && rounds > 0) assert_int_equal(groups, rounds * U);
      if (fits) check_shares(l, 0, desc, scheme);
      uly_mesh_destroy(offline);
    }
  }
}

static void check_refusal(layout l, uly_attention_desc desc, int rounds, const char *text) {
  uly_mesh *offline = make_offline(l, 0, l.T - 1);
  uly_attention *plan;
  const uly__seq_scheme *scheme = uly__attention_choose(offline, &desc);
  if (rounds > 0)
    assert_fails(scheme->deal_heads(offline, rounds, &desc), ULY_ERR_CONFIG, text);
  else
    assert_fails(uly__attention_plan(offline, &desc, scheme, &plan), ULY_ERR_CONFIG, text);
  uly_mesh_destroy(offline);
}

static void test_messages(void **state) {
  (void)state;
  layout alone = {.T = 2, .U = 1, .R = 1}, pair = {.T = 2, .U = 2, .R = 1};
  layout many = {.T = 4, .U = 1, .R = 1}, wide = {.T = 2, .U = 5, .R = 1};
  uly_attention_desc few = describe(41, 3, 1, 4), nine = describe(41, 9, 3, 4), grouped = nine;
  static const char *const too_many = "mesh.tp is 4, but there are only 3 query heads";
  check_refusal(many, few, 0, too_many);
  check_refusal(many, few, 1, too_many);
  check_refusal(wide, nine, 0, "cannot share 4 query heads for each rank of mesh.tp = 2");
  check_refusal(alone, nine, 5, "the model has 4 query heads for each rank of mesh.tp = 2");
  check_refusal(pair, nine, 3, "but 4 query heads for each rank of mesh.tp = 2 give each rank");
  grouped.head_groups = 6;
  check_refusal(pair, grouped, 0, "at most the 4 query heads for each rank of mesh.tp = 2");
  grouped.head_groups = 5;
  check_refusal(alone, grouped, 0, "at most the 4 query heads for each rank of mesh.tp = 2");
  uly_mesh *offline = make_offline(alone, 0, 0);
  assert_fails(uly__scheme_local.applicable(offline, &grouped), ULY_ERR_CONFIG,
               "there are only 4 query heads for each rank of mesh.tp = 2");
  uly_mesh_destroy(offline);
}

/* --------------------------------------------------------------------------- results */

static uint64_t random_state = 0x9e3779b97f4a7c15u;

/* Returns a number from a to b; the same on all ranks. */
static int pick(int a, int b) {
  random_state = random_state * 6364136223846793005u + 1442695040888963407u;
  return a + (int)((random_state >> 33) % (uint64_t)(b - a + 1));
}

/* Q, K, V, the gradient of outputs, the outputs, and the gradients of Q, K and V: [T, heads, d]
 * each, and the log-sum-exp, [T, query heads]. */
enum { Q, K, V, D_O, O, D_Q, D_K, D_V, LSE, NUM_TENSORS };

typedef struct tensors {
  uly__head_range heads;
  int64_t rows, d;
  void *at[NUM_TENSORS];
} tensors;

static bool is_of_keys(int which) {
  return which == K || which == V || which == D_K || which == D_V;
}

static int64_t width(const tensors *x, int which) {
  if (which == LSE) return x->heads.q_count;
  return (is_of_keys(which) ? x->heads.kv_count : x->heads.q_count) * x->d;
}

static uly_dtype dtype_of(const uly_attention *plan, int which) {
  return which == LSE ? ULY_F32 : plan->desc.dtype;
}

/* Allocates tensors for the heads of a plan. What is computed is filled with other numbers
 * first. */
static tensors make_tensors(const uly_attention *plan) {
  tensors x = {.heads = plan->heads, .rows = plan->cut.count, .d = plan->desc.head_dim};
  for (int i = 0; i < NUM_TENSORS; i++) {
    size_t bytes = (size_t)(x.rows * width(&x, i) * uly__dtype_bytes(dtype_of(plan, i)));
    x.at[i] = memset(malloc(bytes + 1), 0x55, bytes + 1);
  }
  return x;
}

static void free_tensors(tensors *x) {
  for (int i = 0; i < NUM_TENSORS; i++) free(x->at[i]);
}

/* An element of Q, K, V or the gradient of outputs, by its token and its head among all. */
static float value(int which, int64_t token, int64_t head, int64_t element) {
  return (float)sin((double)(((token * 31 + head) * 67 + element) * (which + 3) % 1013));
}

static void fill(const uly_attention *plan, tensors *x) {
  const uly_token_run *runs = uly__token_cut_runs(&plan->cut, plan->cut.rank);
  for (int which = Q; which <= D_O; which++) {
    int64_t at = 0, first = is_of_keys(which) ? x->heads.kv_begin : x->heads.q_begin;
    for (int r = 0; r < plan->cut.num_runs; r++)
      for (int64_t t = runs[r].begin; t < runs[r].begin + runs[r].count; t++)
        for (int64_t i = 0; i < width(x, which); i++)
          uly__store(x->at[which], plan->desc.dtype, at++,
                     value(which, t, first + i / x->d, i % x->d));
  }
}

/* Attends with all heads of a plan, and takes the gradients back. */
static tensors compute(uly_attention *plan) {
  tensors x = make_tensors(plan);
  uly_attention_saved *saved;
  fill(plan, &x);
  assert_ok(uly_attention_saved_create(plan, &saved));
  assert_ok(
      uly_attention_forward_layer(plan, 0, x.at[Q], x.at[K], x.at[V], x.at[O], x.at[LSE], saved));
  assert_ok(uly_attention_backward_layer(plan, saved, x.at[D_O], x.at[D_Q], x.at[D_K], x.at[D_V]));
  uly_attention_saved_destroy(saved);
  return x;
}

/* Compares with the same heads of all, to the bit. */
static void compare_heads(const uly_attention *plan, const tensors *all, const tensors *x,
                          int which) {
  int64_t element = uly__dtype_bytes(dtype_of(plan, which));
  int64_t from = is_of_keys(which) ? x->heads.kv_begin * x->d : x->heads.q_begin * x->d;
  if (which == LSE) from = x->heads.q_begin;
  int64_t row = width(x, which) * element, whole = width(all, which) * element;
  for (int64_t t = 0; t < x->rows; t++)
    if (memcmp((char *)x->at[which] + t * row, (char *)all->at[which] + t * whole + from * element,
               (size_t)row) != 0)
      fail_msg(
          "scheme %s, keys %s, %d of %d query heads from %d on, %d groups: row %d of tensor %d",
          plan->scheme->name, plan->keys->name, x->heads.q_count, plan->desc.num_q_heads,
          x->heads.q_begin, plan->num_blocks, (int)t, which);
}

/* Adds gradients of keys and values to sums, [2][T, Hkv, d]. */
static void add_gradients(const uly_attention *plan, const tensors *x, double *sums) {
  int64_t row = plan->desc.num_kv_heads * x->d, w = width(x, D_K);
  for (int i = 0; i < 2; i++)
    for (int64_t at = 0; at < x->rows * w; at++)
      sums[(i * x->rows + at / w) * row + x->heads.kv_begin * x->d + at % w] +=
          (double)uly__load(x->at[D_K + i], plan->desc.dtype, at);
}

/* Shares that hold the same key/value head have parts of its gradients, which add up. */
static void compare_sums(const uly_attention *plan, const tensors *all, const double *sums) {
  int64_t count = all->rows * width(all, D_K);
  double allowed = plan->desc.dtype == ULY_BF16 ? 0.03 : 1e-5, largest = 0.1;
  for (int64_t i = 0; i < 2 * count; i++)
    if (fabs(sums[i]) > largest) largest = fabs(sums[i]);
  for (int64_t i = 0; i < 2 * count; i++) {
    double expected = (double)uly__load(all->at[D_K + i / count], plan->desc.dtype, i % count);
    if (!(fabs(sums[i] - expected) <= allowed * largest))
      fail_msg("gradient of keys or values: %g instead of %g", sums[i], expected);
  }
}

typedef struct projection {
  const uly_attention *plan;
  void *qkv;
} projection;

/* Writes row t of a block, which is the one of this token. Key/value heads that the block before
 * also holds are left to that block. */
static void project_row(const projection *x, const uly__head_block *block, int64_t t,
                        int64_t token) {
  int64_t d = x->plan->desc.head_dim;
  for (int head = 0; head < block->q_count + 2 * block->kv_count; head++) {
    int kv = head - block->q_count, which = kv < 0 ? Q : kv < block->kv_count ? K : V;
    int of_all = which == Q ? block->q_begin + head : block->kv_begin + kv % block->kv_count;
    if (which != Q && kv % block->kv_count == 0 && block->kv_shared) continue;
    for (int64_t i = 0; i < d; i++)
      uly__store(x->qkv, x->plan->desc.dtype,
                 block->qkv_offset + t * block->qkv_stride + head * d + i,
                 value(which, token, of_all, i));
  }
}

/* Writes Q, K and V of blocks first, first + step, ... as a model does. */
static void project(void *context, int first, int step) {
  const projection *x = context;
  const uly__token_cut *cut = &x->plan->cut;
  const uly_token_run *runs = uly__token_cut_runs(cut, cut->rank);
  for (int b = first; b < x->plan->num_blocks; b += step) {
    int64_t t = 0;
    for (int r = 0; r < cut->num_runs; r++)
      for (int64_t i = 0; i < runs[r].count; i++)
        project_row(x, &x->plan->blocks[b], t++, runs[r].begin + i);
  }
}

/* Checks the keys and values of all tokens that decoding takes from a plan. */
static void check_cache(const uly_attention *plan, const uly__seq_kept *kept) {
  uly__head_range heads = plan->scheme->heads_of(plan, plan->cut.rank);
  int64_t N = plan->desc.num_tokens, capacity = N + 3, d = plan->desc.head_dim;
  uly_dtype dtype = plan->desc.dtype;
  size_t bytes = (size_t)(heads.kv_count * capacity * d * uly__dtype_bytes(dtype));
  void *keys = memset(malloc(bytes), 0x55, bytes), *values = memset(malloc(bytes), 0x55, bytes);
  float one[1];
  assert_true(heads.q_begin >= plan->heads.q_begin);
  assert_true(heads.q_begin + heads.q_count <= plan->heads.q_begin + plan->heads.q_count);
  plan->scheme->copy_kv(plan, kept, capacity, keys, values);
  for (int64_t i = 0; i < heads.kv_count * N * d; i++) {
    int64_t head = i / (N * d), token = i / d % N, at = (head * capacity + token) * d + i % d;
    for (int which = K; which <= V; which++) {
      uly__store(one, dtype, 0, value(which, token, heads.kv_begin + head, i % d));
      assert_true(uly__load(which == K ? keys : values, dtype, at) == uly__load(one, dtype, 0));
    }
  }
  free(keys), free(values);
}

/* Goes forward as a model does, and compares the outputs with those of all heads, and the cache. */
static void check_as_model(uly_attention *plan, const tensors *all) {
  uly__arena arena;
  uly__seq_kept kept;
  uly__arena_init(&arena, "a layer", "", false);
  for (int turn = 0; turn < 2; turn++) {
    plan->scheme->carve_kept(plan, &arena, &kept);
    uly__attention_carve_outputs(plan, &arena, &kept);
    plan->scheme->carve_work(plan, 0, &arena);
    if (turn == 0) assert_ok(uly__arena_commit(&arena));
  }
  projection x = {plan, uly__attention_qkv(plan, &kept)};
  uly__seq_call call = {
      .kind = ULY_TRAFFIC_ATTENTION_FORWARD, .kept = &kept, .project = project, .context = &x};
  assert_ok(plan->scheme->forward(plan, &call));
  uly_dtype dtype = plan->desc.dtype;
  for (int b = 0; b < plan->num_blocks; b++) {
    const uly__head_block *block = &plan->blocks[b];
    int64_t width = block->o_stride;
    for (int64_t i = 0; i < plan->cut.count * width; i++)
      assert_true(
          uly__load(kept.outputs, dtype, block->o_offset + i) ==
          uly__load(all->at[O], dtype,
                    i / width * all->heads.q_count * all->d + block->q_begin * all->d + i % width));
  }
  if (plan->rows.size == 1) check_cache(plan, &kept);
  uly__arena_destroy(&arena);
}

/* Computes each of T shares, and compares it with the whole. */
static void check_results(uly_mesh *on, const uly_attention_desc *desc, int T, const tensors *all,
                          const uly__seq_scheme *scheme) {
  int ulysses = uly_mesh_ulysses(on), before = on->rank;
  bool exact = desc->num_kv_heads % (T * ulysses) == 0 && desc->head_groups == 0;
  double *sums = calloc((size_t)(2 * all->rows * width(all, D_K)) + 1, sizeof *sums);
  uly_attention *plan = NULL;
  for (int t = 0; t < T; t++) {
    set_tp(on, T, t);
    uly_attention_destroy(plan);
    assert_ok(uly__attention_plan(on, desc, scheme, &plan));
    tensors x = compute(plan);
    for (int which = O; which <= LSE; which++)
      if (exact || !is_of_keys(which)) compare_heads(plan, all, &x, which);
    add_gradients(plan, &x, sums);
    check_as_model(plan, all);
    free_tensors(&x);
  }
  compare_sums(plan, all, sums);
  uly_attention_destroy(plan);
  set_tp(on, 1, 0);
  assert_int_equal(on->rank, before);
  free(sums);
}

/* Random attention on one layout of all ranks: all heads at once, then shares of them. Many ranks
 * take long, and so have fewer cases. */
static void check_layout(uly_mesh *on) {
  for (int i = 0; i<16; i += size> 2 ? 3 : 1) {
    int ulysses = uly_mesh_ulysses(on), Hkv = pick(1, 6), uses = pick(1, 4), T = 1 + i % 4;
    while (Hkv * uses / T < ulysses) uses++;
    uly_attention_desc desc = describe(pick(1, 90), Hkv * uses, Hkv, pick(1, 24));
    uly_mask mask = random_mask(i, desc.num_tokens, desc.num_q_heads, pick);
    desc.masks = &mask;
    desc.dtype = pick(0, 2) == 0 ? ULY_BF16 : ULY_F32;
    uly_attention *plan;
    assert_ok(uly_attention_create(on, &desc, &plan));
    tensors all = compute(plan);
    uly_attention_destroy(plan);
    if (pick(0, 1)) desc.head_groups = pick(1, desc.num_q_heads / T / ulysses) * ulysses;
    check_results(on, &desc, T, &all, &uly__scheme_ulysses);
    if (ulysses == 1) check_results(on, &desc, T, &all, &uly__scheme_local);
    free_tensors(&all);
    free_random_mask(&mask);
  }
}

static void test_results(void **state) {
  (void)state;
  for (int U = 1; U <= size; U++)
    for (int gathers = 0; gathers < (U < size ? 2 : 1) && size % U == 0; gathers++) {
      int R = size / U;
      uly_mesh *on;
      assert_ok(uly_mesh_create(
          MESH(.ulysses = U, .ring = gathers ? 0 : R, .gather = gathers ? R : 0), &on));
      check_layout(on);
      uly_mesh_destroy(on);
    }
}

int main(int argc, char **argv) {
  begin_ranks(&argc, &argv, &mesh);
  size = uly_mesh_size(mesh);
  const struct CMUnitTest offline[] = {
      cmocka_unit_test(test_shares),
      cmocka_unit_test(test_groups),
      cmocka_unit_test(test_messages),
  };
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_results)};
  int num_failed = size == 1 ? cmocka_run_group_tests(offline, NULL, NULL) : 0;
  return end_ranks(mesh, num_failed + cmocka_run_group_tests(tests, NULL, NULL));
}
