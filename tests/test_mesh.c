/* Tests meshes: invalid communicators, the place of each rank on each axis, the members of each
 * group, axes that do not exist yet, and use after the end of a mesh and of MPI. */
#include <mpi.h>

#include "comm/group_mpi.h"
#include "comm/mesh.h"
#include "testing.h"

static int size, rank;

static void test_communicators(void **state) {
  (void)state;
  uly_mesh *mesh;
  assert_fails(uly_mesh_create_mpi(MPI_COMM_NULL, NULL, &mesh), ULY_ERR_CONFIG, "MPI_COMM_NULL");
  assert_null(mesh);
  assert_fails(uly_mesh_create_mpi(MPI_COMM_WORLD, NULL, NULL), ULY_ERR_CONFIG, "'out' is NULL");
  if (size > 1) {
    MPI_Comm half, inter;
    MPI_Comm_split(MPI_COMM_WORLD, rank == 0, rank, &half);
    MPI_Intercomm_create(half, 0, MPI_COMM_WORLD, rank == 0 ? 1 : 0, 7, &inter);
    assert_fails(uly_mesh_create_mpi(inter, NULL, &mesh), ULY_ERR_CONFIG, "intercommunicator");
    MPI_Comm_free(&inter);
    /* Of some of the ranks. */
    assert_ok(uly_mesh_create_mpi(half, NULL, &mesh));
    assert_int_equal(uly_mesh_size(mesh), rank == 0 ? 1 : size - 1);
    uly_mesh_destroy(mesh);
    MPI_Comm_free(&half);
  }
}

/* Whatever the program does with errors of MPI, a rank that gets one in a mesh does not leave the
 * others waiting. */
static void test_errors_are_fatal(void **state) {
  (void)state;
  uly_mesh *mesh;
  MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
  assert_ok(uly_mesh_create_mpi(MPI_COMM_WORLD, NULL, &mesh));
  const unsigned sets[] = {ULY_AXES_ALL,     ULY_AXES_ZERO, ULY_AXES_SP,
                           ULY_AXIS_ULYSSES, ULY_AXIS_RING, ULY_AXIS_TP};
  for (int i = 0; i < 6; i++) {
    MPI_Errhandler handler;
    MPI_Comm_get_errhandler(uly__mesh_group(mesh, sets[i])->mpi, &handler);
    assert_true(handler == MPI_ERRORS_ARE_FATAL);
  }
  uly_mesh_destroy(mesh);
}

static void test_axes(void **state) {
  (void)state;
  uly_mesh *mesh;
  assert_fails(uly_mesh_create(MESH(.ulysses = 2, .sp = 3), &mesh), ULY_ERR_CONFIG,
               "mesh.ulysses is 2, which does not divide mesh.sp = 3");
  assert_fails(uly_mesh_create(MESH(.ulysses = 2, .ring = 2, .sp = 6), &mesh), ULY_ERR_CONFIG,
               "mesh.ulysses = 2 times mesh.ring = 2 must be mesh.sp, which is 6");
  assert_fails(uly_mesh_create(MESH(.gather = 2, .ring = 3), &mesh), ULY_ERR_CONFIG,
               "mesh.ring is 3 and mesh.gather 2");
  assert_fails(uly_mesh_create_offline(MESH(.gather = 4, .sp = 6), 0, &mesh), ULY_ERR_CONFIG,
               "mesh.gather is 4, which does not divide");
  assert_fails(uly_mesh_create_offline(MESH(.ring = 1 << 30, .ulysses = 1 << 30), 0, &mesh),
               ULY_ERR_CONFIG, "more than any machine has");
  assert_fails(uly_mesh_create(MESH(.ulysses = -1), &mesh), ULY_ERR_CONFIG, "negative");
  assert_fails(uly_mesh_create(&(uly_mesh_desc){.dp = 1}, &mesh), ULY_ERR_CONFIG, "sizeof");
  assert_ok(uly_mesh_create(MESH(.ulysses = size, .ring = 1, .tp = 1, .pp = 1), &mesh));
  assert_int_equal(uly_mesh_sp(mesh), size);
  uly_mesh_destroy(mesh);
  assert_ok(uly_mesh_create_offline(MESH(.ulysses = 4, .dp = 3), 5, &mesh));
  assert_int_equal(uly_mesh_size(mesh), 12);
  uly_mesh_destroy(mesh);
  assert_ok(uly_mesh_create_offline(NULL, 0, &mesh));
  assert_int_equal(uly_mesh_size(mesh), 1);
  uly_mesh_destroy(mesh);
  assert_ok(uly_mesh_create(MESH(.gather = size), &mesh));
  assert_int_equal(uly_mesh_gather(mesh), size);
  assert_int_equal(uly_mesh_ring(mesh) * uly_mesh_ulysses(mesh), 1);
  uly_mesh_destroy(mesh);
}

/* Extents of tp that these ranks, or no ranks, have. */
static void test_tensor_refusals(void **state) {
  (void)state;
  static const char *const works[] = {"set mesh.tp to 1", "set mesh.tp to 1 or 2",
                                      "set mesh.tp to 1 or 3", "set mesh.tp to 1, 2 or 4"};
  uly_mesh *mesh;
  char text[128];
  assert_fails(uly_mesh_create(MESH(.tp = -1), &mesh), ULY_ERR_CONFIG, "mesh.tp is -1");
  assert_fails(uly_mesh_create_offline(MESH(.tp = -1), 0, &mesh), ULY_ERR_CONFIG, "mesh.tp is -1");
  snprintf(text, sizeof text, "mesh.tp is %d, which does not divide the number of ranks, %d: start",
           size + 1, size);
  assert_fails(uly_mesh_create(MESH(.tp = size + 1), &mesh), ULY_ERR_CONFIG, text);
  if (size <= 4)
    assert_fails(uly_mesh_create(MESH(.tp = 5), &mesh), ULY_ERR_CONFIG, works[size - 1]);
  if (size > 1) {
    snprintf(text, sizeof text, "a mesh of dp 1 x sp 2 x tp %d needs %d ranks, but there are %d",
             size, 2 * size, size);
    assert_fails(uly_mesh_create(MESH(.dp = 1, .sp = 2, .tp = size), &mesh), ULY_ERR_CONFIG, text);
    assert_fails(uly_mesh_create(MESH(.dp = 3, .tp = size), &mesh), ULY_ERR_CONFIG,
                 "mesh.dp, mesh.sp or mesh.tp");
    assert_fails(uly_mesh_create(MESH(.tp = rank == 0 ? 1 : size), &mesh), ULY_ERR_CONFIG, "mesh");
  }
  assert_fails(uly_mesh_create_offline(MESH(.dp = 1 << 20, .sp = 1 << 10, .tp = 2), 0, &mesh),
               ULY_ERR_CONFIG, "a mesh of dp 1048576 x sp 1024 x tp 2 needs more ranks");
  assert_fails(uly_mesh_create_offline(MESH(.dp = 2, .sp = 3, .tp = 4), 24, &mesh), ULY_ERR_CONFIG,
               "rank 24 of a mesh of dp 2 x sp 3 x tp 4 does not exist");
}

/* Extents of pp that these ranks, or no ranks, have. */
static void test_pipeline_refusals(void **state) {
  (void)state;
  uly_mesh *mesh;
  char text[128];
  assert_fails(uly_mesh_create(MESH(.pp = -1), &mesh), ULY_ERR_CONFIG, "mesh.pp is -1");
  snprintf(text, sizeof text, "mesh.pp is %d, which does not divide the number of ranks, %d: start",
           size + 1, size);
  assert_fails(uly_mesh_create(MESH(.pp = size + 1), &mesh), ULY_ERR_CONFIG, text);
  if (size == 4)
    assert_fails(uly_mesh_create(MESH(.pp = 4, .tp = 2), &mesh), ULY_ERR_CONFIG,
                 "mesh.pp is 4, which does not divide the number of ranks divided by mesh.tp, 2");
  if (size > 1) {
    snprintf(text, sizeof text, "a mesh of dp 1 x sp 2 x pp %d needs %d ranks, but there are %d",
             size, 2 * size, size);
    assert_fails(uly_mesh_create(MESH(.dp = 1, .sp = 2, .pp = size), &mesh), ULY_ERR_CONFIG, text);
    assert_fails(uly_mesh_create(MESH(.dp = 3, .pp = size), &mesh), ULY_ERR_CONFIG,
                 "mesh.dp, mesh.sp or mesh.pp");
    assert_fails(uly_mesh_create(MESH(.pp = rank == 0 ? 1 : size), &mesh), ULY_ERR_CONFIG, "mesh");
  }
  assert_fails(uly_mesh_create_offline(MESH(.tp = 2, .pp = 3), 6, &mesh), ULY_ERR_CONFIG,
               "rank 6 of a mesh of dp 1 x sp 1 x tp 2 x pp 3 does not exist");
}

/* Tests the defaults of dp and sp where only some extents are given and there are more ranks than
 * tp and pp. */
static void test_defaults(void **state) {
  (void)state;
  const struct {
    uly_mesh_desc desc;
    int dp, ulysses, ring, gather;
  } cases[] = {{{.pp = 2}, 1, 2, 1, 1},
               {{.pp = 2, .sp = 1}, 2, 1, 1, 1},
               {{.pp = 2, .dp = 2}, 2, 1, 1, 1},
               {{.pp = 2, .tp = 2}, 1, 1, 1, 1},
               {{.pp = 4}, 1, 1, 1, 1},
               {{.tp = 2}, 1, 2, 1, 1},
               {{.tp = 2, .dp = 1}, 1, 2, 1, 1},
               {{.tp = 2, .sp = 1}, 2, 1, 1, 1},
               {{.tp = 2, .dp = 2}, 2, 1, 1, 1},
               {{.tp = 2, .ring = 2}, 1, 1, 2, 1},
               {{.tp = 2, .dp = 1, .gather = 2}, 1, 1, 1, 2},
               {{.tp = 2, .ulysses = 1}, 2, 1, 1, 1},
               {{.tp = 4}, 1, 1, 1, 1},
               {{.tp = 1, .sp = 2}, 2, 2, 1, 1},
               {{.tp = 0, .dp = 2}, 2, 2, 1, 1}};
  if (size != 4) return;
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    uly_mesh *mesh;
    uly_mesh_desc desc = cases[i].desc;
    desc.size = sizeof desc;
    assert_ok(uly_mesh_create(&desc, &mesh));
    assert_int_equal(uly_mesh_tp(mesh), desc.tp ? desc.tp : 1);
    assert_int_equal(uly_mesh_pp(mesh), desc.pp ? desc.pp : 1);
    assert_int_equal(uly_mesh_dp(mesh), cases[i].dp);
    assert_int_equal(uly_mesh_ulysses(mesh), cases[i].ulysses);
    assert_int_equal(uly_mesh_ring(mesh), cases[i].ring);
    assert_int_equal(uly_mesh_gather(mesh), cases[i].gather);
    uly_mesh_destroy(mesh);
  }
}

/* The axes from the innermost to the outermost. */
static const unsigned used_axes[ULY_NUM_AXES] = {ULY_AXIS_TP, ULY_AXIS_ULYSSES, ULY_AXIS_RING,
                                                 ULY_AXIS_DP, ULY_AXIS_PP};

/* Finds the place of a rank on each axis, without a mesh. */
static void find_places(const int extent[ULY_NUM_AXES], int of, int place[ULY_NUM_AXES]) {
  for (int i = 0; i < ULY_NUM_AXES; of /= extent[i++]) place[i] = of % extent[i];
}

/* The place of every rank of an offline mesh on each axis, and what describes it. */
static void test_places(void **state) {
  (void)state;
  static const int cases[][ULY_NUM_AXES] = {{3, 2, 5, 2, 1}, {2, 1, 3, 1, 3}, {4, 3, 1, 2, 2},
                                            {1, 2, 2, 3, 1}, {5, 1, 1, 1, 1}, {1, 1, 1, 1, 4}};
  for (size_t i = 0; i < 2 * sizeof cases / sizeof cases[0]; i++) {
    const int *extent = cases[i / 2];
    bool gathers = i % 2 == 1 && extent[2] > 1;
    int num = extent[0] * extent[1] * extent[2] * extent[3] * extent[4];
    for (int of = 0; of < num; of++) {
      uly_mesh *mesh, *again;
      int place[ULY_NUM_AXES];
      find_places(extent, of, place);
      assert_ok(uly_mesh_create_offline(
          MESH(.tp = extent[0], .ulysses = extent[1], .ring = gathers ? 0 : extent[2],
               .gather = gathers ? extent[2] : 0, .dp = extent[3], .pp = extent[4]),
          of, &mesh));
      assert_int_equal(uly_mesh_size(mesh), num);
      assert_int_equal(uly_mesh_tp(mesh), extent[0]);
      assert_int_equal(uly_mesh_sp(mesh), extent[1] * extent[2]);
      assert_int_equal(uly_mesh_dp(mesh), extent[3]);
      for (int axis = 0; axis < ULY_NUM_AXES; axis++) {
        assert_int_equal(uly__mesh_index(mesh, used_axes[axis]), place[axis]);
        assert_int_equal(uly__mesh_extent(mesh, used_axes[axis]), extent[axis]);
      }
      int sequence = place[2] * extent[1] + place[1];
      assert_int_equal(uly__mesh_index(mesh, ULY_AXES_SP), sequence);
      assert_int_equal(uly__mesh_index(mesh, ULY_AXES_ZERO),
                       place[3] * extent[1] * extent[2] + sequence);
      assert_int_equal(uly__group_rank(uly__mesh_group(mesh, ULY_AXIS_TP)), place[0]);
      assert_int_equal(uly__group_size(uly__mesh_group(mesh, ULY_AXIS_TP)), extent[0]);
      assert_int_equal(uly__group_rank(uly__mesh_group(mesh, ULY_AXIS_PP)), place[4]);
      assert_int_equal(uly__group_size(uly__mesh_group(mesh, ULY_AXIS_PP)), extent[4]);
      assert_int_equal(uly__group_size(uly__mesh_group(mesh, ULY_AXES_ZERO)),
                       num / extent[0] / extent[4]);
      uly_mesh_desc desc = uly__mesh_describe(mesh);
      assert_ok(uly_mesh_create_offline(&desc, of, &again));
      assert_memory_equal(again->extent, mesh->extent, sizeof mesh->extent);
      assert_int_equal(again->gathers, mesh->gathers);
      uly_mesh_destroy(again);
      uly_mesh_destroy(mesh);
    }
  }
}

static int64_t encode(const int place[ULY_NUM_AXES]) {
  return (((place[4] * 100 + place[3]) * 100 + place[2]) * 100 + place[1]) * 100 + place[0];
}

/* Checks that the group of these axes has the ranks whose places on all other axes are this rank's,
 * in the order of ranks. */
static void check_members(const uly_mesh *mesh, const int extent[ULY_NUM_AXES], unsigned axes) {
  uly__group *group = uly__mesh_group(mesh, axes);
  int mine[ULY_NUM_AXES], place[ULY_NUM_AXES], num = 0;
  int64_t *received = calloc((size_t)uly__group_size(group), sizeof *received);
  assert_non_null(received);
  find_places(extent, rank, mine);
  int64_t value = encode(mine);
  assert_ok(uly__all_gather(group, NULL, ULY_TRAFFIC_CONTROL, &value, sizeof value, received));
  for (int of = 0; of < size; of++) {
    bool is_member = true;
    find_places(extent, of, place);
    for (int i = 0; i < ULY_NUM_AXES; i++) is_member &= axes & used_axes[i] || place[i] == mine[i];
    if (!is_member) continue;
    assert_true(num < uly__group_size(group));
    if (of == rank) assert_int_equal(uly__group_rank(group), num);
    assert_int_equal(received[num++], encode(place));
  }
  assert_int_equal(uly__group_size(group), num);
  free(received);
}

static void check_mesh_members(const int extent[ULY_NUM_AXES]) {
  static const unsigned sets[] = {ULY_AXES_ALL,  ULY_AXES_ZERO, ULY_AXES_SP, ULY_AXIS_ULYSSES,
                                  ULY_AXIS_RING, ULY_AXIS_TP,   ULY_AXIS_PP};
  uly_mesh *mesh;
  assert_ok(uly_mesh_create(
      MESH(.tp = extent[0], .ulysses = extent[1], .ring = extent[2], .pp = extent[4]), &mesh));
  assert_int_equal(uly_mesh_dp(mesh), extent[3]);
  assert_int_equal(uly__mesh_index(mesh, ULY_AXES_ALL), rank);
  for (size_t i = 0; i < sizeof sets / sizeof sets[0]; i++) check_members(mesh, extent, sets[i]);
  uly_mesh_destroy(mesh);
}

/* The members of every group, on every mesh that these ranks can have. */
static void test_members(void **state) {
  (void)state;
  int extent[ULY_NUM_AXES];
  for (extent[0] = 1; extent[0] <= size; extent[0]++)
    for (extent[1] = 1; extent[1] <= size; extent[1]++)
      for (extent[2] = 1; extent[2] <= size; extent[2]++)
        for (extent[4] = 1; extent[4] <= size; extent[4]++) {
          int num = extent[0] * extent[1] * extent[2] * extent[4];
          extent[3] = size / num;
          if (size % num == 0) check_mesh_members(extent);
        }
}

/* The extents of sp = 12 that follow from one or both of its axes, and the place of each rank. */
static void test_sequence_axes(void **state) {
  (void)state;
  const struct {
    int sp, ulysses, ring, gather, expected[3];
  } cases[] = {{12, 0, 0, 0, {12, 1, 1}}, {12, 3, 0, 0, {3, 4, 1}},   {12, 0, 6, 0, {2, 6, 1}},
               {0, 4, 3, 0, {4, 3, 1}},   {12, 12, 1, 0, {12, 1, 1}}, {12, 0, 0, 4, {3, 1, 4}},
               {0, 0, 12, 0, {1, 12, 1}}, {12, 6, 0, 2, {6, 1, 2}}};
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
    for (int place = 0; place < 24; place++) {
      uly_mesh *mesh;
      assert_ok(
          uly_mesh_create_offline(MESH(.dp = 2, .sp = cases[i].sp, .ulysses = cases[i].ulysses,
                                       .ring = cases[i].ring, .gather = cases[i].gather),
                                  place, &mesh));
      const int *expected = cases[i].expected;
      assert_int_equal(uly_mesh_ulysses(mesh), expected[0]);
      assert_int_equal(uly_mesh_ring(mesh), expected[1]);
      assert_int_equal(uly_mesh_gather(mesh), expected[2]);
      assert_int_equal(uly__mesh_index(mesh, ULY_AXIS_ULYSSES), place % expected[0]);
      assert_int_equal(uly__mesh_index(mesh, ULY_AXIS_RING),
                       place / expected[0] % (12 / expected[0]));
      assert_int_equal(uly__mesh_index(mesh, ULY_AXIS_DP), place / 12);
      uly_mesh_destroy(mesh);
    }
}

static void test_null(void **state) {
  (void)state;
  assert_fails(uly_mesh_agree(NULL, ULY_OK), ULY_ERR_CONFIG, "'mesh' is NULL");
  assert_fails(uly_mesh_same(NULL, "", 1, "text"), ULY_ERR_CONFIG, "'mesh' is NULL");
  assert_int_equal(
      uly_mesh_rank(NULL) + uly_mesh_size(NULL) + uly_mesh_dp(NULL) + uly_mesh_sp(NULL), 0);
  assert_int_equal(uly_mesh_tp(NULL) + uly_mesh_pp(NULL) + uly_mesh_threads(NULL), 0);
  uly_mesh_destroy(NULL);
  uly_plan_report plan = {.size = sizeof plan};
  uly_train_config config = default_config();
  assert_fails(uly_plan(NULL, &config, &plan), ULY_ERR_CONFIG, "'mesh' is NULL");
  uly_trainer *trainer;
  assert_fails(uly_trainer_create(NULL, &config, &trainer), ULY_ERR_CONFIG, "'mesh' is NULL");
  uly_mesh *mesh;
  assert_ok(uly_mesh_create(NULL, &mesh));
  assert_fails(uly_trainer_create(mesh, NULL, &trainer), ULY_ERR_CONFIG, "uly_train_config");
  assert_fails(uly_plan(mesh, &config, NULL), ULY_ERR_CONFIG, "uly_plan_report");
  uly_step_report report = {.size = sizeof report};
  assert_fails(uly_trainer_step(NULL, &report), ULY_ERR_CONFIG, "'trainer' is NULL");
  assert_fails(uly_trainer_load(NULL, "x"), ULY_ERR_CONFIG, "'trainer' is NULL");
  assert_int_equal(uly_trainer_steps_done(NULL), 0);
  assert_fails(uly_generator_next(NULL, 1), ULY_ERR_CONFIG, "'generator' is NULL");
  uly_checkpoint_info info = {.size = sizeof info};
  assert_fails(uly_checkpoint_read(NULL, &info), ULY_ERR_CONFIG, "'dir' is NULL");
  uly_mesh_destroy(mesh);
}

/* A trainer whose mesh is gone can only be destroyed. */
static void test_trainer_outlives_mesh(void **state) {
  (void)state;
  char path[256], text[2000];
  for (size_t i = 0; i < sizeof text; i++) text[i] = (char)('a' + i % 23);
  write_scratch_file(path, "mesh.txt", text, sizeof text);
  uly_mesh *mesh;
  uly_trainer *trainer;
  uly_train_config config = default_config();
  config.model = "llama-1m";
  config.data = path;
  config.seq_len = 64;
  assert_ok(uly_mesh_create(NULL, &mesh));
  assert_ok(uly_trainer_create(mesh, &config, &trainer));
  uly_mesh_destroy(mesh);
  uly_step_report report = {.size = sizeof report};
  assert_fails(uly_trainer_step(trainer, &report), ULY_ERR_CONFIG, "mesh was destroyed");
  assert_fails(uly_trainer_save(trainer, "nowhere"), ULY_ERR_CONFIG, "mesh was destroyed");
  uly_trainer_destroy(trainer);
  remove_scratch_file(path);
}

int main(int argc, char **argv) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_communicators),
      cmocka_unit_test(test_errors_are_fatal),
      cmocka_unit_test(test_axes),
      cmocka_unit_test(test_sequence_axes),
      cmocka_unit_test(test_tensor_refusals),
      cmocka_unit_test(test_pipeline_refusals),
      cmocka_unit_test(test_defaults),
      cmocka_unit_test(test_places),
      cmocka_unit_test(test_members),
      cmocka_unit_test(test_null),
      cmocka_unit_test(test_trainer_outlives_mesh),
  };
  begin_ranks(&argc, &argv, NULL);
  size = uly_world_size();
  rank = uly_world_rank();
  int failed = cmocka_run_group_tests(tests, NULL, NULL);
  end_ranks(NULL, failed);
  /* MPI cannot be started twice. */
  uly_mesh *mesh;
  if (uly_init(NULL, NULL) != ULY_ERR_CONFIG ||
      !strstr(uly_last_error(), "cannot be started twice") ||
      uly_mesh_create(NULL, &mesh) != ULY_ERR_CONFIG) {
    fprintf(stderr, "after the end of MPI: %s\n", uly_last_error());
    return 1;
  }
  return 0;
}
