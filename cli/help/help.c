/* `ulysses help`: prints all commands, or one with its options, from the tables. */
#include "help/help.h"

#include <stdlib.h>
#include <string.h>

#include "common/suggest.h"
#include "common/wrap.h"
#include "options/messages.h"
#include "options/options_table.h"

void help_print_usage(FILE *file) {
  fputs(
      "Train transformers on very long sequences, spread over MPI ranks.\n\n"
      "Usage:    ulysses COMMAND [OPTIONS]\n"
      "Example:  mpirun -n 4 ulysses train --data book.txt --seq-len 16k --out run\n\n"
      "Commands\n",
      file);
  for (enum command_id id = 0; id < NUM_COMMANDS; id++)
    wrap_entry(file, command_table[id].name, command_table[id].about, WRAP_SHORT);
  fputs("\nOptions\n", file);
  wrap_entry(file, "--help", "print this text or, after a command, its options", WRAP_SHORT);
  wrap_entry(file, "--version", "print the version", WRAP_SHORT);
  fputs("\nExit codes\n", file);
  for (const named_text *code = exit_codes; code->name; code++)
    wrap_entry(file, code->name, code->about, WRAP_SHORT);
}

/* Writes "--flag VALUE". */
static void describe_flag(option_id id, char *buffer, size_t size) {
  char flag[OPTION_BUFFER], words[OPTION_BUFFER];
  const char *value = option_placeholder(id, words);
  snprintf(buffer, size, "%s%s%s", option_flag(id, flag), value ? " " : "", value ? value : "");
}

/* Puts the benchmarks that know the option before its text, as in "attention, step: ...", unless
 * all know it. */
static void put_words(FILE *text, const command_info *info, option_id id) {
  unsigned known = option_table[id].commands & info->bits;
  for (const command_word *word = info->words; known != info->bits && word && word->name; word++) {
    if (!(known & word->bits)) continue;
    known &= ~word->bits;
    fprintf(text, "%s%s ", word->name, known ? "," : ":");
  }
}

static void print_option(FILE *file, const command_info *info, option_id id) {
  const option_info *option = &option_table[id];
  char left[2 * OPTION_BUFFER], buffer[OPTION_BUFFER], about[MESSAGE_BUFFER], *right = NULL;
  size_t length = 0;
  FILE *text = open_memstream(&right, &length);
  if (!text) return;
  describe_flag(id, left, sizeof left);
  option_meaning meaning = option_meaning_for(id, info->bits);
  message_translate(meaning.help, about);
  put_words(text, info, id);
  fprintf(text, "%s%s", about, option_limits(id, buffer));
  const char *value = option->kind == KIND_SWITCH ? NULL
                      : meaning.initial           ? meaning.initial
                                                  : option_default(id, buffer);
  if (value) fprintf(text, " [%s]", value);
  if (fclose(text) == 0) wrap_entry(file, left, right, WRAP_OPTIONS);
  free(right);
}

static bool has_section(const command_info *info, section_id section) {
  return option_next(-1, info->bits, section) < num_options;
}

/* Prints the options of a section that the command knows. */
static void print_section(FILE *file, const command_info *info, section_id section) {
  char title[OPTION_BUFFER];
  if (!has_section(info, section)) return;
  fprintf(file, "\n%s\n", section_title(section, title));
  for (option_id id = option_next(-1, info->bits, section); id < num_options;
       id = option_next(id, info->bits, section))
    print_option(file, info, id);
}

static void print_intro(FILE *file, const command_info *info) {
  wrap_text(file, info->details);
  fprintf(file, "\nUsage:    ulysses %s%s%s\n", info->name, info->usage ? " " : "",
          info->usage ? info->usage : "");
  for (const char *line = info->examples; *line; line += strcspn(line, "\n") + 1)
    fprintf(file, "Example:  %.*s\n", (int)strcspn(line, "\n"), line);
  if (info->words) fputc('\n', file);
  for (const command_word *word = info->words; word && word->name; word++)
    wrap_entry(file, word->name, word->about, WRAP_SHORT);
}

static void print_presets(FILE *file) {
  fputs("\nModel presets\n", file);
  for (const char *const *name = uly_model_presets(); *name; name++)
    wrap_entry(file, *name, uly_model_preset_about(*name), WRAP_OPTIONS);
}

static void print_notes(FILE *file, const command_info *info) {
  fputc('\n', file);
  wrap_text(
      file,
      "Ranges are in parentheses, defaults in brackets. Write --flag VALUE or --flag=VALUE. "
      "Integers may end in k (x 1024) or m (x 1024^2), bytes in KB, MB, GB, KiB, MiB or GiB.");
  if (info->bits & ANY_RUN)
    fputs(
        "\nIn a configuration file, topics are sections and flags are keys, with _ for -:\n"
        "  run:\n"
        "    seq_len: 16k\n",
        file);
}

/* Lists the topics in which a command has options, as in "run, optimizer, call". */
static void list_topics(const command_info *info, char names[OPTION_BUFFER]) {
  int used = snprintf(names, OPTION_BUFFER, has_section(info, NUM_SECTIONS) ? "" : "none");
  for (section_id id = 0; id < NUM_SECTIONS; id++)
    if (has_section(info, id))
      used += snprintf(names + used, OPTION_BUFFER - (size_t)used, "%s%s", used ? ", " : "",
                       section_table[id].key);
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
  if (!has_section(info, NUM_SECTIONS))
    return uly_fail(ULY_ERR_CONFIG, "'%s' has no topics: '%.200s' is not one", info->name, topic);
  char names[OPTION_BUFFER];
  list_topics(info, names);
  for (section_id id = 0; id < NUM_SECTIONS; id++)
    if (has_section(info, id)) suggest_offer(&meant, section_table[id].key);
  return uly_fail(ULY_ERR_CONFIG, "'%.200s' is not a topic of '%s': expected one of %s%s", topic,
                  info->name, names, suggest_phrase(&meant));
}

static uly_status print_topic(FILE *file, const command_info *info, const char *topic) {
  section_id id = 0;
  while (id < NUM_SECTIONS && strcmp(section_table[id].key, topic) != 0) id++;
  if (id == NUM_SECTIONS || !has_section(info, id)) return fail_topic(info, topic);
  print_section(file, info, id);
  if (id == SECTION_run) print_presets(file);
  return ULY_OK;
}

static void print_command(FILE *file, const command_info *info) {
  print_intro(file, info);
  if (!has_section(info, NUM_SECTIONS)) return;
  print_topics(file, info);
  for (section_id id = 0; id < NUM_SECTIONS; id++) print_section(file, info, id);
  if (info->bits & option_table[option_named("model")].commands) print_presets(file);
  print_notes(file, info);
}

uly_status help_print(FILE *file, const char *name, const char *topic) {
  enum command_id id = command_find(name);
  if (id == NUM_COMMANDS) {
    suggestion meant = suggest(name);
    command_offer(&meant);
    return uly_fail(ULY_ERR_CONFIG, "'%.200s' is not a command; 'ulysses help' lists them%s", name,
                    suggest_phrase(&meant));
  }
  if (topic) return print_topic(file, &command_table[id], topic);
  print_command(file, &command_table[id]);
  return ULY_OK;
}
