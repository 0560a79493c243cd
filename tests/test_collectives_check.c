/* ULYSSES_CHECK=collectives: ranks that call different things are told, all of them, and nobody hangs. */
#include <stdbool.h>
#include <unistd.h>

#include "comm/mesh.h"
#include "testing.h"

static uly__traffic traffic;
static int size, rank;

static uly__comm *new_group(void) {
  uly__comm *comm;
  assert_ok(uly__comm_create(&traffic, "test", &comm));
  return comm;
}

/* The first rank that differs from rank 0 where one rank is odd. */
static int named(int odd) { return odd ? odd : 1; }

/* One way to call something else than the others do: with odd set. */
typedef uly_status (*call)(uly__comm *comm, int odd);

static char memory[64 * 64 * 16];
static const int64_t none[64];

static uly_status other_function(uly__comm *comm, int odd) {
  int64_t values[64] = {0};
  if (odd) return uly__all_gather(comm, ULY_TRAFFIC_CONTROL, values, 8, memory);
  return uly__sum_i64(comm, ULY_TRAFFIC_CONTROL, values, 3);
}

static uly_status other_kind(uly__comm *comm, int odd) {
  return uly__all_gather(comm, odd ? ULY_TRAFFIC_GRADIENTS : ULY_TRAFFIC_CONTROL, memory, 8,
                         memory + 8);
}

static uly_status other_bytes(uly__comm *comm, int odd) {
  return uly__all_gather(comm, ULY_TRAFFIC_CONTROL, memory, odd ? 16 : 8, memory + 16);
}

static uly_status other_count(uly__comm *comm, int odd) {
  int64_t values[2] = {0, 0};
  return uly__sum_i64(comm, ULY_TRAFFIC_CONTROL, values, odd ? 1 : 2);
}

static uly_status other_unit(uly__comm *comm, int odd) {
  uly__blocks nothing = {none, none};
  return uly__all_to_all(comm, ULY_TRAFFIC_CONTROL, odd ? 4 : 2, memory, nothing, memory, nothing);
}

static uly_status other_part_bytes(uly__comm *comm, int odd) {
  return uly__all_gather_start(comm, ULY_TRAFFIC_CONTROL, memory, odd ? 128 : 64);
}

static uly_status reduce(uly__comm *comm, uly_dtype dtype, int64_t part, int64_t workspace_bytes) {
  static float out[128], workspace[64 * 64 * 2];
  return uly__reduce_scatter_start(comm, ULY_TRAFFIC_GRADIENTS, dtype, memory, part, out, workspace,
                                   workspace_bytes);
}

static uly_status other_part(uly__comm *comm, int odd) {
  return reduce(comm, ULY_F32, odd ? 128 : 64, (int64_t)size * 256);
}

static uly_status other_dtype(uly__comm *comm, int odd) {
  return reduce(comm, odd ? ULY_BF16 : ULY_F32, 64, (int64_t)size * 256);
}

static uly_status other_workspace(uly__comm *comm, int odd) {
  return reduce(comm, ULY_F32, 128, (int64_t)size * (odd ? 512 : 256));
}

/* One rank has forgotten to wait. */
static uly_status other_end(uly__comm *comm, int odd) {
  uly_status status = uly__all_gather_start(comm, ULY_TRAFFIC_CONTROL, memory, 0);
  if (status != ULY_OK || !odd) return status == ULY_OK ? uly__comm_wait(comm) : status;
  return uly__agree(comm, ULY_OK);
}

static uly_status other_group(uly__comm *comm, int odd) {
  uly__comm *made;
  return odd ? uly__comm_dup(comm, "new", &made) : uly__comm_split(comm, 0, "new", &made);
}

/* They differ beyond what is compared as text. */
static uly_status other_value(uly__comm *comm, int odd) {
  char what[200];
  memset(what, 'x', sizeof what);
  strcpy(what + 190, odd ? "a" : "b");
  return uly__same(comm, 1, what);
}

static const struct {
  call call;
  const char *odd, *others;
} cases[] = {
    {other_function, "all_gather (control, 8 bytes)", "sum_i64 (control, 3 values)"},
    {other_kind, "all_gather (gradients, 8 bytes)", "all_gather (control, 8 bytes)"},
    {other_bytes, "all_gather (control, 16 bytes)", "all_gather (control, 8 bytes)"},
    {other_count, "sum_i64 (control, 1 values)", "sum_i64 (control, 2 values)"},
    {other_unit, "all_to_all (control, units of 4 bytes)",
     "all_to_all (control, units of 2 bytes)"},
    {other_part_bytes, "all_gather_start (control, 128 bytes)",
     "all_gather_start (control, 64 bytes)"},
    {other_part, "reduce_scatter_start (gradients, f32, parts of 128",
     "reduce_scatter_start (gradients, f32, parts of 64"},
    {other_dtype, "reduce_scatter_start (gradients, bf16, parts of 64",
     "reduce_scatter_start (gradients, f32, parts of 64"},
    {other_workspace, "reduce_scatter_start (gradients, f32, parts of 128",
     "reduce_scatter_start (gradients, f32, parts of 128"},
    {other_end, "agree", "wait"},
    {other_group, "dup (new)", "split (new)"},
    {other_value, "same (xxx", "same (xxx"},
};

static void differ(size_t c, int odd) {
  char number_text[64], named_text[128], first_text[128], message[512];
  uly__comm *comm = new_group();
  assert_ok(uly__agree(comm, ULY_OK));
  assert_int_equal(cases[c].call(comm, rank == odd), ULY_ERR_INTERNAL);
  snprintf(message, sizeof message, "%s", uly_last_error());
  snprintf(number_text, sizeof number_text,
           "collective %d of the test group: ", cases[c].call == other_end ? 3 : 2);
  snprintf(named_text, sizeof named_text, "rank %d calls %s", named(odd),
           odd ? cases[c].odd : cases[c].others);
  snprintf(first_text, sizeof first_text, ", rank 0 calls %s",
           odd ? cases[c].others : cases[c].odd);
  assert_non_null(strstr(message, number_text));
  assert_non_null(strstr(message, named_text));
  assert_non_null(strstr(message, first_text));
  /* From then on nothing is called any more: ranks that do different things do not wait. */
  for (int i = 0; i < rank; i++) assert_fails(uly__agree(comm, ULY_OK), ULY_ERR_INTERNAL, message);
  uly__comm_destroy(comm);
}

static void test_different_calls(void **state) {
  (void)state;
  for (size_t c = 0; c < sizeof cases / sizeof *cases && size > 1; c++)
    for (int odd = 0; odd < size; odd += size - 1) differ(c, odd); /* the first, then the last */
}

/* Standard error goes to a file from here; returns what it was. */
static int capture(char *path) {
  snprintf(path, 64, "/tmp/ulysses-stderr-XXXXXX");
  int file = mkstemp(path), kept = dup(2);
  assert_true(file >= 0 && kept >= 0);
  fflush(stderr);
  dup2(file, 2);
  close(file);
  return kept;
}

static void captured(const char *path, int kept, char *text, size_t capacity) {
  fflush(stderr);
  dup2(kept, 2);
  close(kept);
  FILE *file = fopen(path, "rb");
  assert_non_null(file);
  text[fread(text, 1, capacity - 1, file)] = 0;
  fclose(file);
  assert_int_equal(unlink(path), 0);
}

/* Ranks from `first` on end their group while the others go on. */
static void end_early(int first, int last) {
  char path[64], text[1024], expected[256];
  uly__comm *comm = new_group();
  bool ends = rank >= first && rank <= last;
  int p = first ? first : last + 1; /* the first that differs from rank 0 */
  snprintf(expected, sizeof expected,
           "collective 1 of the test group: rank %d calls %s, rank 0 calls %s", p,
           first ? "end of the group" : "agree", first ? "agree" : "end of the group");
  if (!ends) {
    assert_fails(uly__agree(comm, ULY_OK), ULY_ERR_INTERNAL, expected);
    uly__comm_destroy(comm);
    return;
  }
  int kept = capture(path);
  uly__comm_destroy(comm);
  captured(path, kept, text, sizeof text);
  if (rank == first) /* one rank says it */
    assert_non_null(strstr(text, expected));
  else
    assert_string_equal(text, "");
}

static void test_early_end(void **state) {
  (void)state;
  for (int odd = 0; odd < size && size > 1; odd++) end_early(odd, odd);
  if (size > 2) {
    end_early(0, 1);
    end_early(1, size - 1);
  }
}

/* The order is compared among groups of the same ranks too: without it each would wait in its own. */
static void test_other_group(void **state) {
  (void)state;
  for (int odd = 0; odd < size && size > 1; odd++) {
    uly__comm *comm = new_group(), *copy;
    assert_ok(uly__comm_dup(comm, "copy", &copy));
    char expected[256];
    snprintf(expected, sizeof expected,
             "rank %d calls agree (collective %d of the %s group), rank 0 calls agree (collective "
             "%d of the %s group)",
             named(odd), odd ? 1 : 2, odd ? "copy" : "test", odd ? 2 : 1, odd ? "test" : "copy");
    assert_fails(uly__agree(rank == odd ? copy : comm, ULY_OK), ULY_ERR_INTERNAL, expected);
    assert_fails(uly__agree(rank == odd ? comm : copy, ULY_OK), ULY_ERR_INTERNAL, expected);
    uly__comm_destroy(comm);
    uly__comm_destroy(copy);
  }
}

/* Something big is under way when the difference is found: it is left, and the job ends well. */
static void test_left_under_way(void **state) {
  (void)state;
  if (size == 1) return;
  static char large[16 << 18];
  uly__comm *comm = new_group();
  assert_ok(uly__all_gather_start(comm, ULY_TRAFFIC_CONTROL, large, 1 << 18));
  uly_status status = rank == 0 ? uly__comm_wait(comm) : uly__agree(comm, ULY_OK);
  assert_int_equal(status, ULY_ERR_INTERNAL);
  assert_int_equal(uly__comm_wait(comm), ULY_ERR_INTERNAL);
  uly__comm_destroy(comm);
}

/* Calls that are equal pass, also where ranks send different amounts; nothing is counted for it. */
static void test_equal_calls(void **state) {
  (void)state;
  uly__comm *comm = new_group(), *copy, *half;
  traffic = (uly__traffic){0};
  int64_t send_counts[64], recv_counts[64], send_offsets[64], recv_offsets[64], expected = 0;
  for (int p = 0; p < size; p++) {
    send_counts[p] = 1 + p;
    send_offsets[p] = (int64_t)p * (p + 1) / 2;
    recv_counts[p] = 1 + rank;
    recv_offsets[p] = (int64_t)p * (1 + rank);
    if (p != rank) expected += send_counts[p];
  }
  for (int i = 0; i < 3; i++)
    assert_ok(uly__all_to_all(comm, ULY_TRAFFIC_CONTROL, 1, memory,
                              (uly__blocks){send_counts, send_offsets}, memory + 4096,
                              (uly__blocks){recv_counts, recv_offsets}));
  assert_int_equal(traffic.bytes[ULY_TRAFFIC_CONTROL], 3 * expected);
  assert_ok(uly__comm_dup(comm, "copy", &copy));
  assert_ok(uly__comm_split(comm, rank % 2, "half", &half));
  assert_int_equal(traffic.bytes[ULY_TRAFFIC_CONTROL], 3 * expected);
  /* The two halves are different groups: they may do different things. */
  for (int i = 0; i <= rank % 2; i++) assert_ok(uly__agree(half, ULY_OK));
  assert_ok(uly__all_gather_start(copy, ULY_TRAFFIC_CONTROL, memory, 64));
  for (int i = 0; i < rank; i++) assert_ok(uly__comm_poll(copy));
  assert_ok(uly__agree(comm, ULY_OK));
  assert_ok(uly__comm_wait(copy));
  uly__comm_destroy(comm);
  assert_ok(uly__agree(copy, ULY_OK)); /* lives on */
  uly__comm_destroy(half);
  uly__comm_destroy(copy);
}

/* The setting of rank 0 counts for all. */
static void test_setting(void **state) {
  (void)state;
  uly__comm *comm;
  if (rank == 0) setenv("ULYSSES_CHECK", "collective", 1);
  assert_fails(uly__comm_create(&traffic, "test", &comm), ULY_ERR_CONFIG, "ULYSSES_CHECK");
  assert_null(comm);
  if (rank == 0) unsetenv("ULYSSES_CHECK");
  comm = new_group(); /* off: ranks may pass what would be noticed */
  assert_ok(uly__same(comm, 1, rank == 0 ? "a" : "b"));
  uly__comm_destroy(comm);
  if (rank == 0) setenv("ULYSSES_CHECK", "collectives", 1);
  if (rank != 0) unsetenv("ULYSSES_CHECK");
  comm = new_group();
  uly_status status = uly__same(comm, 1, rank == 0 ? "a" : "b");
  assert_int_equal(status, size > 1 ? ULY_ERR_INTERNAL : ULY_OK);
  uly__comm_destroy(comm);
}

int main(int argc, char **argv) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_equal_calls),    cmocka_unit_test(test_different_calls),
      cmocka_unit_test(test_early_end),      cmocka_unit_test(test_other_group),
      cmocka_unit_test(test_left_under_way), cmocka_unit_test(test_setting),
  };
  setenv("ULYSSES_CHECK", "collectives", 1);
  if (uly_init(&argc, &argv) != ULY_OK) return 1;
  size = uly_world_size();
  rank = uly_world_rank();
  int failed = cmocka_run_group_tests(tests, NULL, NULL);
  if (failed) uly_abort(1);
  uly_finalize();
  return 0;
}
