/* Compares plans with runs: bytes that a profiling layer under MPI counts, with the formula and
 * with `plan`, rank by rank; and memory of the arenas with `plan`, and how it grows with N and with
 * ranks. */
#include <math.h>

#include "pmpi_count.h"
#include "testing.h"
#include "train/trainer.h"

static uly_mesh *mesh;
static int num_formulas; /* that were compared */
static int size, rank;
static const char *model_path;
static char text_path[256], config_path[256], deep_path[256];

/* What MPI is told to send by the exchanges of one forward and one backward, in bytes: not by the
 * agreement before them. */
static void count_attention(uly_mesh *on, const uly_attention_desc *desc, int64_t *forward,
                            int64_t *backward) {
  uly_attention *plan;
  assert_ok(uly_attention_create(on, desc, &plan));
  int64_t T = plan->cut.count, bytes = desc->dtype == ULY_BF16 ? 2 : 4;
  size_t q_bytes = (size_t)(T * desc->num_q_heads * desc->head_dim * bytes) + 1;
  size_t kv_bytes = (size_t)(T * desc->num_kv_heads * desc->head_dim * bytes) + 1;
  void *q = calloc(1, q_bytes), *k = calloc(1, kv_bytes), *v = calloc(1, kv_bytes);
  void *o = calloc(1, q_bytes);
  assert_ok(uly_attention_forward(plan, q, k, v, o)); /* allocates */
  int64_t control = on->traffic.bytes[ULY_TRAFFIC_CONTROL];
  pmpi_reset();
  assert_ok(uly_attention_forward(plan, q, k, v, o));
  *forward = pmpi_bytes() - (on->traffic.bytes[ULY_TRAFFIC_CONTROL] - control);
  control = on->traffic.bytes[ULY_TRAFFIC_CONTROL];
  pmpi_reset();
  assert_ok(uly_attention_backward(plan, o, q, k, v));
  *backward = pmpi_bytes() - (on->traffic.bytes[ULY_TRAFFIC_CONTROL] - control);
  assert_int_equal(pmpi_unaccounted(), 0);
  free(q), free(k), free(v), free(o);
  uly_attention_destroy(plan);
}

/* (2 h + 2 k) N (P - 1) / P^2 elements each way, to the byte, where P divides N, Hq and Hkv. */
static void test_formula(void **state) {
  (void)state;
  int64_t P = size, d = 8;
  for (int dtype = 0; dtype < 2; dtype++)
    for (int64_t group = 1; group <= 4; group++) {
      int64_t N = 48 * P, Hkv = 2 * P, Hq = group * Hkv, bytes = dtype == ULY_BF16 ? 2 : 4;
      uly_mask mask = {.size = sizeof mask, .kind = ULY_MASK_CAUSAL};
      uly_attention_desc desc = {.size = sizeof desc,
                                 .num_tokens = N,
                                 .num_q_heads = (int)Hq,
                                 .num_kv_heads = (int)Hkv,
                                 .head_dim = (int)d,
                                 .dtype = (uly_dtype)dtype,
                                 .masks = &mask};
      int64_t forward, backward, h = Hq * d, k = Hkv * d;
      count_attention(mesh, &desc, &forward, &backward);
      int64_t expected = (2 * h + 2 * k) * N * (P - 1) / (P * P) * bytes;
      assert_int_equal(forward, expected);
      assert_int_equal(backward, expected);
    }
  /* One key/value head for all: 2 h N (P - 1) / P^2 + 2 N d (P - 1) / P, each rank holding a
   * copy. */
  int64_t N = 48 * P, h = P * d, forward, backward;
  uly_attention_desc desc = {.size = sizeof desc,
                             .num_tokens = N,
                             .num_q_heads = size,
                             .num_kv_heads = 1,
                             .head_dim = (int)d};
  count_attention(mesh, &desc, &forward, &backward);
  assert_int_equal(forward, (2 * h * N * (P - 1) / (P * P) + 2 * N * d * (P - 1) / P) * 4);
  assert_int_equal(backward, forward);
}

/* With R ranks in a ring and U of Ulysses, where they divide everything: the exchange of heads as
 * above; keys and values, 2 c elements a token, to R - 1 ranks; and in backward their gradients in
 * f32, which make R - 1 hops in a ring and are sent to R - 1 ranks by a gather. */
static void check_ring_formula(int64_t U, int64_t R, bool gathers, int64_t N, uly_dtype dtype) {
  int64_t d = 6, Hkv = 2 * U, Hq = 3 * Hkv, e = dtype == ULY_BF16 ? 2 : 4, P = U * R;
  uly_mesh *divided;
  assert_ok(uly_mesh_create(
      MESH(.ulysses = (int)U, .ring = gathers ? 0 : (int)R, .gather = gathers ? (int)R : 0),
      &divided));
  uly_mask mask = {.size = sizeof mask, .kind = ULY_MASK_CAUSAL};
  uly_attention_desc desc = {.size = sizeof desc,
                             .num_tokens = N,
                             .num_q_heads = (int)Hq,
                             .num_kv_heads = (int)Hkv,
                             .head_dim = (int)d,
                             .dtype = dtype,
                             .masks = &mask};
  int64_t forward, backward, c = Hkv / U * d;
  count_attention(divided, &desc, &forward, &backward);
  int64_t exchange = (2 * Hq + 2 * Hkv) * d * N / P * (U - 1) / U * e;
  int64_t keys = 2 * N / R * c * e * (R - 1), gradients = 2 * N / R * c * 4 * (R - 1);
  assert_int_equal(forward, exchange + keys);
  assert_int_equal(backward, exchange + keys + gradients);
  uly_mesh_destroy(divided);
}

static void test_ring_formula(void **state) {
  (void)state;
  for (int64_t U = 1; U < size; U++)
    for (int i = 0; i < 6 && size % U == 0; i++)
      check_ring_formula(U, size / U, i % 2, (2 + 3 * i) * 2 * size,
                         i / 2 % 2 ? ULY_BF16 : ULY_F32);
}

static uly_train_config base_config(int64_t N, uly_dtype dtype, uly_recompute recompute) {
  uly_train_config config = default_config();
  config.model = model_path;
  config.data = text_path;
  config.seq_len = N;
  config.dtype = dtype;
  config.recompute = recompute;
  config.threads = 1;
  return config;
}

/* Compares what is sent to divide the layers with the formulas of arXiv 2205.05198, where every
 * tile can be divided: in forward and in backward four times (T-1)/T of the N rows of h elements
 * that the T ranks have together, for each block, and twice more to gather inputs again in
 * backward; and then once for the embedding and once for the head, which also exchanges three
 * numbers for each row. */
static void check_tensor_formula(const uly__model *model, int64_t passes,
                                 const uly_plan_report *plan) {
  int64_t T = model->tensor.size, N = model->num_tokens, L = model->num_layers;
  for (int64_t i = 0; i < model->tiles.num; i++)
    if (model->tiles.list[i].rows % T != 0) return;
  int64_t once = N / T * (T - 1) * model->config.hidden * uly__dtype_bytes(model->dtype);
  int64_t summaries = N * (T - 1) * 3 * (int64_t)sizeof(double);
  assert_int_equal(plan->sent_bytes[ULY_TRAFFIC_TENSOR_FORWARD],
                   passes * ((4 * L + 2) * once + summaries));
  assert_int_equal(plan->sent_bytes[ULY_TRAFFIC_TENSOR_BACKWARD], passes * (6 * L + 2) * once);
  num_formulas += T > 1;
}

/* Checks what stages send to each other: the rows of a boundary travel once forward and once
 * backward, for each micro-batch and each boundary of chunks; the ranks of a stage divide them. */
static void check_boundary_formula(const uly_mesh_desc *desc, int chunks, int64_t passes, int64_t N,
                                   uly_dtype dtype, const uly_plan_report *plan) {
  int64_t sent[2] = {plan->sent_bytes[ULY_TRAFFIC_PIPELINE_FORWARD],
                     plan->sent_bytes[ULY_TRAFFIC_PIPELINE_BACKWARD]};
  int64_t all[2 * 64];
  uly_mesh *world;
  assert_ok(uly_mesh_create(NULL, &world));
  assert_ok(
      uly__all_gather(uly__mesh_world(world), NULL, ULY_TRAFFIC_CONTROL, sent, sizeof sent, all));
  uly_mesh_destroy(world);
  int64_t boundaries = (int64_t)desc->pp * chunks - 1, total[2] = {0, 0};
  for (int p = 0; p < 2 * size; p++) total[p % 2] += all[p];
  int64_t expected = boundaries * passes * desc->dp * N * 36 * (dtype == ULY_BF16 ? 2 : 4);
  assert_int_equal(total[0], expected);
  assert_int_equal(total[1], expected);
}

/* Sent in one step by this rank: by kind from the library's counters, in all from the profiling
 * layer, and both from the plan made without running. Also the arenas. */
static void check_step_on(uly_mesh_desc desc, int64_t N, int64_t passes, uly_dtype dtype,
                          uly_recompute recompute, int stage, int reproducible) {
  uly_mesh *run, *offline;
  int dp = desc.dp;
  assert_ok(uly_mesh_create(&desc, &run));
  desc.sp = uly_mesh_sp(run);
  assert_ok(uly_mesh_create_offline(&desc, rank, &offline));
  uly_train_config config = base_config(N, dtype, recompute);
  config.batch = passes * dp;
  config.zero_stage = stage;
  config.reproducible = reproducible;
  config.pp_chunks = desc.pp > 1 && desc.pp <= 4 && stage > 1 ? 2 : 1;
  int most = desc.tp > 1 ? 1 : 9 / uly_mesh_ulysses(run);
  config.rounds = reproducible ? 0 : stage < most ? stage : most; /* 0: chosen */
  config.grad_dtype = reproducible ? ULY_F32 : dtype;
  uly_plan_report plan = {.size = sizeof plan};
  assert_ok(uly_plan(offline, &config, &plan));
  uly_trainer *trainer;
  assert_ok(uly_trainer_create(run, &config, &trainer));
  uly_step_report report = {.size = sizeof report};
  assert_ok(uly_trainer_step(trainer, &report));
  int64_t before[ULY_NUM_TRAFFIC], counted = 0;
  memcpy(before, run->traffic.bytes, sizeof before);
  pmpi_reset();
  assert_ok(uly_trainer_step(trainer, &report));
  int64_t profiled = pmpi_bytes();
  assert_int_equal(pmpi_unaccounted(), 0);
  for (int i = 0; i < ULY_NUM_TRAFFIC; i++) {
    assert_int_equal(run->traffic.bytes[i] - before[i], plan.sent_bytes[i]);
    counted += plan.sent_bytes[i];
  }
  assert_int_equal(profiled, counted);
  assert_int_equal(plan.num_params, uly_trainer_num_params(trainer));
  assert_int_equal(plan.tokens, trainer->run.model->num_own);
  if (desc.pp > 1)
    check_boundary_formula(&desc, config.pp_chunks, passes, N, dtype, &plan);
  else
    check_tensor_formula(trainer->run.model, passes, &plan);
  for (int i = 0; i < ULY_NUM_ARENAS; i++)
    assert_int_equal(plan.arena_bytes[i], uly__run_arena_bytes(&trainer->run, (uly_arena)i));
  bool repeats = recompute == ULY_RECOMPUTE_FULL;
  assert_int_equal(plan.sent_bytes[ULY_TRAFFIC_ATTENTION_RECOMPUTE],
                   repeats ? plan.sent_bytes[ULY_TRAFFIC_ATTENTION_FORWARD] : 0);
  assert_int_equal(plan.sent_bytes[ULY_TRAFFIC_KEYS_RECOMPUTE],
                   repeats ? plan.sent_bytes[ULY_TRAFFIC_KEYS_FORWARD] : 0);
  uly_trainer_destroy(trainer);
  uly_mesh_destroy(run);
  uly_mesh_destroy(offline);
}

static void check_step(int dp, int64_t N, int64_t passes, uly_dtype dtype, uly_recompute recompute,
                       int stage, int reproducible) {
  uly_mesh_desc desc = {.size = sizeof desc, .dp = dp};
  check_step_on(desc, N, passes, dtype, recompute, stage, reproducible);
}

/* Every way to divide the ranks into Ulysses and a ring or a gather. */
static void test_ring_traffic(void **state) {
  (void)state;
  for (int ulysses = 1; ulysses < size; ulysses++) {
    if (size % ulysses != 0) continue;
    uly_mesh_desc desc = {.size = sizeof desc, .dp = 1, .ulysses = ulysses, .ring = size / ulysses};
    check_step_on(desc, 203, 2, ULY_BF16, ULY_RECOMPUTE_KEEP_ATTENTION, 1, 0);
    check_step_on(desc, 37, 1, ULY_F32, ULY_RECOMPUTE_FULL, 3, 0);
    desc.gather = desc.ring;
    desc.ring = 0;
    check_step_on(desc, 203, 1, ULY_F32, ULY_RECOMPUTE_FULL, 2, 0);
    check_step_on(desc, 64, 2, ULY_BF16, ULY_RECOMPUTE_NONE, 0, 0);
  }
}

/* Every way to divide the ranks into tensor parallelism and one other axis. */
static void test_tensor_traffic(void **state) {
  (void)state;
  for (int tp = 2; tp <= size; tp++) {
    if (size % tp != 0) continue;
    uly_mesh_desc desc = {.size = sizeof desc, .dp = 1, .tp = tp};
    check_step_on(desc, 203, 2, ULY_BF16, ULY_RECOMPUTE_KEEP_ATTENTION, 1, 0);
    check_step_on(desc, 37, 1, ULY_F32, ULY_RECOMPUTE_FULL, 3, 0);
    check_step_on(desc, 256 / tp * size, 1, ULY_F32, ULY_RECOMPUTE_FULL, 0, 0);
    desc.ring = size / tp;
    check_step_on(desc, 96 * size, 1, ULY_BF16, ULY_RECOMPUTE_NONE, 2, 0);
    desc.ring = 0;
    desc.sp = 1;
    desc.dp = size / tp;
    check_step_on(desc, 2 * tp, 3, ULY_F32, ULY_RECOMPUTE_KEEP_ATTENTION, 0, 0);
  }
  if (size > 1) assert_true(num_formulas > 0);
}

/* Every number of stages that the ranks allow, with one other axis. */
static void test_pipeline_traffic(void **state) {
  (void)state;
  model_path = deep_path;
  for (int pp = 2; pp <= size; pp++)
    for (int axis = 0; axis < 3 && size % pp == 0; axis++) {
      int others = size / pp;
      if (others == 1 && axis > 0) continue;
      uly_mesh_desc desc = {.size = sizeof desc, .dp = 1, .pp = pp};
      if (axis == 1) desc.tp = others;
      if (axis == 2) desc.dp = others;
      desc.sp = others / desc.dp / (desc.tp ? desc.tp : 1);
      check_step_on(desc, 203, 3, ULY_BF16, ULY_RECOMPUTE_KEEP_ATTENTION, 1, 0);
      check_step_on(desc, 37, 2 * pp + 1, ULY_F32, ULY_RECOMPUTE_FULL, 3, 0);
      check_step_on(desc, 64, 1, ULY_F32, ULY_RECOMPUTE_NONE, 0, 0);
      check_step_on(desc, 50, pp, ULY_BF16, ULY_RECOMPUTE_NONE, 2, 0);
    }
  model_path = config_path;
}

/* The bubble of stages that have equal work, since the head has next to none: (S - 1) / (V M + S -
 * 1). A plan of an evaluation plays 4 S sequences, which only go forward. The head makes the
 * difference that is allowed. */
static void test_bubble(void **state) {
  (void)state;
  static const char json[] =
      "{\"model_type\":\"llama\",\"hidden_size\":512,\"intermediate_size\":2048,"
      "\"num_hidden_layers\":16,\"num_attention_heads\":4,\"vocab_size\":3,"
      "\"max_position_embeddings\":64,\"tie_word_embeddings\":false}";
  char path[256];
  write_scratch_file(path, "bubble.json", json, strlen(json));
  for (int pp = 1; pp <= 8; pp *= 2)
    for (int chunks = 1; chunks <= (pp > 1 ? 2 : 1); chunks++)
      for (int64_t M = pp; M <= 200; M = 2 * M + 1)
        for (int trains = 0; trains < 2; trains++) {
          uly_mesh *offline;
          uly_plan_report plan = {.size = sizeof plan};
          uly_train_config config = base_config(64, ULY_F32, ULY_RECOMPUTE_FULL);
          assert_ok(uly_mesh_create_offline(MESH(.pp = pp), pp - 1, &offline));
          config.model = path;
          config.batch = M;
          config.pp_chunks = chunks;
          config.forward_only = !trains;
          assert_ok(uly_plan(offline, &config, &plan));
          uly_mesh_destroy(offline);
          double passes = (double)((trains ? M : 4 * pp) * chunks);
          double expected = (pp - 1) / (passes + pp - 1);
          if (!(fabs(plan.bubble - expected) <= 0.01 * expected + 1e-3))
            fail_msg("pp %d, %d chunks, batch %lld: bubble %g, expected %g", pp, chunks,
                     (long long)M, plan.bubble, expected);
        }
  assert_ok(uly_mesh_agree(mesh, ULY_OK)); /* other ranks may still read it */
  remove_scratch_file(path);
}

/* Two stages of one layer each, of which the second also has a large head, so that it is never idle
 * once it has begun, by hand: forward passes take f on both, backward passes b, and the head H. */
static void test_bubble_of_head(void **state) {
  (void)state;
  enum { N = 64, H = 64, F = 96, HEADS = 4, DIM = 16, V = 5000, M = 6 };
  static const char json[] =
      "{\"model_type\":\"llama\",\"hidden_size\":64,\"intermediate_size\":96,"
      "\"num_hidden_layers\":2,\"num_attention_heads\":4,\"vocab_size\":5000,"
      "\"max_position_embeddings\":64,\"tie_word_embeddings\":false}";
  char path[256];
  double products = 2.0 * H * (4.0 * HEADS * DIM + 3.0 * F);
  double attends = 4.0 * DIM * HEADS * (N + 1) / 2.0, head = 2.0 * H * V;
  write_scratch_file(path, "head.json", json, strlen(json));
  for (int recompute = 0; recompute < 4; recompute++) {
    uly_mesh *offline;
    uly_plan_report plan = {.size = sizeof plan};
    bool trains = recompute < 3;
    uly_train_config config = base_config(N, ULY_F32, (uly_recompute)(recompute % 3));
    assert_ok(uly_mesh_create_offline(MESH(.pp = 2), 0, &offline));
    config.model = path;
    config.batch = M;
    config.forward_only = !trains;
    assert_ok(uly_plan(offline, &config, &plan));
    uly_mesh_destroy(offline);
    double f = products + attends, b = 2 * products + 2.5 * attends;
    double again[3] = {[ULY_RECOMPUTE_NONE] = 0,
                       [ULY_RECOMPUTE_KEEP_ATTENTION] = products,
                       [ULY_RECOMPUTE_FULL] = products + attends};
    b += again[recompute % 3];
    double passes = trains ? M : 8; /* 4 for each stage */
    double time = trains ? f + passes * (f + b + 3 * head) + b : f + passes * (f + head);
    double work = trains ? passes * (2 * f + 2 * b + 3 * head) : passes * (2 * f + head);
    double expected = 1 - work / (2 * time);
    if (!(fabs(plan.bubble - expected) <= 1e-9))
      fail_msg("recompute %d: bubble %.12g, expected %.12g", recompute, plan.bubble, expected);
  }
  assert_ok(uly_mesh_agree(mesh, ULY_OK)); /* other ranks may still read it */
  remove_scratch_file(path);
}

static void test_step_traffic(void **state) {
  (void)state;
  bool halves = (size & (size - 1)) == 0;
  for (int stage = 0; stage < 4; stage++) {
    check_step(1, 64, 1, ULY_F32, ULY_RECOMPUTE_NONE, stage, halves);
    check_step(1, 203, 2, ULY_BF16, ULY_RECOMPUTE_KEEP_ATTENTION, stage, 0);
    check_step(1, 37, 1, ULY_F32, ULY_RECOMPUTE_FULL, stage, 0);
    if (size % 2 == 0) check_step(2, 101, 3, ULY_F32, ULY_RECOMPUTE_FULL, stage, halves);
    check_step(size, 50, 1, ULY_BF16, ULY_RECOMPUTE_NONE, stage, halves);
  }
}

static int64_t planned(int64_t N, int sp, uly_recompute recompute, int64_t *activations) {
  uly_mesh *offline;
  uly_plan_report plan = {.size = sizeof plan};
  int64_t total = 0;
  assert_ok(uly_mesh_create_offline(MESH(.sp = sp), 0, &offline));
  uly_train_config config = base_config(N, ULY_BF16, recompute);
  config.model = "llama-4m";
  assert_ok(uly_plan(offline, &config, &plan));
  uly_mesh_destroy(offline);
  for (int i = 0; i < ULY_NUM_ARENAS; i++) total += plan.arena_bytes[i];
  *activations = plan.arena_bytes[ULY_ARENA_ACTIVATIONS] + plan.arena_bytes[ULY_ARENA_SCRATCH];
  return total;
}

/* Checks that memory is the same on any number of ranks at the same N / P, less on one, which needs
 * no room for exchanges, and twice as much at twice N. */
static void test_memory_scaling(void **state) {
  (void)state;
  for (int recompute = 0; recompute < 3; recompute++) {
    int64_t one, other, first = planned(2 * 32768, 2, (uly_recompute)recompute, &other);
    assert_true(planned(32768, 1, (uly_recompute)recompute, &one) < first && one < other);
    for (int sp = 2; sp <= 4; sp *= 2) { /* at 8 ranks the 4 key/value heads are replicated */
      int64_t total = planned((int64_t)32768 * sp, sp, (uly_recompute)recompute, &other);
      assert_true(total >= first / 100 * 95 && total <= first / 100 * 105);
      int64_t doubled;
      planned((int64_t)65536 * sp, sp, (uly_recompute)recompute, &doubled);
      assert_true(doubled >= other / 100 * 190 && doubled <= other / 100 * 200);
    }
  }
}

/* Model states by stage (facts of arXiv 1910.02054, in bytes a parameter, for W ranks): in bf16
 * with bf16 gradients 16, 4 + 12/W, 2 + 14/W, 16/W; f32 gradients take 2 more of each share of
 * gradients. In f32 the weights are the master weights: 16, 8 + 8/W, 4 + 12/W, 16/W. Padding is
 * below 1%. */
static double states_per_param(int W, int stage, uly_dtype dtype, uly_dtype grads) {
  uly_mesh *offline;
  uly_plan_report plan = {.size = sizeof plan};
  assert_ok(uly_mesh_create_offline(MESH(.dp = W, .sp = 1), W - 1, &offline));
  uly_train_config config = base_config(64, dtype, ULY_RECOMPUTE_FULL);
  config.model = "gpt2-124m";
  config.zero_stage = stage;
  config.grad_dtype = grads;
  assert_ok(uly_plan(offline, &config, &plan));
  uly_mesh_destroy(offline);
  assert_int_equal(plan.num_params, 124439808);
  int64_t states = plan.arena_bytes[ULY_ARENA_PARAMETERS] + plan.arena_bytes[ULY_ARENA_GRADIENTS] +
                   plan.arena_bytes[ULY_ARENA_OPTIMIZER];
  return (double)states / (double)plan.num_params;
}

static void test_model_states(void **state) {
  (void)state;
  for (int W = 1; W <= 64; W *= 2) {
    double w = W;
    double bf16[4] = {16, 4 + 12 / w, 2 + 14 / w, 16 / w};
    double mixed[4] = {18, 6 + 12 / w, 2 + 16 / w, 18 / w};
    double f32[4] = {16, 8 + 8 / w, 4 + 12 / w, 16 / w};
    for (int stage = 0; stage < 4; stage++) {
      double found[3] = {states_per_param(W, stage, ULY_BF16, ULY_BF16),
                         states_per_param(W, stage, ULY_BF16, ULY_F32),
                         states_per_param(W, stage, ULY_F32, ULY_F32)};
      double expected[3] = {bf16[stage], mixed[stage], f32[stage]};
      for (int i = 0; i < 3; i++)
        assert_true(found[i] >= expected[i] && found[i] <= 1.01 * expected[i]);
    }
  }
}

/* Stage 3: every unit is gathered for forward and for backward and its gradient reduced once, 3 F
 * (W-1)/W elements, less what is still there from the pass before. */
static void test_stage_3_formula(void **state) {
  (void)state;
  enum { W = 8 };
  uly_mesh *offline;
  uly_plan_report plan = {.size = sizeof plan};
  assert_ok(uly_mesh_create_offline(MESH(.dp = W, .sp = 1), 3, &offline));
  uly_train_config config = base_config(64, ULY_F32, ULY_RECOMPUTE_FULL);
  config.model = "llama-1b";
  config.zero_stage = 3;
  assert_ok(uly_plan(offline, &config, &plan));
  double sent =
      (double)(plan.sent_bytes[ULY_TRAFFIC_PARAMETERS] + plan.sent_bytes[ULY_TRAFFIC_GRADIENTS]) /
      4;
  double formula = 3.0 * (double)plan.num_params * (W - 1) / W;
  assert_true(sent <= 1.001 * formula && sent >= 0.8 * formula);
  uly_mesh_destroy(offline);
}

/* FLOPs of attention are those of the pairs that the mask lets through, counted here one by one;
 * the run reports what the plan says. Memory and traffic are those without a mask. */
static void check_flops(int64_t window, uly_sparse sparse) {
  enum { N = 203, HEADS = 9, DIM = 6, LAYERS = 2 };
  uly_mesh *offline;
  uly_plan_report causal = {.size = sizeof causal}, masked = {.size = sizeof masked};
  assert_ok(uly_mesh_create_offline(MESH(.sp = size), rank, &offline));
  uly_train_config config = base_config(N, ULY_F32, ULY_RECOMPUTE_FULL);
  assert_ok(uly_plan(offline, &config, &causal));
  config.window = window;
  if (sparse.pattern != ULY_SPARSE_NONE) config.sparse = sparse;
  assert_ok(uly_plan(offline, &config, &masked));
  uly_mesh_destroy(offline);
  int64_t hidden = 0;
  for (int64_t query = 0; query < N; query++)
    for (int64_t key = 0; key <= query; key++) {
      int64_t row = query / sparse.block, col = key / sparse.block;
      bool listed = row - col < sparse.local || col < sparse.global || row < sparse.global;
      bool near = window == 0 || query - key < window;
      if (!near || (sparse.pattern == ULY_SPARSE_LONGFORMER && !listed)) hidden++;
    }
  assert_true(hidden > 0);
  double expected = causal.flops - 12.0 * DIM * HEADS * LAYERS * (double)hidden;
  assert_true(fabs(masked.flops - expected) <= 1e-12 * expected);
  assert_memory_equal(masked.arena_bytes, causal.arena_bytes, sizeof masked.arena_bytes);
  assert_memory_equal(masked.sent_bytes, causal.sent_bytes, sizeof masked.sent_bytes);
  uly_trainer *trainer;
  uly_step_report report = {.size = sizeof report};
  assert_ok(uly_trainer_create(mesh, &config, &trainer));
  assert_ok(uly_trainer_step(trainer, &report));
  assert_true(report.flops == masked.flops);
  uly_trainer_destroy(trainer);
}

static void test_masked_flops(void **state) {
  (void)state;
  uly_sparse sparse = {.pattern = ULY_SPARSE_LONGFORMER, .block = 7, .local = 3, .global = 2};
  check_flops(31, (uly_sparse){.block = 1});
  check_flops(0, sparse);
  check_flops(18, sparse);
}

static void test_refusals(void **state) {
  (void)state;
  uly_mesh *offline;
  uly_plan_report plan = {.size = sizeof plan};
  assert_fails(uly_mesh_create_offline(MESH(.sp = 2), 2, &offline), ULY_ERR_CONFIG,
               "does not exist");
  assert_fails(uly_mesh_create(MESH(.dp = size + 1, .sp = 1), &offline), ULY_ERR_CONFIG, "mpirun");
  assert_ok(uly_mesh_create_offline(MESH(.sp = 9), 3, &offline));
  uly_train_config config = base_config(64, ULY_F32, ULY_RECOMPUTE_FULL);
  config.model = "llama-4m";
  assert_fails(uly_plan(offline, &config, &plan), ULY_ERR_CONFIG, "1 to 8 ranks work");
  config.model = "no-such-model";
  assert_fails(uly_plan(offline, &config, &plan), ULY_ERR_CONFIG, "llama-4m");
  uly_mesh_destroy(offline);
  assert_ok(uly_mesh_create_offline(NULL, 0, &offline));
  config.model = "gpt2-124m";
  config.seq_len = 1025;
  assert_fails(uly_plan(offline, &config, &plan), ULY_ERR_CONFIG, "1024");
  config.model = "llama-1b"; /* each exchange counts in int; one rank exchanges nothing */
  config.seq_len = (int64_t)1 << 32;
  assert_ok(uly_plan(offline, &config, &plan));
  uly_mesh_destroy(offline);
  assert_ok(uly_mesh_create_offline(MESH(.sp = 2), 0, &offline));
  assert_fails(uly_plan(offline, &config, &plan), ULY_ERR_CONFIG, "more ranks");
  config.seq_len = (int64_t)1 << 33;
  assert_fails(uly_plan(offline, &config, &plan), ULY_ERR_CONFIG,
               "config.seq_len is 8589934592, but it must be an integer from 1 to 4294967296");
  config.seq_len = 64;
  config.eps = 1e-60; /* would be 0 in f32 */
  assert_fails(uly_plan(offline, &config, &plan), ULY_ERR_CONFIG,
               "config.eps is 1e-60, but it must be a finite number no less than 1e-30");
  config.eps = 1e-8;
  config.window = -2;
  assert_fails(uly_plan(offline, &config, &plan), ULY_ERR_CONFIG,
               "config.window is -2, but it must be an integer from 0 to 4294967296, or -1");
  config.window = 0;
  config.sparse.pattern = (uly_sparse_pattern)9;
  assert_fails(uly_plan(offline, &config, &plan), ULY_ERR_CONFIG, "config.sparse.pattern is 9");
  config.sparse = (uly_sparse){.pattern = ULY_SPARSE_FIXED, .block = 0};
  assert_fails(uly_plan(offline, &config, &plan), ULY_ERR_CONFIG, "sparse.block is 0");
  config.sparse.pattern = ULY_SPARSE_NONE;
  config.recompute = (uly_recompute)9;
  assert_fails(uly_plan(offline, &config, &plan), ULY_ERR_CONFIG, "config.recompute is");
  config.recompute = ULY_RECOMPUTE_FULL;
  config.seq_len = 0;
  assert_fails(uly_plan(offline, &config, &plan), ULY_ERR_CONFIG, "config.seq_len is");
  uly_mesh_destroy(offline);
}

int main(int argc, char **argv) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_formula),         cmocka_unit_test(test_ring_formula),
      cmocka_unit_test(test_tensor_traffic),  cmocka_unit_test(test_pipeline_traffic),
      cmocka_unit_test(test_bubble),          cmocka_unit_test(test_bubble_of_head),
      cmocka_unit_test(test_ring_traffic),    cmocka_unit_test(test_step_traffic),
      cmocka_unit_test(test_memory_scaling),  cmocka_unit_test(test_model_states),
      cmocka_unit_test(test_stage_3_formula), cmocka_unit_test(test_masked_flops),
      cmocka_unit_test(test_refusals),
  };
  static const char format[] =
      "{\"model_type\":\"llama\",\"hidden_size\":36,\"intermediate_size\":50,"
      "\"num_hidden_layers\":%d,\"num_attention_heads\":9,\"num_key_value_heads\":3,"
      "\"head_dim\":6,\"vocab_size\":257,\"max_position_embeddings\":4096,"
      "\"tie_word_embeddings\":%s}";
  char model[512], deep[512];
  snprintf(model, sizeof model, format, 2, "false");
  snprintf(deep, sizeof deep, format, 9, "true"); /* for eight stages */
  begin_ranks(&argc, &argv, &mesh);
  size = uly_mesh_size(mesh);
  rank = uly_mesh_rank(mesh);
  write_scratch_text(text_path, "plan.txt", 3000);
  write_scratch_file(config_path, "plan.json", model, strlen(model));
  write_scratch_file(deep_path, "deep.json", deep, strlen(deep));
  model_path = config_path;
  int failed = cmocka_run_group_tests(tests, NULL, NULL);
  remove_scratch_file(text_path);
  remove_scratch_file(config_path);
  remove_scratch_file(deep_path);
  return end_ranks(mesh, failed);
}
