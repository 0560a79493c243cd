/* `ulysses help`: the text of all commands, and of one with its options, from the tables. */
#include <string.h>

#include "commands/commands.h"
#include "common/wrap.h"
#include "options/messages.h"

void help_print_usage(FILE *file) {
  fputs(
      "Train transformers on very long sequences, spread over MPI ranks.\n\n"
      "Usage:    ulysses COMMAND [OPTIONS]\n"
      "Example:  mpirun -n 4 ulysses train --data book.txt --seq-len 16k --out run\n\n"
      "Commands\n",
      file);
  for (enum command_id id = 0; id < NUM_COMMANDS; id++) {
    wrap_entry(file, command_table[id].name, command_table[id].about, WRAP_SHORT);
  }
  fputs("\nOptions\n", file);
  wrap_entry(file, "--help", "print this text, or after a command its options", WRAP_SHORT);
  wrap_entry(file, "--version", "print the version", WRAP_SHORT);
  fputs("\nExit codes\n", file);
  for (const named_text *code = exit_codes; code->name; code++) {
    wrap_entry(file, code->name, code->about, WRAP_SHORT);
  }
}

/* Writes "--flag VALUE". */
static void describe_flag(option_id id, char *buffer, size_t size) {
  char flag[OPTION_BUFFER], value[OPTION_BUFFER];
  option_flag(id, flag);
  bool takes_value = option_placeholder(id, value);
  snprintf(buffer, size, "%s%s%s", flag, takes_value ? " " : "", takes_value ? value : "");
}

/* Puts the benchmarks that know the option before its text, as in "attention, step: ...", unless
 * all know it. */
static int describe_words(const command_info *info, option_id id, char *buffer, size_t size) {
  unsigned known = option_table[id].commands & info->bits;
  int used = 0;
  for (const command_word *word = info->words; known != info->bits && word && word->name; word++) {
    if (!(known & word->bits)) continue;
    known &= ~word->bits;
    used += snprintf(buffer + used, size - (size_t)used, "%s%s ", word->name, known ? "," : ":");
  }
  return used;
}

static void print_option(FILE *file, const command_info *info, option_id id,
                         const options *defaults) {
  const option_info *option = &option_table[id];
  char left[2 * OPTION_BUFFER], number[OPTION_BUFFER], range[OPTION_BUFFER];
  char text[4 * OPTION_BUFFER], about[MESSAGE_BUFFER];
  describe_flag(id, left, sizeof left);
  message_translate(option->help, about);
  int used = describe_words(info, id, text, sizeof text);
  used += snprintf(text + used, sizeof text - (size_t)used, "%s", about);
  if (option->kind == KIND_INTEGER || option->kind == KIND_REAL) {
    option_range(id, range);
    used += snprintf(text + used, sizeof text - (size_t)used, " (%s)", range);
  } else if (option->kind == KIND_BOOLEAN) {
    used += snprintf(text + used, sizeof text - (size_t)used, " (off: --no-%s)", left + 2);
  }
  const char *value = option->kind == KIND_SWITCH ? NULL : options_get(defaults, id, number);
  if (value) snprintf(text + used, sizeof text - (size_t)used, " [%s]", value);
  wrap_entry(file, left, text, WRAP_OPTIONS);
}

/* Prints the options of a section that the command knows, and returns how many there are. file
 * NULL: only counts. */
static int print_section(FILE *file, const command_info *info, section_id section,
                         const options *defaults) {
  int count = 0;
  for (option_id id = 0; id < num_options; id++) {
    if (option_table[id].section != section || !(option_table[id].commands & info->bits)) continue;
    char title[OPTION_BUFFER];
    if (count++ == 0 && file) fprintf(file, "\n%s\n", section_title(section, title));
    if (file) print_option(file, info, id, defaults);
  }
  return count;
}

static void print_intro(FILE *file, const command_info *info) {
  wrap_text(file, info->details);
  fprintf(file, "\nUsage:    ulysses %s%s%s\n", info->name, info->usage ? " " : "",
          info->usage ? info->usage : "");
  for (const char *line = info->examples; *line; line += strcspn(line, "\n") + 1) {
    fprintf(file, "Example:  %.*s\n", (int)strcspn(line, "\n"), line);
  }
  if (info->words) fputc('\n', file);
  for (const command_word *word = info->words; word && word->name; word++) {
    wrap_entry(file, word->name, word->about, WRAP_SHORT);
  }
}

static void print_presets(FILE *file) {
  fputs("\nModel presets\n", file);
  for (const char *const *name = uly_model_presets(); *name; name++) {
    wrap_entry(file, *name, uly_model_preset_about(*name), WRAP_OPTIONS);
  }
}

static void print_notes(FILE *file, const command_info *info) {
  fputc('\n', file);
  wrap_text(file,
            "Ranges are in parentheses, defaults in brackets. Write --flag VALUE or --flag=VALUE. "
            "Integers may end in k (x 1024) or m (x 1024^2), bytes in KiB, MiB or GiB.");
  if (info->bits & ANY_RUN) {
    fputs(
        "\nIn a configuration file, topics are sections and flags are keys, with _ for -:\n"
        "  run:\n"
        "    seq_len: 16k\n",
        file);
  }
}

/* Lists the topics of a command, as in "run, optimizer, call": those that it has options of. */
static void list_topics(const command_info *info, char names[OPTION_BUFFER]) {
  int used = snprintf(names, OPTION_BUFFER, command_has_options(info) ? "" : "none");
  for (section_id id = 0; id < NUM_SECTIONS; id++) {
    if (!print_section(NULL, info, id, NULL)) continue;
    used += snprintf(names + used, OPTION_BUFFER - (size_t)used, "%s%s", used ? ", " : "",
                     section_table[id].key);
  }
}

static void print_topics(FILE *file, const command_info *info) {
  char names[OPTION_BUFFER], text[2 * OPTION_BUFFER];
  list_topics(info, names);
  snprintf(text, sizeof text, "\n'ulysses help %.40s TOPIC' prints one topic: %s", info->name,
           names);
  wrap_text(file, text);
}

static uly_status fail_topic(const command_info *info, const char *topic) {
  suggestion meant = suggest(topic);
  char names[OPTION_BUFFER];
  list_topics(info, names);
  for (section_id id = 0; id < NUM_SECTIONS; id++) {
    if (print_section(NULL, info, id, NULL)) suggest_offer(&meant, section_table[id].key);
  }
  return uly_fail(ULY_ERR_CONFIG, "'%.200s': not a topic of '%s': expected one of %s%s", topic,
                  info->name, names, suggest_phrase(&meant));
}

static section_id find_topic(const char *name) {
  section_id id = 0;
  while (id < NUM_SECTIONS && strcmp(section_table[id].key, name) != 0) id++;
  return id;
}

static uly_status print_command(FILE *file, const command_info *info, const char *topic,
                                const options *defaults) {
  if (topic) {
    section_id id = find_topic(topic);
    if (id == NUM_SECTIONS || !print_section(file, info, id, defaults)) {
      return fail_topic(info, topic);
    }
    if (id == SECTION_run) print_presets(file);
    return ULY_OK;
  }
  print_intro(file, info);
  if (!command_has_options(info)) return ULY_OK;
  print_topics(file, info);
  for (section_id id = 0; id < NUM_SECTIONS; id++) print_section(file, info, id, defaults);
  if (info->bits & option_table[option_named("model")].commands) print_presets(file);
  print_notes(file, info);
  return ULY_OK;
}

uly_status help_print(FILE *file, const char *name, const char *topic) {
  enum command_id id = command_find(name);
  if (id == NUM_COMMANDS) {
    suggestion meant = suggest(name);
    command_offer(&meant);
    return uly_fail(ULY_ERR_CONFIG, "'%.200s': not a command; 'ulysses help' lists them%s", name,
                    suggest_phrase(&meant));
  }
  options defaults;
  uly_status status = options_init(&defaults);
  if (status != ULY_OK) return uly_fail(status, "%s", defaults.error);
  status = print_command(file, &command_table[id], topic, &defaults);
  options_free(&defaults);
  return status;
}
