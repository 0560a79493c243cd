/* Compares the frequencies of every type of scaled RoPE, and their cosines and sines, with those of
 * transformers in float64 (tests/data/rope.json, made by tools/make_rope_golden.py); and what is
 * refused, written and read again, and asked for by a run. */
#include <jansson.h>
#include <math.h>

#include "model/config.h"
#include "testing.h"

#define LLAMA                                                                                \
  "\"model_type\":\"llama\",\"hidden_size\":64,\"intermediate_size\":96,\"vocab_size\":100," \
  "\"num_hidden_layers\":2,\"num_attention_heads\":4"

static uly_status read_text(const char *text, uly__model_config *config) {
  return uly__model_config_read(text, (int64_t)strlen(text), "config.json", config);
}

/* Reads a Llama with these keys and heads of so many elements. */
static uly_status read_keys(const json_t *keys, int head_dim, uly__model_config *config) {
  json_error_t error;
  json_t *json = json_loads("{" LLAMA "}", 0, &error);
  json_object_update(json, (json_t *)(uintptr_t)keys);
  json_object_set_new(json, "head_dim", json_integer(head_dim));
  char *text = json_dumps(json, 0);
  uly_status status = read_text(text, config);
  free(text);
  json_decref(json);
  return status;
}

static double number_at(const json_t *list, size_t i) {
  return json_number_value(json_array_get(list, i));
}

static void check_number(const char *name, const char *what, double found, double expected,
                         double tolerance) {
  if (!(fabs(found - expected) <= tolerance))
    fail_msg("%s: %s is %.12g, expected %.12g", name, what, found, expected);
}

static void check_tables(const json_t *c, const char *name, const uly__rope *rope, int head_dim) {
  const json_t *positions = json_object_get(c, "positions");
  size_t num = json_array_size(positions), half = (size_t)head_dim / 2;
  assert_true(num > 0 && num <= 16);
  int64_t at[16];
  float table[16 * ULY_MAX_HEAD_DIM];
  for (size_t r = 0; r < num; r++) at[r] = json_integer_value(json_array_get(positions, r));
  uly__ops_get()->rope_table(uly__stream_get(), (int64_t)num, at, head_dim, rope, table);
  for (size_t r = 0; r < num; r++) {
    const json_t *cosines = json_array_get(json_object_get(c, "cos"), r);
    const json_t *sines = json_array_get(json_object_get(c, "sin"), r);
    assert_int_equal(json_array_size(cosines), half);
    for (size_t i = 0; i < half; i++) {
      const float *row = table + r * 2 * half;
      check_number(name, "a cosine", (double)row[i], number_at(cosines, i), 1e-6);
      check_number(name, "a sine", (double)row[half + i], number_at(sines, i), 1e-6);
    }
  }
}

/* Checks that the configuration, written and read again, has the same frequencies. */
static void check_written(const char *name, const uly__model_config *config, int64_t seq_len,
                          const uly__rope *rope) {
  uly__model_config again;
  char *text = uly__model_config_json(config);
  assert_ok(read_text(text, &again));
  uly__rope other = uly__rope_plan(again.rope_theta, again.head_dim, &again.scaling, seq_len);
  if (other.scale != rope->scale ||
      memcmp(other.frequency, rope->frequency, sizeof rope->frequency) != 0)
    fail_msg("%s: differs when read again", name);
  free(text);
}

static void test_golden(void **state) {
  (void)state;
  char path[512];
  json_error_t error;
  size_t i;
  json_t *c;
  test_data_path(path, "", "rope.json");
  json_t *json = json_load_file(path, 0, &error), *cases = json_object_get(json, "cases");
  assert_true(json_array_size(cases) > 30);
  json_array_foreach(cases, i, c) {
    const char *name = json_string_value(json_object_get(c, "name"));
    const json_t *frequencies = json_object_get(c, "frequencies");
    int head_dim = (int)json_integer_value(json_object_get(c, "head_dim"));
    int64_t seq_len = json_integer_value(json_object_get(c, "seq_len"));
    uly__model_config config;
    if (read_keys(json_object_get(c, "config"), head_dim, &config) != ULY_OK)
      fail_msg("%s: %s", name, uly_last_error());
    uly__rope rope = uly__rope_plan(config.rope_theta, head_dim, &config.scaling, seq_len);
    double scale = json_number_value(json_object_get(c, "attention_factor"));
    check_number(name, "the attention factor", rope.scale, scale, 1e-12 * scale);
    assert_int_equal(json_array_size(frequencies), head_dim / 2);
    for (size_t k = 0; k < json_array_size(frequencies); k++) {
      double expected = number_at(frequencies, k);
      check_number(name, "a frequency", rope.frequency[k], expected, 1e-12 * expected);
    }
    check_tables(c, name, &rope, head_dim);
    check_written(name, &config, seq_len, &rope);
  }
  json_decref(json);
}

static void test_refusals(void **state) {
  (void)state;
  static const struct {
    const char *rope, *message;
  } bad[] = {
      {"{\"rope_type\":\"linear\"}", "RoPE of type linear needs \"factor\""},
      {"{\"rope_type\":\"linear\",\"factor\":0}", "\"factor\" must be a positive number"},
      {"{\"rope_type\":\"linear\",\"factor\":\"2\"}", "\"factor\" must be a positive number"},
      {"{\"rope_type\":\"llama3\",\"factor\":2,\"low_freq_factor\":1}", "\"high_freq_factor\""},
      {"{\"rope_type\":\"llama3\",\"factor\":2,\"low_freq_factor\":4,\"high_freq_factor\":4}",
       "must be below"},
      {"{\"rope_type\":\"yarn\",\"factor\":2,\"rope_theta\":1}", "above 1"},
      {"{\"rope_type\":\"yarn\",\"factor\":2,\"truncate\":1}", "true or false"},
      {"{\"rope_type\":\"yarn\",\"factor\":2,\"attention_factor\":0}", "attention_factor"},
      {"{\"rope_type\":\"yarn\",\"factor\":2,\"original_max_position_embeddings\":0}",
       "original_max_position_embeddings"},
      {"{\"rope_type\":\"longrope\",\"factor\":2}", "\"short_factor\" must be a list of 8 numbers"},
      {"{\"rope_type\":\"longrope\",\"short_factor\":[1,1,1,1,1,1,1,1],\"long_factor\":[1,2]}",
       "\"long_factor\" must be a list of 8 numbers"},
      {"{\"rope_type\":\"longrope\",\"short_factor\":[1,1,1,1,1,1,1,0],\"long_factor\":[1,2]}",
       "\"short_factor\""},
      {"{\"rope_type\":\"proportional\",\"factor\":2}", "\"proportional\", but only default"},
      {"{\"rope_type\":null}", "something other than a string"},
  };
  uly__model_config c;
  char text[1024];
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
    snprintf(text, sizeof text,
             "{" LLAMA ",\"max_position_embeddings\":4096,\"rope_parameters\":%s}", bad[i].rope);
    assert_fails(read_text(text, &c), ULY_ERR_CONFIG, bad[i].message);
  }
}

/* Plans a run of the model in a file. */
static uly_status plan(const char *path, const uly_train_config *config, uly_plan_report *report) {
  uly_mesh *mesh;
  uly_mesh_desc desc = {.size = sizeof desc, .dp = 1};
  uly_train_config with_model = *config;
  with_model.model = path;
  assert_ok(uly_mesh_create_offline(&desc, 0, &mesh));
  uly_status status = uly_plan(mesh, &with_model, report);
  uly_mesh_destroy(mesh);
  return status;
}

/* A run may scale the RoPE of a model by a factor, or by as much as its sequences need. */
static void test_scaled_by_run(void **state) {
  (void)state;
  uly__model_config a, b;
  assert_ok(read_text("{" LLAMA ",\"max_position_embeddings\":2048}", &a));
  b = a;
  assert_ok(uly__model_config_scale_rope(&b, ULY_ROPE_YARN, 8));
  assert_int_equal(b.max_positions, 16384);
  assert_int_equal(b.scaling.original_positions, 2048);
  assert_float_equal(b.scaling.attention_factor, 0.1 * log(8) + 1, 1e-12);
  /* Another factor, of the positions of the first training. */
  assert_ok(uly__model_config_scale_rope(&b, ULY_ROPE_YARN, 16));
  assert_int_equal(b.max_positions, 32768);
  assert_fails(uly__model_config_scale_rope(&b, ULY_ROPE_LLAMA3, 2), ULY_ERR_CONFIG,
               "already has RoPE of type yarn");
  /* An attention factor of its own stays with its factor. */
  b.scaling.attention_factor = 0.9;
  assert_ok(uly__model_config_scale_rope(&b, ULY_ROPE_YARN, 16));
  assert_true(b.scaling.attention_factor == 0.9);
  assert_fails(uly__model_config_scale_rope(&b, ULY_ROPE_YARN, 8), ULY_ERR_CONFIG,
               "an attention factor of its own, 0.9");
  b = a;
  assert_ok(uly__model_config_scale_rope(&b, ULY_ROPE_LINEAR, 2.5));
  assert_int_equal(b.max_positions, 5120);
  assert_fails(uly__model_config_scale_rope(&b, ULY_ROPE_LINEAR, 2), ULY_ERR_CONFIG, "linear");
  assert_ok(uly__model_config_load("gpt2-3m", &b));
  assert_fails(uly__model_config_scale_rope(&b, ULY_ROPE_YARN, 2), ULY_ERR_CONFIG,
               "learned positions");
}

static void test_plans(void **state) {
  (void)state;
  char path[256];
  static const char text[] = "{" LLAMA ",\"max_position_embeddings\":256}";
  static const char dynamic[] = "{" LLAMA
                                ",\"max_position_embeddings\":256,\"rope_parameters\":"
                                "{\"rope_type\":\"dynamic\",\"factor\":2}}";
  uly_train_config config = default_config();
  uly_plan_report report = {.size = sizeof report};
  write_scratch_file(path, "config.json", text, strlen(text));
  config.seq_len = 1000;
  config.rope_scaling = ULY_ROPE_SCALING_YARN;
  assert_ok(plan(path, &config, &report));
  config.seq_len = 200;
  assert_fails(plan(path, &config, &report), ULY_ERR_CONFIG, "the 256 positions");
  config.rope_factor = 1;
  assert_fails(plan(path, &config, &report), ULY_ERR_CONFIG, "by a factor of 1");
  remove_scratch_file(path);
  write_scratch_file(path, "config.json", dynamic, strlen(dynamic));
  config = default_config();
  config.seq_len = 1000;
  assert_fails(plan(path, &config, &report), ULY_ERR_CONFIG, "so it cannot be trained");
  config.forward_only = 1;
  assert_ok(plan(path, &config, &report));
  remove_scratch_file(path);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_golden),
      cmocka_unit_test(test_refusals),
      cmocka_unit_test(test_scaled_by_run),
      cmocka_unit_test(test_plans),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
