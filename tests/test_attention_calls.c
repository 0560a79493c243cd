/* Tests the public calls on a plan of attention: what ranks must pass alike, states that belong to
 * a forward, arguments that are refused, masks of several kinds, lists that are copied, and what a
 * plan tells without ranks. */
#include <math.h>
#include <mpi.h>

#include "device/device.h"
#include "device/device_cpu.h"
#include "testing.h"

enum { N = 70, HQ = 8, HKV = 4, D = 6, MAX = N * HQ * D };

static uly_mesh *mesh;
static int size, rank;

/* What a layer reads and writes; [T, heads, D]. */
typedef struct layer {
  float q[MAX], k[MAX], v[MAX], d_o[MAX];
  float o[MAX], d_q[MAX], d_k[MAX], d_v[MAX], lse[N * HQ];
} layer;

static const uly_mask causal = {.size = sizeof causal, .kind = ULY_MASK_CAUSAL};

static uly_attention_desc describe(const uly_mask *masks, int num_masks) {
  return (uly_attention_desc){.size = sizeof(uly_attention_desc),
                              .num_tokens = N,
                              .num_q_heads = HQ,
                              .num_kv_heads = HKV,
                              .head_dim = D,
                              .masks = masks,
                              .num_masks = num_masks};
}

static uly_attention *make_plan(uly_attention_desc desc) {
  uly_attention *plan;
  assert_ok(uly_attention_create(mesh, &desc, &plan));
  return plan;
}

/* Numbers that are functions of token, column and seed. */
static layer *make_layer(const uly_attention *plan, int seed) {
  layer *x = calloc(1, sizeof *x);
  int64_t begin, count;
  get_tokens(plan, &begin, &count);
  float *all[] = {x->q, x->k, x->v, x->d_o};
  for (int which = 0; which < 4; which++) {
    int64_t width = which == 1 || which == 2 ? HKV * D : HQ * D;
    for (int64_t i = 0; i < count * width; i++)
      all[which][i] = (float)sin((double)((begin * width + i) * (which + 3 + 10 * seed) % 1013));
  }
  return x;
}

static void forward(uly_attention *plan, int mask, layer *x, uly_attention_saved *saved) {
  assert_ok(uly_attention_forward_layer(plan, mask, x->q, x->k, x->v, x->o, x->lse, saved));
}

static void backward(uly_attention *plan, layer *x, const uly_attention_saved *saved) {
  assert_ok(uly_attention_backward_layer(plan, saved, x->d_o, x->d_q, x->d_k, x->d_v));
}

static void assert_same(const layer *a, const layer *b) { assert_memory_equal(a, b, sizeof *a); }

/* ------------------------------------------------------------------- other descriptions */

static const int64_t two_docs[] = {0, 30}, other_docs[] = {0, 31};

/* Changes number `which` of what the ranks must pass alike; returns how a message names it, NULL at
 * the end. */
static const char *change(int which, uly_attention_desc *desc, uly_mask *mask) {
  switch (which) {
    case 0: desc->num_tokens = N + 1; return "desc.num_tokens";
    case 1: desc->num_q_heads = 2 * HQ; return "desc.num_q_heads";
    case 2: desc->num_kv_heads = HKV / 2; return "desc.num_kv_heads";
    case 3: desc->head_dim = D + 1; return "desc.head_dim";
    case 4: desc->dtype = ULY_BF16; return "desc.dtype";
    case 5: desc->scale = 0.5f; return "desc.scale";
    case 6: desc->token_tile = 5; return "desc.token_tile";
    case 7: desc->max_docs = 9; return "desc.max_docs";
    case 8: desc->head_groups = HQ / size * size == HQ ? HQ : size; return "desc.head_groups";
    case 9: mask->window = 3; return "desc.masks";
    case 10: mask->kind = ULY_MASK_FULL; return "desc.masks";
    case 11: mask->doc_start = other_docs; return "list of documents";
    case 12: desc->num_masks = 0, desc->masks = NULL; return "desc.m";
    default: return NULL;
  }
}

/* One rank describes another attention than the others: all are told what differs, and the mesh
 * still works. */
static void test_descriptions_differ(void **state) {
  (void)state;
  for (int which = 0, odd = 0;; which++, odd = (odd + 1) % size) {
    uly_mask mask = {
        .size = sizeof mask, .kind = ULY_MASK_CAUSAL, .doc_start = two_docs, .num_docs = 2};
    uly_mask mine = mask;
    uly_attention_desc desc = describe(&mask, 1), changed = desc;
    const char *name = change(which, &changed, &mine);
    if (!name) break;
    if (changed.masks) changed.masks = &mine;
    if (changed.head_groups == size) continue; /* nothing differs */
    uly_attention *plan;
    uly_status status = uly_attention_create(mesh, rank == odd ? &changed : &desc, &plan);
    if (size == 1) {
      assert_int_equal(status, ULY_OK);
    } else {
      assert_int_equal(status, ULY_ERR_CONFIG);
      if (!strstr(uly_last_error(), name))
        fail_msg("message without \"%s\": %s", name, uly_last_error());
      assert_null(plan);
    }
    uly_attention_destroy(plan);
  }
  uly_attention_destroy(make_plan(describe(&causal, 1)));
}

/* ------------------------------------------------------------------------------- states */

/* Two forwards and then two backwards on one plan: what each layer gives by itself, to the bit; and
 * once more. */
static void test_layers_share_a_plan(void **state) {
  (void)state;
  uly_attention *plan = make_plan(describe(&causal, 1)), *alone = make_plan(describe(&causal, 1));
  layer *x[2], *expected[2];
  uly_attention_saved *saved[2];
  for (int i = 0; i < 2; i++) {
    x[i] = make_layer(plan, i);
    expected[i] = make_layer(plan, i);
    assert_ok(uly_attention_saved_create(plan, &saved[i]));
    uly_attention_saved *other;
    assert_ok(uly_attention_saved_create(alone, &other));
    forward(alone, 0, expected[i], other);
    backward(alone, expected[i], other);
    uly_attention_saved_destroy(other);
  }
  for (int i = 0; i < 2; i++) forward(plan, 0, x[i], saved[i]);
  layer *unkept = make_layer(plan, 7);
  forward(plan, 0, unkept, NULL); /* evaluation in between keeps nothing, and disturbs nothing */
  for (int turn = 0; turn < 2; turn++)
    for (int i = 0; i < 2; i++) {
      backward(plan, x[i], saved[i]);
      assert_same(x[i], expected[i]);
    }
  /* The calls for one layer compute the same. */
  layer *one = make_layer(plan, 1);
  assert_ok(uly_attention_forward(alone, one->q, one->k, one->v, one->o));
  assert_ok(uly_attention_backward(alone, one->d_o, one->d_q, one->d_k, one->d_v));
  memcpy(one->lse, expected[1]->lse, sizeof one->lse);
  assert_same(one, expected[1]);
  free(one), free(unkept);
  for (int i = 0; i < 2; i++) {
    free(x[i]), free(expected[i]);
    uly_attention_saved_destroy(saved[i]);
  }
  uly_attention_destroy(plan);
  uly_attention_destroy(alone);
}

static uly_status fail_forward(void *user, const uly_local_attention *args) {
  (void)args;
  return *(int *)user ? ULY_ERR_IO : ULY_OK;
}

static void refuse(uly_attention *plan, layer *x, const uly_attention_saved *saved,
                   const char *text) {
  assert_fails(uly_attention_backward_layer(plan, saved, x->d_o, x->d_q, x->d_k, x->d_v),
               ULY_ERR_CONFIG, text);
}

/* A backward that belongs to no forward is refused on all ranks. */
static void test_states_are_checked(void **state) {
  (void)state;
  uly_attention_desc desc = describe(&causal, 1);
  desc.max_docs = 2;
  uly_attention *plan = make_plan(desc), *other = make_plan(desc);
  layer *x = make_layer(plan, 3);
  uly_attention_saved *saved;
  assert_fails(uly_attention_backward(plan, x->d_o, x->d_q, x->d_k, x->d_v), ULY_ERR_CONFIG,
               "no forward for this backward");
  assert_ok(uly_attention_saved_create(plan, &saved));
  refuse(plan, x, saved, "no forward for this backward");
  forward(plan, 0, x, saved);
  refuse(plan, x, NULL, "'saved' is NULL");
  forward(other, 0, x, NULL);
  refuse(other, x, saved, "of another plan");
  assert_fails(uly_attention_forward_layer(other, 0, x->q, x->k, x->v, x->o, NULL, saved),
               ULY_ERR_CONFIG, "of another plan");
  /* Documents in between. */
  assert_ok(uly_attention_set_documents(plan, two_docs, 2));
  refuse(plan, x, saved, "documents were changed");
  assert_ok(uly_attention_set_documents(plan, NULL, 0));
  backward(plan, x, saved);
  /* One layer: its backward uses the state up. */
  assert_ok(uly_attention_forward(plan, x->q, x->k, x->v, x->o));
  assert_ok(uly_attention_forward(plan, x->q, x->k, x->v, x->o));
  assert_ok(uly_attention_backward(plan, x->d_o, x->d_q, x->d_k, x->d_v));
  assert_fails(uly_attention_backward(plan, x->d_o, x->d_q, x->d_k, x->d_v), ULY_ERR_CONFIG,
               "no forward for this backward");
  /* A forward that is refused, on one rank or on all, keeps nothing of the one before. */
  assert_ok(uly_attention_forward(plan, x->q, x->k, x->v, x->o));
  assert_fails(uly_attention_forward(plan, x->q, rank == 0 ? NULL : x->k, x->v, x->o),
               ULY_ERR_CONFIG, "k is NULL");
  assert_fails(uly_attention_backward(plan, x->d_o, x->d_q, x->d_k, x->d_v), ULY_ERR_CONFIG,
               "no forward for this backward");
  assert_fails(uly_attention_forward_layer(plan, 1, x->q, x->k, x->v, x->o, NULL, saved),
               ULY_ERR_CONFIG, "mask");
  refuse(plan, x, saved, "no forward for this backward");
  uly_attention_saved_destroy(saved);
  uly_attention_destroy(plan);
  uly_attention_destroy(other);
  /* A forward that failed leaves nothing to go back from; its callback has given no message. */
  int fails = 0;
  desc.callback = (uly_attention_callback){fail_forward, fail_forward, &fails};
  plan = make_plan(desc);
  assert_ok(uly_attention_forward(plan, x->q, x->k, x->v, x->o));
  (void)uly_fail(ULY_ERR_DATA, "an older message");
  fails = rank == size - 1;
  assert_fails(uly_attention_forward(plan, x->q, x->k, x->v, x->o), ULY_ERR_IO,
               "the attention callback failed (io) without a message");
  assert_null(strstr(uly_last_error(), "older"));
  fails = 0;
  assert_fails(uly_attention_backward(plan, x->d_o, x->d_q, x->d_k, x->d_v), ULY_ERR_CONFIG,
               "no forward for this backward");
  uly_attention_destroy(plan);
  free(x);
}

/* Ranks that are about to do different things are told. */
static void test_calls_differ(void **state) {
  (void)state;
  if (size == 1) return;
  uly_mask masks[2] = {causal, causal};
  masks[1].window = 5;
  uly_attention_desc desc = describe(masks, 2);
  desc.max_docs = 2;
  uly_attention *plan = make_plan(desc);
  layer *x = make_layer(plan, 1);
  uly_attention_saved *saved[2];
  for (int i = 0; i < 2; i++) {
    assert_ok(uly_attention_saved_create(plan, &saved[i]));
    forward(plan, 0, x, saved[i]);
  }
  assert_fails(uly_attention_forward_layer(plan, rank > 0, x->q, x->k, x->v, x->o, NULL, NULL),
               ULY_ERR_CONFIG, "a different mask");
  refuse(plan, x, saved[rank > 0], "a different saved state");
  assert_fails(
      uly_attention_forward_layer(plan, 0, rank ? x->q : NULL, x->k, x->v, x->o, NULL, NULL),
      ULY_ERR_CONFIG, "q is NULL");
  assert_ok(uly_attention_set_documents(plan, rank ? two_docs : other_docs, 2));
  assert_fails(uly_attention_forward(plan, x->q, x->k, x->v, x->o), ULY_ERR_CONFIG,
               "a different list of documents");
  assert_ok(uly_attention_set_documents(plan, two_docs, 2));
  assert_ok(uly_attention_forward(plan, x->q, x->k, x->v, x->o));
  for (int i = 0; i < 2; i++) uly_attention_saved_destroy(saved[i]);
  uly_attention_destroy(plan);
  free(x);
}

/* ------------------------------------------------------------------------------- memory */

static int64_t allocated; /* bytes, since it was set to 0 */

static void *count_alloc(int64_t bytes) {
  allocated += bytes;
  return uly__device_cpu()->alloc(bytes);
}

/* Goes forward without a state, then forward and backward with one. The plan's buffers are made
 * once, as large as the sides of the exchange and local attention need, and no larger. */
static void check_memory(int rounds) {
  uly_attention_desc desc = describe(&causal, 1);
  desc.head_dim = 64; /* rows so long that the workspace does not hide what is allocated twice */
  desc.head_groups = rounds * size;
  uly_attention *plan = make_plan(desc);
  uly_attention_bytes bytes = {.size = sizeof bytes};
  assert_ok(uly_attention_get_bytes(plan, &bytes));
  int64_t T = uly_attention_tokens(plan, NULL)->count, places = (int64_t)16 * 64;
  int64_t lse = (T * HQ + (int64_t)N * HQ) * (int64_t)sizeof(float), width = (int64_t)N * HQ * 64;
  int64_t kept = bytes.qkv_heads + bytes.o_heads + bytes.softmax;
  float *x = calloc((size_t)(9 * width), sizeof *x), *at[8];
  for (int i = 0; i < 8; i++) at[i] = x + i * width;
  allocated = 0;
  assert_ok(uly_attention_forward_layer(plan, 0, at[0], at[1], at[2], at[3], x + 8 * width, NULL));
  assert_in_range(allocated, 1,
                  bytes.qkv_tokens + bytes.o_tokens + bytes.workspace + kept + lse + places);
  allocated = 0;
  uly_attention_saved *saved;
  assert_ok(uly_attention_saved_create(plan, &saved));
  assert_ok(uly_attention_forward_layer(plan, 0, at[0], at[1], at[2], at[3], NULL, saved));
  assert_ok(uly_attention_backward_layer(plan, saved, at[4], at[5], at[6], at[7]));
  assert_ok(uly_attention_forward_layer(plan, 0, at[0], at[1], at[2], at[3], NULL, NULL));
  assert_in_range(allocated, 1, kept + places);
  uly_attention_saved_destroy(saved);
  uly_attention_destroy(plan);
  free(x);
}

static void test_memory(void **state) {
  (void)state;
  static uly__device counting;
  counting = *uly__device_cpu();
  counting.alloc = count_alloc;
  uly__stream_get()->device = &counting;
  check_memory(1);
  check_memory(2);
  uly__stream_get()->device = uly__device_cpu();
}

/* -------------------------------------------------------------------- masks and documents */

/* Every mask of a plan gives what a plan of its own gives. */
static void test_several_masks(void **state) {
  (void)state;
  uly_mask masks[3] = {causal, causal, {.size = sizeof(uly_mask), .kind = ULY_MASK_FULL}};
  masks[1].window = 5;
  uly_attention *plan = make_plan(describe(masks, 3));
  for (int i = 0; i < 3; i++) {
    uly_attention *own = make_plan(describe(&masks[i], 1));
    assert_true(uly_attention_pairs(plan, i) == uly_attention_pairs(own, 0));
    layer *x = make_layer(plan, 5), *expected = make_layer(plan, 5);
    uly_attention_saved *saved, *other;
    assert_ok(uly_attention_saved_create(plan, &saved));
    assert_ok(uly_attention_saved_create(own, &other));
    forward(plan, i, x, saved);
    forward(own, 0, expected, other);
    backward(plan, x, saved);
    backward(own, expected, other);
    assert_same(x, expected);
    uly_attention_saved_destroy(saved);
    uly_attention_saved_destroy(other);
    uly_attention_destroy(own);
    free(x), free(expected);
  }
  layer *x = make_layer(plan, 5);
  assert_fails(uly_attention_forward_layer(plan, 3, x->q, x->k, x->v, x->o, NULL, NULL),
               ULY_ERR_CONFIG, "mask 3 is asked for, but the plan has 3, counted from 0");
  assert_true(uly_attention_pairs(plan, -1) == 0);
  free(x);
  uly_attention_destroy(plan);
  masks[2].doc_start = two_docs, masks[2].num_docs = 2;
  uly_attention_desc desc = describe(masks, 3);
  assert_fails(uly_attention_create(mesh, &desc, &plan), ULY_ERR_CONFIG, "other documents");
}

/* A caller may free or reuse its lists at once. */
static void test_lists_are_copied(void **state) {
  (void)state;
  int64_t list[] = {0, 30, 50};
  uly_mask mask = causal;
  mask.doc_start = list, mask.num_docs = 3;
  uly_attention *plan = make_plan(describe(&mask, 1));
  layer *x = make_layer(plan, 2), *expected = make_layer(plan, 2);
  forward(plan, 0, expected, NULL);
  list[1] = list[2] = 1;
  memset(&mask, 255, sizeof mask);
  forward(plan, 0, x, NULL);
  assert_same(x, expected);
  for (int turn = 0; turn < 3; turn++) {
    int64_t *set = malloc(3 * sizeof *set);
    set[0] = 0, set[1] = 30, set[2] = 50;
    assert_ok(uly_attention_set_documents(plan, set, 3));
    memset(set, 255, 3 * sizeof *set);
    free(set);
    forward(plan, 0, x, NULL);
    assert_same(x, expected);
  }
  /* A list that is refused leaves the one before. */
  const int64_t wrong[] = {0, 30, 30}, many[] = {0, 1, 2, 3};
  assert_fails(uly_attention_set_documents(plan, wrong, 3), ULY_ERR_CONFIG, "ascend");
  assert_fails(uly_attention_set_documents(plan, many, 4), ULY_ERR_CONFIG, "desc.max_docs");
  forward(plan, 0, x, NULL);
  assert_same(x, expected);
  free(x), free(expected);
  uly_attention_destroy(plan);
}

/* lse, [T, Hq], against a sum in float64. Every token's queries and keys are known without
 * communication. */
static void test_lse(void **state) {
  (void)state;
  uly_mask mask = causal;
  mask.doc_start = two_docs, mask.num_docs = 2;
  uly_attention *plan = make_plan(describe(&mask, 1));
  layer *x = make_layer(plan, 4);
  forward(plan, 0, x, NULL);
  int64_t begin, count;
  get_tokens(plan, &begin, &count);
  for (int64_t t = begin; t < begin + count; t++)
    for (int head = 0; head < HQ; head++) {
      double sum = 0;
      for (int64_t key = t < 30 ? 0 : 30; key <= t; key++) {
        double score = 0;
        for (int e = 0; e < D; e++) {
          int64_t q = (t * HQ + head) * D + e, k = (key * HKV + head / (HQ / HKV)) * D + e;
          score += (double)(float)sin((double)(q * 43 % 1013)) *
                   (double)(float)sin((double)(k * 44 % 1013));
        }
        sum += exp(score / sqrt(D));
      }
      double found = (double)x->lse[(t - begin) * HQ + head];
      if (!(fabs(found - log(sum)) < 1e-5))
        fail_msg("token %d, head %d: %g instead of %g", (int)t, head, found, log(sum));
    }
  free(x);
  uly_attention_destroy(plan);
}

/* ---------------------------------------------------------------------------- arguments */

static void test_arguments(void **state) {
  (void)state;
  uly_attention_desc desc = describe(&causal, 1), wrong = desc;
  uly_attention *plan;
  assert_fails(uly_attention_create(NULL, &desc, &plan), ULY_ERR_CONFIG, "'mesh' is NULL");
  assert_fails(uly_attention_create(mesh, NULL, &plan), ULY_ERR_CONFIG, "uly_attention_desc");
  assert_fails(uly_attention_create(mesh, &desc, NULL), ULY_ERR_CONFIG, "'out' is NULL");
  wrong.size = 0;
  assert_fails(uly_attention_create(mesh, &wrong, &plan), ULY_ERR_CONFIG, "sizeof");
  uly_mask sizeless = {.kind = ULY_MASK_CAUSAL};
  wrong = describe(&sizeless, 1);
  assert_fails(uly_attention_create(mesh, &wrong, &plan), ULY_ERR_CONFIG, "uly_mask");
  wrong = describe(NULL, 1);
  assert_fails(uly_attention_create(mesh, &wrong, &plan), ULY_ERR_CONFIG, "desc.masks is NULL");
  wrong = describe(&causal, -1);
  assert_fails(uly_attention_create(mesh, &wrong, &plan), ULY_ERR_CONFIG, "desc.num_masks");
  wrong = desc;
  wrong.max_docs = N + 1;
  assert_fails(uly_attention_create(mesh, &wrong, &plan), ULY_ERR_CONFIG, "desc.max_docs");

  plan = make_plan(desc);
  layer *x = make_layer(plan, 1);
  int64_t count = uly_attention_tokens(plan, NULL)->count;
  if (count > 0) {
    void *args[] = {x->q, x->k, x->v, x->o};
    for (int i = 0; i < 4; i++) {
      void *a[4];
      memcpy(a, args, sizeof a);
      a[i] = NULL;
      assert_fails(uly_attention_forward(plan, a[0], a[1], a[2], a[3]), ULY_ERR_CONFIG, "is NULL");
    }
    assert_ok(uly_attention_forward(plan, x->q, x->k, x->v, x->o));
    assert_fails(uly_attention_backward(plan, NULL, x->d_q, x->d_k, x->d_v), ULY_ERR_CONFIG,
                 "d_o is NULL");
  }
  assert_fails(uly_attention_forward(NULL, x->q, x->k, x->v, x->o), ULY_ERR_CONFIG, "NULL");
  assert_fails(uly_attention_backward(NULL, x->d_o, x->d_q, x->d_k, x->d_v), ULY_ERR_CONFIG,
               "NULL");
  assert_fails(uly_attention_set_documents(NULL, NULL, 0), ULY_ERR_CONFIG, "NULL");
  assert_fails(uly_attention_saved_create(NULL, NULL), ULY_ERR_CONFIG, "NULL");
  uly_traffic kinds[] = {(uly_traffic)-1, ULY_NUM_TRAFFIC, (uly_traffic)1000000};
  for (int i = 0; i < 3; i++) {
    assert_fails(uly_attention_qkv_to_heads(plan, kinds[i], x, x), ULY_ERR_CONFIG, "traffic");
    assert_fails(uly_attention_qkv_to_tokens(plan, kinds[i], x, x), ULY_ERR_CONFIG, "traffic");
    assert_fails(uly_attention_o_to_heads(plan, kinds[i], x, x), ULY_ERR_CONFIG, "traffic");
    assert_fails(uly_attention_o_to_tokens(plan, kinds[i], x, x), ULY_ERR_CONFIG, "traffic");
  }
  assert_fails(uly_attention_qkv_to_heads(plan, ULY_TRAFFIC_CONTROL, x, NULL), ULY_ERR_CONFIG,
               "NULL");
  assert_fails(uly_attention_local_forward(plan, 0, NULL, x, x->q), ULY_ERR_CONFIG, "NULL");
  assert_fails(uly_attention_local_forward(plan, 1, x, x, x->q), ULY_ERR_CONFIG, "mask 1");
  assert_fails(uly_attention_local_backward(plan, 0, x, x, x->q, x, x, NULL), ULY_ERR_CONFIG,
               "workspace");
  uly_attention_block block = {.size = sizeof block};
  assert_fails(uly_attention_get_block(plan, -1, &block), ULY_ERR_CONFIG, "block -1");
  assert_fails(uly_attention_get_block(plan, size, &block), ULY_ERR_CONFIG, "block");
  assert_fails(uly_attention_get_block(plan, 0, NULL), ULY_ERR_CONFIG, "NULL");
  assert_fails(uly_attention_get_bytes(NULL, NULL), ULY_ERR_CONFIG, "NULL");
  assert_null(uly_attention_tokens(NULL, NULL));
  assert_int_equal(uly_attention_num_blocks(NULL), 0);
  uly_attention_destroy(NULL);
  uly_attention_saved_destroy(NULL);
  uly_attention_destroy(plan);
  free(x);
}

/* An offline mesh tells what each rank of any number holds, as the ranks themselves do. */
static void test_offline(void **state) {
  (void)state;
  uly_attention_desc desc = describe(&causal, 1);
  uly_attention *plan = make_plan(desc), *offline;
  uly_mesh *nowhere;
  assert_ok(uly_mesh_create_offline(MESH(.sp = size), rank, &nowhere));
  assert_ok(uly_attention_create(nowhere, &desc, &offline));
  uly_attention_bytes a = get_bytes(plan), b = get_bytes(offline);
  assert_memory_equal(&a, &b, sizeof a);
  int64_t begin[2], count[2];
  get_tokens(plan, &begin[0], &count[0]);
  get_tokens(offline, &begin[1], &count[1]);
  assert_true(begin[0] == begin[1] && count[0] == count[1]);
  layer *x = make_layer(plan, 1);
  assert_fails(uly_attention_forward(offline, x->q, x->k, x->v, x->o), ULY_ERR_CONFIG, "offline");
  assert_fails(uly_attention_qkv_to_heads(offline, ULY_TRAFFIC_CONTROL, x, x), ULY_ERR_CONFIG,
               "offline");
  uly_attention_destroy(offline);
  uly_mesh_destroy(nowhere);
  uly_attention_destroy(plan);
  free(x);
}

/* A plan of a program's own attention does not divide heads over tp. */
static void test_tensor_mesh(void **state) {
  (void)state;
  static const char text[] = "mesh.tp is 2, but a plan of a program's own attention";
  uly_attention_desc desc = describe(&causal, 1);
  uly_attention *plan;
  uly_mesh *other;
  assert_ok(uly_mesh_create_offline(MESH(.tp = 2), 1, &other));
  assert_fails(uly_attention_create(other, &desc, &plan), ULY_ERR_CONFIG, text);
  assert_null(plan);
  uly_mesh_destroy(other);
  if (size % 2 != 0) return;
  assert_ok(uly_mesh_create(MESH(.tp = 2), &other));
  assert_fails(uly_attention_create(other, &desc, &plan), ULY_ERR_CONFIG, text);
  assert_null(plan);
  uly_mesh_destroy(other);
}

/* What was made with a mesh outlives it only to be destroyed. */
static void test_mesh_is_gone(void **state) {
  (void)state;
  uly_mesh *own;
  assert_ok(uly_mesh_create(NULL, &own));
  uly_attention_desc desc = describe(&causal, 1);
  uly_attention *plan;
  uly_attention_saved *saved;
  assert_ok(uly_attention_create(own, &desc, &plan));
  layer *x = make_layer(plan, 1);
  assert_ok(uly_attention_saved_create(plan, &saved));
  forward(plan, 0, x, saved);
  uly_mesh_destroy(own);
  refuse(plan, x, saved, "mesh was destroyed");
  assert_fails(uly_attention_forward(plan, x->q, x->k, x->v, x->o), ULY_ERR_CONFIG,
               "mesh was destroyed");
  assert_fails(uly_attention_o_to_tokens(plan, ULY_TRAFFIC_CONTROL, x, x), ULY_ERR_CONFIG,
               "mesh was destroyed");
  uly_attention_saved_destroy(saved);
  uly_attention_destroy(plan);
  free(x);
}

int main(int argc, char **argv) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_descriptions_differ),
      cmocka_unit_test(test_layers_share_a_plan),
      cmocka_unit_test(test_states_are_checked),
      cmocka_unit_test(test_calls_differ),
      cmocka_unit_test(test_memory),
      cmocka_unit_test(test_several_masks),
      cmocka_unit_test(test_lists_are_copied),
      cmocka_unit_test(test_lse),
      cmocka_unit_test(test_arguments),
      cmocka_unit_test(test_offline),
      cmocka_unit_test(test_tensor_mesh),
      cmocka_unit_test(test_mesh_is_gone),
  };
  /* As mpi4py sets it: errors of MPI are returned. */
  begin_ranks(&argc, &argv, NULL);
  MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
  if (uly_mesh_create(NULL, &mesh) != ULY_OK) return 1;
  size = uly_mesh_size(mesh);
  rank = uly_mesh_rank(mesh);
  int failed = cmocka_run_group_tests(tests, NULL, NULL);
  return end_ranks(mesh, failed);
}
