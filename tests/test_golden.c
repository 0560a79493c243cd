/* Compares the whole model with PyTorch in float64: loss, logits, every gradient, and ten training
 * steps, for a Llama (grouped-query), a Qwen2 (biases, tied), a GPT-2, a Mistral (whose file has a
 * window) and a tied Llama of five layers, with every recompute policy and ZeRO stage, and on every
 * number of ranks, divided into Ulysses, rings, gathers, tensor parallelism and the stages of a
 * pipeline. The golden files come from tools/make_golden.py. */
#include <mpi.h>

#include "golden_testing.h"
#include "testing.h"

static uly_mesh *mesh;
/* Settings of the runs that follow. */
static int64_t batch;
static int chunks = 1;

static uly_trainer *make_trainer(const golden *g, uly_dtype dtype, uly_recompute recompute,
                                 int stage) {
  uly_train_config config = golden_config(g);
  char model[512], path[512];
  uly__safetensors *weights;
  test_data_path(model, g->set, "config.json");
  test_data_path(path, g->set, "model.safetensors");
  config.model = model;
  config.dtype = dtype;
  config.recompute = recompute;
  config.zero_stage = stage;
  config.batch = batch;
  config.pp_chunks = chunks;
  uly_trainer *trainer;
  assert_ok(uly_trainer_create(mesh, &config, &trainer));
  assert_ok(uly__safetensors_open(path, &weights));
  set_weights(trainer, weights);
  uly__safetensors_close(weights);
  return trainer;
}

/* The files have the names and the layout of the library. */
static float *own_gradient(const golden *g, const uly__param *param) {
  char name[128];
  snprintf(name, sizeof name, "grad.%s", param->name);
  return golden_tensor(g, name, param->count);
}

static void check_set(const char *set, uly_dtype dtype, uly_recompute recompute, int stage,
                      double tolerance) {
  golden g = open_golden(set);
  uly_trainer *trainer = make_trainer(&g, dtype, recompute, stage);
  check_logits(&g, trainer, tolerance);
  check_evaluation(&g, trainer, tolerance);
  check_steps(&g, trainer, own_gradient, tolerance);
  uly_trainer_destroy(trainer);
  close_golden(&g);
}

static void check_f32(const char *set) {
  check_set(set, ULY_F32, ULY_RECOMPUTE_NONE, 0, 1e-5);
  check_set(set, ULY_F32, ULY_RECOMPUTE_KEEP_ATTENTION, 1, 1e-5);
  check_set(set, ULY_F32, ULY_RECOMPUTE_FULL, 2, 1e-5);
  check_set(set, ULY_F32, ULY_RECOMPUTE_FULL, 3, 1e-5);
}

static void test_llama(void **state) {
  (void)state;
  check_f32("golden_llama");
}

static void test_qwen(void **state) {
  (void)state;
  check_f32("golden_qwen");
}

static void test_gpt2(void **state) {
  (void)state;
  check_f32("golden_gpt2");
}

/* It has 6 heads: of more ranks each computes alone. */
static void test_mistral(void **state) {
  (void)state;
  uly_mesh *all = mesh;
  if (uly_mesh_size(all) > 6) assert_ok(uly_mesh_create_mpi(MPI_COMM_SELF, NULL, &mesh));
  check_f32("golden_mistral");
  if (mesh != all) uly_mesh_destroy(mesh);
  mesh = all;
}

/* bf16 keeps 8 bits: rounding of weights and activations, no more. */
static void test_bf16(void **state) {
  (void)state;
  check_set("golden_llama", ULY_BF16, ULY_RECOMPUTE_KEEP_ATTENTION, 3, 0.05);
  check_set("golden_gpt2", ULY_BF16, ULY_RECOMPUTE_FULL, 0, 0.05);
}

/* The sequence divided over a ring or a gather, and Ulysses: what of this the number of ranks
 * allows. */
static void test_rings(void **state) {
  (void)state;
  uly_mesh *all = mesh;
  int size = uly_mesh_size(all);
  for (int gathers = 0; gathers < 2 && size > 1; gathers++) {
    int ulysses = size % 2 == 0 ? size / 2 : 1, ring = size / ulysses;
    assert_ok(uly_mesh_create(
        MESH(.ulysses = ulysses, .ring = gathers ? 0 : ring, .gather = gathers ? ring : 0), &mesh));
    check_set("golden_llama", ULY_F32, ULY_RECOMPUTE_FULL, 3, 1e-5);
    check_set("golden_qwen", ULY_F32, ULY_RECOMPUTE_NONE, 0, 1e-5);
    check_set("golden_gpt2", ULY_F32, ULY_RECOMPUTE_KEEP_ATTENTION, 2, 1e-5);
    check_set("golden_mistral", ULY_F32, ULY_RECOMPUTE_FULL, 1, 1e-5);
    check_set("golden_llama", ULY_BF16, ULY_RECOMPUTE_KEEP_ATTENTION, 3, 0.05);
    uly_mesh_destroy(mesh);
  }
  mesh = all;
}

/* The sets of two layers. */
static void check_sets(void) {
  check_set("golden_llama", ULY_F32, ULY_RECOMPUTE_FULL, 3, 1e-5);
  check_set("golden_qwen", ULY_F32, ULY_RECOMPUTE_NONE, 0, 1e-5);
  check_set("golden_gpt2", ULY_F32, ULY_RECOMPUTE_KEEP_ATTENTION, 2, 1e-5);
  check_set("golden_mistral", ULY_F32, ULY_RECOMPUTE_NONE, 1, 1e-5);
}

/* Layers divided among the stages of a pipeline, alone and with other axes. A step repeats the one
 * sequence, so that several micro-batches are in flight. */
static void check_pipeline(const uly_mesh_desc *desc) {
  int stages = desc->pp;
  assert_ok(uly_mesh_create(desc, &mesh));
  for (chunks = 1; chunks * stages <= 5; chunks++)
    for (batch = 1; batch <= 5; batch += 2) {
      int stage = (batch + chunks) % 4;
      check_set("golden_deep", ULY_F32, (uly_recompute)(batch % 3), stage, 1e-5);
    }
  chunks = 1;
  batch = 3 * uly_mesh_dp(mesh);
  check_set("golden_deep", ULY_BF16, ULY_RECOMPUTE_FULL, 3, 0.05);
  if (stages == 2) check_sets();
  batch = 0;
  uly_mesh_destroy(mesh);
}

static void test_pipeline(void **state) {
  (void)state;
  uly_mesh *all = mesh;
  switch (uly_mesh_size(all)) {
    case 2: check_pipeline(MESH(.pp = 2)); break;
    case 3: check_pipeline(MESH(.pp = 3)); break;
    case 4:
      check_pipeline(MESH(.pp = 4));
      check_pipeline(MESH(.pp = 2, .tp = 2));
      check_pipeline(MESH(.pp = 2, .ulysses = 2));
      break;
    case 8: check_pipeline(MESH(.pp = 2, .tp = 2, .ulysses = 2)); break;
    default: break;
  }
  mesh = all;
}

static void check_on(const uly_mesh_desc *desc) {
  assert_ok(uly_mesh_create(desc, &mesh));
  check_sets();
  check_set("golden_llama", ULY_BF16, ULY_RECOMPUTE_KEEP_ATTENTION, 1, 0.05);
  uly_mesh_destroy(mesh);
}

/* Layers divided by tensor parallelism, alone and with what else the number of ranks allows. */
static void test_tensor(void **state) {
  (void)state;
  uly_mesh *all = mesh;
  switch (uly_mesh_size(all)) {
    case 2: check_on(MESH(.tp = 2)); break;
    case 3: check_on(MESH(.tp = 3)); break;
    case 4:
      check_on(MESH(.tp = 4));
      check_on(MESH(.tp = 2, .ulysses = 2));
      check_on(MESH(.tp = 2, .ring = 2));
      break;
    case 8: check_on(MESH(.tp = 2, .ulysses = 2, .dp = 2)); break;
    default: break;
  }
  mesh = all;
}

int main(int argc, char **argv) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_llama),   cmocka_unit_test(test_qwen),     cmocka_unit_test(test_gpt2),
      cmocka_unit_test(test_mistral), cmocka_unit_test(test_bf16),     cmocka_unit_test(test_rings),
      cmocka_unit_test(test_tensor),  cmocka_unit_test(test_pipeline),
  };
  begin_ranks(&argc, &argv, &mesh);
  int failed = cmocka_run_group_tests(tests, NULL, NULL);
  return end_ranks(mesh, failed);
}
