/* Compares models that are read from Hugging Face folders with transformers in float64: loss by
 * position, logits, every gradient and five training steps, for every family and kind of RoPE, both
 * spellings of config.json, every stored type and files with and without an index, on every number
 * of ranks, divided into Ulysses, rings, tensor parallelism and the stages of a pipeline. The
 * folders come from tools/make_hf_golden.py. */
#include <mpi.h>

#include "golden_testing.h"
#include "testing.h"

static uly_mesh *mesh;

/* Sets of models that can be trained, and how many layers each has. */
static const struct {
  const char *name;
  int num_layers;
} SETS[] = {
    {"hf_llama2", 3},  {"hf_llama3", 2},         {"hf_llama_bias", 2},   {"hf_llama_yarn", 2},
    {"hf_mistral", 2}, {"hf_llama_longrope", 2}, {"hf_mistral_full", 2}, {"hf_ministral", 3},
    {"hf_qwen2", 4},   {"hf_qwen2_old", 3},      {"hf_qwen3", 3},        {"hf_qwen3_mixed", 4},
    {"hf_smollm3", 4}, {"hf_smollm3_old", 5},    {"hf_gpt2", 3},         {"hf_gpt2_base", 2},
};
enum { NUM_SETS = sizeof SETS / sizeof *SETS };

/* ------------------------------------------------------------------ names and layouts of tensors */

/* What GPT-2 calls a part of a layer; third: which third of the columns it is, -1: all of them. */
static const struct {
  const char *ours, *theirs;
  int third;
} GPT2_PARTS[] = {
    {"input_layernorm", "ln_1", -1},         {"self_attn.q_proj", "attn.c_attn", 0},
    {"self_attn.k_proj", "attn.c_attn", 1},  {"self_attn.v_proj", "attn.c_attn", 2},
    {"self_attn.o_proj", "attn.c_proj", -1}, {"post_attention_layernorm", "ln_2", -1},
    {"mlp.up_proj", "mlp.c_fc", -1},         {"mlp.down_proj", "mlp.c_proj", -1},
};

/* Writes what GPT-2 calls a tensor, without "transformer.", and returns the third of its columns
 * that the parameter is, or -1. */
static int name_in_gpt2(const char *name, char *out, size_t size) {
  const char *tail = strrchr(name, '.');
  if (strncmp(name, "model.embed_tokens.", 19) == 0) snprintf(out, size, "wte%s", tail);
  if (strncmp(name, "model.embed_positions.", 22) == 0) snprintf(out, size, "wpe%s", tail);
  if (strncmp(name, "model.norm.", 11) == 0) snprintf(out, size, "ln_f%s", tail);
  if (strncmp(name, "model.layers.", 13) != 0) return -1;
  char *part;
  long layer = strtol(name + 13, &part, 10);
  for (size_t i = 0; i < sizeof GPT2_PARTS / sizeof *GPT2_PARTS; i++) {
    size_t length = strlen(GPT2_PARTS[i].ours);
    if (strncmp(part + 1, GPT2_PARTS[i].ours, length) != 0 || part + 1 + length != tail) continue;
    snprintf(out, size, "h.%ld.%s%s", layer, GPT2_PARTS[i].theirs, tail);
    return GPT2_PARTS[i].third;
  }
  fail_msg("%s has no name in GPT-2", name);
  return -1;
}

/* Returns the gradient of a GPT-2's parameter. Its linears are stored [in, out], and Q, K and V are
 * one of them. */
static float *gpt2_gradient(const golden *g, const uly__param *param) {
  bool is_base = strcmp(g->set, "hf_gpt2_base") == 0;
  char name[160] = "", full[200];
  int third = name_in_gpt2(param->name, name, sizeof name);
  if (!*name) snprintf(name, sizeof name, "%s", param->name);
  bool is_bare = is_base || strncmp(name, "lm_head", 7) == 0;
  snprintf(full, sizeof full, "grad.%s%s", is_bare ? "" : "transformer.", name);
  int64_t rows = param->dims[0], cols = param->num_dims == 2 ? param->dims[1] : 1;
  int64_t width = third < 0 ? rows : 3 * rows, first = third < 0 ? 0 : third * rows;
  bool is_linear = param->num_dims == 2 && strncmp(name, "h.", 2) == 0;
  if (!is_linear && third < 0) return golden_tensor(g, full, param->count);
  float *all = golden_tensor(g, full, width * cols);
  float *out = malloc((size_t)param->count * sizeof *out);
  for (int64_t r = 0; r < rows; r++)
    for (int64_t c = 0; c < cols; c++) out[r * cols + c] = all[c * width + first + r];
  free(all);
  return out;
}

static float *hf_gradient(const golden *g, const uly__param *param) {
  char name[160];
  if (strncmp(g->set, "hf_gpt2", 7) == 0) return gpt2_gradient(g, param);
  snprintf(name, sizeof name, "grad.%s", param->name);
  return golden_tensor(g, name, param->count);
}

/* ------------------------------------------------------------------------------------------- runs */

static uly_train_config config_of(const golden *g, char *folder) {
  uly_train_config config = golden_config(g);
  test_data_path(folder, g->set, "");
  config.init = folder;
  return config;
}

static void check_set(const char *set, uly_dtype dtype, int variant, double tolerance) {
  char folder[512];
  golden g = open_golden(set);
  uly_train_config config = config_of(&g, folder);
  config.dtype = dtype;
  config.recompute = (uly_recompute)(variant % 3);
  config.zero_stage = variant % 4;
  uly_trainer *trainer;
  assert_ok(uly_trainer_create(mesh, &config, &trainer));
  check_logits(&g, trainer, tolerance);
  check_evaluation(&g, trainer, tolerance);
  check_steps(&g, trainer, hf_gradient, tolerance);
  uly_trainer_destroy(trainer);
  close_golden(&g);
}

/* All sets that the mesh can divide, each with another way to recompute and to shard. */
static void check_sets(void) {
  for (int i = 0; i < NUM_SETS; i++)
    if (SETS[i].num_layers >= uly_mesh_pp(mesh)) check_set(SETS[i].name, ULY_F32, i, 1e-5);
}

static void check_on(const uly_mesh_desc *desc) {
  uly_mesh *all = mesh;
  assert_ok(uly_mesh_create(desc, &mesh));
  check_sets();
  uly_mesh_destroy(mesh);
  mesh = all;
}

static void test_ulysses(void **state) {
  (void)state;
  check_sets();
}

static void test_layouts(void **state) {
  (void)state;
  switch (uly_mesh_size(mesh)) {
    case 2:
      check_on(MESH(.tp = 2));
      check_on(MESH(.pp = 2));
      check_on(MESH(.ring = 2));
      check_on(MESH(.gather = 2));
      break;
    case 3:
      check_on(MESH(.tp = 3));
      check_on(MESH(.pp = 3));
      check_on(MESH(.ring = 3));
      break;
    case 4:
      check_on(MESH(.tp = 2, .ulysses = 2));
      check_on(MESH(.pp = 2, .tp = 2));
      check_on(MESH(.pp = 2, .ulysses = 2));
      check_on(MESH(.dp = 2, .ring = 2));
      break;
    default: break;
  }
}

/* bf16 keeps 8 bits: rounding of weights and activations, no more. */
static void test_bf16(void **state) {
  (void)state;
  check_set("hf_llama3", ULY_BF16, 3, 0.1);
  check_set("hf_qwen3", ULY_BF16, 1, 0.1);
  check_set("hf_gpt2", ULY_BF16, 2, 0.1);
}

static void evaluate_only(golden g) {
  char folder[512];
  uly_train_config config = config_of(&g, folder);
  config.forward_only = 1;
  uly_trainer *trainer;
  assert_ok(uly_trainer_create(mesh, &config, &trainer));
  check_logits(&g, trainer, 1e-5);
  check_evaluation(&g, trainer, 1e-5);
  uly_trainer_destroy(trainer);
  close_golden(&g);
}

/* RoPE depends on the length of the sequence: lengths within the original one, and beyond. */
static void test_lengths(void **state) {
  (void)state;
  evaluate_only(open_golden_within("hf_llama_longrope"));
  evaluate_only(open_golden("hf_llama_longrope"));
  evaluate_only(open_golden_within("hf_llama_dynamic"));
  evaluate_only(open_golden("hf_llama_dynamic"));
}

static void test_refuses_to_train(void **state) {
  (void)state;
  char folder[512];
  golden g = open_golden("hf_llama_dynamic");
  uly_train_config config = config_of(&g, folder);
  uly_trainer *trainer;
  assert_fails(uly_trainer_create(mesh, &config, &trainer), ULY_ERR_CONFIG, "dynamic");
  close_golden(&g);
}

int main(int argc, char **argv) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_ulysses),
      cmocka_unit_test(test_layouts),
      cmocka_unit_test(test_bf16),
      cmocka_unit_test(test_lengths),
      cmocka_unit_test(test_refuses_to_train),
  };
  begin_ranks(&argc, &argv, &mesh);
  int failed = cmocka_run_group_tests(tests, NULL, NULL);
  return end_ranks(mesh, failed);
}
