/* Compares the attention plan with naive attention in f64, which every rank computes for itself,
 * without communication, from tensors that are functions of global indices. There are 100 random
 * cases for each number of ranks: N, Hq, Hkv, head_dim, dtype, mask, tile, head groups, scale;
 * forward and backward, by every scheme that is applicable; and as many for rings, gathers and
 * hybrids, on every way to divide the ranks. What is sent must be what the plan says. CASES=n in
 * the environment makes n cases, which go through all head dimensions, and SEED=n makes others. */
#include <mpi.h>

#include <math.h>

#include "base/dtype.h"
#include "naive_attention.h"
#include "parallel/seq_attention.h"
#include "random_mask.h"
#include "testing.h"

static uly_mesh *mesh;
static int size, rank;

/* xorshift64*: the same numbers on every rank. */
static uint64_t random_state;

static uint64_t next_random(void) {
  random_state ^= random_state >> 12;
  random_state ^= random_state << 25;
  random_state ^= random_state >> 27;
  return random_state * 2685821657736338717u;
}

static int pick(int lowest, int largest) {
  return lowest + (int)(next_random() >> 33) % (largest - lowest + 1);
}

/* A whole tensor [N, heads, d], in f64 and rounded to the dtype. */
typedef struct tensor {
  int64_t rows, width;
  double *values;
} tensor;

static tensor make_tensor(int64_t rows, int64_t width) {
  return (tensor){rows, width, calloc((size_t)(rows * width), sizeof(double))};
}

/* in_eighths: scores are then exact in f32, so that a large scale magnifies no rounding. */
static tensor random_tensor(int64_t rows, int64_t width, uly_dtype dtype, bool in_eighths) {
  tensor t = make_tensor(rows, width);
  for (int64_t i = 0; i < rows * width; i++) {
    float value = (float)((double)(next_random() >> 40) / (1 << 23) - 1.0);
    if (in_eighths) value = floorf(8 * value) / 8;
    t.values[i] = (double)(dtype == ULY_BF16 ? uly__bf16_to_f32(uly__f32_to_bf16(value)) : value);
  }
  return t;
}

/* The tokens of a rank, in its order. */
typedef struct tokens {
  int64_t count;
  int64_t at[256];
} tokens;

static tokens tokens_of(const uly_attention *plan) {
  tokens mine = {0};
  int num_runs;
  const uly_token_run *runs = uly_attention_tokens(plan, &num_runs);
  for (int r = 0; r < num_runs; r++)
    for (int64_t i = 0; i < runs[r].count; i++) mine.at[mine.count++] = runs[r].begin + i;
  return mine;
}

/* Rows of these tokens in the dtype; freed by the caller. */
static void *slice(const tensor *t, uly_dtype dtype, const tokens *mine) {
  void *x = malloc((size_t)(mine->count * t->width * uly__dtype_bytes(dtype)) + 1);
  for (int64_t i = 0; i < mine->count * t->width; i++)
    uly__store(x, dtype, i, (float)t->values[mine->at[i / t->width] * t->width + i % t->width]);
  return x;
}

/* Relative to the largest, or to floor: a gradient may be zero but for rounding, as that of q where
 * each query sees one key. */
static double relative_error(const tensor *t, uly_dtype dtype, const tokens *mine, const void *x,
                             double floor) {
  double error = 0, largest = floor;
  for (int64_t i = 0; i < t->rows * t->width; i++)
    if (fabs(t->values[i]) > largest) largest = fabs(t->values[i]);
  for (int64_t i = 0; i < mine->count * t->width; i++) {
    double expected = t->values[mine->at[i / t->width] * t->width + i % t->width];
    double difference = fabs((double)uly__load(x, dtype, i) - expected);
    if (!(difference <= error)) error = difference;
  }
  return error / largest;
}

typedef struct problem {
  uly_attention_desc desc;
  uly_mask mask;
  double scale;
  tensor q, k, v, d_o, o, d_q, d_k, d_v;
} problem;

static void solve(problem *x) {
  solve_naively(&(naive_attention){.num_tokens = x->desc.num_tokens,
                                   .num_q_heads = x->desc.num_q_heads,
                                   .num_kv_heads = x->desc.num_kv_heads,
                                   .head_dim = x->desc.head_dim,
                                   .scale = x->scale,
                                   .mask = &x->mask,
                                   .q = x->q.values,
                                   .k = x->k.values,
                                   .v = x->v.values,
                                   .d_o = x->d_o.values,
                                   .o = x->o.values,
                                   .d_q = x->d_q.values,
                                   .d_k = x->d_k.values,
                                   .d_v = x->d_v.values});
}

/* head_dim 0: any. There are at least `heads` query heads. */
static problem random_problem(int mask_parts, int head_dim, int heads) {
  static const float scales[] = {0, 0, 0, 0.25f, 0.25f, -0.5f, 1e-30f, 1e6f, -3e5f};
  problem x = {0};
  uly_attention_desc *desc = &x.desc;
  desc->size = sizeof *desc;
  int group = pick(1, 4);
  desc->num_tokens = pick(0, 9) == 0 ? pick(1, size) : pick(1, 150);
  desc->num_kv_heads = pick(1, 5);
  while (desc->num_kv_heads * group < heads) group++;
  desc->num_q_heads = desc->num_kv_heads * group;
  desc->head_dim = pick(0, 3) == 0 ? pick(1, 70) : 8 * pick(1, 5);
  if (head_dim > 0) desc->head_dim = head_dim;
  desc->dtype = pick(0, 2) == 0 ? ULY_BF16 : ULY_F32;
  x.mask = random_mask(mask_parts, desc->num_tokens, desc->num_q_heads, pick);
  desc->head_groups = pick(0, 1) ? 0 : heads * pick(1, desc->num_q_heads / heads);
  desc->token_tile = pick(0, 1) ? 0 : pick(1, 40);
  desc->scale = scales[pick(0, 8)];
  x.scale = desc->scale == 0.0f ? 1.0 / sqrt(desc->head_dim) : (double)desc->scale;
  int64_t N = desc->num_tokens, q_width = (int64_t)desc->num_q_heads * desc->head_dim;
  int64_t kv_width = (int64_t)desc->num_kv_heads * desc->head_dim;
  bool in_eighths = fabs(x.scale) > 100;
  x.q = random_tensor(N, q_width, desc->dtype, in_eighths);
  x.k = random_tensor(N, kv_width, desc->dtype, in_eighths);
  x.v = random_tensor(N, kv_width, desc->dtype, in_eighths);
  x.d_o = random_tensor(N, q_width, desc->dtype, in_eighths);
  x.o = make_tensor(N, q_width);
  x.d_q = make_tensor(N, q_width);
  x.d_k = make_tensor(N, kv_width);
  x.d_v = make_tensor(N, kv_width);
  solve(&x);
  return x;
}

static void free_problem(problem *x) {
  tensor all[] = {x->q, x->k, x->v, x->d_o, x->o, x->d_q, x->d_k, x->d_v};
  for (int i = 0; i < 8; i++) free(all[i].values);
  free_random_mask(&x->mask);
}

/* factor: what the gradients of scores are multiplied by where they are summed. */
static void check(const problem *x, const uly_attention *plan, const char *name,
                  const tensor *expected, const tokens *mine, const void *got, double factor) {
  /* bf16: the probabilities' factor O and the result are rounded to 8 bits. */
  double tolerance = x->desc.dtype == ULY_BF16 ? 2e-2 : 1e-5;
  const uly_attention_desc *d = &x->desc;
  /* What is rounded in sums over head_dim elements does not shrink where the result is nearly 0. */
  double floor = 0.5 * factor * fmax(1, sqrt(d->head_dim) / 8);
  double error = relative_error(expected, d->dtype, mine, got, floor);
  if (!(error < tolerance))
    fail_msg(
        "%s x %s of %d: %s differs by %g: N %lld, Hq %d, Hkv %d, d %d, dtype %d, scale %g, tile "
        "%lld, groups %d, "
        "mask %d, window %lld, %lld documents, blocks of %lld",
        plan->scheme->name, plan->keys->name, plan->rows.size, name, error,
        (long long)d->num_tokens, d->num_q_heads, d->num_kv_heads, d->head_dim, (int)d->dtype,
        x->scale, (long long)d->token_tile, d->head_groups, (int)x->mask.kind,
        (long long)x->mask.window, (long long)x->mask.num_docs,
        x->mask.blocks ? (long long)x->mask.blocks->block : 0);
}

/* Checks that a pass has sent as many bytes as the plan says. */
static void check_sent(const uly_attention *plan, uly_traffic kind, const uly__traffic *before,
                       int64_t planned) {
  int64_t sent = plan->mesh->traffic.bytes[kind] - before->bytes[kind];
  if (sent != planned)
    fail_msg("%s x %s of %d, rank %d, sent %lld bytes of kind %d, and planned %lld",
             plan->scheme->name, plan->keys->name, plan->rows.size, rank, (long long)sent,
             (int)kind, (long long)planned);
}

static void check_plan(const problem *x, uly_attention *plan) {
  const uly_attention_desc *desc = &x->desc;
  tokens mine = tokens_of(plan);
  uly__traffic before = plan->mesh->traffic;
  void *q = slice(&x->q, desc->dtype, &mine), *k = slice(&x->k, desc->dtype, &mine);
  void *v = slice(&x->v, desc->dtype, &mine);
  void *d_o = slice(&x->d_o, desc->dtype, &mine);
  void *o = slice(&x->d_o, desc->dtype, &mine); /* any values: overwritten */
  assert_ok(uly_attention_forward(plan, q, k, v, o));
  check(x, plan, "o", &x->o, &mine, o, 1);
  assert_ok(uly_attention_backward(plan, d_o, q, k, v)); /* gradients take the inputs' place */
  check(x, plan, "d_q", &x->d_q, &mine, q, fabs(x->scale));
  check(x, plan, "d_k", &x->d_k, &mine, k, fabs(x->scale));
  check(x, plan, "d_v", &x->d_v, &mine, v, 1);
  uly__seq_sent forward = uly__attention_sent(plan, false),
                backward = uly__attention_sent(plan, true);
  check_sent(plan, ULY_TRAFFIC_ATTENTION_FORWARD, &before, forward.heads);
  check_sent(plan, ULY_TRAFFIC_ATTENTION_BACKWARD, &before, backward.heads);
  check_sent(plan, ULY_TRAFFIC_KEYS_FORWARD, &before, forward.keys);
  check_sent(plan, ULY_TRAFFIC_KEYS_BACKWARD, &before, backward.keys);
  void *all[] = {q, k, v, d_o, o};
  for (int i = 0; i < 5; i++) free(all[i]);
}

static int64_t number(const char *name, int64_t otherwise) {
  const char *text = getenv(name);
  return text ? strtoll(text, NULL, 10) : otherwise;
}

/* Checks that, on one rank, all schemes give the same bits. */
static void compare_bits(const problem *x, uly_attention *const plans[2]) {
  int64_t N = x->desc.num_tokens, Hq = x->desc.num_q_heads;
  tokens all_tokens = tokens_of(plans[0]);
  void *q = slice(&x->q, x->desc.dtype, &all_tokens), *k = slice(&x->k, x->desc.dtype, &all_tokens);
  void *v = slice(&x->v, x->desc.dtype, &all_tokens), *o[2];
  float *lse[2];
  for (int i = 0; i < 2; i++) {
    o[i] = slice(&x->d_o, x->desc.dtype, &all_tokens);
    lse[i] = calloc((size_t)(N * Hq), sizeof(float));
    assert_ok(uly_attention_forward_layer(plans[i], 0, q, k, v, o[i], lse[i], NULL));
  }
  assert_memory_equal(lse[0], lse[1], (size_t)(N * Hq) * sizeof(float));
  assert_memory_equal(o[0], o[1], (size_t)(N * x->q.width * uly__dtype_bytes(x->desc.dtype)));
  void *all[] = {q, k, v, o[0], o[1], lse[0], lse[1]};
  for (int i = 0; i < 7; i++) free(all[i]);
}

/* Checks a scheme, unless it is the plan's; a scheme that is not applicable must say why. */
static void check_scheme(const problem *x, const uly__seq_scheme *scheme, uly_attention *plan) {
  uly_attention *plans[2] = {plan, NULL};
  if (scheme == plan->scheme) return;
  if (scheme->applicable(mesh, &x->desc) != ULY_OK) {
    assert_true(uly_last_error()[0]);
    return;
  }
  assert_ok(uly__attention_plan(mesh, &x->desc, scheme, &plans[1]));
  check_plan(x, plans[1]);
  if (size == 1) compare_bits(x, plans);
  uly_attention_destroy(plans[1]);
}

/* The choice of a scheme is no failure, whatever it finds. */
static void test_choice(void **state) {
  (void)state;
  uly_attention_desc desc = {
      .size = sizeof desc, .num_tokens = 9, .num_q_heads = 8, .num_kv_heads = 8, .head_dim = 4};
  (void)uly_fail(ULY_ERR_DATA, "an older message");
  assert_non_null(uly__attention_choose(mesh, &desc));
  assert_non_null(strstr(uly_last_error(), "an older message"));
}

static void test_random_cases(void **state) {
  (void)state;
  int64_t num_cases = number("CASES", 0), seed = number("SEED", 0);
  random_state = 0x9e3779b97f4a7c15u + (uint64_t)(1000 * seed + size);
  for (int i = 0; i < (num_cases > 0 ? num_cases : 100); i++) {
    /* Full and causal in one half, all else and its intersections in the other. */
    problem x = random_problem(i % 2 ? i / 2 % 16 : 0, num_cases > 0 ? 1 + i % 256 : 0, size);
    uly_attention *plan;
    x.desc.masks = &x.mask;
    assert_ok(uly_attention_create(mesh, &x.desc, &plan));
    check_plan(&x, plan);
    assert_int_equal(uly__scheme_local.applicable(mesh, &x.desc) == ULY_OK, size == 1);
#define CHECK(name) check_scheme(&x, &uly__scheme_##name, plan);
    ULY_SEQ_SCHEMES(CHECK)
#undef CHECK
    uly_attention_destroy(plan);
    free_problem(&x);
  }
}

/* Every way to divide the ranks into Ulysses and a ring of several, or a gather. */
static void test_rings(void **state) {
  (void)state;
  int64_t num_cases = number("CASES", 0), seed = number("SEED", 0);
  uly_mesh *meshes[16];
  int num = 0, ways = 0;
  for (int ulysses = 1; ulysses < size; ulysses++) {
    if (size % ulysses != 0) continue;
    assert_ok(uly_mesh_create(MESH(.ulysses = ulysses, .ring = size / ulysses), &meshes[num++]));
    assert_ok(uly_mesh_create(MESH(.ulysses = ulysses, .gather = size / ulysses), &meshes[num++]));
  }
  random_state = 0x2545f4914f6cdd1du + (uint64_t)(1000 * seed + size);
  for (int i = 0; num > 0 && i < (num_cases > 0 ? num_cases : 100); i++) {
    uly_mesh *divided = meshes[i % num];
    int ulysses = uly_mesh_ulysses(divided);
    problem x =
        random_problem(pick(0, 1) ? pick(0, 15) : 0, num_cases > 0 ? 1 + i % 256 : 0, ulysses);
    uly_attention *plan;
    x.desc.masks = &x.mask;
    assert_ok(uly_attention_create(divided, &x.desc, &plan));
    assert_int_equal(plan->rows.size * ulysses, size);
    ways |= plan->keys == &uly__keys_ring ? 1 : plan->keys == &uly__keys_gather ? 2 : 0;
    check_plan(&x, plan);
    uly_attention_destroy(plan);
    free_problem(&x);
  }
  assert_int_equal(ways, size > 1 ? 3 : 0);
  for (int i = 0; i < num; i++) uly_mesh_destroy(meshes[i]);
}

/* --- packed documents */

enum { NUM_DOCS = 4, DOC_HEADS = 8, DOC_KV = 2, DOC_DIM = 6 };

typedef struct attended {
  float *o, *d_q, *d_k, *d_v; /* [T, DOC_HEADS, DOC_DIM] and [T, DOC_KV, DOC_DIM] */
} attended;

/* Tokens [begin, begin + count) of tensors whose values are functions of the token, attended to by
 * the plan, whose slice they are. */
static attended attend(uly_attention *plan, int64_t begin, int64_t count) {
  enum { Q = DOC_HEADS * DOC_DIM, KV = DOC_KV * DOC_DIM };
  attended r = {malloc((size_t)count * Q * 4 + 1), malloc((size_t)count * Q * 4 + 1),
                malloc((size_t)count * KV * 4 + 1), malloc((size_t)count * KV * 4 + 1)};
  float *d_o = malloc((size_t)count * Q * 4 + 1);
  for (int64_t i = 0; i < count * Q; i++) {
    int64_t at = begin * Q + i;
    r.d_q[i] = (float)(at * at % 211) / 105 - 1;
    d_o[i] = (float)(at * 7 % 97) / 48 - 1;
  }
  for (int64_t i = 0; i < count * KV; i++) {
    int64_t at = begin * KV + i;
    r.d_k[i] = (float)(at * 13 % 151) / 75 - 1;
    r.d_v[i] = (float)(at * at % 83) / 41 - 1;
  }
  assert_ok(uly_attention_forward(plan, r.d_q, r.d_k, r.d_v, r.o));
  assert_ok(uly_attention_backward(plan, d_o, r.d_q, r.d_k, r.d_v));
  free(d_o);
  return r;
}

static void free_attended(attended *r) {
  float *all[] = {r->o, r->d_q, r->d_k, r->d_v};
  for (int i = 0; i < 4; i++) free(all[i]);
}

/* Rows of the document that lie in this rank's slice. */
static void compare_document(const attended *packed, int64_t begin, int64_t count,
                             const attended *apart, int64_t doc_begin, int64_t doc_end) {
  const float *a[] = {packed->o, packed->d_q, packed->d_k, packed->d_v};
  const float *b[] = {apart->o, apart->d_q, apart->d_k, apart->d_v};
  for (int i = 0; i < 4; i++) {
    int64_t width = (i < 2 ? DOC_HEADS : DOC_KV) * DOC_DIM;
    for (int64_t t = doc_begin; t < doc_end; t++) {
      if (t < begin || t >= begin + count) continue;
      double error =
          largest_error(a[i] + (t - begin) * width, b[i] + (t - doc_begin) * width, width, 1.0);
      if (!(error <= 1e-5))
        fail_msg("tensor %d of token %lld differs by %g", i, (long long)t, error);
    }
  }
}

/* Documents in one stream, over all ranks, give what each gives alone on one. */
static void test_packed_documents(void **state) {
  (void)state;
  int64_t starts[NUM_DOCS + 1] = {0, 1, 70, 101, 203};
  uly_mesh *alone;
  assert_ok(uly_mesh_create_mpi(MPI_COMM_SELF, NULL, &alone));
  for (int kind = ULY_MASK_FULL; kind <= ULY_MASK_CAUSAL; kind++) {
    uly_mask mask = {.size = sizeof mask,
                     .kind = (uly_mask_kind)kind,
                     .doc_start = starts,
                     .num_docs = NUM_DOCS};
    uly_attention_desc desc = {.size = sizeof desc,
                               .num_tokens = starts[NUM_DOCS],
                               .num_q_heads = DOC_HEADS,
                               .num_kv_heads = DOC_KV,
                               .head_dim = DOC_DIM,
                               .masks = &mask};
    uly_attention *plan;
    assert_ok(uly_attention_create(mesh, &desc, &plan));
    int64_t begin, count;
    get_tokens(plan, &begin, &count);
    attended packed = attend(plan, begin, count);
    uly_attention_destroy(plan);
    mask = (uly_mask){.size = sizeof mask, .kind = (uly_mask_kind)kind};
    for (int doc = 0; doc < NUM_DOCS; doc++) {
      desc.num_tokens = starts[doc + 1] - starts[doc];
      assert_ok(uly_attention_create(alone, &desc, &plan));
      attended apart = attend(plan, starts[doc], desc.num_tokens);
      compare_document(&packed, begin, count, &apart, starts[doc], starts[doc + 1]);
      free_attended(&apart);
      uly_attention_destroy(plan);
    }
    free_attended(&packed);
  }
  uly_mesh_destroy(alone);
}

/* --- an own kernel between the exchanges */

static int calls;

static const void *at(const uly_local_attention *a, const void *x, int64_t stride, int64_t token,
                      int head) {
  return uly__at(x, a->dtype, token * stride + (int64_t)head * a->head_dim);
}

/* Mean of the values: attention with equal weights. */
static uly_status mean_forward(void *user, const uly_local_attention *a) {
  calls++;
  if (user && *(int *)user == rank) return ULY_ERR_INTERNAL;
  for (int head = 0; head < a->num_q_heads; head++)
    for (int e = 0; e < a->head_dim; e++) {
      float sum = 0;
      int kv = (head + a->group_offset) / a->group_size;
      for (int64_t t = 0; t < a->num_tokens; t++)
        sum += ((const float *)at(a, a->v, a->qkv_stride, t, kv))[e];
      for (int64_t t = 0; t < a->num_tokens; t++)
        ((float *)(uintptr_t)at(a, a->o, a->o_stride, t, head))[e] = sum / (float)a->num_tokens;
    }
  return ULY_OK;
}

static uly_status no_backward(void *user, const uly_local_attention *a) {
  (void)user;
  (void)a;
  return ULY_OK;
}

/* Counts the keys that each query sees, from what a callback is told about the mask. */
static uly_status count_forward(void *user, const uly_local_attention *a) {
  (void)user;
  for (int head = 0; head < a->num_q_heads; head++)
    for (int64_t query = 0; query < a->num_tokens; query++) {
      float num = 0;
      for (int64_t key = 0; key < a->num_tokens; key++)
        num += mask_lets_see(a->mask, a->first_q_head + head, query, key) ? 1.0f : 0.0f;
      ((float *)(uintptr_t)at(a, a->o, a->o_stride, query, head))[0] = num;
    }
  return ULY_OK;
}

static void test_callback_mask(void **state) {
  (void)state;
  uly_attention_desc desc = {.size = sizeof desc,
                             .num_tokens = 37,
                             .num_q_heads = 9,
                             .num_kv_heads = 3,
                             .head_dim = 1,
                             .callback = {count_forward, no_backward, NULL}};
  random_state = 77;
  uly_mask mask = random_mask(WITH_WINDOW | WITH_DOCUMENTS | WITH_HEAD_BLOCKS, 37, 9, pick);
  desc.masks = &mask;
  float expected[37][9] = {{0}};
  for (int head = 0; head < 9; head++)
    for (int query = 0; query < 37; query++)
      for (int key = 0; key < 37; key++)
        expected[query][head] += mask_lets_see(&mask, head, query, key) ? 1.0f : 0.0f;
  uly_attention *plan;
  assert_ok(uly_attention_create(mesh, &desc, &plan));
  free_random_mask(&mask); /* the plan has copies */
  int64_t begin, count;
  get_tokens(plan, &begin, &count);
  float q[37 * 9] = {0}, o[37 * 9] = {0};
  assert_ok(uly_attention_forward(plan, q, q, q, o));
  for (int64_t t = 0; t < count; t++)
    for (int head = 0; head < 9; head++)
      assert_float_equal(o[t * 9 + head], expected[begin + t][head], 0);
  uly_attention_destroy(plan);
}

static void test_callback(void **state) {
  (void)state;
  int failing = size - 1;
  uly_attention_desc desc = {.size = sizeof desc,
                             .num_tokens = 21,
                             .num_q_heads = 8,
                             .num_kv_heads = 4,
                             .head_dim = 4,
                             .callback = {mean_forward, no_backward, NULL}};
  for (int fails = 0; fails < 2; fails++) {
    uly_attention *plan;
    desc.callback.user = fails ? &failing : NULL;
    assert_ok(uly_attention_create(mesh, &desc, &plan));
    int64_t begin, count;
    get_tokens(plan, &begin, &count);
    float *q = calloc((size_t)count * 32 + 1, 4), *k = calloc((size_t)count * 16 + 1, 4);
    float *o = calloc((size_t)count * 32 + 1, 4);
    for (int64_t t = 0; t < count; t++)
      for (int i = 0; i < 16; i++) k[t * 16 + i] = (float)((begin + t) * (i + 1));
    calls = 0;
    uly_status status = uly_attention_forward(plan, q, k, k, o);
    assert_int_equal(calls, 1);
    assert_int_equal(status, fails ? ULY_ERR_INTERNAL : ULY_OK); /* on every rank */
    for (int64_t i = 0; i < count * 32 && !fails; i++) {
      int head = (int)(i % 32) / 4, e = (int)(i % 4);
      assert_float_equal(o[i], 10.0f * (float)(head / 2 * 4 + e + 1), 1e-3f);
    }
    free(q);
    free(k);
    free(o);
    uly_attention_destroy(plan);
  }
}

static void test_refusals(void **state) {
  (void)state;
  uly_attention *plan;
  uly_mask mask = {.size = sizeof mask};
  uly_attention_desc good = {.size = sizeof good,
                             .num_tokens = 8,
                             .num_q_heads = 8,
                             .num_kv_heads = 4,
                             .head_dim = 8,
                             .masks = &mask};
  uly_attention_desc desc = good;
  desc.num_tokens = 0;
  assert_fails(uly_attention_create(mesh, &desc, &plan), ULY_ERR_CONFIG, "tokens");
  desc = good;
  desc.num_kv_heads = 3;
  assert_fails(uly_attention_create(mesh, &desc, &plan), ULY_ERR_CONFIG, "multiple");
  desc = good;
  desc.head_dim = 257;
  assert_fails(uly_attention_create(mesh, &desc, &plan), ULY_ERR_CONFIG, "256");
  desc = good;
  desc.dtype = (uly_dtype)7;
  assert_fails(uly_attention_create(mesh, &desc, &plan), ULY_ERR_CONFIG, "dtype");
  desc = good;
  mask.kind = (uly_mask_kind)9;
  assert_fails(uly_attention_create(mesh, &desc, &plan), ULY_ERR_CONFIG, "mask");
  desc = good;
  int64_t starts[] = {0, 8};
  mask = (uly_mask){.size = sizeof mask, .doc_start = starts, .num_docs = 2};
  assert_fails(uly_attention_create(mesh, &desc, &plan), ULY_ERR_CONFIG, "document 1");
  desc = good;
  mask = (uly_mask){.size = sizeof mask};
  desc.callback.forward = mean_forward;
  assert_fails(uly_attention_create(mesh, &desc, &plan), ULY_ERR_CONFIG, "both");
  assert_null(plan);
  if (size == 1) return;
  desc = good;
  desc.num_q_heads = desc.num_kv_heads = size - 1;
  char works[32];
  snprintf(works, sizeof works, "1 to %d ranks work", size - 1);
  assert_fails(uly_attention_create(mesh, &desc, &plan), ULY_ERR_CONFIG, works);
}

int main(int argc, char **argv) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_choice),   cmocka_unit_test(test_random_cases),
      cmocka_unit_test(test_rings),    cmocka_unit_test(test_packed_documents),
      cmocka_unit_test(test_callback), cmocka_unit_test(test_callback_mask),
      cmocka_unit_test(test_refusals),
  };
  begin_ranks(&argc, &argv, &mesh);
  size = uly_mesh_size(mesh);
  rank = uly_mesh_rank(mesh);
  int failed = cmocka_run_group_tests(tests, NULL, NULL);
  return end_ranks(mesh, failed);
}
