/* Tests the ranges of parameters that a rank holds, on meshes that need not exist: over the ranks
 * every element has one owner; stage 0 updates all of them on every rank; a range lies in one
 * tensor and in one window. The same of the parts that tensor parallelism makes of tensors. */
#include "model/param_ranges.h"
#include "testing.h"

static uly__params params;

static uly__zero *make_zero(uly_mesh *mesh, int stage) {
  int64_t counts[64];
  for (int u = 0; u < params.num_units; u++) counts[u] = params.units[u].local_count;
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
    assert_ok(uly__params_create(&config, NULL, NULL, &params));
    check_alone();
    for (int s = 0; s < 5; s++)
      for (int stage = 0; stage < 4; stage++) check_ranks(sizes[s], stage);
    uly__params_destroy(&params);
  }
}

/* --- parts of tensors */

/* Returns which row, or column, of a tensor decides who holds an element, in units that are not
 * divided; -1: everyone holds it. Written from the names, not from the table. */
static int64_t decisive(const uly__model_config *c, const uly__param *param, int64_t element,
                        int64_t *total) {
  int64_t cols = param->num_dims == 2 ? param->dims[1] : 1;
  int64_t row = element / cols, col = element % cols, uses = c->num_q_heads / c->num_kv_heads;
  const char *name = param->name;
  *total = c->num_q_heads;
  if (strstr(name, "q_proj")) return row / c->head_dim;
  if (strstr(name, "k_proj") || strstr(name, "v_proj")) return row / c->head_dim * uses;
  if (strstr(name, "o_proj.weight")) return col / c->head_dim;
  *total = c->ffn;
  if (strstr(name, "gate_proj") || strstr(name, "up_proj")) return row;
  if (strstr(name, "down_proj.weight")) return col;
  *total = param->dims[0];
  return strstr(name, "embed") || strstr(name, "lm_head") ? row : -1;
}

/* Walks the ranges of one rank of tensor parallelism, and counts the owners of each element. */
static void check_part(const uly__model_config *c, int size, int rank, const uly__zero *zero,
                       int *const *owners) {
  int64_t next[64] = {0}, visited = 0, in_order = 0;
  uly__range range;
  uly__range_walk walk = uly__param_ranges(&params, zero, ULY_ALL_UNITS);
  while (uly__range_next(&walk, &range)) {
    int i = (int)(range.param - params.list);
    if (!zero) assert_int_equal(range.local, next[range.param->unit]);
    next[range.param->unit] += range.count;
    visited += range.count;
    for (int64_t at = range.global; at < range.global + range.count; at++) {
      int64_t total, index = decisive(c, range.param, at, &total);
      uly__part part = uly__split(total, 1, size, rank);
      bool is_first =
          index < 0 ? rank == 0 : index >= part.begin && index < part.begin + part.count;
      if (!zero) assert_int_equal(range.is_owner, is_first);
      owners[i][at] += range.is_owner;
    }
  }
  walk = uly__param_local_ranges(&params, zero, ULY_ALL_UNITS);
  while (uly__range_next(&walk, &range)) in_order += range.count;
  assert_int_equal(in_order, visited);
  for (int u = 0; !zero && u < params.num_units; u++)
    assert_int_equal(next[u], params.units[u].local_count);
}

/* Checks that each element has one owner, among `size` ranks of tensor parallelism whose parts are
 * sharded over dp ranks. */
static void check_parts(const uly__model_config *c, int size, int dp) {
  int **owners = NULL;
  int num = 0;
  for (int rank = 0; rank < size; rank++) {
    uly__tensor_share share = uly__tensor_share_of(c, size, rank);
    assert_ok(uly__params_create(c, NULL, &share, &params));
    if (!owners) {
      num = params.num;
      owners = calloc((size_t)num, sizeof *owners);
      for (int i = 0; i < num; i++)
        owners[i] = calloc((size_t)params.list[i].count, sizeof **owners);
    }
    if (dp == 0) check_part(c, size, rank, NULL, owners);
    for (int shard = 0; shard < dp; shard++) {
      uly_mesh *mesh;
      assert_ok(uly_mesh_create_offline(MESH(.dp = dp, .sp = 1), shard, &mesh));
      uly__zero *zero = make_zero(mesh, 3);
      check_part(c, size, rank, zero, owners);
      uly__zero_destroy(zero);
      uly_mesh_destroy(mesh);
    }
    if (rank == size - 1)
      for (int i = 0; i < num; i++)
        for (int64_t at = 0; at < params.list[i].count; at++) assert_int_equal(owners[i][at], 1);
    uly__params_destroy(&params);
  }
  for (int i = 0; i < num; i++) free(owners[i]);
  free(owners);
}

static void test_parts(void **state) {
  (void)state;
  static const char llama[] =
      "{\"model_type\":\"llama\",\"hidden_size\":10,\"intermediate_size\":23,"
      "\"num_hidden_layers\":2,\"num_attention_heads\":6,\"num_key_value_heads\":2,"
      "\"head_dim\":4,\"max_position_embeddings\":32,\"vocab_size\":13,\"attention_bias\":true,"
      "\"mlp_bias\":true}";
  static const char qwen2[] =
      "{\"model_type\":\"qwen2\",\"hidden_size\":12,\"intermediate_size\":9,"
      "\"num_hidden_layers\":1,\"num_attention_heads\":6,\"num_key_value_heads\":1,"
      "\"max_position_embeddings\":32,\"vocab_size\":17,\"tie_word_embeddings\":true}";
  static const char gpt2[] =
      "{\"model_type\":\"gpt2\",\"n_embd\":14,\"n_layer\":2,\"n_head\":7,\"n_positions\":3,"
      "\"vocab_size\":31}";
  const char *const models[] = {llama, qwen2, gpt2};
  for (int i = 0; i < 3; i++) {
    char path[256];
    uly__model_config config;
    write_scratch_file(path, "parts.json", models[i], strlen(models[i]));
    assert_ok(uly__model_config_load(path, &config));
    for (int size = 1; size <= 6; size++)
      for (int dp = 0; dp <= 3; dp++) check_parts(&config, size, dp);
    remove_scratch_file(path);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_ranges), cmocka_unit_test(test_parts)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
