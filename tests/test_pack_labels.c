/* Tests the labels, positions and documents of packed sequences, which are compared with values
 * that the tokens' own numbers give; and sequences and files without a label. */
#include <math.h>

#include "base/split.h"
#include "pack_testing.h"

static void check_labels_and_positions(uly_trainer *trainer) {
  uly__model *model = trainer->run.model;
  int d = model->config.head_dim;
  for (int64_t index = 0; index < NUM_WINDOWS; index++) {
    assert_ok(uly__batch_read(trainer, trainer->data, index, trainer->run.windows));
    const int32_t *labels = uly__batch_prepare(trainer, trainer->data, index, trainer->run.windows);
    assert_ok(model->failure);
    const uly_mask *mask = uly__mask_desc(model->attention->masks[0]);
    int64_t num_docs = 0, t = 0, position = 0;
    for (int64_t at = index * N; at < (index + 1) * N; at++) {
      bool starts = at == index * N || stream[at - 1] == END;
      position = starts ? 0 : position + 1;
      if (starts) assert_int_equal(mask->doc_start[num_docs], at - index * N);
      num_docs += starts;
      if (t == model->num_tokens || at != index * N + uly__token_cut_at(model->cut, t)) continue;
      int32_t next = at + 1 < COUNT ? stream[at + 1] : 0;
      assert_int_equal(trainer->run.windows[t], stream[at]);
      assert_int_equal(labels[t], stream[at] == END ? -1 : next);
      assert_int_equal(model->positions[t], position);
      assert_float_equal(model->angles[t * d], cos((double)position), 1e-6);
      assert_float_equal(model->angles[t * d + d / 2], sin((double)position), 1e-6);
      t++;
    }
    assert_int_equal(t, model->num_tokens);
    assert_int_equal(mask->num_docs, num_docs);
  }
}

static void test_labels_and_positions(void **state) {
  (void)state;
  uly_mesh *mesh;
  assert_ok(uly_mesh_create(NULL, &mesh));
  setting s = {.seq_len = N, .pack = 1};
  uly_trainer *trainer = make(mesh, &s);
  check_labels_and_positions(trainer);
  uly_trainer_destroy(trainer);
  uly_mesh_destroy(mesh);
}

/* Checks the same on a rank that holds two runs of the stream, as in a zigzag of three ranks. */
static void test_two_runs(void **state) {
  (void)state;
  uly_mesh *mesh = alone();
  setting s = {.seq_len = N, .pack = 1};
  uly_trainer *trainer = make(mesh, &s);
  uly__model *model = trainer->run.model;
  const uly__token_cut *own = model->cut;
  for (int rank = 0; rank < 3; rank++) {
    uly_token_run runs[6];
    for (int i = 0; i < 6; i++) {
      uly__part part = uly__split(N, 1, 6, i % 2 ? 5 - i / 2 : i / 2);
      runs[i] = (uly_token_run){part.begin, part.count};
    }
    uly__token_cut cut = {.size = 3, .rank = rank, .num_runs = 2, .num_tokens = N, .runs = runs};
    cut.count = uly__token_cut_count(&cut, rank);
    model->cut = &cut;
    model->num_tokens = cut.count;
    check_labels_and_positions(trainer);
  }
  model->cut = own;
  model->num_tokens = own->count;
  uly_trainer_destroy(trainer);
  uly_mesh_destroy(mesh);
}

/* A window without a label is passed over and counted, once in each epoch, whatever is a step:
 * every step has a loss, and the place in the data is that of the next window. */
static void test_no_labels(void **state) {
  (void)state;
  uly_mesh *mesh;
  assert_ok(uly_mesh_create(NULL, &mesh));
  for (int64_t batch = 1; batch <= 4; batch++) {
    setting s = {.seq_len = N, .batch = batch, .pack = 1};
    uly_trainer *trainer = make(mesh, &s);
    uly_step_report report = {.size = sizeof report};
    int64_t passed_over = 0, place = 0;
    for (int step = 0; step < 2 * NUM_WINDOWS; step++) {
      assert_ok(uly_trainer_step(trainer, &report));
      assert_true(isfinite(report.loss) && report.loss > 0 && report.grad_norm > 0);
      int64_t found = 0;
      for (int64_t chosen = 0; chosen < batch; place++) {
        bool is_blank = uly__batch_window(1, NUM_WINDOWS, place) == BLANK;
        found += is_blank;
        chosen += !is_blank;
      }
      assert_int_equal(report.passed_over, found);
      assert_int_equal(trainer->windows_done, place);
      passed_over += found;
    }
    assert_in_range(passed_over, 2 * batch - 1, 2 * batch + 2);
    const uly_data_info *info = uly_trainer_data_info(trainer);
    assert_int_equal(info->kind, ULY_DATA_U16);
    assert_int_equal(info->tokens, COUNT);
    assert_int_equal(info->sequences, NUM_WINDOWS);
    assert_int_equal(info->without_label, 1);
    int64_t documents = 1;
    for (int64_t at = 0; at + 1 < COUNT; at++) documents += stream[at] == END;
    assert_int_equal(info->documents, documents);
    uly_trainer_destroy(trainer);
  }
  uly_mesh_destroy(mesh);
}

/* An evaluation passes over them too: of so many sequences, those that have labels. */
static void test_evaluation_without_labels(void **state) {
  (void)state;
  uly_mesh *mesh;
  assert_ok(uly_mesh_create(NULL, &mesh));
  for (int64_t num = 3; num <= NUM_LABELLED; num++) {
    setting s = {.seq_len = N, .pack = 1};
    uly_train_config config = make_config(&s);
    uly_eval_report report = {.size = sizeof report};
    uly_trainer *trainer;
    config.eval_windows = num;
    assert_ok(uly_trainer_create(mesh, &config, &trainer));
    assert_ok(uly_trainer_evaluate(trainer, NULL, NULL, &report));
    int64_t labels = 0, left = num;
    for (int64_t window = 0; left > 0; window++) {
      for (int64_t at = window * N; at < (window + 1) * N; at++) labels += stream[at] != END;
      left -= window != BLANK;
    }
    assert_int_equal(report.tokens, labels);
    uly_trainer_destroy(trainer);
  }
  uly_mesh_destroy(mesh);
}

/* Data in which no token has a label are refused before anything begins, to train on and to
 * evaluate on alike. */
static void test_no_label_at_all(void **state) {
  (void)state;
  uly_mesh *mesh;
  uly_trainer *trainer;
  uly_start_report start = {.size = sizeof start};
  char path[256];
  static char bytes[1024 + 2 * (3 * N + 1)];
  int32_t header[4] = {20240520, 1, 3 * N + 1, 1 + END};
  memcpy(bytes, header, sizeof header);
  for (int i = 0; i < 3 * N + 1; i++) bytes[1024 + 2 * i] = END;
  write_scratch_file(path, "pack-blank.bin", bytes, sizeof bytes);
  assert_ok(uly_mesh_create(NULL, &mesh));
  for (int which = 0; which < 3; which++) {
    setting s = {.seq_len = N, .pack = 1};
    uly_train_config config = make_config(&s);
    if (which == 0) config.data = path;
    if (which > 0) config.eval_data = path;
    if (which == 2) config.data = NULL, config.forward_only = 1;
    assert_fails(uly_trainer_create(mesh, &config, &trainer), ULY_ERR_DATA, "has a label");
    assert_fails(uly_trainer_check(mesh, &config, NULL, &start), ULY_ERR_DATA, "pack-blank.bin");
  }
  remove_scratch_file(path);
  uly_mesh_destroy(mesh);
}

int main(int argc, char **argv) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_labels_and_positions),
      cmocka_unit_test(test_two_runs),
      cmocka_unit_test(test_no_labels),
      cmocka_unit_test(test_evaluation_without_labels),
      cmocka_unit_test(test_no_label_at_all),
  };
  begin_packs(&argc, &argv);
  return end_packs(cmocka_run_group_tests(tests, NULL, NULL));
}
