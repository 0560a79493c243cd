/* Tests documents that are set on an attention plan: the bits are those of a plan that was made
 * with them, the pairs that see each other are counted, and lists that are refused leave the plan
 * as it was. */
#include <math.h>

#include "testing.h"

enum { HEADS = 8, DIM = 4, WIDTH = HEADS * DIM, TOKENS = 37 };

/* q, k, v, o of forward; d_o, d_q, d_k, d_v. */
typedef struct tensors {
  float x[8][TOKENS * WIDTH];
} tensors;

static void attend(uly_attention *plan, tensors *t) {
  int64_t begin, count;
  get_tokens(plan, &begin, &count);
  memset(t, 0, sizeof *t);
  for (int which = 0; which < 5; which++)
    for (int64_t i = 0; i < count * WIDTH; i++)
      t->x[which][i] = (float)sin((double)((begin * WIDTH + i) * (which + 3) % 1013));
  assert_ok(uly_attention_forward(plan, t->x[0], t->x[1], t->x[2], t->x[3]));
  assert_ok(uly_attention_backward(plan, t->x[4], t->x[5], t->x[6], t->x[7]));
}

static uly_attention *make_plan(uly_mesh *mesh, uly_mask mask) {
  uly_attention *plan;
  uly_attention_desc desc = {.size = sizeof desc,
                             .num_tokens = TOKENS,
                             .num_q_heads = HEADS,
                             .num_kv_heads = HEADS,
                             .head_dim = DIM,
                             .masks = &mask,
                             .max_docs = TOKENS};
  mask.size = sizeof mask;
  mask.kind = ULY_MASK_CAUSAL;
  assert_ok(uly_attention_create(mesh, &desc, &plan));
  return plan;
}

static void assert_attends(uly_attention *plan, const tensors *expected) {
  static tensors found;
  attend(plan, &found);
  assert_memory_equal(&found, expected, sizeof found);
}

/* Documents that were set give what a plan made with them gives, and lists that are no documents
 * are refused. */
static void test_setter(void **state) {
  (void)state;
  static tensors made[2];
  static const int64_t docs[] = {0, 1, 2, 18, 19, 36}, wrong[] = {0, 5, 5}, late[] = {1, 5};
  int64_t all[TOKENS + 1];
  for (int64_t i = 0; i <= TOKENS; i++) all[i] = i;
  uly_mesh *mesh;
  assert_ok(uly_mesh_create(NULL, &mesh));
  uly_attention *one = make_plan(mesh, (uly_mask){0});
  uly_attention *six = make_plan(mesh, (uly_mask){.doc_start = docs, .num_docs = 6});
  attend(one, &made[0]);
  attend(six, &made[1]);
  double pairs[2] = {uly_attention_pairs(one, 0), uly_attention_pairs(six, 0)};
  assert_true(pairs[1] < pairs[0]);
  assert_ok(uly_attention_set_documents(one, docs, 6));
  assert_ok(uly_attention_set_documents(six, NULL, 0));
  assert_attends(one, &made[1]);
  assert_attends(six, &made[0]);
  assert_true(uly_attention_pairs(one, 0) == pairs[1] && uly_attention_pairs(six, 0) == pairs[0]);
  assert_fails(uly_attention_set_documents(one, wrong, 3), ULY_ERR_CONFIG, "document 2 starts");
  assert_fails(uly_attention_set_documents(one, late, 2), ULY_ERR_CONFIG, "start at 0");
  assert_fails(uly_attention_set_documents(one, all, TOKENS + 1), ULY_ERR_CONFIG, "within the 37");
  assert_fails(uly_attention_set_documents(one, docs, -1), ULY_ERR_CONFIG, "num_docs is -1");
  assert_fails(uly_attention_set_documents(one, docs, 0), ULY_ERR_CONFIG, "num_docs is 0");
  assert_fails(uly_attention_set_documents(one, NULL, 6), ULY_ERR_CONFIG, "num_docs is 6");
  assert_attends(one, &made[1]);
  assert_true(uly_attention_pairs(one, 0) == pairs[1]);
  assert_ok(uly_attention_set_documents(one, all, TOKENS));
  assert_true(uly_attention_pairs(one, 0) == HEADS * TOKENS);
  uly_attention_destroy(one);
  uly_attention_destroy(six);
  uly_mesh_destroy(mesh);
}

/* Blocks that see the block before them alone: a document that begins with such a block would see
 * nothing. */
static void test_setter_with_layout(void **state) {
  (void)state;
  enum { BLOCK = 5, NUM = (TOKENS + BLOCK - 1) / BLOCK };
  static tensors made;
  int64_t row_begin[NUM + 1];
  int32_t cols[NUM];
  for (int i = 0; i < NUM; i++) row_begin[i] = i, cols[i] = i < 1 ? 0 : i - 1;
  row_begin[NUM] = NUM;
  uly_block_layout layout = {.size = sizeof layout,
                             .block = BLOCK,
                             .num_blocks = NUM,
                             .num_layouts = 1,
                             .row_begin = row_begin,
                             .cols = cols};
  static const int64_t docs[] = {0, 10}, at_0[] = {0};
  uly_mesh *mesh;
  assert_ok(uly_mesh_create(NULL, &mesh));
  uly_attention *plan = make_plan(mesh, (uly_mask){.blocks = &layout});
  attend(plan, &made);
  assert_fails(uly_attention_set_documents(plan, docs, 2), ULY_ERR_CONFIG,
               "leaves query 10 without a key");
  assert_attends(plan, &made);
  assert_ok(uly_attention_set_documents(plan, at_0, 1));
  assert_attends(plan, &made);
  uly_attention_destroy(plan);
  uly_mesh_destroy(mesh);
}

int main(int argc, char **argv) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_setter),
      cmocka_unit_test(test_setter_with_layout),
  };
  begin_ranks(&argc, &argv, NULL);
  int failed = cmocka_run_group_tests(tests, NULL, NULL);
  return end_ranks(NULL, failed);
}
