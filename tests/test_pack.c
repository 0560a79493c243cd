/* Tests packed documents. A step on sequences of several documents gives the loss and the gradients
 * of these documents trained separately, each as a sequence of its own on one rank; so does
 * evaluation, by position in the document. Every mesh of this number of ranks is tested, with ZeRO
 * stages, recompute policies, windows and layouts of blocks. Labels and positions are in
 * test_pack_labels.c. */
#include <math.h>

#include "pack_testing.h"

/* ------------------------------------------------------------------ documents apart */

static bool starts_document(int64_t at) {
  return at % N == 0 || stream[at - 1] == END; /* a window begins a new one, too */
}

/* The place behind the document that begins at `begin`. */
static int64_t document_end(int64_t begin) {
  int64_t end = begin + 1;
  while (end % N != 0 && !starts_document(end)) end++;
  return end;
}

/* Sums over all documents of the stream. */
typedef struct apart {
  double loss, eval[ULY_MAX_EVAL_BINS], pairs;
  int64_t labels, bins[ULY_MAX_EVAL_BINS];
  double *gradients[64];
} apart;

static int64_t num_labels(int64_t begin, int64_t end) {
  return end - begin - (stream[end - 1] == END); /* at a window's end the next token is known */
}

/* Forward and backward of one document. Adds its loss, gradients and evaluation. */
static void train_document(uly_mesh *mesh, setting s, int64_t begin, int64_t end, int64_t labels,
                           apart *sums) {
  int32_t tokens[N], targets[N];
  s.seq_len = end - begin;
  s.batch = 0;
  s.pack = 0;
  for (int64_t at = begin; at < end; at++) {
    tokens[at - begin] = stream[at];
    targets[at - begin] = stream[at] == END ? -1 : stream[at + 1];
  }
  uly_trainer *trainer = make(mesh, &s);
  uly__model *model = trainer->run.model;
  uly__exact_sum loss = {0}, bins[ULY_MAX_EVAL_BINS];
  memset(bins, 0, sizeof bins);
  uly__zero_begin_step(model->zero);
  run_passes(model, tokens, targets, (float)(1.0 / (double)labels), &loss);
  uly__reduce_grads(model);
  assert_ok(model->failure);
  sums->loss += uly__exact_value(&loss);
  sums->pairs += model->pairs;
  for (int i = 0; i < model->params.num; i++) {
    int64_t count = model->params.list[i].count;
    float *gradient = malloc((size_t)count * 4);
    get_gradient(trainer, i, gradient);
    if (!sums->gradients[i]) sums->gradients[i] = calloc((size_t)count, sizeof(double));
    for (int64_t j = 0; j < count; j++) sums->gradients[i][j] += (double)gradient[j];
    free(gradient);
  }
  uly__zero_forget_weights(model->zero);
  run_passes(model, tokens, targets, 0, bins);
  for (int i = 0; i < ULY_MAX_EVAL_BINS; i++) sums->eval[i] += uly__exact_value(&bins[i]);
  for (int64_t t = 0; t < s.seq_len; t++) sums->bins[uly__position_bin(t)] += targets[t] >= 0;
  uly_trainer_destroy(trainer);
}

static apart train_apart(const setting *s) {
  apart sums = {0};
  uly_mesh *mesh = alone();
  for (int64_t begin = 0; begin < COUNT - 1; begin = document_end(begin))
    sums.labels += num_labels(begin, document_end(begin));
  for (int64_t begin = 0; begin < COUNT - 1; begin = document_end(begin))
    if (begin / N != BLANK)
      train_document(mesh, *s, begin, document_end(begin), sums.labels, &sums);
  uly_mesh_destroy(mesh);
  return sums;
}

static void free_apart(apart *sums) {
  for (int i = 0; i < 64; i++) free(sums->gradients[i]);
}

/* ------------------------------------------------------------------------ comparing */

static void compare_gradients(uly_trainer *trainer, const apart *sums, const setting *s) {
  const uly__params *params = &trainer->run.model->params;
  for (int i = 0; i < params->num; i++) {
    int64_t count = params->list[i].count;
    float *found = malloc((size_t)count * 4), *expected = malloc((size_t)count * 4);
    get_gradient(trainer, i, found);
    for (int64_t j = 0; j < count; j++) expected[j] = (float)sums->gradients[i][j];
    /* The floor serves GPT-2's key bias, whose gradient is zero but for rounding. */
    double error = largest_error(found, expected, count, 1e-5);
    if (!(error <= 1e-5))
      fail_msg("model %d, dp %d of %d ranks, stage %d, policy %d: gradient of %s differs by %g",
               s->which, s->dp, size, s->stage, (int)s->recompute, params->list[i].name, error);
    free(found), free(expected);
  }
}

static void compare_evaluation(uly_trainer *trainer, const apart *sums) {
  uly_eval_report report = {.size = sizeof report};
  assert_ok(uly_trainer_evaluate(trainer, NULL, NULL, &report));
  assert_int_equal(report.tokens, sums->labels);
  assert_true(fabs(report.loss * (double)sums->labels - sums->loss) <= 1e-6 * sums->loss);
  for (int i = 0; i < report.num_bins; i++) {
    assert_int_equal(report.bins[i].tokens, sums->bins[i]);
    double sum = report.bins[i].loss * (double)report.bins[i].tokens;
    assert_true(fabs(sum - sums->eval[i]) <= 1e-6 * sums->loss);
  }
}

/* The first step goes through every window with a label once, in some order. */
static void compare_step(const setting *s, const apart *sums) {
  uly_mesh *mesh;
  assert_ok(uly_mesh_create(MESH(.dp = s->dp), &mesh));
  uly_trainer *trainer = make(mesh, s);
  assert_int_equal(uly_trainer_num_windows(trainer), NUM_WINDOWS);
  compare_evaluation(trainer, sums);
  uly_step_report report = {.size = sizeof report};
  assert_ok(uly_trainer_step(trainer, &report));
  if (!(fabs(report.loss * (double)sums->labels - sums->loss) <= 1e-6 * sums->loss))
    fail_msg("model %d, dp %d of %d ranks, stage %d: loss %.9g, apart %.9g", s->which, s->dp, size,
             s->stage, report.loss, sums->loss / (double)sums->labels);
  double flops = uly__model_flops(trainer->run.model, NUM_LABELLED, sums->pairs);
  assert_true(fabs(report.flops - flops) <= 1e-12 * flops);
  compare_gradients(trainer, sums, s);
  uly_trainer_destroy(trainer);
  uly_mesh_destroy(mesh);
}

/* Policies and stages in turn, so that together the models see them all. */
static void check_model(int which, int64_t window) {
  setting s = {.which = which, .window = window, .seq_len = N, .batch = NUM_LABELLED, .pack = 1};
  apart sums = train_apart(&s);
  assert_true(sums.labels > 0 && sums.loss > 0);
  int turn = 0;
  for (s.dp = 1; s.dp <= 3 && s.dp <= size; s.dp++)
    for (s.stage = 0; s.stage < 4 && size % s.dp == 0; s.stage += 3, turn++) {
      s.recompute = turn % 2 ? ULY_RECOMPUTE_FULL : ULY_RECOMPUTE_NONE;
      compare_step(&s, &sums);
    }
  s.dp = 1;
  s.stage = 1 + which;
  s.recompute = ULY_RECOMPUTE_KEEP_ATTENTION;
  compare_step(&s, &sums);
  free_apart(&sums);
}

static void test_llama(void **state) {
  (void)state;
  check_model(0, 0);
}

static void test_gpt2(void **state) {
  (void)state;
  check_model(1, 0);
}

/* A window of tokens and documents together. */
static void test_window(void **state) {
  (void)state;
  check_model(0, 9);
}

/* ----------------------------------------------------------------- other groups */

/* What one rank alone makes of the same sequences. */
static void compare_with_one(const setting *s, double tolerance, int num_steps) {
  uly_mesh *many, *one = alone();
  assert_ok(uly_mesh_create(MESH(.dp = s->dp), &many));
  setting plain = *s;
  plain.stage = 0;
  plain.recompute = ULY_RECOMPUTE_NONE;
  uly_trainer *a = make(many, s), *b = make(one, &plain);
  for (int step = 0; step < num_steps; step++) {
    uly_step_report ra = {.size = sizeof ra}, rb = {.size = sizeof rb};
    assert_ok(uly_trainer_step(a, &ra));
    assert_ok(uly_trainer_step(b, &rb));
    if (!(fabs(ra.loss - rb.loss) <= tolerance * rb.loss))
      fail_msg(
          "model %d, dp %d of %d ranks, stage %d, pattern %d, step %d: loss %.17g, alone %.17g",
          s->which, s->dp, size, s->stage, (int)s->pattern, step, ra.loss, rb.loss);
    assert_true(fabs(ra.grad_norm - rb.grad_norm) <= 10 * tolerance * rb.grad_norm);
    assert_true(ra.flops == rb.flops);
  }
  uly_trainer_destroy(a);
  uly_trainer_destroy(b);
  uly_mesh_destroy(many);
  uly_mesh_destroy(one);
}

/* dp 2 x sp over several steps, in each group other documents at a time. */
static void test_groups(void **state) {
  (void)state;
  if (size % 2) return;
  for (int which = 0; which < 2; which++)
    for (int stage = 0; stage < 4; stage += 3)
      compare_with_one(&(setting){.which = which,
                                  .dp = 2,
                                  .stage = stage,
                                  .seq_len = N,
                                  .batch = 4,
                                  .pack = 1,
                                  .recompute = stage ? ULY_RECOMPUTE_FULL : ULY_RECOMPUTE_NONE},
                       1e-6, 5);
}

/* Blocks of the sequence and documents together. */
static void test_layouts(void **state) {
  (void)state;
  for (int i = ULY_SPARSE_LONGFORMER; i <= ULY_SPARSE_BIGBIRD; i++)
    compare_with_one(&(setting){.which = i % 2,
                                .dp = 1,
                                .stage = i % 4,
                                .seq_len = N,
                                .batch = NUM_LABELLED,
                                .window = i % 2 ? 23 : 0,
                                .pattern = (uly_sparse_pattern)i,
                                .pack = 1},
                     1e-6, 2);
}

/* The same bits. */
static void test_reproducible(void **state) {
  (void)state;
  if (size & (size - 1)) return;
  for (int dp = 1; dp <= size; dp *= 2)
    for (int which = 0; which < 2; which++)
      compare_with_one(&(setting){.which = which,
                                  .dp = dp,
                                  .stage = 3 * which,
                                  .seq_len = N,
                                  .batch = 4,
                                  .reproducible = 1,
                                  .pack = 1,
                                  .recompute = ULY_RECOMPUTE_FULL},
                       0, 3);
}

/* ---------------------------------------------------------------------- plan and files */

/* Memory is planned to the byte: 8 bytes a token of the sequence for documents, 4 of the slice for
 * labels. */
static void test_plan(void **state) {
  (void)state;
  uly_mesh *mesh, *offline;
  assert_ok(uly_mesh_create(NULL, &mesh));
  assert_ok(uly_mesh_create_offline(MESH(.sp = size), uly_mesh_rank(mesh), &offline));
  setting s = {.seq_len = N, .batch = 2, .pack = 1};
  uly_train_config config = make_config(&s);
  uly_plan_report packed = {.size = sizeof packed}, plain = {.size = sizeof plain};
  assert_ok(uly_plan(offline, &config, &packed));
  uly_trainer *trainer = make(mesh, &s);
  for (int step = 0; step < 2; step++) {
    uly_step_report report = {.size = sizeof report};
    assert_ok(uly_trainer_step(trainer, &report));
    for (int i = 0; i < ULY_NUM_ARENAS; i++)
      assert_int_equal(packed.arena_bytes[i], uly__run_arena_bytes(&trainer->run, (uly_arena)i));
    assert_true(report.flops < packed.flops);
  }
  uly_trainer_destroy(trainer);
  config.pack = 0;
  assert_ok(uly_plan(offline, &config, &plain));
  int64_t more =
      packed.arena_bytes[ULY_ARENA_ACTIVATIONS] - plain.arena_bytes[ULY_ARENA_ACTIVATIONS];
  assert_in_range(more, N * 8 + plain.tokens * 4, N * 8 + plain.tokens * 4 + 2 * 64);
  assert_memory_equal(packed.sent_bytes, plain.sent_bytes, sizeof plain.sent_bytes);
  uly_mesh_destroy(offline);
  uly_mesh_destroy(mesh);
}

/* Shards that do not say what ends documents need the option; what the option says comes first. */
static void test_files(void **state) {
  (void)state;
  uly_mesh *mesh;
  uly_trainer *trainer;
  uly_step_report told = {.size = sizeof told}, said = {.size = sizeof said};
  assert_ok(uly_mesh_create(NULL, &mesh));
  char path[256];
  setting s = {.seq_len = N, .batch = NUM_LABELLED, .pack = 1};
  trainer = make(mesh, &s);
  assert_ok(uly_trainer_step(trainer, &said));
  uly_trainer_destroy(trainer);
  uly_train_config config = make_config(&s);
  /* Not said; said to be another; said to be one that the model does not have. */
  static const int32_t headers[] = {0, 1 + END + 1, 1 + VOCAB};
  for (int i = 0; i < 3; i++) {
    write_shard(path, "pack-other.bin", headers[i]);
    config.data = config.eval_data = path;
    config.doc_end = -1;
    if (i != 1)
      assert_fails(uly_trainer_create(mesh, &config, &trainer), ULY_ERR_CONFIG, "config.doc_end");
    config.doc_end = END;
    assert_ok(uly_trainer_create(mesh, &config, &trainer));
    assert_ok(uly_trainer_step(trainer, &told));
    assert_true(told.loss == said.loss && told.grad_norm == said.grad_norm);
    uly_trainer_destroy(trainer);
    remove_scratch_file(path);
  }
  config.data = config.eval_data = data_path;
  config.doc_end = VOCAB;
  assert_fails(uly_trainer_create(mesh, &config, &trainer), ULY_ERR_CONFIG,
               "config.doc_end is 1200");
  config.doc_end = -2;
  assert_fails(uly_trainer_create(mesh, &config, &trainer), ULY_ERR_CONFIG, "config.doc_end is -2");
  config.doc_end = uly_mesh_rank(mesh) == size - 1 ? END : END + 1;
  if (size > 1)
    assert_fails(uly_trainer_create(mesh, &config, &trainer), ULY_ERR_CONFIG,
                 "a different config.doc_end");
  /* Of the held-out data, too. */
  write_shard(path, "pack-held-out.bin", 0);
  config.doc_end = -1;
  config.eval_data = path;
  assert_fails(uly_trainer_create(mesh, &config, &trainer), ULY_ERR_CONFIG, "held-out.bin");
  config.pack = 0;
  assert_ok(uly_trainer_create(mesh, &config, &trainer));
  uly_trainer_destroy(trainer);
  remove_scratch_file(path);
  uly_mesh_destroy(mesh);
}

int main(int argc, char **argv) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_llama),   cmocka_unit_test(test_gpt2),
      cmocka_unit_test(test_window),  cmocka_unit_test(test_groups),
      cmocka_unit_test(test_layouts), cmocka_unit_test(test_reproducible),
      cmocka_unit_test(test_plan),    cmocka_unit_test(test_files),
  };
  begin_packs(&argc, &argv);
  return end_packs(cmocka_run_group_tests(tests, NULL, NULL));
}
