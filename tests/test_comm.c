/* Collectives on values that say what the result must be; agreement on failures; meshes. */
#include "comm/mesh.h"
#include "testing.h"

static uly_mesh *mesh;
static int size, rank;

/* Sums of integers are exact in f32: element i of rank p is i % 1000 + p. */
static void test_sum_f32(void **state) {
  (void)state;
  int64_t counts[] = {0, 1, 2, 7, 64, 1000, 4099}, workspaces[] = {8, 9, 100, 5000};
  for (int c = 0; c < 7; c++)
    for (int w = 0; w < 4; w++) {
      int64_t count = counts[c], before = mesh->traffic.bytes[ULY_TRAFFIC_GRADIENTS];
      float *data = malloc((size_t)(count + 1) * 4), *workspace = malloc((size_t)workspaces[w] * 4);
      for (int64_t i = 0; i < count; i++) data[i] = (float)(i % 1000 + rank);
      data[count] = -1;
      assert_ok(
          uly__sum_f32(mesh->world, ULY_TRAFFIC_GRADIENTS, data, count, workspace, workspaces[w]));
      for (int64_t i = 0; i < count; i++)
        assert_float_equal(data[i], (float)(i % 1000 * size + size * (size - 1) / 2), 0);
      assert_float_equal(data[count], -1, 0);
      assert_int_equal(mesh->traffic.bytes[ULY_TRAFFIC_GRADIENTS] - before,
                       uly__traffic_sum_f32(size, rank, count, workspaces[w]));
      free(data);
      free(workspace);
    }
}

/* The same bits on all ranks, although f32 sums depend on their order. */
static void test_sum_bits(void **state) {
  (void)state;
  float value[3] = {1e8f / (float)(rank + 1), 1.0f + (float)rank * 1e-3f,
                    -1e8f / (float)(rank + 3)};
  float workspace[16], all[64][3];
  assert_true(size <= 16);
  assert_ok(uly__sum_f32(mesh->world, ULY_TRAFFIC_GRADIENTS, value, 3, workspace, 16));
  assert_ok(uly__all_gather(mesh->world, ULY_TRAFFIC_CONTROL, value, sizeof value, all));
  for (int p = 0; p < size; p++) assert_memory_equal(all[p], value, sizeof value);
  double sums[2] = {rank, 0.5};
  assert_ok(uly__sum_f64(mesh->world, ULY_TRAFFIC_CONTROL, sums, 2));
  assert_true(sums[0] == size * (size - 1) / 2.0 && sums[1] == 0.5 * size);
}

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
  uly_mesh_desc desc = {.dp = rank == 0 ? 1 : size};
  assert_fails(uly_mesh_create(NULL, desc, &bad), ULY_ERR_CONFIG, "mesh");
  desc.dp = rank == 0 ? size + 1 : 1;
  assert_fails(uly_mesh_create(NULL, (uly_mesh_desc){.dp = desc.dp, .sp = rank ? 0 : 1}, &bad),
               ULY_ERR_CONFIG, "rank 0");
}

static void test_meshes(void **state) {
  (void)state;
  for (int dp = 1; dp <= size; dp++) {
    uly_mesh *other;
    uly_status status = uly_mesh_create(NULL, (uly_mesh_desc){.dp = dp}, &other);
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
    double index = other->dp_index;
    assert_ok(uly__sum_f64(other->sequence, ULY_TRAFFIC_CONTROL, &index, 1));
    assert_true(index == (double)other->dp_index * other->sp); /* the group has one dp_index */
    uly_mesh_destroy(other);
  }
  uly_mesh *bad;
  assert_fails(uly_mesh_create(NULL, (uly_mesh_desc){.dp = -1}, &bad), ULY_ERR_CONFIG, "negative");
}

int main(int argc, char **argv) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_sum_f32),   cmocka_unit_test(test_sum_bits),
      cmocka_unit_test(test_agreement), cmocka_unit_test(test_same),
      cmocka_unit_test(test_meshes),
  };
  if (uly_init(&argc, &argv) != ULY_OK ||
      uly_mesh_create(NULL, (uly_mesh_desc){0}, &mesh) != ULY_OK)
    return 1;
  size = uly_mesh_size(mesh);
  rank = uly_mesh_rank(mesh);
  int failed = cmocka_run_group_tests(tests, NULL, NULL);
  uly_mesh_destroy(mesh);
  if (failed) uly_abort(1);
  uly_finalize();
  return 0;
}
