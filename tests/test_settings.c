/* The table of settings: every member of uly_train_config has its row, and what follows from
 * rows. */
#include <float.h>
#include <math.h>

#include "comm/mesh.h"
#include "store/checkpoint_info.h"
#include "store/settings.h"
#include "store/settings_json.h"
#include "testing.h"

static const uly_setting *find(const char *name) {
  size_t num;
  const uly_setting *settings = uly_settings(&num);
  for (size_t i = 0; i < num; i++)
    if (strcmp(settings[i].name, name) == 0) return &settings[i];
  fail_msg("no setting '%s'", name);
  return NULL;
}

/* Another value than the default, which the setting may have. */
static uly_setting_value other_value(const uly_setting *s) {
  uly_setting_value value = s->initial;
  if (s->type == ULY_SETTING_TEXT) {
    value.text = "other";
  } else if (s->type == ULY_SETTING_REAL) {
    double low = s->min.real, next = s->max.real < low + 1 ? s->max.real : low + 1;
    value.real = (low + (s->initial.real > low ? s->initial.real : next)) / 2;
  } else {
    value.integer = s->initial.integer == s->max.integer ? s->min.integer : s->initial.integer + 1;
    if (s->unset) value.integer = 5;
  }
  return value;
}

/* The defaults, but for one setting; what it needs is given. */
static uly_train_config with(const uly_setting *s, uly_setting_value value) {
  uly_train_config config = default_config();
  if (s->needs) uly__setting_put(find(s->needs), &config, other_value(find(s->needs)));
  uly__setting_put(s, &config, value);
  return config;
}

/* Every byte that is no padding belongs to one row; but for the size, and for what the header says
 * is ignored or room. clang cannot tell padding from members: there it may be up to an int. */
static void test_every_member_has_a_row(void **state) {
  (void)state;
  unsigned char rows[sizeof(uly_train_config)] = {0};
  uly_train_config config;
  size_t num, max_gap = 0;
  const uly_setting *settings = uly_settings(&num);
  assert_true(num > 35);
  assert_ptr_equal(uly_settings(NULL), settings);
  for (size_t i = 0; i < num; i++)
    for (size_t at = 0; at < settings[i].bytes; at++) rows[settings[i].offset + at]++;
  memset(rows + offsetof(uly_train_config, size), 1, sizeof config.size);
  memset(rows + offsetof(uly_train_config, sparse.seed), 1, sizeof config.sparse.seed);
  memset(rows + offsetof(uly_train_config, sparse.reserved), 1, sizeof config.sparse.reserved);
  memset(&config, 0xff, sizeof config);
#if defined(__GNUC__) && !defined(__clang__)
  __builtin_clear_padding(&config);
#else
  max_gap = sizeof(int);
#endif
  size_t gap = 0;
  for (size_t at = 0; at < sizeof config; at++) {
    bool is_padding = ((unsigned char *)&config)[at] == 0;
    gap = rows[at] == 0 ? gap + 1 : 0;
    if (rows[at] > 1) fail_msg("byte %d of uly_train_config has %d rows", (int)at, rows[at]);
    if (is_padding && rows[at]) fail_msg("byte %d is padding, and has a row", (int)at);
    if (!is_padding && gap > max_gap) fail_msg("byte %d of uly_train_config has no row", (int)at);
  }
}

/* Rows are whole: what helps, checkpoints and checks rely on. */
static void test_rows(void **state) {
  (void)state;
  size_t num;
  const uly_setting *settings = uly_settings(&num);
  for (size_t i = 0; i < num; i++) {
    const uly_setting *s = &settings[i];
    assert_true(s->help && *s->help && s->uses != 0);
    assert_true(s->type != ULY_SETTING_TEXT || s->placeholder);
    assert_true(s->type != ULY_SETTING_TEXT || !s->record); /* nobody would free it */
    assert_true(s->bytes == 8 || (s->bytes == sizeof(int) && s->type != ULY_SETTING_TEXT &&
                                  s->type != ULY_SETTING_REAL && s->type != ULY_SETTING_BYTES));
    assert_true(uly__setting_allows(s, s->initial));
    assert_true(uly__setting_allows(s, other_value(s)));
    if (s->type == ULY_SETTING_CHOICE)
      for (uint64_t word = 0; word <= s->max.integer + 1; word++)
        assert_int_equal(s->words[word] != NULL, word <= s->max.integer);
    for (size_t j = 0; j < i; j++) assert_string_not_equal(s->name, settings[j].name);
    if (!s->needs) continue;
    assert_true(find(s->needs) < s && !find(s->needs)->needs);
    assert_int_equal(s->uses & find(s->needs)->uses, s->uses);
    assert_true(find(s->needs)->is_shared || !s->is_shared);
  }
}

static void test_defaults(void **state) {
  (void)state;
  size_t num;
  const uly_setting *settings = uly_settings(&num);
  uly_train_config config = default_config();
  for (size_t i = 0; i < num; i++) {
    const uly_setting *s = &settings[i];
    const char *at = (const char *)&config + s->offset;
    if (s->type == ULY_SETTING_TEXT)
      assert_ptr_equal(*(const char *const *)at, s->initial.text);
    else if (s->type == ULY_SETTING_REAL)
      assert_true(*(const double *)at == s->initial.real);
    else if (s->bytes == sizeof(int))
      assert_true(*(const int *)at == (int)s->initial.integer);
    else
      assert_true(*(const uint64_t *)at == s->initial.integer);
  }
  /* Some of them, as the header's readers know them. */
  assert_true(!config.model && !config.init);
  assert_true(config.seq_len == 4096 && config.doc_end == -1 && config.window == -1);
  assert_true(config.sparse.block == 64 && config.sparse.global == 1 && config.sparse.random == 3);
  assert_true(config.steps == 100 && config.eval_windows == 8 && config.seed == 1);
  assert_true(config.recompute == ULY_RECOMPUTE_KEEP_ATTENTION && config.leaves == 8);
  assert_true(config.lr == 1e-3 && config.beta1 == 0.9 && config.beta2 == 0.95);
}

static void refuse(const uly_train_config *config, const char *first, const char *second) {
  uly_mesh *mesh;
  uly_plan_report plan = {.size = sizeof plan};
  assert_ok(uly_mesh_create_offline(NULL, 0, &mesh));
  assert_fails(uly_plan(mesh, config, &plan), ULY_ERR_CONFIG, first);
  assert_non_null(strstr(uly_last_error(), second));
  uly_mesh_destroy(mesh);
}

/* Just outside the range, each names its setting. */
static void test_ranges(void **state) {
  (void)state;
  size_t num;
  int num_values = 0;
  const uly_setting *settings = uly_settings(&num);
  for (size_t i = 0; i < num; i++) {
    const uly_setting *s = &settings[i];
    uly_setting_value wrong[4];
    int num_wrong = 0;
    char name[64];
    snprintf(name, sizeof name, "config.%s is ", s->name);
    if (s->type == ULY_SETTING_TEXT || s->type == ULY_SETTING_BOOLEAN) continue;
    if (s->type == ULY_SETTING_REAL) {
      wrong[num_wrong++].real = s->min.real > 0 ? s->min.real / 2 : -1e-300;
      wrong[num_wrong++].real = s->max.real == DBL_MAX ? INFINITY : s->max.real * 1.001;
      wrong[num_wrong++].real = NAN;
      if (s->excludes_max) wrong[num_wrong++].real = s->max.real;
    } else if (s->max.integer < UINT64_MAX) {
      wrong[num_wrong++].integer = s->max.integer + 1;
      wrong[num_wrong++].integer = (uint64_t)-2;
      if (!s->unset) wrong[num_wrong++].integer = s->min.integer - 1;
    }
    for (int j = 0; j < num_wrong; j++, num_values++) {
      uly_train_config config = with(s, wrong[j]);
      refuse(&config, name, "but it must be");
    }
  }
  assert_true(num_values > 60);
}

/* What is set but has no effect is refused, and the message names both. */
static void test_needs(void **state) {
  (void)state;
  static const char *const expected[][2] = {{"doc_end", "pack"},
                                            {"sparse.block", "sparse.pattern"},
                                            {"leaves", "reproducible"},
                                            {"sparse.local", "sparse.pattern"},
                                            {"sparse.global", "sparse.pattern"},
                                            {"sparse.random", "sparse.pattern"},
                                            {"eval_windows", "eval_data"}};
  size_t num;
  const uly_setting *settings = uly_settings(&num);
  for (size_t i = 0; i < sizeof expected / sizeof expected[0]; i++) {
    assert_non_null(find(expected[i][0])->needs);
    assert_string_equal(find(expected[i][0])->needs, expected[i][1]);
  }
  for (size_t i = 0; i < num; i++) {
    const uly_setting *s = &settings[i];
    uly_train_config config = default_config();
    char name[64], needed[64];
    if (!s->needs) continue;
    snprintf(name, sizeof name, "config.%s is set", s->name);
    snprintf(needed, sizeof needed, "no effect without config.%s", s->needs);
    assert_ok(uly__settings_check(&config, s->uses));
    config = with(s, other_value(s));
    assert_ok(uly__settings_check(&config, s->uses));
    uly__setting_put(find(s->needs), &config, (uly_setting_value){.integer = 0});
    refuse(&config, name, needed);
    /* Those who do not use it do not care. */
    assert_ok(uly__settings_check(&config, 0));
  }
  uly_train_config config = default_config();
  config.doc_end = 0; /* a token */
  refuse(&config, "config.doc_end is set", "config.pack");
  /* A struct that was cleared means no pattern. */
  config = default_config();
  config.sparse = (uly_sparse){0};
  assert_ok(uly__settings_check(&config, ~0U));
}

/* A generator looks at the settings that it uses, before it looks for its checkpoint. */
static void test_generator(void **state) {
  (void)state;
  uly_mesh *mesh;
  uly_generator *generator;
  int32_t token = 1;
  uly_train_config config = default_config();
  assert_ok(uly_mesh_create(MESH(.sp = uly_world_size()), &mesh));
  config.lr = -1;
  config.leaves = 4;
  assert_fails(uly_generator_create(mesh, &config, "/nowhere", &token, 1, 1, &generator),
               ULY_ERR_DATA, "/nowhere");
  config.doc_end = 7;
  assert_fails(uly_generator_create(mesh, &config, "/nowhere", &token, 1, 1, &generator),
               ULY_ERR_CONFIG, "config.doc_end is set, but has no effect without config.pack");
  uly_mesh_destroy(mesh);
}

/* What the last rank has otherwise is named, if it must be the same. */
static void test_shared(void **state) {
  (void)state;
  uly_mesh *mesh;
  int size = uly_world_size();
  size_t num;
  const uly_setting *settings = uly_settings(&num);
  assert_ok(uly_mesh_create(MESH(.sp = size), &mesh));
  for (size_t i = 0; i < num; i++) {
    const uly_setting *s = &settings[i];
    bool is_last = uly_world_rank() == size - 1;
    uly_train_config config = with(s, is_last ? other_value(s) : s->initial);
    char name[80];
    snprintf(name, sizeof name, "rank %d has a different config.%s from rank 0", size - 1, s->name);
    if (s->is_shared && size > 1)
      assert_fails(uly__settings_same(mesh, &config, s->uses), ULY_ERR_CONFIG, name);
    else
      assert_ok(uly__settings_same(mesh, &config, s->uses));
    assert_ok(uly__settings_same(mesh, &config, 0));
  }
  uly_mesh_destroy(mesh);
}

/* A run's copy of the texts is its own. */
static void test_texts(void **state) {
  (void)state;
  size_t num;
  const uly_setting *settings = uly_settings(&num);
  uly_train_config config = default_config(), copy;
  for (size_t i = 0; i < num; i++)
    if (settings[i].type == ULY_SETTING_TEXT)
      uly__setting_put(&settings[i], &config, (uly_setting_value){.text = settings[i].help});
  config.stash = NULL;
  copy = config;
  assert_ok(uly__settings_copy_texts(&copy));
  assert_null(copy.stash);
  for (size_t i = 0; i < num; i++) {
    const char *text = uly__setting_get(&settings[i], &copy).text;
    if (settings[i].type != ULY_SETTING_TEXT || !text) continue;
    assert_string_equal(text, settings[i].help);
    assert_ptr_not_equal(text, settings[i].help);
  }
  uly__settings_free_texts(&copy);
}

/* ------------------------------------------------------------------- what a checkpoint records */

static void expect_json(const uly_train_config *config, const char *expected) {
  json_t *json = json_object();
  uly__settings_write_json(json, config);
  char *text = json_dumps(json, JSON_COMPACT | JSON_PRESERVE_ORDER);
  assert_string_equal(text, expected);
  free(text);
  json_decref(json);
}

/* Files have had this form since version 3. */
static void test_json(void **state) {
  (void)state;
  uly_train_config config = default_config();
  config.window = 0; /* a run has found it in the model */
  expect_json(&config, "{\"seq_len\":4096,\"seed\":1,\"dtype\":\"f32\",\"attention\":{}}");
  config.seq_len = 64;
  config.seed = UINT64_MAX;
  config.dtype = ULY_BF16;
  config.window = 9;
  config.pack = 7;
  config.doc_end = 0;
  config.sparse = (uly_sparse){ULY_SPARSE_FIXED, .block = 4, .local = 5, .global = 0};
  expect_json(&config,
              "{\"seq_len\":64,\"seed\":-1,\"dtype\":\"bf16\",\"attention\":{\"window\":9,"
              "\"doc_end\":0,\"sparse\":{\"pattern\":\"fixed\",\"block\":4,\"local\":5,\"global\":"
              "0,\"random\":0}}}");
}

/* What is recorded comes back through the file, the description and uly_checkpoint_apply;
 * everything else stays as it was. */
static void come_back(const uly_train_config *config, const char *what) {
  size_t num;
  const uly_setting *settings = uly_settings(&num);
  uly__model_config model = {.hidden = 1};
  uly__params params = {.num = 0};
  uly__checkpoint_run run = {.step = 3};
  uly_checkpoint_info info;
  uly_train_config found = default_config();
  json_t *json = json_object();
  uly__settings_write_json(json, config);
  assert_ok(uly__settings_read_json(json, "trainer.json", &run.config));
  json_decref(json);
  uly__checkpoint_describe(&model, &params, &run, &info);
  info.size = sizeof info;
  assert_ok(uly_checkpoint_apply(&info, &found));
  assert_ok(uly__settings_check(&found, ~0U));
  for (size_t i = 0; i < num; i++) {
    const uly_setting *s = &settings[i];
    uint64_t value = uly__setting_get(s, &found).integer;
    uint64_t expected = s->record ? uly__setting_get(s, config).integer : s->initial.integer;
    if (s->type != ULY_SETTING_TEXT && s->type != ULY_SETTING_REAL && value != expected)
      fail_msg("with %s: %s is %llu, not %llu", what, s->name, (unsigned long long)value,
               (unsigned long long)expected);
  }
}

static void test_record(void **state) {
  (void)state;
  int num_recorded = 0;
  size_t num;
  const uly_setting *settings = uly_settings(&num);
  for (size_t i = 0; i < num; i++) {
    uly_train_config config = with(&settings[i], other_value(&settings[i]));
    if (config.window < 0) config.window = 0;
    come_back(&config, settings[i].name);
    num_recorded += settings[i].record != NULL;
  }
  assert_true(num_recorded >= 11);
}

/* A new setting, in an object, is missing in older files. */
static void test_missing_keys(void **state) {
  (void)state;
  uly_train_config config;
  json_t *json = json_pack("{s:i, s:i, s:s}", "seq_len", 7, "seed", 1, "dtype", "f32");
  assert_ok(uly__settings_read_json(json, "trainer.json", &config));
  assert_true(config.seq_len == 7 && config.window == 0 && config.doc_end == -1 && !config.pack);
  assert_true(config.sparse.pattern == ULY_SPARSE_NONE && config.sparse.block == 64);
  json_object_del(json, "seed");
  assert_fails(uly__settings_read_json(json, "'trainer.json'", &config), ULY_ERR_DATA,
               "\"seed\" is missing");
  json_decref(json);
}

int main(int argc, char **argv) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_every_member_has_a_row),
      cmocka_unit_test(test_rows),
      cmocka_unit_test(test_defaults),
      cmocka_unit_test(test_ranges),
      cmocka_unit_test(test_needs),
      cmocka_unit_test(test_generator),
      cmocka_unit_test(test_shared),
      cmocka_unit_test(test_texts),
      cmocka_unit_test(test_json),
      cmocka_unit_test(test_record),
      cmocka_unit_test(test_missing_keys),
  };
  begin_ranks(&argc, &argv, NULL);
  int num_failed = cmocka_run_group_tests(tests, NULL, NULL);
  return end_ranks(NULL, num_failed);
}
