/* Sums and gathers in chunks, on values that say what the result must be. */
#include "base/dtype.h"
#include "group_testing.h"
#include "parallel/bulk.h"
#include "pmpi_count.h"

/* Returns the bytes that a rank sends in a reduce-scatter. */
static int64_t reduction_bytes(uly_dtype dtype, int64_t part) {
  return part * (size - 1) * uly__dtype_bytes(dtype);
}

/* Inputs of a reduction: element i of the data of rank p. */
typedef float (*input)(int p, int64_t i);

/* Integers: their sums are exact. Exact in bf16 too. */
static float small_integer(int p, int64_t i) { return (float)((i * 3 + p * 5) % 200 - 100); }

/* Values of such different magnitudes that the bits of a sum depend on its order. */
static float rough(int p, int64_t i) {
  uint32_t x = (uint32_t)(p + 1) * 2654435761u ^ (uint32_t)(i + 1) * 2246822519u;
  x ^= x >> 15;
  x *= 2654435769u;
  x ^= x >> 13;
  float value = (float)(1 << (x % 23)) * (1.0f + (float)(x >> 12) * 0x1p-20f);
  return x & 0x800 ? -value : value;
}

static float as_stored(uly_dtype dtype, float x) {
  return dtype == ULY_BF16 ? uly__bf16_to_f32(uly__f32_to_bf16(x)) : x;
}

/* The tree of ops/tree_sum.h over ranks first .. first + num - 1, as its text says it. */
static float tree(uly_dtype dtype, input value, int64_t i, int first, int num) {
  if (num == 1) return as_stored(dtype, value(first, i));
  int left = 1;
  while (left * 2 < num) left *= 2;
  float a = tree(dtype, value, i, first, left);
  float b = tree(dtype, value, i, first + left, num - left);
  return a + b;
}

typedef struct reduction {
  uly_dtype dtype;
  input value;
  int64_t part, workspace_bytes;
  bool in_place; /* out is the own part of data */
  void *data, *before, *workspace;
  float *out;
  uly__bulk reduce;
} reduction;

static int64_t data_bytes(const reduction *r) {
  return size * r->part * uly__dtype_bytes(r->dtype);
}

static void start_reduction(reduction *r, uly__group *group) {
  r->data = guarded(data_bytes(r));
  r->before = guarded(data_bytes(r));
  r->workspace = guarded(r->workspace_bytes);
  for (int64_t i = 0; i < size * r->part; i++) uly__store(r->data, r->dtype, i, r->value(rank, i));
  memcpy(r->before, r->data, (size_t)data_bytes(r));
  r->out = r->in_place ? (float *)r->data + rank * r->part : guarded(r->part * 4);
  assert_ok(uly__bulk_create(group, uly__ops_get(), &r->reduce));
  assert_ok(uly__bulk_sum_start(&r->reduce, uly__stream_get(), counted, r->dtype, r->data, r->part,
                                r->out, r->workspace, r->workspace_bytes));
}

static void poll_reduction(reduction *r) {
  for (int i = 0; i < 20; i++) assert_ok(uly__bulk_poll(&r->reduce));
}

static void finish_reduction(reduction *r) {
  assert_ok(uly__bulk_wait(&r->reduce));
  assert_false(uly__bulk_is_pending(&r->reduce));
  uly__bulk_destroy(&r->reduce);
  for (int64_t i = 0; i < r->part; i++) {
    float expected = tree(r->dtype, r->value, rank * r->part + i, 0, size);
    if (memcmp(&r->out[i], &expected, sizeof expected) != 0)
      fail_msg("element %lld of %lld, workspace %lld: %a, not %a", (long long)i, (long long)r->part,
               (long long)r->workspace_bytes, (double)r->out[i], (double)expected);
  }
  if (r->in_place) /* all of data but the own part is as it was */
    memcpy(r->out, (const float *)r->before + rank * r->part, (size_t)r->part * 4);
  else
    free_guarded(r->out, r->part * 4);
  assert_memory_equal(r->data, r->before, (size_t)data_bytes(r));
  free_guarded(r->data, data_bytes(r));
  free_guarded(r->before, data_bytes(r));
  free_guarded(r->workspace, r->workspace_bytes);
}

/* Every way to cut parts into chunks; of long parts not into the smallest, which takes long. */
static void reduce_all(uly_dtype dtype, bool in_place, input value) {
  int64_t parts[] = {0, 64, 128, 320, 1024, 4096 + 64};
  int64_t least = (int64_t)ULY_BULK_IN_FLIGHT * size * 64 * uly__dtype_bytes(dtype);
  int64_t workspaces[] = {least, 2 * least - 1, 2 * least, 5 * least + 4, 16 * least, 99 * least};
  for (int p = 0; p < 6; p++)
    for (int w = parts[p] > 2000 ? 3 : 0; w < 6; w++) {
      reduction r = {.dtype = dtype,
                     .value = value,
                     .part = parts[p],
                     .workspace_bytes = workspaces[w],
                     .in_place = in_place};
      int64_t sent = mesh->traffic.bytes[counted];
      int64_t expected = reduction_bytes(dtype, r.part);
      pmpi_reset();
      start_reduction(&r, uly__mesh_world(mesh));
      if (w % 2) poll_reduction(&r);
      finish_reduction(&r);
      assert_int_equal(pmpi_bytes_of(PMPI_POINT_TO_POINT), expected);
      assert_int_equal(mesh->traffic.bytes[counted] - sent, expected);
      assert_int_equal(pmpi_unaccounted(), 0);
    }
}

static void test_reduce_scatter_values(void **state) {
  (void)state;
  reduce_all(ULY_F32, false, small_integer);
  reduce_all(ULY_BF16, false, small_integer);
  /* The oracle itself: a sum of integers by formula, and an order that matters. */
  for (int64_t i = 0; i < 300; i++) {
    int sum = 0;
    for (int p = 0; p < size; p++) sum += (int)small_integer(p, i);
    assert_true(tree(ULY_BF16, small_integer, i, 0, size) == (float)sum);
  }
}

static void test_reduce_scatter_bits(void **state) {
  (void)state;
  reduce_all(ULY_F32, false, rough);
  reduce_all(ULY_F32, true, rough);
  reduce_all(ULY_BF16, false, rough);
  int num_differ = 0;
  for (int64_t i = 0; i < 1000; i++) {
    volatile float backward = 0; /* in the opposite order of ranks */
    for (int p = size - 1; p >= 0; p--) backward += rough(p, i);
    num_differ += tree(ULY_F32, rough, i, 0, size) != backward;
  }
  if (size > 2) assert_true(num_differ > 50);
}

/* A gather in chunks of every size, waited for at once, or polled before. */
static void test_bulk_gather(void **state) {
  (void)state;
  int64_t parts[] = {0, 64, 192, 6400, 64 * 2049}, least = (int64_t)2 * size * 64;
  int64_t in_flight[] = {0, least, 5 * least - 1, 7 * least, 200 * least, 5000 * least};
  uly__bulk gather;
  assert_ok(uly__bulk_create(uly__mesh_world(mesh), uly__ops_get(), &gather));
  for (int c = 0; c < 30; c++) {
    int64_t part = parts[c % 5], sent = mesh->traffic.bytes[counted];
    unsigned char *data = fill_gather(part);
    pmpi_reset();
    assert_ok(
        uly__bulk_gather_start(&gather, uly__stream_get(), counted, data, part, in_flight[c / 5]));
    for (int i = 0; i < (c + rank) % 3 * 10; i++) assert_ok(uly__bulk_poll(&gather));
    assert_ok(uly__bulk_wait(&gather));
    assert_false(uly__bulk_is_pending(&gather));
    assert_int_equal(pmpi_bytes_of(PMPI_POINT_TO_POINT), uly__traffic_all_gather(size, part));
    assert_int_equal(mesh->traffic.bytes[counted] - sent, uly__traffic_all_gather(size, part));
    check_gathered(data, part);
  }
  assert_ok(uly__bulk_poll(&gather)); /* nothing is under way */
  uly__bulk_destroy(&gather);
}

/* Two gathers, another in chunks and two sums are under way in a group that is used meanwhile.
 * Polls, which start the chunks of sums, come at other moments on each rank, and what was started
 * is waited for in any order. */
static void test_interleaved(void **state) {
  (void)state;
  uly__group *world = uly__mesh_world(mesh);
  for (int round = 0; round < 8; round++) {
    int64_t part_bytes[2] = {64 * (100 + round), 64 * (7 + round)};
    uly__request requests[2] = {{0}, {0}};
    unsigned char *data[2];
    reduction r[2];
    uly__bulk chunked;
    int64_t chunked_bytes = 64 * (31 + round);
    unsigned char *chunked_data = fill_gather(chunked_bytes);
    assert_ok(uly__bulk_create(world, uly__ops_get(), &chunked));
    for (int i = 0; i < 2; i++) {
      r[i] = (reduction){.dtype = (round + i) % 2 ? ULY_BF16 : ULY_F32,
                         .value = rough,
                         .part = 2048 + 64 * (round + 5 * i),
                         .workspace_bytes = (int64_t)size * 64 * 4 * (3 + i)};
      start_reduction(&r[i], world);
      data[i] = start_gather(part_bytes[i], &requests[i]);
      if (i == round % 2)
        assert_ok(uly__bulk_gather_start(&chunked, uly__stream_get(), counted, chunked_data,
                                         chunked_bytes, (int64_t)size * 64 * (4 + round)));
    }
    use_while_busy(world);
    if (rank == round % size) poll_reduction(&r[round % 2]);
    use_while_busy(world);
    if (rank != round % size) poll_reduction(&r[0]);
    if (rank % 2) poll_some(&requests[0]);
    if (rank % 3) assert_ok(uly__bulk_poll(&chunked));
    if (round % 3) assert_ok(uly__bulk_wait(&chunked));
    for (int i = 0; i < 2; i++) {
      int which = round / 2 % 2 ? 1 - i : i;
      if (round / 4 % 2) finish_reduction(&r[which]);
      assert_ok(uly__request_wait(&requests[which]));
      if (!(round / 4 % 2)) finish_reduction(&r[which]);
      use_while_busy(world);
    }
    assert_ok(uly__bulk_wait(&chunked));
    uly__bulk_destroy(&chunked);
    check_gathered(chunked_data, chunked_bytes);
    for (int i = 0; i < 2; i++) check_gathered(data[i], part_bytes[i]);
  }
}

/* No chunk is started while an exchange for attention is under way to or from a rank: rank 1 starts
 * its side of it late. */
static void test_gives_way(void **state) {
  (void)state;
  enum { NUM = 4096 };
  static int64_t sent[NUM], received[NUM], counts[64], none[64];
  uly__group *world = uly__mesh_world(mesh);
  uly__request exchange = {0};
  uly__bulk gather;
  int64_t part = 64 * 300;
  int tag, partner = rank == 0 ? 1 : 0;
  if (size < 2) return;
  assert_ok(uly__bulk_create(world, uly__ops_get(), &gather));
  assert_ok(uly__group_take_tag(world, &tag, "exchange"));
  for (int p = 0; p < size; p++) counts[p] = rank < 2 && p == partner ? NUM : 0;
  for (int i = 0; i < NUM; i++) sent[i] = rank * NUM + i;
  unsigned char *data = fill_gather(part);
  for (int side = 0; side < 2; side++) {
    if (rank == side)
      assert_ok(uly__send_recv_start(world, uly__stream_get(), ULY_TRAFFIC_KEYS_FORWARD, 8, sent,
                                     (uly__blocks){counts, none}, received,
                                     (uly__blocks){counts, none}, tag, &exchange));
    if (side == 0) {
      assert_ok(uly__bulk_gather_start(&gather, uly__stream_get(), ULY_TRAFFIC_PARAMETERS, data,
                                       part, (int64_t)size * 64 * 10));
      for (int i = 0; i < 100; i++) assert_ok(uly__bulk_poll(&gather));
      assert_int_equal(gather.begun > 0, rank != 0);
    }
    use_while_busy(world);
  }
  assert_ok(uly__request_wait(&exchange));
  if (rank < 2)
    for (int i = 0; i < NUM; i++) assert_int_equal(received[i], partner * NUM + i);
  assert_ok(uly__bulk_poll(&gather));
  assert_true(gather.begun > 0);
  assert_ok(uly__bulk_wait(&gather));
  check_gathered(data, part);
  uly__bulk_destroy(&gather);
}

/* Tags are used again after 32,767 of them, while the plan of a ring still lives in the same group:
 * what it sends is not taken for chunks. Only odd ranks start chunks before they attend. */
static void test_tags_wrap(void **state) {
  (void)state;
  enum { TOKENS = 64, WIDTH = 16, MANY = 32767 };
  static float q[TOKENS * WIDTH], v[TOKENS * WIDTH], o[TOKENS * WIDTH];
  uly_mesh *ring;
  uly_attention *plan;
  uly__bulk gather;
  int tag;
  if (size < 2) return;
  assert_ok(uly_mesh_create(MESH(.ring = size), &ring));
  uly__group *world = uly__mesh_world(ring);
  uly_mask mask = {.size = sizeof mask, .kind = ULY_MASK_FULL};
  uly_attention_desc desc = {.size = sizeof desc,
                             .num_tokens = (int64_t)TOKENS * size,
                             .num_q_heads = 1,
                             .num_kv_heads = 1,
                             .head_dim = WIDTH,
                             .masks = &mask,
                             .num_masks = 1};
  assert_ok(uly_attention_create(ring, &desc, &plan));
  assert_ok(uly__bulk_create(world, uly__ops_get(), &gather));
  for (int i = 0; i < MANY - 6; i++) assert_ok(uly__group_take_tag(world, &tag, "tag %d", i));
  for (int i = 0; i < TOKENS * WIDTH; i++) v[i] = 3;
  for (int round = 0; round < 12; round++) {
    int64_t part = 64 * 40;
    unsigned char *data = fill_gather(part);
    assert_ok(uly__bulk_gather_start(&gather, uly__stream_get(), ULY_TRAFFIC_PARAMETERS, data, part,
                                     (int64_t)size * 64 * 6));
    while (rank % 2 && gather.begun < 3 * gather.chunk) assert_ok(uly__bulk_poll(&gather));
    assert_ok(uly_attention_forward(plan, q, q, v, o));
    for (int i = 0; i < TOKENS * WIDTH; i++) assert_float_equal(o[i], 3, 1e-6);
    assert_ok(uly__bulk_wait(&gather));
    check_gathered(data, part);
  }
  uly__bulk_destroy(&gather);
  uly_attention_destroy(plan);
  uly_mesh_destroy(ring);
}

/* Refused before anything is sent: nothing is under way afterwards. */
static void test_errors(void **state) {
  (void)state;
  int64_t too_many = 64 * ((int64_t)INT32_MAX / size + 1), sent = mesh->traffic.bytes[counted];
  int64_t space = (int64_t)ULY_BULK_IN_FLIGHT * size * 64 * 4;
  uly__group *world = uly__mesh_world(mesh);
  uly__bulk reduce;
  const struct {
    uly_dtype dtype;
    int64_t part, workspace_bytes;
    uly_status status;
    const char *text;
  } reductions[] = {{ULY_F32, 32, space, ULY_ERR_INTERNAL, "32"},
                    {ULY_BF16, too_many, space, ULY_ERR_CONFIG, "MPI"},
                    {ULY_F32, 64, space - 1, ULY_ERR_INTERNAL, "workspace"}};
  assert_ok(uly__bulk_create(world, uly__ops_get(), &reduce));
  for (int i = 0; i < (size > 1 ? 3 : 2); i++) {
    assert_fails(uly__bulk_sum_start(&reduce, uly__stream_get(), counted, reductions[i].dtype, NULL,
                                     reductions[i].part, NULL, NULL, reductions[i].workspace_bytes),
                 reductions[i].status, reductions[i].text);
    assert_false(uly__bulk_is_pending(&reduce));
  }
  assert_fails(uly__bulk_gather_start(&reduce, uly__stream_get(), counted, NULL, 65, space),
               ULY_ERR_INTERNAL, "65 bytes");
  assert_fails(uly__bulk_gather_start(&reduce, uly__stream_get(), counted, NULL, too_many, space),
               ULY_ERR_CONFIG, "MPI");
  assert_false(uly__bulk_is_pending(&reduce));
  uly__bulk_destroy(&reduce);
  assert_int_equal(mesh->traffic.bytes[counted], sent);
  assert_ok(uly__agree(world, ULY_OK));
}

int main(int argc, char **argv) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_reduce_scatter_values),
      cmocka_unit_test(test_reduce_scatter_bits),
      cmocka_unit_test(test_bulk_gather),
      cmocka_unit_test(test_interleaved),
      cmocka_unit_test(test_gives_way),
      cmocka_unit_test(test_tags_wrap),
      cmocka_unit_test(test_errors),
  };
  begin_ranks(&argc, &argv, &mesh);
  size = uly_mesh_size(mesh);
  rank = uly_mesh_rank(mesh);
  int failed = cmocka_run_group_tests(tests, NULL, NULL);
  return end_ranks(mesh, failed);
}
