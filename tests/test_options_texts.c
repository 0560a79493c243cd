/* Tests texts that the tables produce: help, man page, completion; and that no option changes
 * unnoticed. */
#include "../cli/help/help.h"
#include "options_testing.h"

/* The help of a command; topic NULL: all. To be freed. */
static char *help_of(const char *name, const char *topic) {
  char *text = NULL;
  size_t length = 0;
  FILE *file = open_memstream(&text, &length);
  assert_non_null(file);
  assert_ok(help_print(file, name, topic));
  fclose(file);
  return text;
}

/* Whether the text lists the flag: at the beginning of a line, and whole. */
static bool lists_flag(const char *text, option_id id) {
  char flag[OPTION_BUFFER], entry[OPTION_BUFFER + 4];
  option_flag(id, flag);
  snprintf(entry, sizeof entry, "\n  %.200s", flag);
  for (const char *at = text; (at = strstr(at, entry)); at++) {
    if (strchr(" \n", at[strlen(entry)])) return true;
  }
  return false;
}

static void assert_fits_terminal(const char *text) {
  for (const char *line = text; *line; line += strcspn(line, "\n") + 1) {
    assert_in_range(strcspn(line, "\n"), 0, 79);
  }
}

/* Returns whether one of the commands knows an option with this flag, in the section or, if that is
 * NUM_SECTIONS, in any. */
static bool knows_flag(option_id id, unsigned commands, section_id section) {
  for (option_id other = 0; other < num_options; other++) {
    const option_info *info = &option_table[other];
    if ((info->commands & commands) && strcmp(info->key, option_table[id].key) == 0 &&
        (section == NUM_SECTIONS || info->section == section))
      return true;
  }
  return false;
}

/* Help of a command names its flags and no others, and fits a terminal. */
static void test_help(void **state) {
  (void)state;
  for (enum command_id i = 0; i < NUM_COMMANDS; i++) {
    const command_info *info = &command_table[i];
    char *text = help_of(info->name, NULL);
    for (option_id id = 0; id < num_options; id++) {
      assert_int_equal(lists_flag(text, id), knows_flag(id, info->bits, NUM_SECTIONS));
    }
    assert_fits_terminal(text);
    assert_non_null(strstr(text, "Example:  "));
    free(text);
  }
  char *text = printed_by(help_print_usage);
  assert_fits_terminal(text);
  for (enum command_id i = 0; i < NUM_COMMANDS; i++) {
    assert_non_null(strstr(text, command_table[i].about));
  }
  free(text);
}

/* Help describes an option, and its default, as the command takes it. */
static void test_meanings(void **state) {
  (void)state;
  static const struct {
    const char *command, *topic, *has, *lacks;
  } cases[] = {{"prepare", "output", "folder for token shards", "checkpoints, created"},
               {"train", "output", "folder for checkpoints", "token shards"},
               {"eval", "eval", "[all]", "[8]"},
               {"train", "eval", "[8]", "[all]"},
               {"eval", "run", "4294967296) [that of the", "[4096]"},
               {"train", "run", "[4096]", "checkpoint] "},
               {"generate", "run", "seed of sampling", "initial weights"},
               {"plan", "attention", "bigbird: blocks that each block and head draws (", "--seed"},
               {"tokenize", "run", "U+FFFD", "archives"}};
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    char *text = help_of(cases[i].command, cases[i].topic);
    for (char *c = text; (c = strchr(c, '\n'));) { /* joins the lines of an entry */
      char *next = c + 1 + strspn(c + 1, " ");
      memmove(c + 1, next, strlen(next) + 1);
      *c = ' ';
    }
    if (!strstr(text, cases[i].has) || strstr(text, cases[i].lacks))
      fail_msg("%s %s: %s", cases[i].command, cases[i].topic, text);
    free(text);
  }
}

/* Of a topic: its flags and no others. */
static void test_topics(void **state) {
  (void)state;
  for (section_id section = 0; section < NUM_FILE_SECTIONS; section++) {
    char *text = help_of("train", section_table[section].key);
    for (option_id id = 0; id < num_options; id++) {
      assert_int_equal(lists_flag(text, id), knows_flag(id, TRAIN, section));
    }
    free(text);
  }
  static const char *const wrong[][4] = {
      {"train", "optimiser", "not a topic of 'train'", "did you mean optimizer?"},
      {"train", "measure", "not a topic", "one of run, attention, optimizer"},
      {"man", "run", "'man' has no topics", "'run' is not one"},
      {"trian", NULL, "'trian' is not a command", "did you mean train?"},
      {"brew", NULL, "'brew' is not a command", "'ulysses help' lists them"}};
  for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
    assert_int_equal(help_print(stdout, wrong[i][0], wrong[i][1]), ULY_ERR_CONFIG);
    assert_non_null(strstr(uly_last_error(), wrong[i][2]));
    assert_non_null(strstr(uly_last_error(), wrong[i][3]));
  }
}

/* The man page names all options and commands, and begins no line with what would be an unknown
 * request. */
static void test_man(void **state) {
  (void)state;
  static const char *const requests[] = {".TH", ".SH", ".SS", ".TP", ".IP",
                                         ".PP", ".nf", ".fi", ".br", ".\\\""};
  char *text = printed_by(man_print);
  for (option_id id = 0; id < num_options; id++) {
    char flag[OPTION_BUFFER], tag[2 * OPTION_BUFFER] = ".TP\n\\fB";
    option_flag(id, flag);
    size_t used = strlen(tag);
    for (const char *c = flag; *c; c++)
      used += (size_t)sprintf(tag + used, *c == '-' ? "\\-" : "%c", *c);
    strcat(tag, "\\fR");
    if (!strstr(text, tag)) fail_msg("no %s", flag);
  }
  for (enum command_id i = 0; i < NUM_COMMANDS; i++) {
    assert_non_null(strstr(text, command_table[i].name));
  }
  for (const char *line = text; *line; line += strcspn(line, "\n") + 1) {
    bool is_known = *line != '\'';
    for (size_t i = 0; *line == '.' && i < sizeof requests / sizeof requests[0]; i++) {
      is_known = strncmp(line, requests[i], 3) == 0;
      if (is_known) break;
    }
    if (!is_known) fail_msg("roff does not know: %.60s", line);
  }
  free(text);
}

/* What the completion knows is tried by completion.sh; here: that nothing in it ends a word of the
 * script. */
static void test_completion(void **state) {
  (void)state;
  char *text = printed_by(completion_print_bash);
  for (option_id id = 0; id < num_options; id++) {
    char flag[OPTION_BUFFER];
    option_flag(id, flag);
    if (!strstr(text, flag)) fail_msg("no %s", flag);
  }
  int quotes = 0;
  for (const char *c = text; *c; c++) quotes += *c == '\'';
  assert_int_equal(quotes % 2, 0);
  free(text);
}

/* ------------------------------------------------------------------------- what must not change unseen */

/* A line for each option: section.key, flag, what is allowed, default, commands. */
static void print_listing(FILE *file) {
  for (option_id id = 0; id < num_options; id++) {
    char path[OPTION_BUFFER], flag[OPTION_BUFFER], allowed[OPTION_BUFFER], buffer[OPTION_BUFFER];
    const char *value = option_default(id, buffer);
    fprintf(file, "%s | %s | %s | %s |", option_path(id, path), option_flag(id, flag),
            option_allowed(id, allowed), value ? value : "-");
    for (unsigned bit = 1; bit <= option_table[id].commands; bit <<= 1) {
      char name[COMMAND_NAME];
      if (!(option_table[id].commands & bit)) continue;
      bool is_last = bit << 1 > option_table[id].commands;
      fprintf(file, " %s%s", command_name((command)bit, name), is_last ? "" : ",");
    }
    fputc('\n', file);
  }
}

static char *read_text(const char *path) {
  FILE *file = fopen(path, "rb");
  if (!file) return strdup("");
  char *text = calloc(1, 1 << 20);
  assert_non_null(text);
  assert_in_range(fread(text, 1, (1 << 20) - 1, file), 0, (1 << 20) - 2);
  fclose(file);
  return text;
}

/* The line that begins at text, without its end. */
static void take_line(const char **text, char line[1024]) {
  size_t length = strcspn(*text, "\n");
  snprintf(line, 1024, "%.*s", (int)length, *text);
  *text += length + ((*text)[length] == '\n');
}

/* People write these names and values into files and scripts: tests/data/options.txt has them, and
 * changes with them. */
static void test_options_are_frozen(void **state) {
  (void)state;
  const char *folder = getenv("ULY_TEST_DATA"), *update = getenv("ULY_UPDATE");
  char path[1024], was[1024], is[1024];
  assert_non_null(folder);
  snprintf(path, sizeof path, "%s/options.txt", folder);
  char *now = printed_by(print_listing);
  if (update && *update) {
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs(now, file) >= 0);
    assert_int_equal(fclose(file), 0);
  }
  char *frozen = read_text(path);
  bool differs = strcmp(now, frozen) != 0;
  const char *a = frozen, *b = now;
  was[0] = is[0] = '\0';
  while (differs && strcmp(was, is) == 0) {
    take_line(&a, was);
    take_line(&b, is);
  }
  if (differs) {
    fail_msg(
        "options have changed:\n  was: %s\n  is:  %s\nIf that is meant, tell users in CHANGELOG.md "
        "and run\n"
        "  ULY_UPDATE=1 ctest --preset release -R options_texts",
        was, is);
  }
  free(frozen);
  free(now);
}

/* Rows of the table: a key is unique in each command, is fit for a file and a flag, and some
 * command knows it. */
static void test_rows(void **state) {
  (void)state;
  for (option_id id = 0; id < num_options; id++) {
    const option_info *info = &option_table[id];
    assert_int_equal(strspn(info->key, "abcdefghijklmnopqrstuvwxyz0123456789_"), strlen(info->key));
    assert_int_not_equal(info->commands, 0);
    for (int c = 0; c < NUM_SINGLE_COMMANDS; c++) {
      const option_place *place = &info->places[c];
      if (info->commands >> c & 1) assert_non_null(place->member);
      if (place->member) assert_in_range(place->offset + place->size, 1, options_size(1 << c));
    }
    assert_int_equal(info->section < NUM_FILE_SECTIONS, id < num_run_options);
    for (option_id other = 0; other < id; other++) {
      if (info->commands & option_table[other].commands)
        assert_string_not_equal(info->key, option_table[other].key);
    }
  }
  for (enum command_id id = 0; id < NUM_COMMANDS; id++) {
    const command_info *info = &command_table[id];
    assert_true(info->about && info->details && info->examples && info->max_args >= info->min_args);
    bool has_options = option_next(-1, info->bits, NUM_SECTIONS) < num_options;
    assert_true(info->usage || !(info->max_args || has_options));
    for (enum command_id other = 0; other < id; other++) {
      assert_int_equal(info->bits & command_table[other].bits, 0);
    }
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_help),
      cmocka_unit_test(test_meanings),
      cmocka_unit_test(test_topics),
      cmocka_unit_test(test_man),
      cmocka_unit_test(test_completion),
      cmocka_unit_test(test_rows),
      cmocka_unit_test(test_options_are_frozen),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
