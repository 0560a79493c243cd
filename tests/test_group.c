/* Collectives on values that say what the result must be, waiting and started; sums of integers;
 * agreement on failures; meshes. */
#include <stdbool.h>

#include "group_testing.h"
#include "pmpi_count.h"

/* ------------------------------------------------------------------------------ sums */

static void test_sum_i64(void **state) {
  (void)state;
  int counts[] = {0, 1, 3, ULY_MAX_SUM};
  for (int c = 0; c < 4; c++) {
    int64_t values[ULY_MAX_SUM + 1], before = mesh->traffic.bytes[counted];
    for (int i = 0; i <= ULY_MAX_SUM; i++) values[i] = (i - 5) * ((int64_t)1 << 40) + rank;
    assert_ok(uly__sum_i64(uly__mesh_world(mesh), counted, values, counts[c]));
    for (int i = 0; i < counts[c]; i++)
      assert_true(values[i] ==
                  size * (i - 5) * ((int64_t)1 << 40) + (int64_t)size * (size - 1) / 2);
    for (int i = counts[c]; i <= ULY_MAX_SUM; i++)
      assert_true(values[i] == (i - 5) * ((int64_t)1 << 40) + rank);
    assert_int_equal(mesh->traffic.bytes[counted] - before,
                     uly__traffic_all_gather(size, (int64_t)8 * counts[c]));
  }
  int64_t wraps = rank == 0 ? INT64_MIN : -1; /* modulo 2^64 */
  assert_ok(uly__sum_i64(uly__mesh_world(mesh), counted, &wraps, 1));
  assert_true(wraps == (size == 1 ? INT64_MIN : INT64_MAX - (size - 2)));
  int64_t many[ULY_MAX_SUM + 1];
  assert_fails(uly__sum_i64(uly__mesh_world(mesh), counted, many, ULY_MAX_SUM + 1),
               ULY_ERR_INTERNAL, "sum");
  assert_fails(uly__sum_i64(uly__mesh_world(mesh), counted, many, -1), ULY_ERR_INTERNAL, "sum");
}

/* ---------------------------------------------------------------- gathered while computing */

static void test_all_gather_start(void **state) {
  (void)state;
  int64_t parts[] = {0, 64, 192, 6400, 64 * 2049};
  const char *check = getenv("ULYSSES_CHECK"); /* sends more */
  uly__request request = {0};
  for (int c = 0; c < 10; c++) {
    pmpi_reset();
    unsigned char *data = start_gather(parts[c / 2], &request);
    if (c % 2) poll_some(&request);
    assert_ok(uly__request_wait(&request));
    if (!check || !*check)
      assert_int_equal(pmpi_bytes(), uly__traffic_all_gather(size, parts[c / 2]));
    check_gathered(data, parts[c / 2]);
  }
  poll_some(&request); /* nothing is under way */
  assert_false(uly__request_is_pending(&request));
  assert_ok(uly__request_wait(&request));
}

/* The end of a group waits for what is under way. */
static void test_end_of_group(void **state) {
  (void)state;
  uly__group *half;
  uly__request request = {0};
  assert_ok(uly__group_split(uly__mesh_world(mesh), rank % 2, "half", &half));
  int members = uly__group_size(half), mine = uly__group_rank(half);
  assert_int_equal(members, rank % 2 ? size / 2 : (size + 1) / 2);
  assert_int_equal(mine, rank / 2);
  int64_t part_bytes = 64000;
  unsigned char *data = guarded(members * part_bytes);
  memset(data + mine * part_bytes, rank + 1, (size_t)part_bytes);
  assert_ok(uly__all_gather_start(half, uly__stream_get(), counted, data, part_bytes, &request));
  uly__group_destroy(half);
  for (int64_t i = 0; i < members * part_bytes; i++)
    assert_int_equal(data[i], i / part_bytes * 2 + rank % 2 + 1);
  free_guarded(data, members * part_bytes);
}

enum { MOST = 40 };

/* An exchange of blocks of different lengths, whose values say from whom they are, for whom, and in
 * which call. */
typedef struct exchange {
  int64_t send_counts[64], recv_counts[64], offsets[64], sent;
  int32_t send[64 * MOST], recv[64 * MOST];
  int number;
} exchange;

static int32_t exchanged_value(int number, int from, int to, int i) {
  return ((number * 64 + from) * 64 + to) * MOST + i;
}

/* Units that rank p sends to rank q: none to some. */
static int exchanged_count(int p, int q) {
  int count = (p * 3 + q * 5) % MOST;
  return count % 4 == 3 ? 0 : count;
}

static void make_exchange(exchange *x, int number) {
  *x = (exchange){.number = number};
  for (int p = 0; p < size; p++) {
    x->send_counts[p] = exchanged_count(rank, p);
    x->recv_counts[p] = exchanged_count(p, rank);
    x->offsets[p] = (int64_t)p * MOST;
    if (p != rank) x->sent += x->send_counts[p] * (int64_t)sizeof(int32_t);
    for (int i = 0; i < MOST; i++) {
      x->send[p * MOST + i] = exchanged_value(number, rank, p, i);
      x->recv[p * MOST + i] = -1;
    }
  }
}

static void check_exchange(const exchange *x) {
  for (int p = 0; p < size; p++)
    for (int i = 0; i < MOST; i++)
      assert_int_equal(x->recv[p * MOST + i],
                       i < x->recv_counts[p] ? exchanged_value(x->number, p, rank, i) : -1);
}

static void test_all_to_all_start(void **state) {
  (void)state;
  uly__group *world = uly__mesh_world(mesh);
  static exchange x[2];
  uly__request requests[2] = {{0}, {0}};
  int64_t before = mesh->traffic.bytes[counted];
  for (int i = 0; i < 2; i++) {
    make_exchange(&x[i], i);
    assert_ok(uly__all_to_all_start(world, uly__stream_get(), counted, sizeof(int32_t), x[i].send,
                                    (uly__blocks){x[i].send_counts, x[i].offsets}, x[i].recv,
                                    (uly__blocks){x[i].recv_counts, x[i].offsets}, &requests[i]));
  }
  poll_some(&requests[rank % 2]);
  for (int i = 1; i >= 0; i--) assert_ok(uly__request_wait(&requests[i]));
  for (int i = 0; i < 2; i++) check_exchange(&x[i]);
  assert_int_equal(mesh->traffic.bytes[counted] - before, x[0].sent + x[1].sent);
}

/* A rank that sends nothing, or receives nothing, and whose empty buffer lies where the other
 * begins: Open MPI takes such buffers for one that is exchanged in place. */
static void test_empty_buffers(void **state) {
  (void)state;
  uly__group *world = uly__mesh_world(mesh);
  for (int turn = 0; turn < 4; turn++) {
    static exchange x;
    int one = turn / 2 ? size - 1 : 0; /* sends nothing, or receives nothing */
    bool sends = turn % 2;
    uly__request request = {0};
    make_exchange(&x, turn);
    for (int p = 0; p < size; p++) {
      if (rank == one) (sends ? x.recv_counts : x.send_counts)[p] = 0;
      if (p == one) (sends ? x.send_counts : x.recv_counts)[p] = 0;
    }
    void *send = x.send, *recv = x.recv;
    if (rank == one && sends) recv = send;
    if (rank == one && !sends) send = recv;
    if (turn % 3)
      assert_ok(uly__all_to_all(world, uly__stream_get(), counted, sizeof(int32_t), send,
                                (uly__blocks){x.send_counts, x.offsets}, recv,
                                (uly__blocks){x.recv_counts, x.offsets}));
    else
      assert_ok(uly__all_to_all_start(world, uly__stream_get(), counted, sizeof(int32_t), send,
                                      (uly__blocks){x.send_counts, x.offsets}, recv,
                                      (uly__blocks){x.recv_counts, x.offsets}, &request));
    assert_ok(uly__request_wait(&request));
    check_exchange(&x);
  }
}

static uly_status start_send_recv(exchange *x, int tag, uly__request *request) {
  return uly__send_recv_start(uly__mesh_world(mesh), uly__stream_get(), counted, sizeof(int32_t),
                              x->send, (uly__blocks){x->send_counts, x->offsets}, x->recv,
                              (uly__blocks){x->recv_counts, x->offsets}, tag, request);
}

/* Every rank is told that what it sends would be overwritten. */
static void test_same_buffer(void **state) {
  (void)state;
  int64_t counts[64], offsets[64];
  int32_t values[64];
  for (int p = 0; p < size; p++) counts[p] = 1, offsets[p] = values[p] = p;
  uly__blocks blocks = {counts, offsets};
  uly_status status = uly__all_to_all(uly__mesh_world(mesh), uly__stream_get(), counted,
                                      sizeof(int32_t), values, blocks, values, blocks);
  if (size == 1)
    assert_ok(status);
  else
    assert_fails(status, ULY_ERR_CONFIG, "the buffer that it sends from");
  for (int p = 0; p < size; p++) assert_int_equal(values[p], p);
}

/* The bytes of all kinds that this rank has sent. */
static int64_t all_traffic(void) {
  int64_t bytes = 0;
  for (int i = 0; i < ULY_NUM_TRAFFIC; i++) bytes += mesh->traffic.bytes[i];
  return bytes;
}

/* Ranks start them in another order, and at other moments between collectives. */
static void test_send_recv(void **state) {
  (void)state;
  static exchange x[2];
  for (int round = 0; round < 4; round++) {
    uly__request requests[2] = {{0}, {0}};
    int tags[2];
    int64_t before = mesh->traffic.bytes[counted], all_before;
    for (int i = 0; i < 2; i++) {
      make_exchange(&x[i], 2 * round + i);
      assert_ok(uly__group_take_tag(uly__mesh_world(mesh), &tags[i], "exchange %d", i));
    }
    assert_int_not_equal(tags[0], tags[1]);
    all_before = all_traffic();
    pmpi_reset();
    int first = (rank + round) % 2;
    assert_ok(start_send_recv(&x[first], tags[first], &requests[first]));
    if (round % 2) use_while_busy(uly__mesh_world(mesh));
    assert_ok(start_send_recv(&x[1 - first], tags[1 - first], &requests[1 - first]));
    for (int i = 0; i < 2; i++) assert_ok(uly__request_wait(&requests[(i + rank) % 2]));
    for (int i = 0; i < 2; i++) check_exchange(&x[i]);
    int64_t sent = x[0].sent + x[1].sent;
    assert_int_equal(mesh->traffic.bytes[counted] - before, sent);
    /* The comparisons of ULYSSES_CHECK are gathers of MPI, and not counted. */
    assert_int_equal(pmpi_bytes_of(PMPI_POINT_TO_POINT), all_traffic() - all_before);
  }
}

/* A group has room for so many calls, from the start of each to its wait, even if MPI has long been
 * done. */
static void test_room(void **state) {
  (void)state;
  uly__group *world = uly__mesh_world(mesh);
  uly__request requests[ULY_MAX_STARTED + 1] = {{0}};
  unsigned char *data[ULY_MAX_STARTED];
  char bytes[64 * 64];
  for (int round = 0; round < 2; round++) {
    for (int i = 0; i < ULY_MAX_STARTED; i++) data[i] = start_gather(i % 2 ? 0 : 64, &requests[i]);
    assert_fails(uly__all_gather_start(world, uly__stream_get(), counted, bytes, 0, &requests[0]),
                 ULY_ERR_INTERNAL, "world group with a request that is under way");
    poll_some(&requests[0]);
    assert_fails(uly__all_gather_start(world, uly__stream_get(), counted, bytes, 0,
                                       &requests[ULY_MAX_STARTED]),
                 ULY_ERR_INTERNAL, "while 12 calls are under way");
    assert_null(requests[ULY_MAX_STARTED].started);
    use_while_busy(world);
    for (int i = 0; i < ULY_MAX_STARTED; i++) {
      assert_ok(uly__request_wait(&requests[i]));
      check_gathered(data[i], i % 2 ? 0 : 64);
    }
  }
}

/* Refused before anything is sent: nothing is under way afterwards. */
static void test_started_errors(void **state) {
  (void)state;
  int64_t too_many = 64 * ((int64_t)INT32_MAX / size + 1), sent = mesh->traffic.bytes[counted];
  uly__group *world = uly__mesh_world(mesh), *offline;
  uly__request request = {0};
  assert_fails(uly__all_gather_start(world, uly__stream_get(), counted, NULL, 65, &request),
               ULY_ERR_INTERNAL, "65");
  assert_fails(uly__all_gather_start(world, uly__stream_get(), counted, NULL, -64, &request),
               ULY_ERR_INTERNAL, "-64");
  assert_fails(uly__all_gather_start(world, uly__stream_get(), counted, NULL, too_many, &request),
               ULY_ERR_CONFIG, "MPI");
  assert_null(request.started);
  assert_int_equal(mesh->traffic.bytes[counted], sent);
  assert_ok(uly__agree(world, ULY_OK));
  assert_ok(uly__group_create_offline(7, 3, "planned", &offline));
  assert_int_equal(uly__group_size(offline), 7);
  assert_int_equal(uly__group_rank(offline), 3);
  assert_fails(uly__agree(offline, ULY_OK), ULY_ERR_INTERNAL, "planned group, which is offline");
  uly__group_destroy(offline);
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
  /* A message that begins with its rank gets no second name; one with another rank's does. */
  if (size < 2) return;
  status = rank == 1 ? uly_fail(ULY_ERR_CONFIG, "rank 1 needs more") : ULY_OK;
  (void)uly_mesh_agree(mesh, status);
  assert_string_equal(uly_last_error(), "rank 1 needs more");
  status = rank == 1 ? uly_fail(ULY_ERR_CONFIG, "rank 10 has less") : ULY_OK;
  (void)uly_mesh_agree(mesh, status);
  assert_string_equal(uly_last_error(), "rank 1: rank 10 has less");
}

static void test_same(void **state) {
  (void)state;
  assert_ok(uly_mesh_same(mesh, "abc", 3, "text"));
  for (int odd = 0; odd < size && size > 1; odd++) {
    char text[64];
    snprintf(text, sizeof text, "rank %d has a different text", odd ? odd : 1);
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
    uly__group *sequence = uly__mesh_group(other, ULY_AXES_SP);
    int dp_index = uly__mesh_index(other, ULY_AXIS_DP);
    int sp_index = uly__mesh_index(other, ULY_AXES_SP), sp = uly__mesh_extent(other, ULY_AXES_SP);
    assert_int_equal(dp_index * sp + sp_index, rank);
    assert_int_equal(uly__mesh_index(other, ULY_AXES_ALL), rank);
    assert_int_equal(uly__mesh_extent(other, ULY_AXES_ALL), size);
    assert_int_equal(uly__mesh_index(other, ULY_AXIS_TP | ULY_AXIS_PP), 0);
    assert_int_equal(uly__group_size(sequence), size / dp);
    assert_int_equal(uly__group_rank(sequence), sp_index);
    int64_t index = dp_index;
    assert_ok(uly__sum_i64(sequence, ULY_TRAFFIC_CONTROL, &index, 1));
    assert_int_equal(index, dp_index * sp); /* the group has one index on dp */
    /* Sets of the same ranks share a group. */
    assert_ptr_equal(uly__mesh_group(other, ULY_AXES_ZERO), uly__mesh_world(other));
    assert_int_equal(sequence == uly__mesh_world(other), dp == 1);
    uly_mesh_destroy(other);
  }
  uly_mesh *bad;
  assert_fails(uly_mesh_create(MESH(.dp = -1), &bad), ULY_ERR_CONFIG, "negative");
}

int main(int argc, char **argv) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_sum_i64),
      cmocka_unit_test(test_all_gather_start),
      cmocka_unit_test(test_all_to_all_start),
      cmocka_unit_test(test_end_of_group),
      cmocka_unit_test(test_empty_buffers),
      cmocka_unit_test(test_same_buffer),
      cmocka_unit_test(test_send_recv),
      cmocka_unit_test(test_room),
      cmocka_unit_test(test_started_errors),
      cmocka_unit_test(test_agreement),
      cmocka_unit_test(test_same),
      cmocka_unit_test(test_meshes),
  };
  begin_ranks(&argc, &argv, &mesh);
  size = uly_mesh_size(mesh);
  rank = uly_mesh_rank(mesh);
  int failed = cmocka_run_group_tests(tests, NULL, NULL);
  return end_ranks(mesh, failed);
}
