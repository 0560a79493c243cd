/* Tests ULYSSES_CHECK=collectives: when ranks make different calls, all of them are told, and no
 * rank hangs. */
#include <stdbool.h>
#include <unistd.h>

#include "comm/mesh.h"
#include "parallel/bulk.h"
#include "testing.h"

static uly__traffic traffic;
static int size, rank;

static uly__group *new_group(void) {
  uly__group *group;
  assert_ok(uly__group_create(&traffic, "test", &group));
  return group;
}

/* The first rank that differs from rank 0 where one rank is odd. */
static int named(int odd) { return odd ? odd : 1; }

/* One way to call something else than the others do: with odd set. */
typedef uly_status (*call)(uly__group *group, int odd);

static char memory[64 * 64 * 16];
static const int64_t none[64];

static uly_status other_function(uly__group *group, int odd) {
  int64_t values[64] = {0};
  if (odd) return uly__all_gather(group, NULL, ULY_TRAFFIC_CONTROL, values, 8, memory);
  return uly__sum_i64(group, ULY_TRAFFIC_CONTROL, values, 3);
}

static uly_status other_kind(uly__group *group, int odd) {
  return uly__all_gather(group, NULL, odd ? ULY_TRAFFIC_GRADIENTS : ULY_TRAFFIC_CONTROL, memory, 8,
                         memory + 8);
}

static uly_status other_bytes(uly__group *group, int odd) {
  return uly__all_gather(group, NULL, ULY_TRAFFIC_CONTROL, memory, odd ? 16 : 8, memory + 16);
}

static uly_status other_count(uly__group *group, int odd) {
  int64_t values[2] = {0, 0};
  return uly__sum_i64(group, ULY_TRAFFIC_CONTROL, values, odd ? 1 : 2);
}

static uly_status other_unit(uly__group *group, int odd) {
  uly__blocks nothing = {none, none};
  return uly__all_to_all(group, uly__stream_get(), ULY_TRAFFIC_CONTROL, odd ? 4 : 2, memory,
                         nothing, memory, nothing);
}

static uly_status other_part_bytes(uly__group *group, int odd) {
  uly__request request = {0};
  return uly__all_gather_start(group, uly__stream_get(), ULY_TRAFFIC_CONTROL, memory,
                               odd ? 128 : 64, &request);
}

static uly_status reduce(uly__group *group, uly_dtype dtype, int64_t part,
                         int64_t workspace_bytes) {
  static float out[128], workspace[64 * 64 * 4];
  uly__bulk sum;
  assert_ok(uly__bulk_create(group, uly__ops_get(), &sum));
  uly_status status = uly__bulk_sum_start(&sum, uly__stream_get(), ULY_TRAFFIC_GRADIENTS, dtype,
                                          memory, part, out, workspace, workspace_bytes);
  uly__bulk_destroy(&sum);
  return status;
}

static uly_status other_part(uly__group *group, int odd) {
  return reduce(group, ULY_F32, odd ? 128 : 64, (int64_t)size * 512);
}

static uly_status other_dtype(uly__group *group, int odd) {
  return reduce(group, odd ? ULY_BF16 : ULY_F32, 64, (int64_t)size * 512);
}

static uly_status other_workspace(uly__group *group, int odd) {
  return reduce(group, ULY_F32, 128, (int64_t)size * (odd ? 1024 : 512));
}

/* One rank has forgotten to wait. */
static uly_status other_end(uly__group *group, int odd) {
  uly__request request = {0};
  uly_status status =
      uly__all_gather_start(group, uly__stream_get(), ULY_TRAFFIC_CONTROL, memory, 0, &request);
  if (status != ULY_OK || !odd) return status == ULY_OK ? uly__request_wait(&request) : status;
  return uly__agree(group, ULY_OK);
}

static uly_status other_group(uly__group *group, int odd) {
  uly__group *made;
  return uly__group_split(group, 0, odd ? "new" : "old", &made);
}

static uly_status other_tag(uly__group *group, int odd) {
  int tag;
  return uly__group_take_tag(group, &tag, "exchange %d", odd);
}

/* They differ beyond what is compared as text. */
static uly_status other_value(uly__group *group, int odd) {
  char what[200];
  memset(what, 'x', sizeof what);
  strcpy(what + 190, odd ? "a" : "b");
  return uly__same(group, 1, what);
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
    {other_part, "bulk_sum_start (gradients, f32, parts of 128",
     "bulk_sum_start (gradients, f32, parts of 64"},
    {other_dtype, "bulk_sum_start (gradients, bf16, parts of 64",
     "bulk_sum_start (gradients, f32, parts of 64"},
    {other_workspace, "bulk_sum_start (gradients, f32, parts of 128",
     "bulk_sum_start (gradients, f32, parts of 128"},
    {other_end, "agree", "wait"},
    {other_group, "split (new)", "split (old)"},
    {other_tag, "exchange 1", "exchange 0"},
    {other_value, "same (xxx", "same (xxx"},
};

static void differ(size_t c, int odd) {
  char number_text[64], named_text[128], first_text[128], message[512];
  uly__group *group = new_group();
  assert_ok(uly__agree(group, ULY_OK));
  assert_int_equal(cases[c].call(group, rank == odd), ULY_ERR_INTERNAL);
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
  for (int i = 0; i < rank; i++) assert_fails(uly__agree(group, ULY_OK), ULY_ERR_INTERNAL, message);
  uly__group_destroy(group);
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
  uly__group *group = new_group();
  bool ends = rank >= first && rank <= last;
  int p = first ? first : last + 1; /* the first that differs from rank 0 */
  snprintf(expected, sizeof expected,
           "collective 1 of the test group: rank %d calls %s, rank 0 calls %s", p,
           first ? "end of the group" : "agree", first ? "agree" : "end of the group");
  if (!ends) {
    assert_fails(uly__agree(group, ULY_OK), ULY_ERR_INTERNAL, expected);
    uly__group_destroy(group);
    return;
  }
  int kept = capture(path);
  uly__group_destroy(group);
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

/* Something big is under way when the difference is found: it is left, and the job ends well. */
static void test_left_under_way(void **state) {
  (void)state;
  if (size == 1) return;
  static char large[16 << 18];
  uly__group *group = new_group();
  uly__request request = {0};
  assert_ok(uly__all_gather_start(group, uly__stream_get(), ULY_TRAFFIC_CONTROL, large, 1 << 18,
                                  &request));
  uly_status status = rank == 0 ? uly__request_wait(&request) : uly__agree(group, ULY_OK);
  assert_int_equal(status, ULY_ERR_INTERNAL);
  assert_int_equal(uly__request_wait(&request), ULY_ERR_INTERNAL);
  uly__group_destroy(group);
}

/* Calls that are equal pass, also where ranks send different amounts; nothing is counted for it. */
static void test_equal_calls(void **state) {
  (void)state;
  uly__group *group = new_group(), *half;
  uly__request request = {0};
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
    assert_ok(uly__all_to_all(group, uly__stream_get(), ULY_TRAFFIC_CONTROL, 1, memory,
                              (uly__blocks){send_counts, send_offsets}, memory + 4096,
                              (uly__blocks){recv_counts, recv_offsets}));
  assert_int_equal(traffic.bytes[ULY_TRAFFIC_CONTROL], 3 * expected);
  assert_ok(uly__group_split(group, rank % 2, "half", &half));
  assert_int_equal(traffic.bytes[ULY_TRAFFIC_CONTROL], 3 * expected);
  /* The two halves are different groups: they may do different things. */
  for (int i = 0; i <= rank % 2; i++) assert_ok(uly__agree(half, ULY_OK));
  assert_ok(
      uly__all_gather_start(group, uly__stream_get(), ULY_TRAFFIC_CONTROL, memory, 64, &request));
  for (int i = 0; i < rank; i++) assert_ok(uly__request_poll(&request));
  assert_ok(uly__agree(group, ULY_OK));
  assert_ok(uly__request_wait(&request));
  uly__group_destroy(group);
  uly__group_destroy(half);
}

/* The setting of rank 0 counts for all. */
static void test_setting(void **state) {
  (void)state;
  uly__group *group;
  if (rank == 0) setenv("ULYSSES_CHECK", "collective", 1);
  assert_fails(uly__group_create(&traffic, "test", &group), ULY_ERR_CONFIG, "ULYSSES_CHECK");
  assert_null(group);
  if (rank == 0) unsetenv("ULYSSES_CHECK");
  group = new_group(); /* off: ranks may pass what would be noticed */
  assert_ok(uly__same(group, 1, rank == 0 ? "a" : "b"));
  uly__group_destroy(group);
  if (rank == 0) setenv("ULYSSES_CHECK", "collectives", 1);
  if (rank != 0) unsetenv("ULYSSES_CHECK");
  group = new_group();
  uly_status status = uly__same(group, 1, rank == 0 ? "a" : "b");
  assert_int_equal(status, size > 1 ? ULY_ERR_INTERNAL : ULY_OK);
  uly__group_destroy(group);
}

int main(int argc, char **argv) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_equal_calls), cmocka_unit_test(test_different_calls),
      cmocka_unit_test(test_early_end),   cmocka_unit_test(test_left_under_way),
      cmocka_unit_test(test_setting),
  };
  setenv("ULYSSES_CHECK", "collectives", 1);
  begin_ranks(&argc, &argv, NULL);
  size = uly_world_size();
  rank = uly_world_rank();
  int failed = cmocka_run_group_tests(tests, NULL, NULL);
  return end_ranks(NULL, failed);
}
