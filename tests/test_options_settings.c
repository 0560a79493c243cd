/* The options of the program that are settings of the library: a row of its table is known to
 * flags, help, YAML, and to the refusal of what has no effect. */
#include "../cli/help/help.h"
#include "../cli/options/messages.h"
#include "options_testing.h"

/* The option of a setting; -1: it has none. */
static option_id find_option(const uly_setting *s) {
  for (option_id id = 0; id < num_options; id++)
    if (option_table[id].rules.name && strcmp(option_table[id].rules.name, s->name) == 0) return id;
  return -1;
}

static const uly_setting *find_setting(const char *name) {
  const uly_setting *s = uly_settings(NULL);
  while (strcmp(s->name, name) != 0) s++;
  return s;
}

/* A value other than the default, as a flag takes it. */
static void write_value(const uly_setting *s, char text[OPTION_BUFFER]) {
  const char *prefix = option_table[find_option(s)].prefix;
  switch (s->type) {
    case ULY_SETTING_TEXT: snprintf(text, OPTION_BUFFER, "%sother", prefix ? prefix : ""); return;
    case ULY_SETTING_REAL: snprintf(text, OPTION_BUFFER, "0.0625"); return;
    case ULY_SETTING_CHOICE:
      snprintf(text, OPTION_BUFFER, "%s", s->words[s->initial.integer == 1 ? 0 : 1]);
      return;
    case ULY_SETTING_BOOLEAN: snprintf(text, OPTION_BUFFER, "true"); return;
    case ULY_SETTING_INTEGER:
    case ULY_SETTING_BYTES: snprintf(text, OPTION_BUFFER, "2"); return;
  }
}

/* A command whose runs use the setting. */
static command command_using(const uly_setting *s) {
  return (s->uses & ULY_USE_TRAINING) ? TRAIN : PLAN;
}

static char *help_of(const char *name) {
  char *text = NULL;
  size_t length = 0;
  FILE *file = open_memstream(&text, &length);
  assert_non_null(file);
  assert_ok(help_print(file, name, NULL));
  fclose(file);
  return text;
}

/* Each setting that people may set is an option, in the section of its topic, with its default. */
static void test_every_setting_is_an_option(void **state) {
  (void)state;
  size_t num;
  const uly_setting *settings = uly_settings(&num);
  char *help = help_of("train");
  any_options o;
  assert_int_equal(options_init(&o.base, TRAIN), ULY_OK);
  for (size_t i = 0; i < num; i++) {
    const uly_setting *s = &settings[i];
    option_id id = find_option(s);
    char flag[OPTION_BUFFER], entry[OPTION_BUFFER + 4], about[MESSAGE_BUFFER];
    if (!s->topic) continue;
    if (id < 0) fail_msg("%s is no option: its topic, %s, has no section", s->name, s->topic);
    assert_string_equal(section_table[option_table[id].section].key, s->topic);
    assert_true(id < num_run_options);
    assert_true(option_table[id].commands & command_using(s));
    message_translate(option_table[id].help, about);
    for (const char *at = about; (at = strstr(at, "config.")); at++)
      assert_int_equal(strncmp(at, "config.json", 11), 0); /* members have become flags */
    option_flag(id, flag);
    snprintf(entry, sizeof entry, "\n  %.200s", flag);
    if (command_using(s) == TRAIN && !strstr(help, entry)) fail_msg("no help for %s", flag);
    const option_place *place = option_place_of(id, TRAIN);
    assert_ptr_equal((char *)&o + place->offset, (char *)&o.run.config + s->offset);
    assert_int_equal(place->size, s->bytes);
    assert_int_equal(option_table[id].needs, s->needs ? find_option(find_setting(s->needs)) : -1);
  }
  options_free(&o.base);
  free(help);
}

/* The struct holds what the text says. */
static void expect_stored(const any_options *o, const uly_setting *s, const char *text) {
  const char *at = (const char *)&o->run.config + s->offset,
             *prefix = option_table[find_option(s)].prefix;
  double real = 0;
  int64_t integer = 0;
  if (s->type == ULY_SETTING_TEXT) {
    assert_string_equal(*(const char *const *)at, text + (prefix ? strlen(prefix) : 0));
  } else if (s->type == ULY_SETTING_REAL) {
    memcpy(&real, at, sizeof real);
    assert_true(real == 0.0625);
  } else {
    memcpy(&integer, at, s->bytes);
    int64_t expected = s->type == ULY_SETTING_BOOLEAN ? 1 : 2;
    if (s->type == ULY_SETTING_CHOICE) expected = s->initial.integer == 1 ? 0 : 1;
    assert_int_equal(integer, expected);
  }
}

/* Both in a file, with what it needs: it arrives, and --print-config says it. */
static void test_files(void **state) {
  (void)state;
  size_t num;
  const uly_setting *settings = uly_settings(&num);
  for (size_t i = 0; i < num; i++) {
    const uly_setting *s = &settings[i];
    const uly_setting *both[2] = {s->needs ? find_setting(s->needs) : NULL, s};
    any_options o;
    char text[4 * OPTION_BUFFER] = "run: {data: d}\n", value[OPTION_BUFFER] = "";
    size_t used = strlen(text);
    if (!s->topic) continue;
    if (strcmp(s->topic, "run") == 0) text[used = 0] = '\0';
    for (int j = 0; j < 2; j++) {
      if (!both[j]) continue;
      write_value(both[j], value);
      const char *key = option_table[find_option(both[j])].key;
      used += (size_t)snprintf(text + used, sizeof text - used, "%s:\n  %.80s: %.80s\n",
                               j == 1 && both[0] && strcmp(both[0]->topic, s->topic) == 0
                                   ? "# the same section"
                                   : both[j]->topic,
                               key, value);
    }
    write_yaml(text);
    assert_int_equal(options_init(&o.base, command_using(s)), ULY_OK);
    expect_ok(options_read_yaml(&o.base, yaml_path));
    expect_stored(&o, s, value);
    expect_ok(options_check_needs(&o.base));
    expect_stored(&o, s, value);
    FILE *file = tmpfile();
    assert_non_null(file);
    expect_ok(options_write_yaml(&o.base, file));
    char printed[8192], line[2 * OPTION_BUFFER];
    rewind(file);
    printed[fread(printed, 1, sizeof printed - 1, file)] = '\0';
    fclose(file);
    snprintf(line, sizeof line, "%.80s: %.80s\n", option_table[find_option(s)].key, value);
    if (!strstr(printed, line)) fail_msg("no \"%s\" in\n%s", line, printed);
    options_free(&o.base);
    remove_yaml(NULL);
  }
}

/* Given without what it needs, as a flag or in a file. */
static void test_needs(void **state) {
  (void)state;
  int num_needs = 0;
  for (option_id id = 0; id < num_options; id++) {
    const option_info *info = &option_table[id];
    if (info->needs < 0) continue;
    const uly_setting *s = find_setting(info->rules.name);
    char flag[OPTION_BUFFER], needed[OPTION_BUFFER], value[OPTION_BUFFER], text[2 * OPTION_BUFFER];
    num_needs++;
    option_flag(id, flag);
    option_flag(info->needs, needed);
    write_value(s, value);
    EXPECT_USAGE_ERROR(TRAIN, ("--data=d", flag, value), flag, needed, "no effect");
    snprintf(text, sizeof text, "%s.%s=%s", s->topic, info->key, value);
    EXPECT_USAGE_ERROR(TRAIN, ("--data=d", "--set", text), flag, needed, "no effect");
    snprintf(text, sizeof text, "%s: {%s: %s}\n", s->topic, info->key, value);
    write_yaml(text);
    EXPECT_USAGE_ERROR(TRAIN, ("--data=d", "--config", yaml_path), flag, needed, "no effect");
    remove_yaml(NULL);
  }
  assert_true(num_needs >= 7);
  /* The default counts, too, if somebody writes it. */
  EXPECT_USAGE_ERROR(PLAN, ("--leaves=8"), "--leaves 8 needs --reproducible", "no effect");
  EXPECT_USAGE_ERROR(PLAN, ("--doc-end=auto"), "--doc-end auto needs --pack", "no effect");
  EXPECT_USAGE_ERROR(PLAN, ("--sparse=none", "--sparse-block=9"), "--sparse-block 9 needs --sparse",
                     "no effect");
}

/* A saved configuration has all keys; a flag may take away what some of them need. */
static void test_files_and_flags(void **state) {
  (void)state;
  any_options o;
  write_yaml("run: {doc_end: auto}\nattention: {sparse_block: 64}\nranks: {leaves: 8}\n");
  expect_ok(PARSE(&o, PLAN, "--config", yaml_path));
  options_free(&o.base);
  write_yaml("run: {pack: true, doc_end: 7}\nattention: {sparse: fixed, sparse_block: 16}\n");
  expect_ok(PARSE(&o, PLAN, "--config", yaml_path));
  assert_int_equal(o.run.config.doc_end, 7);
  options_free(&o.base);
  expect_ok(PARSE(&o, PLAN, "--config", yaml_path, "--no-pack", "--sparse=none"));
  assert_int_equal(o.run.config.doc_end, -1); /* the library is not asked for what has no effect */
  assert_int_equal(o.run.config.sparse.block, 64);
  options_free(&o.base);
  EXPECT_USAGE_ERROR(PLAN, ("--config", yaml_path, "--no-pack", "--doc-end=7"), "--doc-end 7",
                     "--pack");
  /* Half a configuration may be printed. */
  expect_ok(PARSE(&o, TRAIN, "--print-config", "--doc-end=7"));
  assert_int_equal(o.run.config.doc_end, 7);
  options_free(&o.base);
}

/* Of several patterns, one may have no blocks. */
static void test_lists(void **state) {
  (void)state;
  for (int64_t i = 0; i < 4; i++) {
    any_options o;
    char *const args[] = {"attention", "--sparse=none,fixed", "--sparse-block=16,32"};
    assert_int_equal(options_init(&o.base, BENCH_ATTENTION), ULY_OK);
    o.base.combination = i;
    expect_ok(options_parse(&o.base, 3, args));
    assert_int_equal(o.run.config.sparse.block, i % 2 == 0 ? 64 : i < 2 ? 16 : 32);
    options_free(&o.base);
  }
  EXPECT_USAGE_ERROR(BENCH_ATTENTION, ("attention", "--sparse-block=16,32"), "--sparse-block",
                     "--sparse");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_every_setting_is_an_option),
      cmocka_unit_test_teardown(test_files, remove_yaml),
      cmocka_unit_test_teardown(test_needs, remove_yaml),
      cmocka_unit_test_teardown(test_files_and_flags, remove_yaml),
      cmocka_unit_test(test_lists),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
