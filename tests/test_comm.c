/* Collectives on values that say what the result must be, blocking and under way; agreement on failures; meshes. */
#include <stdbool.h>

#include "base/dtype.h"
#include "comm/mesh.h"
#include "pmpi_count.h"
#include "testing.h"

static uly_mesh *mesh;
static int size, rank;

static const uly_traffic counted = ULY_TRAFFIC_GRADIENTS;

/* Allocates a multiple of 64 bytes and one guard byte after them. */
enum { GUARD = 0x5a };
static void *guarded(int64_t bytes) {
  unsigned char *memory = malloc((size_t)bytes + 1);
  assert_non_null(memory);
  memset(memory, 0xee, (size_t)bytes);
  memory[bytes] = GUARD;
  return memory;
}

static void free_guarded(void *memory, int64_t bytes) {
  assert_int_equal(((unsigned char *)memory)[bytes], GUARD);
  free(memory);
}

static void poll_some(uly__comm *comm) {
  for (int i = 0; i < 20; i++) assert_ok(uly__comm_poll(comm));
}

/* ------------------------------------------------------------------------------ sums */

static void test_sum_i64(void **state) {
  (void)state;
  int counts[] = {0, 1, 3, ULY_MAX_SUM};
  for (int c = 0; c < 4; c++) {
    int64_t values[ULY_MAX_SUM + 1], before = mesh->traffic.bytes[counted];
    for (int i = 0; i <= ULY_MAX_SUM; i++) values[i] = (i - 5) * ((int64_t)1 << 40) + rank;
    assert_ok(uly__sum_i64(mesh->world, counted, values, counts[c]));
    for (int i = 0; i < counts[c]; i++)
      assert_true(values[i] ==
                  size * (i - 5) * ((int64_t)1 << 40) + (int64_t)size * (size - 1) / 2);
    for (int i = counts[c]; i <= ULY_MAX_SUM; i++)
      assert_true(values[i] == (i - 5) * ((int64_t)1 << 40) + rank);
    assert_int_equal(mesh->traffic.bytes[counted] - before,
                     uly__traffic_all_gather(size, (int64_t)8 * counts[c]));
  }
  int64_t wraps = rank == 0 ? INT64_MIN : -1; /* modulo 2^64 */
  assert_ok(uly__sum_i64(mesh->world, counted, &wraps, 1));
  assert_true(wraps == (size == 1 ? INT64_MIN : INT64_MAX - (size - 2)));
  int64_t many[ULY_MAX_SUM + 1];
  assert_fails(uly__sum_i64(mesh->world, counted, many, ULY_MAX_SUM + 1), ULY_ERR_INTERNAL, "sum");
  assert_fails(uly__sum_i64(mesh->world, counted, many, -1), ULY_ERR_INTERNAL, "sum");
}

/* Inputs of a reduction: element i of the data of rank p. */
typedef float (*input)(int p, int64_t i);

/* Integers: their sums are exact. Exact in bf16 too. */
static float small_integer(int p, int64_t i) { return (float)((i * 3 + p * 5) % 200 - 100); }

/* Of magnitudes so different that the bits of a sum depend on its order. */
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

/* The tree of base/tree.h over ranks first .. first + num - 1, as its text says it. */
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
} reduction;

static int64_t data_bytes(const reduction *r) {
  return size * r->part * uly__dtype_bytes(r->dtype);
}

static void start_reduction(reduction *r, uly__comm *comm) {
  r->data = guarded(data_bytes(r));
  r->before = guarded(data_bytes(r));
  r->workspace = guarded(r->workspace_bytes);
  for (int64_t i = 0; i < size * r->part; i++) uly__store(r->data, r->dtype, i, r->value(rank, i));
  memcpy(r->before, r->data, (size_t)data_bytes(r));
  r->out = r->in_place ? (float *)r->data + rank * r->part : guarded(r->part * 4);
  int64_t sent = mesh->traffic.bytes[counted];
  assert_ok(uly__reduce_scatter_start(comm, counted, r->dtype, r->data, r->part, r->out,
                                      r->workspace, r->workspace_bytes));
  assert_int_equal(mesh->traffic.bytes[counted] - sent,
                   uly__traffic_reduce_scatter(size, r->dtype, r->part));
}

static void finish_reduction(reduction *r, uly__comm *comm) {
  assert_ok(uly__comm_wait(comm));
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
  int64_t least = size * 64 * uly__dtype_bytes(dtype);
  int64_t workspaces[] = {least, 2 * least - 1, 2 * least, 5 * least + 4, 16 * least, 99 * least};
  for (int p = 0; p < 6; p++)
    for (int w = parts[p] > 2000 ? 3 : 0; w < 6; w++) {
      reduction r = {.dtype = dtype,
                     .value = value,
                     .part = parts[p],
                     .workspace_bytes = workspaces[w],
                     .in_place = in_place};
      pmpi_reset();
      start_reduction(&r, mesh->world);
      if (w % 2) poll_some(mesh->world);
      finish_reduction(&r, mesh->world);
      assert_int_equal(pmpi_bytes_of(PMPI_ALL_TO_ALL),
                       uly__traffic_reduce_scatter(size, dtype, r.part));
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

/* ---------------------------------------------------------------- gathered while computing */

static unsigned char gathered_byte(int p, int64_t i) {
  return (unsigned char)(p * 37 + i * 11 + i / 256);
}

static unsigned char *start_gather(uly__comm *comm, int64_t part_bytes) {
  unsigned char *data = guarded(size * part_bytes);
  for (int64_t i = 0; i < part_bytes; i++) data[rank * part_bytes + i] = gathered_byte(rank, i);
  int64_t sent = mesh->traffic.bytes[counted];
  assert_ok(uly__all_gather_start(comm, counted, data, part_bytes));
  assert_int_equal(mesh->traffic.bytes[counted] - sent, uly__traffic_all_gather(size, part_bytes));
  return data;
}

static void check_gathered(unsigned char *data, int64_t part_bytes) {
  for (int p = 0; p < size; p++)
    for (int64_t i = 0; i < part_bytes; i++)
      assert_int_equal(data[p * part_bytes + i], gathered_byte(p, i));
  free_guarded(data, size * part_bytes);
}

static void test_all_gather_start(void **state) {
  (void)state;
  int64_t parts[] = {0, 64, 192, 6400, 64 * 2049};
  const char *check = getenv("ULYSSES_CHECK"); /* sends more */
  for (int c = 0; c < 10; c++) {
    pmpi_reset();
    unsigned char *data = start_gather(mesh->world, parts[c / 2]);
    if (c % 2) poll_some(mesh->world);
    assert_ok(uly__comm_wait(mesh->world));
    if (!check || !*check)
      assert_int_equal(pmpi_bytes(), uly__traffic_all_gather(size, parts[c / 2]));
    check_gathered(data, parts[c / 2]);
  }
  poll_some(mesh->world); /* nothing is under way */
  assert_ok(uly__comm_wait(mesh->world));
}

static void use_while_busy(uly__comm *comm) {
  int64_t value = rank;
  assert_ok(uly__sum_i64(comm, ULY_TRAFFIC_CONTROL, &value, 1));
  assert_int_equal(value, size * (size - 1) / 2);
  int64_t all[64];
  value = 100 + rank;
  assert_ok(uly__all_gather(comm, ULY_TRAFFIC_CONTROL, &value, sizeof value, all));
  for (int p = 0; p < size; p++) assert_int_equal(all[p], 100 + p);
}

/* Two groups of the same ranks have something under way while a third is used. */
static void test_interleaved(void **state) {
  (void)state;
  uly__comm *gather, *reduce;
  assert_ok(uly__comm_dup(mesh->world, "gather", &gather));
  assert_ok(uly__comm_dup(mesh->world, "reduce", &reduce));
  assert_int_equal(uly__comm_rank(reduce), rank);
  assert_int_equal(uly__comm_size(reduce), size);
  assert_int_equal(uly__comm_node_size(reduce), uly__comm_node_size(mesh->world));
  for (int round = 0; round < 4; round++) {
    int64_t part_bytes = 64 * (100 + round);
    reduction r = {.dtype = round % 2 ? ULY_BF16 : ULY_F32,
                   .value = rough,
                   .part = 2048 + 64 * round,
                   .workspace_bytes = (int64_t)size * 64 * 4 * 3};
    start_reduction(&r, reduce);
    unsigned char *data = start_gather(gather, part_bytes);
    use_while_busy(mesh->world);
    if (rank == round % size) poll_some(reduce);
    use_while_busy(mesh->world);
    if (rank != round % size) poll_some(gather);
    if (round < 2) {
      assert_ok(uly__comm_wait(gather));
      finish_reduction(&r, reduce);
    } else {
      finish_reduction(&r, reduce);
      use_while_busy(reduce);
      assert_ok(uly__comm_wait(gather));
    }
    check_gathered(data, part_bytes);
  }
  unsigned char *data = start_gather(gather, 64000);
  uly__comm_destroy(gather); /* waits */
  check_gathered(data, 64000);
  uly__comm_destroy(reduce);
}

/* Blocks of different lengths, twice at the same time on two groups, whose values say from whom they are, for
 * whom, and which of the two. */
static void test_all_to_all_start(void **state) {
  (void)state;
  enum { MOST = 40 };
  uly__comm *comms[2] = {mesh->to_heads, mesh->to_tokens};
  int64_t send_counts[64], send_offsets[64], recv_counts[64], recv_offsets[64], sent = 0;
  int32_t send[2][64 * MOST], recv[2][64 * MOST];
  for (int p = 0; p < size; p++) {
    send_counts[p] = (rank * 3 + p * 5) % MOST;
    recv_counts[p] = (p * 3 + rank * 5) % MOST;
    send_offsets[p] = recv_offsets[p] = (int64_t)p * MOST;
    if (p != rank) sent += send_counts[p];
    for (int which = 0; which < 2; which++)
      for (int i = 0; i < MOST; i++) {
        send[which][p * MOST + i] = ((which * 64 + rank) * 64 + p) * MOST + i;
        recv[which][p * MOST + i] = -1;
      }
  }
  int64_t before = mesh->traffic.bytes[counted];
  for (int which = 0; which < 2; which++)
    assert_ok(uly__all_to_all_start(comms[which], counted, sizeof(int32_t), send[which],
                                    (uly__blocks){send_counts, send_offsets}, recv[which],
                                    (uly__blocks){recv_counts, recv_offsets}));
  poll_some(comms[rank % 2]);
  for (int which = 1; which >= 0; which--) assert_ok(uly__comm_wait(comms[which]));
  for (int which = 0; which < 2; which++)
    for (int p = 0; p < size; p++)
      for (int i = 0; i < MOST; i++)
        assert_int_equal(recv[which][p * MOST + i],
                         i < recv_counts[p] ? ((which * 64 + p) * 64 + rank) * MOST + i : -1);
  assert_int_equal(mesh->traffic.bytes[counted] - before, 2 * sent * (int64_t)sizeof(int32_t));
}

static void refuses_all(uly__comm *comm) {
  static const int64_t zeros[64];
  static const uly__blocks none = {zeros, zeros};
  char bytes[64 * 8];
  uly__comm *other;
  const char *text = "world group while another is under way";
  assert_fails(uly__all_gather_start(comm, counted, bytes, 0), ULY_ERR_INTERNAL, text);
  assert_fails(uly__reduce_scatter_start(comm, counted, ULY_F32, NULL, 0, NULL, bytes, 1 << 20),
               ULY_ERR_INTERNAL, text);
  assert_fails(uly__all_to_all(comm, counted, 8, bytes, none, bytes, none), ULY_ERR_INTERNAL, text);
  assert_fails(uly__all_to_all_start(comm, counted, 8, bytes, none, bytes, none), ULY_ERR_INTERNAL,
               text);
  assert_fails(uly__all_gather(comm, counted, bytes, 0, bytes), ULY_ERR_INTERNAL, text);
  assert_fails(uly__sum_i64(comm, counted, NULL, 0), ULY_ERR_INTERNAL, text);
  assert_fails(uly__agree(comm, ULY_OK), ULY_ERR_INTERNAL, text);
  assert_fails(uly__same(comm, 1, "number"), ULY_ERR_INTERNAL, text);
  assert_fails(uly__comm_dup(comm, "other", &other), ULY_ERR_INTERNAL, text);
  assert_null(other);
  assert_fails(uly__comm_split(comm, 0, "other", &other), ULY_ERR_INTERNAL, text);
  assert_null(other);
}

/* One at a time, from start to wait, even if MPI has long been done. */
static void test_busy(void **state) {
  (void)state;
  unsigned char *data = start_gather(mesh->world, 128);
  refuses_all(mesh->world);
  poll_some(mesh->world);
  refuses_all(mesh->world);
  assert_ok(uly__comm_wait(mesh->world));
  check_gathered(data, 128);
  data = start_gather(mesh->world, 0);
  refuses_all(mesh->world);
  assert_ok(uly__comm_wait(mesh->world));
  check_gathered(data, 0);
  reduction r = {
      .dtype = ULY_F32, .value = rough, .part = 640, .workspace_bytes = (int64_t)size * 64 * 4};
  start_reduction(&r, mesh->world);
  refuses_all(mesh->world);
  finish_reduction(&r, mesh->world);
}

/* Refused before anything is sent: nothing is under way afterwards. */
static void test_started_errors(void **state) {
  (void)state;
  int64_t too_many = 64 * ((int64_t)INT32_MAX / size + 1), sent = mesh->traffic.bytes[counted];
  int64_t space = (int64_t)size * 64 * 4;
  uly__comm *world = mesh->world;
  assert_fails(uly__all_gather_start(world, counted, NULL, 65), ULY_ERR_INTERNAL, "65");
  assert_fails(uly__all_gather_start(world, counted, NULL, -64), ULY_ERR_INTERNAL, "-64");
  assert_fails(uly__all_gather_start(world, counted, NULL, too_many), ULY_ERR_CONFIG, "MPI");
  assert_fails(uly__reduce_scatter_start(world, counted, ULY_F32, NULL, 32, NULL, NULL, space),
               ULY_ERR_INTERNAL, "32");
  assert_fails(
      uly__reduce_scatter_start(world, counted, ULY_BF16, NULL, too_many, NULL, NULL, space),
      ULY_ERR_CONFIG, "MPI");
  if (size > 1)
    assert_fails(
        uly__reduce_scatter_start(world, counted, ULY_F32, NULL, 64, NULL, NULL, space - 1),
        ULY_ERR_INTERNAL, "workspace");
  assert_int_equal(mesh->traffic.bytes[counted], sent);
  assert_ok(uly__agree(world, ULY_OK));
}

/* ------------------------------------------------------------------------- agreement, meshes */

static uly_status fail_here(int failing) {
  if (rank != failing) return ULY_OK;
  return uly_fail(ULY_ERR_DATA, "file %d is bad", failing);
}

static void test_agreement(void **state) {
  (void)state;
  assert_ok(uly_mesh_agree(mesh, ULY_OK));
  for (int failing = 0; failing < size; failing++) {
    char text[64];
    snprintf(text, sizeof text, size > 1 ? "rank %d: file %d is bad" : "file %d is bad", failing,
             failing);
    uly_status status = uly_mesh_agree(mesh, fail_here(failing));
    assert_fails(status, ULY_ERR_DATA, text);
    assert_fails(uly_mesh_agree(mesh, status), ULY_ERR_DATA, text);
    assert_null(strstr(uly_last_error() + 1, "rank")); /* agreeing twice adds no second name */
  }
  /* Several fail: the lowest rank speaks for all. */
  uly_status status = rank == 0 ? ULY_OK : uly_fail(ULY_ERR_IO, "mine is %d", rank);
  if (size > 1)
    assert_fails(uly_mesh_agree(mesh, status), ULY_ERR_IO, "rank 1: mine is 1");
  else
    assert_ok(uly_mesh_agree(mesh, status));
}

static void test_same(void **state) {
  (void)state;
  assert_ok(uly_mesh_same(mesh, "abc", 3, "text"));
  for (int odd = 0; odd < size && size > 1; odd++) {
    char text[64];
    snprintf(text, sizeof text, "rank %d has another text", odd ? odd : 1);
    assert_fails(uly_mesh_same(mesh, rank == odd ? "abd" : "abc", 3, "text"), ULY_ERR_CONFIG, text);
  }
  if (size < 2) return;
  /* Ranks that want different meshes: all are told. */
  uly_mesh *bad;
  uly_mesh_desc desc = {.size = sizeof desc, .dp = rank == 0 ? 1 : size};
  assert_fails(uly_mesh_create(&desc, &bad), ULY_ERR_CONFIG, "mesh");
  desc.dp = rank == 0 ? size + 1 : 1;
  assert_fails(uly_mesh_create(MESH(.dp = desc.dp, .sp = rank ? 0 : 1), &bad), ULY_ERR_CONFIG,
               "rank 0");
}

static void test_meshes(void **state) {
  (void)state;
  for (int dp = 1; dp <= size; dp++) {
    uly_mesh *other;
    uly_status status = uly_mesh_create(MESH(.dp = dp), &other);
    if (size % dp) {
      assert_fails(status, ULY_ERR_CONFIG, "ranks");
      assert_null(other);
      continue;
    }
    assert_ok(status);
    assert_int_equal(uly_mesh_sp(other), size / dp);
    assert_int_equal(other->dp_index * other->sp + other->sp_index, rank);
    assert_int_equal(uly__comm_size(other->sequence), size / dp);
    assert_int_equal(uly__comm_rank(other->sequence), other->sp_index);
    int64_t index = other->dp_index;
    assert_ok(uly__sum_i64(other->sequence, ULY_TRAFFIC_CONTROL, &index, 1));
    assert_int_equal(index, other->dp_index * other->sp); /* the group has one dp_index */
    uly_mesh_destroy(other);
  }
  uly_mesh *bad;
  assert_fails(uly_mesh_create(MESH(.dp = -1), &bad), ULY_ERR_CONFIG, "negative");
}

int main(int argc, char **argv) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_sum_i64),
      cmocka_unit_test(test_reduce_scatter_values),
      cmocka_unit_test(test_reduce_scatter_bits),
      cmocka_unit_test(test_all_gather_start),
      cmocka_unit_test(test_all_to_all_start),
      cmocka_unit_test(test_interleaved),
      cmocka_unit_test(test_busy),
      cmocka_unit_test(test_started_errors),
      cmocka_unit_test(test_agreement),
      cmocka_unit_test(test_same),
      cmocka_unit_test(test_meshes),
  };
  if (uly_init(&argc, &argv) != ULY_OK || uly_mesh_create(NULL, &mesh) != ULY_OK) return 1;
  size = uly_mesh_size(mesh);
  rank = uly_mesh_rank(mesh);
  int failed = cmocka_run_group_tests(tests, NULL, NULL);
  uly_mesh_destroy(mesh);
  if (failed) uly_abort(1);
  uly_finalize();
  return 0;
}
