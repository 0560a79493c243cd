/* Tests that results do not depend on how the ranks are divided: random layouts of dp, Ulysses,
 * ring or gather, tensor and pipeline parallelism, over random models (families, layers of several
 * kinds, scaled RoPE; heads, widths and vocabularies that nothing divides), lengths, windows,
 * block-sparse patterns, packed documents, numbers of micro-batches, ZeRO stages and recompute
 * policies. Each gives the losses and gradients of one rank within 1e-5 (every rank repeats the run
 * alone), or is refused with a sentence. Every case sends what its plan says. CASES=n makes n
 * cases, and SEED=n others. */
#include <mpi.h>

#include <math.h>

#include "testing.h"
#include "trainer_access.h"

enum { CASES = 26, STEPS = 3, LONG_STEPS = 10, NUM_TOKENS = 3000 };

static int size;
static char data_path[256], config_path[256];

/* xorshift64*: the same numbers on every rank. */
static uint64_t random_state;
static int pick(int lowest, int largest) {
  random_state ^= random_state >> 12;
  random_state ^= random_state << 25;
  random_state ^= random_state >> 27;
  return lowest + (int)((random_state * 2685821657736338717u) >> 33) % (largest - lowest + 1);
}

/* A divisor of n. */
static int pick_divisor(int n) {
  int divisor;
  do divisor = pick(1, n);
  while (n % divisor != 0);
  return divisor;
}

typedef struct layout {
  uly_mesh_desc mesh;
  uly_train_config config;
  const char *type; /* of the model */
  int num_q_heads, num_layers;
  char text[512];
} layout;

/* Adds keys to a model: layers that differ, in the words of its family; and scaled RoPE. */
static void add_keys(char *json, size_t room, const char *type, int num_layers) {
  bool has_switch = strcmp(type, "llama") != 0 && strcmp(type, "ministral") != 0;
  size_t used = strlen(json);
  if (strcmp(type, "llama") != 0 && pick(0, 1)) {
    used += (size_t)snprintf(json + used, room - used, ",\"sliding_window\":%d,\"layer_types\":[",
                             pick(1, 99));
    for (int i = 0; i < num_layers; i++)
      used += (size_t)snprintf(json + used, room - used, "%s\"%s_attention\"", i ? "," : "",
                               pick(0, 1) ? "sliding" : "full");
    used += (size_t)snprintf(json + used, room - used, "]%s",
                             has_switch ? ",\"use_sliding_window\":true" : "");
  }
  if (strcmp(type, "smollm3") == 0)
    used +=
        (size_t)snprintf(json + used, room - used, ",\"no_rope_layer_interval\":%d", pick(1, 3));
  if (pick(0, 2) == 0)
    used += (size_t)snprintf(json + used, room - used,
                             ",\"rope_scaling\":{\"rope_type\":\"yarn\",\"factor\":%d,"
                             "\"original_max_position_embeddings\":%d}",
                             pick(1, 9), pick(20, 200));
}

/* Writes a random model, which has more layers where a pipeline divides them. Collective. */
static void write_model(layout *x, bool is_deep) {
  char json[2048];
  int kv = pick(1, 4), q = kv * pick(1, 4), d = 2 * pick(1, 9), vocab = pick(257, 301);
  static const char *const types[] = {"llama", "qwen2", "gpt2", "qwen3", "smollm3", "ministral"};
  const char *type = types[pick(0, 5)];
  x->num_q_heads = q;
  x->num_layers = is_deep ? pick(3, 9) : 2;
  x->type = type;
  if (strcmp(type, "gpt2") == 0)
    snprintf(json, sizeof json,
             "{\"model_type\":\"gpt2\",\"n_embd\":%d,\"n_layer\":%d,\"n_head\":%d,"
             "\"n_positions\":512,\"vocab_size\":%d}",
             q * d, x->num_layers, q, vocab);
  else {
    snprintf(json, sizeof json,
             "{\"model_type\":\"%s\",\"hidden_size\":%d,\"intermediate_size\":%d,"
             "\"num_hidden_layers\":%d,\"num_attention_heads\":%d,\"num_key_value_heads\":%d,"
             "\"head_dim\":%d,\"max_position_embeddings\":512,\"vocab_size\":%d,\"tie_word_"
             "embeddings\":%s",
             type, strcmp(type, "qwen2") == 0 ? q * d : pick(9, 60), pick(9, 90), x->num_layers, q,
             kv, d, vocab, pick(0, 1) ? "true" : "false");
    add_keys(json, sizeof json - 1, type, x->num_layers);
    strcat(json, "}");
  }
  write_scratch_file(config_path, "layouts.json", json, strlen(json));
}

static layout random_layout(void) {
  layout x = {.mesh = {.size = sizeof x.mesh}, .config = default_config()};
  uly_train_config *c = &x.config;
  int pp = pick(0, 1) ? pick_divisor(size) : 1, rest = size / pp;
  write_model(&x, pp > 1);
  int tp = pick(0, 1) ? pick_divisor(rest) : 1;
  rest /= tp;
  int sp = pick(0, 3) ? rest : pick_divisor(rest), ulysses = pick_divisor(sp);
  if (pick(0, 3) == 0) ulysses = 1;
  x.mesh.tp = tp;
  x.mesh.pp = pp;
  x.mesh.dp = rest / sp;
  x.mesh.ulysses = ulysses;
  *(pick(0, 2) ? &x.mesh.ring : &x.mesh.gather) = sp / ulysses;
  c->model = config_path;
  c->data = data_path;
  c->eval_data = data_path;
  /* A pipeline takes several at a time, and then the rest. */
  c->eval_windows = pp > 1 ? pick(1, 10 * pp) : 2;
  c->seq_len = pick(0, 4) ? pick(20, 250) : pick(2, 19);
  if (pick(0, 2) == 0) c->window = pick(1, (int)c->seq_len);
  if (pick(0, 4) == 0)
    c->sparse = (uly_sparse){.pattern = (uly_sparse_pattern)pick(1, 4),
                             .block = pick(3, 20),
                             .local = pick(1, 3),
                             .global = 1,
                             .random = 1};
  if (pick(0, 2) == 0) {
    c->pack = true;
    c->doc_end = 32 + pick(0, 89);
  }
  c->steps = 20;
  c->warmup = 2;
  c->lr = 1e-4; /* a deep model would soon make more of the differences in rounding */
  c->batch = x.mesh.dp * (pp > 1 ? pick(1, 3 * pp) : pick(1, 2));
  int most_chunks = x.num_layers / pp < 3 ? x.num_layers / pp : 3;
  c->pp_chunks = pp > 1 && most_chunks > 1 && pick(0, 1) ? pick(2, most_chunks) : 1;
  c->zero_stage = pick(0, 3);
  c->recompute = (uly_recompute)pick(0, 2);
  c->rounds = pick(0, 3) == 0 ? pick(1, tp > 1 ? 1 : 2) : 0;
  c->threads = 1;
  c->pp_ahead = pp > 1 && c->pp_chunks == 1 && pick(0, 2) == 0 ? pick(1, 2) : 0;
  snprintf(
      x.text, sizeof x.text,
      "%s, pp %d (%d chunks, %d layers), tp %d, dp %d, ulysses %d, ring %d, gather %d, %d heads, "
      "N %lld, window %lld, pattern "
      "%d, pack "
      "%d, batch %lld, stage %d, recompute %d, rounds %d",
      x.type, pp, c->pp_chunks, x.num_layers, tp, x.mesh.dp, ulysses, x.mesh.ring, x.mesh.gather,
      x.num_q_heads, (long long)c->seq_len, (long long)c->window, (int)c->sparse.pattern,
      (int)c->pack, (long long)c->batch, c->zero_stage, (int)c->recompute, c->rounds);
  return x;
}

static void compare_gradients(const layout *x, uly_trainer *many, uly_trainer *one) {
  const uly__params *params = &many->run.model->params;
  for (int i = 0; i < params->num; i++) {
    int64_t count = params->list[i].count;
    float *a = malloc((size_t)count * 4), *b = malloc((size_t)count * 4);
    get_gradient(many, i, a);
    get_gradient(one, i, b);
    /* The floor serves gradients that are zero but for rounding. */
    double error = largest_error(a, b, count, 1e-4);
    if (!(error <= 1e-5))
      fail_msg("%s: gradient of %s differs by %g", x->text, params->list[i].name, error);
    free(a);
    free(b);
  }
}

/* Checks that a step has sent what is planned for this rank. */
static void check_sent(const layout *x, const uly_mesh *mesh, const uly__traffic *before) {
  uly_plan_report plan = {.size = sizeof plan};
  assert_ok(uly_plan(mesh, &x->config, &plan));
  for (int kind = 0; kind < ULY_NUM_TRAFFIC; kind++) {
    int64_t sent = mesh->traffic.bytes[kind] - before->bytes[kind];
    if (sent != plan.sent_bytes[kind])
      fail_msg("%s: rank %d sent %lld bytes of %s, and planned %lld", x->text, uly_mesh_rank(mesh),
               (long long)sent, uly_traffic_name((uly_traffic)kind),
               (long long)plan.sent_bytes[kind]);
  }
}

/* Checks the reported bubble against the times of all ranks. */
static void check_bubble(const layout *x, const uly_trainer *trainer, double reported) {
  uly_rank_report own = {.size = sizeof own};
  assert_ok(uly_trainer_rank_report(trainer, &own));
  double mine[2] = {own.pass_seconds - own.stage_wait_seconds, own.pass_seconds}, work, longest;
  MPI_Allreduce(&mine[0], &work, 1, MPI_DOUBLE, MPI_SUM, MPI_COMM_WORLD);
  MPI_Allreduce(&mine[1], &longest, 1, MPI_DOUBLE, MPI_MAX, MPI_COMM_WORLD);
  double expected = x->mesh.pp > 1 ? 1 - work / (size * longest) : 0;
  if (!(fabs(reported - expected) <= 1e-9) || (x->mesh.pp > 1) != (reported > 0) || reported >= 1)
    fail_msg("%s: bubble %g, expected %g", x->text, reported, expected);
}

static void compare_steps(const layout *x, const uly_mesh *mesh, uly_trainer *many,
                          uly_trainer *one, int steps) {
  for (int step = 0; step < steps; step++) {
    uly_step_report a = {.size = sizeof a}, b = {.size = sizeof b};
    uly__traffic before = mesh->traffic;
    assert_ok(uly_trainer_step(many, &a));
    check_sent(x, mesh, &before);
    check_bubble(x, many, a.bubble);
    assert_ok(uly_trainer_step(one, &b));
    if (!(fabs(a.loss - b.loss) <= 1e-5 * b.loss))
      fail_msg("%s: loss of step %d is %.9f, alone %.9f", x->text, step, a.loss, b.loss);
    if (!(fabs(a.grad_norm - b.grad_norm) <= 1e-5 * b.grad_norm))
      fail_msg("%s: norm of step %d is %.9f, alone %.9f", x->text, step, a.grad_norm, b.grad_norm);
    assert_true(fabs(a.flops - b.flops) <= 1e-12 * b.flops);
    if (step == 0) compare_gradients(x, many, one);
  }
  double a = eval_loss(many), b = eval_loss(one);
  if (!(fabs(a - b) <= 1e-5 * b))
    fail_msg("%s: loss of the evaluation is %.9f, alone %.9f", x->text, a, b);
}

/* Returns whether the layout is refused, which must be with reason. */
static bool is_refused(const layout *x, uly_status status) {
  if (status == ULY_OK) return false;
  assert_int_equal(status, ULY_ERR_CONFIG);
  int rounds = x->config.rounds > 0 ? x->config.rounds : 1;
  bool lacks_heads = x->num_q_heads / x->mesh.tp < x->mesh.ulysses * rounds;
  bool lacks_layers = x->num_layers < x->mesh.pp * x->config.pp_chunks;
  if (!lacks_heads && !lacks_layers) fail_msg("%s: refused: %s", x->text, uly_last_error());
  return true;
}

/* Runs a layout beside one rank, and returns whether it ran. */
static bool run_layout(const layout *x, int steps) {
  uly_mesh *mesh, *alone;
  uly_trainer *many, *one;
  assert_ok(uly_mesh_create(&x->mesh, &mesh));
  bool runs = !is_refused(x, uly_trainer_create(mesh, &x->config, &many));
  if (runs) {
    assert_ok(uly_mesh_create_mpi(MPI_COMM_SELF, NULL, &alone));
    uly_train_config config = x->config;
    config.rounds = 0;
    config.pp_chunks = 1;
    config.pp_ahead = 0;
    assert_ok(uly_trainer_create(alone, &config, &one));
    compare_steps(x, mesh, many, one, steps);
    uly_trainer_destroy(many);
    uly_trainer_destroy(one);
    uly_mesh_destroy(alone);
  }
  uly_mesh_destroy(mesh);
  MPI_Barrier(MPI_COMM_WORLD); /* each rank runs alone for as long as it takes */
  remove_scratch_file(config_path);
  return runs;
}

enum { NUM_MASKS = 4 };

/* Tensor parallelism where a rank's tokens make up several tiles, which take turns in its slots
 * and, without a ring, attend one after the other. */
static void run_several_tiles(int tp, uly_recompute recompute, int mask) {
  static const char json[] =
      "{\"model_type\":\"llama\",\"hidden_size\":12,\"intermediate_size\":19,"
      "\"num_hidden_layers\":2,\"num_attention_heads\":8,\"num_key_value_heads\":2,"
      "\"head_dim\":2,\"max_position_embeddings\":4096,\"vocab_size\":257}";
  layout x = {.mesh = {.size = sizeof x.mesh, .tp = tp, .ring = size / tp},
              .config = default_config(),
              .num_q_heads = 8};
  uly_train_config *c = &x.config;
  write_scratch_file(config_path, "layouts.json", json, strlen(json));
  c->model = config_path;
  c->data = c->eval_data = data_path;
  c->eval_windows = 1;
  c->seq_len = tp == size ? 1709 : 2909; /* a ring cuts the tokens into more runs */
  c->steps = 20;
  c->warmup = 2;
  c->threads = 1;
  c->recompute = recompute;
  if (mask == 1) c->window = 300;
  if (mask == 2)
    c->sparse = (uly_sparse){
        .pattern = ULY_SPARSE_BIGBIRD, .block = 50, .local = 3, .global = 1, .random = 2};
  if (mask == 3) {
    c->window = 1100;
    c->pack = true;
    c->doc_end = 40;
  }
  snprintf(x.text, sizeof x.text, "several tiles, tp %d, ring %d, recompute %d, mask %d", tp,
           size / tp, (int)recompute, mask);
  assert_true(run_layout(&x, 2));
}

static void test_several_tiles(void **state) {
  (void)state;
  for (int tp = 2; tp <= size; tp++)
    for (int mask = 0; mask < NUM_MASKS && size % tp == 0; mask++)
      run_several_tiles(tp, (uly_recompute)(mask % 3), mask);
}

static void test_random_layouts(void **state) {
  (void)state;
  const char *cases = getenv("CASES"), *seed = getenv("SEED");
  int num = cases ? (int)strtol(cases, NULL, 10) : CASES, num_equal = 0;
  random_state =
      0x9e3779b97f4a7c15u + (uint64_t)size + 1000 * (seed ? (uint64_t)strtoull(seed, NULL, 10) : 0);
  for (int i = 0; i < num; i++) {
    layout x = random_layout();
    num_equal += run_layout(&x, i % 4 == 0 ? LONG_STEPS : STEPS);
  }
  if (uly_world_rank() == 0) print_message("%d of %d layouts ran\n", num_equal, num);
  assert_true(num_equal > num / 2);
}

int main(int argc, char **argv) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_random_layouts),
                                     cmocka_unit_test(test_several_tiles)};
  begin_ranks(&argc, &argv, NULL);
  size = uly_world_size();
  /* A shard in llm.c's format. */
  static struct {
    int32_t header[256];
    uint16_t tokens[NUM_TOKENS];
  } shard = {.header = {20240520, 1, NUM_TOKENS}};
  for (int i = 0; i < NUM_TOKENS; i++) shard.tokens[i] = (uint16_t)(32 + (i * i / 7 + i / 3) % 90);
  write_scratch_file(data_path, "layouts.bin", &shard, sizeof shard);
  int failed = cmocka_run_group_tests(tests, NULL, NULL);
  remove_scratch_file(data_path);
  return end_ranks(NULL, failed);
}
