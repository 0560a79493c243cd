/* Tests what a report reads: lines from the last to the first, metrics against sums made here,
 * tables that stay small, files that are damaged, config.yaml, and text that comes from outside. */
#include <math.h>
#include <unistd.h>

#include "../cli/report/report_lines.h"
#include "../cli/report/report_run.h"
#include "../cli/report/report_text.h"
#include "testing.h"

static char path[256];

static void write_text(const char *text) {
  write_scratch_file(path, "metrics", text, strlen(text));
}

static report_run *read_run(const char *text) {
  report_run *run = calloc(1, sizeof *run);
  assert_non_null(run);
  write_text(text);
  assert_ok(report_run_read(path, run));
  return run;
}

static void free_run(report_run *run) {
  report_run_free(run);
  free(run);
  remove_scratch_file(path);
}

static void expect_refused(const char *text, uly_status status, const char *message) {
  report_run *run = calloc(1, sizeof *run);
  assert_non_null(run);
  write_text(text);
  assert_fails(report_run_read(path, run), status, message);
  free_run(run);
}

/* ------------------------------------------------------------------ lines */

/* Lines of many lengths, the longest of several chunks, so that every boundary is crossed; with and
 * without a newline at the end of the file. */
static void test_lines(void **state) {
  (void)state;
  enum { NUM_LINES = 3000, LONGEST = 700000 };
  char *text = NULL;
  size_t size = 0;
  FILE *file = open_memstream(&text, &size);
  for (int i = 1; i <= NUM_LINES; i++) {
    int length = i % 1000 == 0 ? LONGEST - i : i * 37 % 4001;
    for (int j = 0; j < length; j++) fputc('a' + (i + j) % 26, file);
    if (i < NUM_LINES) fputc('\n', file);
  }
  fclose(file);
  for (int ends = 0; ends < 2; ends++) {
    if (ends == 1) text[size] = '\n'; /* where the stream's own 0 was */
    write_scratch_file(path, "lines", text, size + (size_t)ends);
    report_lines lines;
    assert_ok(report_lines_open(path, &lines));
    for (int i = NUM_LINES; i >= 1; i--) {
      const char *line;
      size_t length;
      assert_ok(report_lines_previous(&lines, &line, &length));
      assert_non_null(line);
      assert_int_equal(length, i % 1000 == 0 ? LONGEST - i : i * 37 % 4001);
      for (size_t j = 0; j < length; j++)
        if (line[j] != 'a' + (i + (int)j) % 26) fail_msg("line %d, byte %zu", i, j);
      if (i % 500 == 1 || i == NUM_LINES) assert_int_equal(report_lines_number(&lines), i);
    }
    const char *line;
    size_t length;
    assert_ok(report_lines_previous(&lines, &line, &length));
    assert_null(line);
    assert_int_equal(lines.is_last_open, ends == 0);
    report_lines_close(&lines);
    remove_scratch_file(path);
  }
  free(text);
}

static void test_odd_files(void **state) {
  (void)state;
  expect_refused("", ULY_ERR_DATA, "holds no step");
  expect_refused("\n\n \t\r\n", ULY_ERR_DATA, "holds no step");
  expect_refused("hello", ULY_ERR_DATA, "holds no step");
  expect_refused("{\"step\":1,\"lo", ULY_ERR_DATA, "holds no step");
  expect_refused("hello\n", ULY_ERR_DATA, "line 1: expected a JSON object");
  expect_refused("{\"step\":1}\n[2]\n", ULY_ERR_DATA, "line 2: expected a JSON object");
  expect_refused("{\"step\":1}\n{\"step\":2,\n{\"step\":3}\n", ULY_ERR_DATA, "line 2: ");
  expect_refused("{\"step\":1}\n{\"step\":2}{\"step\":3}\n", ULY_ERR_DATA, "line 2: ");
  expect_refused("{\"step\":1,\"step\":1}\n", ULY_ERR_DATA, "duplicate");
  expect_refused("{\"step\":1,\"loss\":NaN}\n", ULY_ERR_DATA, "line 1: ");
  expect_refused("{\"loss\":1}\n", ULY_ERR_DATA, "no 'step'");
  expect_refused("{\"step\":0}\n", ULY_ERR_DATA, "at least 1");
  expect_refused("{\"step\":-1}\n", ULY_ERR_DATA, "'step'");
  expect_refused("{\"step\":9007199254740993}\n", ULY_ERR_DATA, "'step'");
  expect_refused("{\"step\":1.5}\n", ULY_ERR_DATA, "'step'");
  expect_refused("{\"step\":1,\"loss\":\"1\"}\n", ULY_ERR_DATA, "'loss': expected a number");
  expect_refused("{\"step\":1,\"tokens\":-4}\n", ULY_ERR_DATA, "'tokens'");
  expect_refused("{\"step\":1,\"skipped\":1}\n", ULY_ERR_DATA, "'skipped'");
  expect_refused("{\"step\":1,\"sent_bytes\":3}\n", ULY_ERR_DATA, "'sent_bytes'");
  expect_refused("{\"step\":1,\"arena_bytes\":{\"scratch\":-1}}\n", ULY_ERR_DATA, "'arena_bytes'");
  expect_refused("{\"step\":1,\"eval_by_position\":[[0,16,3]]}\n", ULY_ERR_DATA, "expected [begin");
  expect_refused("{\"step\":1,\"eval_by_position\":[[0,16,3,1],[8,32,3,1]]}\n", ULY_ERR_DATA,
                 "ascending");
  expect_refused("{\"step\":1,\"eval_by_position\":[[16,16,3,1]]}\n", ULY_ERR_DATA, "ascending");
  report_run run = {0};
  assert_fails(report_run_read("/nonexistent", &run), ULY_ERR_IO, "'/nonexistent'");
  assert_fails(report_run_read("/dev/null", &run), ULY_ERR_IO, "not a regular file");
  report_run_free(&run);
  char *long_line = malloc((size_t)REPORT_MAX_LINE + 100);
  assert_non_null(long_line);
  memset(long_line, ' ', (size_t)REPORT_MAX_LINE + 99);
  long_line[REPORT_MAX_LINE + 99] = '\0';
  expect_refused(long_line, ULY_ERR_DATA, "a line of more than");
  free(long_line);
}

/* ------------------------------------------------------------------ runs */

static const report_value *value_at(const report_run *run, int row, report_column column) {
  assert_in_range(row, 0, run->table.num_rows - 1);
  return &run->table.rows[row].columns[column];
}

static void test_resumed(void **state) {
  (void)state;
  report_run *run = read_run(
      "{\"step\":1,\"loss\":9,\"tokens\":10,\"step_s\":2,\"tokens_per_s\":5}\n"
      "{\"step\":2,\"loss\":8,\"tokens\":10,\"step_s\":2}\n"
      "{\"step\":3,\"loss\":7,\"tokens\":10,\"step_s\":2,\"eval_loss\":0.5}\n"
      "{\"step\":4,\"loss\":7,\"tokens\":10,\"step_s\":2}\n"
      "\n"
      "{\"step\":3,\"loss\":6,\"tokens\":20,\"step_s\":1,\"eval_loss\":2.5}\n"
      "{\"step\":4,\"loss\":null,\"grad_norm\":1e300,\"skipped\":true}\n"
      "{\"step\":5,\"loss\":4,\"flops\":30,\"step_s\":3,\"peak_flops\":40,\"wait_s\":0.75,"
      "\"other\":[1]}\n"
      "{\"step\":6,\"lo");
  assert_int_equal(run->num_steps, 5);
  assert_int_equal(run->num_repeated, 2);
  assert_int_equal(run->first_step, 1);
  assert_int_equal(run->last_step, 5);
  assert_int_equal(run->num_skipped, 1);
  assert_int_equal(run->num_not_finite, 1);
  assert_true(run->is_cut);
  assert_true(run->tokens == 40 && run->seconds == 8);
  assert_true(run->timed_tokens == 40 && run->timed_seconds == 5);
  assert_true(run->final_loss == 4 && run->final_step == 5);
  assert_true(run->best_eval_loss == 2.5 && run->best_eval_step == 3);
  /* Step 4 has no value that is a number of training. */
  assert_int_equal(run->table.num_rows, 4);
  static const double steps[] = {1, 2, 3, 5}, losses[] = {9, 8, 6, 4};
  for (int i = 0; i < 4; i++) {
    const report_value *loss = value_at(run, i, COLUMN_LOSS);
    assert_true(loss->count == 1 && loss->mean == losses[i] && loss->step == steps[i]);
  }
  assert_true(value_at(run, 0, COLUMN_TOKENS_PER_S)->mean == 5);
  assert_true(value_at(run, 3, COLUMN_PEAK_SHARE)->mean == 0.25);
  assert_true(value_at(run, 3, COLUMN_WAIT_SHARE)->mean == 0.25);
  free_run(run);
}

static void test_ranks(void **state) {
  (void)state;
  static const struct {
    const char *text;
    int num_ranks;
    bool has_other;
  } cases[] = {{"{\"step\":1}\n{\"step\":2}\n", 0, false},
               {"{\"step\":1,\"ranks\":4}\n{\"step\":2}\n{\"step\":3,\"ranks\":4}\n", 4, false},
               {"{\"step\":1,\"ranks\":4}\n{\"step\":2,\"ranks\":3}\n{\"step\":3}\n", 3, true}};
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    report_run *run = read_run(cases[i].text);
    assert_int_equal(run->num_ranks, cases[i].num_ranks);
    assert_int_equal(run->has_other_ranks, cases[i].has_other);
    free_run(run);
  }
}

static void test_bytes(void **state) {
  (void)state;
  report_run *run = read_run(
      "{\"step\":1,\"sent_bytes\":{\"gradients\":10,\"new\":1,\"newer\":2},\"peak_bytes\":5,"
      "\"arena_bytes\":{\"scratch\":4,\"parameters\":3,\"unheard\":1},\"resident_bytes\":7}\n"
      "{\"step\":2,\"sent_bytes\":{\"gradients\":30,\"control\":3},"
      "\"arena_bytes\":{\"scratch\":1},\"resident_bytes\":9}\n"
      "{\"step\":3}\n");
  const report_bytes *sent = &run->bytes[REPORT_SENT], *held = &run->bytes[REPORT_HELD];
  assert_int_equal(sent->num_steps, 2);
  assert_true(sent->parts[ULY_TRAFFIC_GRADIENTS] == 20);
  assert_true(sent->parts[ULY_TRAFFIC_CONTROL] == 1.5);
  assert_true(sent->parts[ULY_NUM_TRAFFIC] == 1.5);
  assert_true(report_total(sent) == 23);
  assert_true(held->parts[ULY_ARENA_SCRATCH] == 4);
  assert_true(held->parts[ULY_ARENA_PARAMETERS] == 3);
  assert_true(held->parts[ULY_NUM_ARENAS] == 1);
  assert_true(report_total(held) == 8);
  assert_int_equal(run->resident_bytes, 9);
  free_run(run);
}

/* 300 evaluations: first and last as they were, one near the middle, and empty bins left out. */
static void test_positions(void **state) {
  (void)state;
  char *text = NULL;
  size_t size = 0;
  FILE *file = open_memstream(&text, &size);
  for (int step = 10; step <= 3000; step += 10)
    fprintf(
        file,
        "{\"step\":%d,\"eval_by_position\":[[0,16,5,%d],[16,32,0,7],[32,64,1,null],[64,65,2,3]]}\n",
        step, step);
  fclose(file);
  report_run *run = read_run(text);
  const report_eval *evals[3];
  report_pick_evals(run, evals);
  assert_int_equal(evals[0]->step, 10);
  assert_int_equal(evals[2]->step, 3000);
  assert_in_range(evals[1]->step, 1505 - 160, 1505 + 160);
  for (int i = 0; i < 3; i++) {
    assert_int_equal(evals[i]->num_bins, 2);
    assert_true(evals[i]->bins[0].loss == (double)evals[i]->step);
    assert_int_equal(evals[i]->bins[1].begin, 64);
    assert_int_equal(evals[i]->bins[1].end, 65);
    assert_int_equal(evals[i]->bins[1].tokens, 2);
  }
  free_run(run);
  free(text);
  run = read_run("{\"step\":5,\"eval_by_position\":[[0,16,5,1]]}\n{\"step\":6}\n");
  report_pick_evals(run, evals);
  assert_true(!evals[0] && !evals[1] && evals[2]->step == 5);
  free_run(run);
}

/* ------------------------------------------------------------------ tables */

/* Any series of steps: every row against the sums over the steps that it stands for. */
static void check_table(int64_t first, int64_t num, int64_t apart) {
  report_table *table = calloc(1, sizeof *table);
  assert_non_null(table);
  for (int64_t i = num - 1; i >= 0; i--)
    report_table_add(table, first + i * apart, i % 3 ? COLUMN_LOSS : COLUMN_LR,
                     sin((double)i) + (double)i);
  report_table_finish(table);
  assert_in_range(table->num_rows, 1, REPORT_MAX_ROWS);
  if (num >= REPORT_MAX_ROWS) assert_true(table->num_rows >= REPORT_MAX_ROWS / 4);
  int64_t i = 0;
  for (int row = 0; row < table->num_rows; row++) {
    const report_row *r = &table->rows[row];
    if (row > 0) assert_true(r->bucket > table->rows[row - 1].bucket);
    for (int column = COLUMN_LOSS; column <= COLUMN_LR; column += COLUMN_LR - COLUMN_LOSS) {
      double sum = 0, steps = 0, low = INFINITY, high = -INFINITY;
      int64_t count = 0;
      for (int64_t j = i; j < num && (first + j * apart) >> table->shift == r->bucket; j++) {
        if ((j % 3 ? COLUMN_LOSS : COLUMN_LR) != column) continue;
        double value = sin((double)j) + (double)j;
        sum += value;
        steps += (double)(first + j * apart);
        low = fmin(low, value);
        high = fmax(high, value);
        count++;
      }
      const report_value *value = &r->columns[column];
      assert_int_equal(value->count, count);
      if (count == 0) continue;
      assert_true(value->min == low && value->max == high);
      assert_true(fabs(value->mean - sum / (double)count) <= 1e-9 * (1 + fabs(value->mean)));
      assert_true(fabs(value->step - steps / (double)count) <= 1e-9 * (1 + value->step));
    }
    while (i < num && (first + i * apart) >> table->shift == r->bucket) i++;
  }
  assert_int_equal(i, num);
  free(table);
}

static void test_tables(void **state) {
  (void)state;
  static const int64_t counts[] = {1, 2, 1023, 1024, 1025, 2047, 2049, 5000, 300000};
  for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
    check_table(1, counts[i], 1);
    check_table(999983, counts[i], 1);
    check_table(1, counts[i], 1000);
  }
  check_table(1, 1500, (int64_t)1 << 42);
}

/* A constant and a straight line stay what they are; the start is not drawn down by what
 * follows. */
static void test_smooth(void **state) {
  (void)state;
  static report_table table;
  double smooth[REPORT_MAX_ROWS];
  table = (report_table){0};
  for (int step = 1000; step >= 1; step--) {
    report_table_add(&table, step, COLUMN_LOSS, 3);
    report_table_add(&table, step, COLUMN_LR, 2.0 * step);
  }
  report_table_finish(&table);
  report_table_smooth(&table, COLUMN_LOSS, smooth);
  for (int i = 0; i < 1000; i++) assert_true(fabs(smooth[i] - 3) < 1e-12);
  report_table_smooth(&table, COLUMN_LR, smooth);
  for (int i = 0; i < 1000 - 1000 / 50; i++) assert_true(fabs(smooth[i] - 2.0 * (i + 1)) < 1e-9);
}

/* ------------------------------------------------------------------ config.yaml, text */

static void expect_setting(const report_config *config, int i, const char *key, const char *value) {
  assert_true(i < config->num);
  assert_string_equal(config->settings[i].key, key);
  assert_string_equal(config->settings[i].value, value);
}

static void test_config(void **state) {
  (void)state;
  report_config config = {0};
  write_text("run:\n  model: 'a: b'\n  list: [1, {x: y}]\nsp: 2\ndeep: {er: {est: }}\n");
  report_config_read(path, &config);
  assert_string_equal(config.problem, "");
  assert_int_equal(config.num, 5);
  expect_setting(&config, 0, "run.model", "a: b");
  expect_setting(&config, 1, "run.list.1", "1");
  expect_setting(&config, 2, "run.list.2.x", "y");
  expect_setting(&config, 3, "sp", "2");
  expect_setting(&config, 4, "deep.er.est", "");
  assert_string_equal(report_config_get(&config, "model"), "a: b");
  assert_null(report_config_get(&config, "dp"));
  report_config_free(&config);
  static const char *const bad[] = {"[1, 2]\n", "text\n",
                                    "a: [\n",   "{a: b}: c\n",
                                    "\t- x",    "a: {b: {c: {d: {e: {f: {g: {h: {i: j}}}}}}}}\n"};
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
    remove_scratch_file(path);
    write_text(bad[i]);
    report_config_read(path, &config);
    if (!config.problem[0]) fail_msg("accepted: %s", bad[i]);
    report_config_free(&config);
  }
  remove_scratch_file(path);
  report_config_read(path, &config);
  assert_true(config.num == 0 && !config.problem[0]);
  report_config_free(&config);
}

static void expect_put(void (*put)(FILE *, const char *), const char *text, const char *expected) {
  char *out = NULL;
  size_t size = 0;
  FILE *file = open_memstream(&out, &size);
  put(file, text);
  fclose(file);
  assert_string_equal(out, expected);
  free(out);
}

static void test_text(void **state) {
  (void)state;
  expect_put(report_put_html, "<b a=\"1\" b='2'>&amp;",
             "&lt;b a=&quot;1&quot; b=&#39;2&#39;&gt;&amp;amp;");
  expect_put(report_put_html, "ü\n\x1b[1m\xff\xc2\x85\xe2\x82\xac\xed\xa0\x80\xc0\xaf",
             "ü??[1m???€?????");
  expect_put(report_put_gnuplot, "it's `ls` $x\n\"\\", "'it''s `ls` $x?\"\\'");
  expect_put(report_put_gnuplot, "123456789012345678901234567890", "'123456789012345678901234...'");
  /* Never cut within a character. */
  expect_put(report_put_gnuplot, "12345678901234567890123ü567890", "'12345678901234567890123...'");
  char clean[16];
  report_clean("0123456789abcde", 15, clean, sizeof clean);
  assert_string_equal(clean, "0123456789abcde");
  report_clean("0123456789abcdef", 16, clean, sizeof clean);
  assert_string_equal(clean, "0123456789ab...");
}

static void expect_number(void (*put)(FILE *, double), double number, const char *expected) {
  char *out = NULL;
  size_t size = 0;
  FILE *file = open_memstream(&out, &size);
  put(file, number);
  fclose(file);
  assert_string_equal(out, expected);
  free(out);
}

static void test_numbers(void **state) {
  (void)state;
  expect_number(report_put_count, 0, "0");
  expect_number(report_put_count, 999, "999");
  expect_number(report_put_count, 1000, "1,000");
  expect_number(report_put_count, 12345678, "12,345,678");
  expect_number(report_put_duration, 0.0123, "12 ms");
  expect_number(report_put_duration, 0.9999, "1.0 s");
  expect_number(report_put_duration, 59.96, "1 min 00 s");
  expect_number(report_put_duration, 3599.6, "1 h 00 min");
  expect_number(report_put_duration, 360000 + 125, "100 h 02 min");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_lines),   cmocka_unit_test(test_odd_files),
      cmocka_unit_test(test_resumed), cmocka_unit_test(test_ranks),
      cmocka_unit_test(test_bytes),   cmocka_unit_test(test_positions),
      cmocka_unit_test(test_tables),  cmocka_unit_test(test_smooth),
      cmocka_unit_test(test_config),  cmocka_unit_test(test_text),
      cmocka_unit_test(test_numbers),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
