/* Tests the ranges of parameters that a rank holds, on meshes that need not exist: over the ranks
 * every element has one owner; stage 0 updates all of them on every rank; a range lies in one
 * tensor and in one window. */
#include "model/param_ranges.h"
#include "testing.h"

static uly__params params;

static uly__zero *make_zero(uly_mesh *mesh, int stage) {
  int64_t counts[64];
  for (int u = 0; u < params.num_units; u++) counts[u] = params.units[u].count;
  uly__zero_desc desc = {.stage = stage,
                         .dtype = ULY_BF16,
                         .grad_dtype = ULY_F32,
                         .segments = 1,
                         .passes = 1,
                         .num_units = params.num_units,
                         .counts = counts};
  uly__zero *zero;
  assert_ok(uly__zero_create(mesh, &desc, &zero));
  return zero;
}

static void check_range(const uly__range *range) {
  const uly__param *param = range->param;
  assert_true(range->count >= 1 && range->count <= ULY_LARGEST_RANGE);
  assert_true(range->global >= 0 && range->global + range->count <= param->count);
  assert_int_equal(range->local, param->offset + range->global);
  assert_int_equal(range->local / ULY_LARGEST_RANGE,
                   (range->local + range->count - 1) / ULY_LARGEST_RANGE);
}

/* Checks that the places of a range follow each other, after those of the ranges before. */
static void check_places(const uly__zero *zero, const uly__range *range, int64_t *next) {
  int64_t place = uly__zero_place(zero, range->param->unit, range->local);
  int64_t last = uly__zero_place(zero, range->param->unit, range->local + range->count - 1);
  assert_true(place >= *next && last == place + range->count - 1);
  assert_true(last < uly__zero_num_places(zero));
  *next = last + 1;
}

/* Walks what a rank holds; owned counts the elements of each unit that the ranks so far own. */
static void check_rank(const uly__zero *zero, int stage, int64_t *owned) {
  int64_t visited = 0, place = 0;
  uly__range range, again;
  uly__range_walk walk = uly__param_ranges(&params, zero, ULY_ALL_UNITS);
  for (int unit = 0; unit < params.num_units; unit++) {
    int64_t next = stage == 0 ? 0 : uly__zero_owned(zero, unit).begin;
    uly__range_walk of_unit = uly__param_ranges(&params, zero, unit);
    while (uly__range_next(&of_unit, &again)) {
      assert_true(uly__range_next(&walk, &range));
      assert_memory_equal(&range.param, &again.param, sizeof range.param);
      assert_true(range.local == again.local && range.count == again.count);
      check_range(&range);
      check_places(zero, &range, &place);
      assert_int_equal(range.param->unit, unit);
      assert_int_equal(range.local, next);
      next += range.count;
      visited += range.count;
      if (range.is_owner) assert_int_equal(range.local, owned[unit]);
      if (range.is_owner) owned[unit] += range.count;
      assert_true(range.is_owner || stage == 0);
    }
  }
  assert_false(uly__range_next(&walk, &range));
  if (stage == 0) assert_int_equal(visited, params.count);
}

static void check_ranks(int size, int stage) {
  int64_t owned[64] = {0};
  for (int rank = 0; rank < size; rank++) {
    uly_mesh *mesh;
    assert_ok(uly_mesh_create_offline(MESH(.dp = size, .sp = 1), rank, &mesh));
    uly__zero *zero = make_zero(mesh, stage);
    check_rank(zero, stage, owned);
    uly__zero_destroy(zero);
    uly_mesh_destroy(mesh);
  }
  for (int u = 0; u < params.num_units; u++) assert_int_equal(owned[u], params.units[u].count);
}

/* Checks that a walk without ZeRO visits everything. */
static void check_alone(void) {
  int64_t next = 0;
  uly__range range;
  uly__range_walk walk = uly__param_ranges(&params, NULL, ULY_ALL_UNITS);
  while (uly__range_next(&walk, &range)) {
    check_range(&range);
    assert_int_equal(params.units[range.param->unit].begin + range.local, next);
    assert_true(range.is_owner);
    next += range.count;
  }
  assert_int_equal(next, params.count);
}

static void test_ranges(void **state) {
  (void)state;
  const char *const models[] = {"llama-1m", "gpt2-124m"};
  const int sizes[] = {1, 2, 3, 8, 700};
  for (int i = 0; i < 2; i++) {
    uly__model_config config;
    assert_ok(uly__model_config_load(models[i], &config));
    assert_ok(uly__params_create(&config, uly__whole_model(&config), &params));
    check_alone();
    for (int s = 0; s < 5; s++)
      for (int stage = 0; stage < 4; stage++) check_ranks(sizes[s], stage);
    uly__params_destroy(&params);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_ranges)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
