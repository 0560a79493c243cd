/* Collectives on values that say what the result must be, waiting and started; sums over ranks;
 * agreement on failures; meshes. */
#include <stdbool.h>

#include "base/dtype.h"
#include "comm/mesh.h"
#include "parallel/reduce.h"
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

static void poll_some(uly__request *request) {
  for (int i = 0; i < 20; i++) assert_ok(uly__request_poll(request));
}

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

/* Returns the bytes that a rank sends in a reduce-scatter. */
static int64_t reduction_bytes(uly_dtype dtype, int64_t part) {
  return part * (size - 1) * uly__dtype_bytes(dtype);
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
  uly__reduce reduce;
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
  assert_ok(uly__reduce_create(group, uly__ops_get(), &r->reduce));
  assert_ok(uly__reduce_start(&r->reduce, uly__stream_get(), counted, r->dtype, r->data, r->part,
                              r->out, r->workspace, r->workspace_bytes));
}

static void poll_reduction(reduction *r) {
  for (int i = 0; i < 20; i++) assert_ok(uly__reduce_poll(&r->reduce));
}

static void finish_reduction(reduction *r) {
  assert_ok(uly__reduce_wait(&r->reduce));
  assert_false(uly__reduce_is_pending(&r->reduce));
  uly__reduce_destroy(&r->reduce);
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

/* ---------------------------------------------------------------- gathered while computing */

static unsigned char gathered_byte(int p, int64_t i) {
  return (unsigned char)(p * 37 + i * 11 + i / 256);
}

static unsigned char *start_gather(int64_t part_bytes, uly__request *request) {
  unsigned char *data = guarded(size * part_bytes);
  for (int64_t i = 0; i < part_bytes; i++) data[rank * part_bytes + i] = gathered_byte(rank, i);
  int64_t sent = mesh->traffic.bytes[counted];
  assert_ok(uly__all_gather_start(uly__mesh_world(mesh), uly__stream_get(), counted, data,
                                  part_bytes, request));
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

static void use_while_busy(uly__group *group) {
  int64_t value = rank;
  assert_ok(uly__sum_i64(group, ULY_TRAFFIC_CONTROL, &value, 1));
  assert_int_equal(value, size * (size - 1) / 2);
  int64_t all[64];
  value = 100 + rank;
  assert_ok(uly__all_gather(group, NULL, ULY_TRAFFIC_CONTROL, &value, sizeof value, all));
  for (int p = 0; p < size; p++) assert_int_equal(all[p], 100 + p);
}

/* Two gatherings and two sums are under way in a group that is used meanwhile. Polls, which start
 * the chunks of sums, come at other moments on each rank, and what was started is waited for in any
 * order. */
static void test_interleaved(void **state) {
  (void)state;
  uly__group *world = uly__mesh_world(mesh);
  for (int round = 0; round < 8; round++) {
    int64_t part_bytes[2] = {64 * (100 + round), 64 * (7 + round)};
    uly__request requests[2] = {{0}, {0}};
    unsigned char *data[2];
    reduction r[2];
    for (int i = 0; i < 2; i++) {
      r[i] = (reduction){.dtype = (round + i) % 2 ? ULY_BF16 : ULY_F32,
                         .value = rough,
                         .part = 2048 + 64 * (round + 5 * i),
                         .workspace_bytes = (int64_t)size * 64 * 4 * (3 + i)};
      start_reduction(&r[i], world);
      data[i] = start_gather(part_bytes[i], &requests[i]);
    }
    use_while_busy(world);
    if (rank == round % size) poll_reduction(&r[round % 2]);
    use_while_busy(world);
    if (rank != round % size) poll_reduction(&r[0]);
    if (rank % 2) poll_some(&requests[0]);
    for (int i = 0; i < 2; i++) {
      int which = round / 2 % 2 ? 1 - i : i;
      if (round / 4 % 2) finish_reduction(&r[which]);
      assert_ok(uly__request_wait(&requests[which]));
      if (!(round / 4 % 2)) finish_reduction(&r[which]);
      use_while_busy(world);
    }
    for (int i = 0; i < 2; i++) check_gathered(data[i], part_bytes[i]);
  }
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
                 ULY_ERR_INTERNAL, "while 8 calls are under way");
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
  int64_t space = (int64_t)size * 64 * 4;
  uly__group *world = uly__mesh_world(mesh), *offline;
  uly__request request = {0};
  uly__reduce reduce;
  const struct {
    uly_dtype dtype;
    int64_t part, workspace_bytes;
    uly_status status;
    const char *text;
  } reductions[] = {{ULY_F32, 32, space, ULY_ERR_INTERNAL, "32"},
                    {ULY_BF16, too_many, space, ULY_ERR_CONFIG, "MPI"},
                    {ULY_F32, 64, space - 1, ULY_ERR_INTERNAL, "workspace"}};
  assert_fails(uly__all_gather_start(world, uly__stream_get(), counted, NULL, 65, &request),
               ULY_ERR_INTERNAL, "65");
  assert_fails(uly__all_gather_start(world, uly__stream_get(), counted, NULL, -64, &request),
               ULY_ERR_INTERNAL, "-64");
  assert_fails(uly__all_gather_start(world, uly__stream_get(), counted, NULL, too_many, &request),
               ULY_ERR_CONFIG, "MPI");
  assert_ok(uly__reduce_create(world, uly__ops_get(), &reduce));
  for (int i = 0; i < (size > 1 ? 3 : 2); i++) {
    assert_fails(uly__reduce_start(&reduce, uly__stream_get(), counted, reductions[i].dtype, NULL,
                                   reductions[i].part, NULL, NULL, reductions[i].workspace_bytes),
                 reductions[i].status, reductions[i].text);
    assert_false(uly__reduce_is_pending(&reduce));
  }
  uly__reduce_destroy(&reduce);
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
      cmocka_unit_test(test_reduce_scatter_values),
      cmocka_unit_test(test_reduce_scatter_bits),
      cmocka_unit_test(test_all_gather_start),
      cmocka_unit_test(test_all_to_all_start),
      cmocka_unit_test(test_interleaved),
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
