/* Finds the names in a configuration file, "section.key", and refuses unknown ones with a
 * suggestion of the name that was meant. */
#include <string.h>

#include "common/suggest.h"
#include "options/options_table.h"

section_id section_find(const char *name) {
  section_id id = 0;
  while (id < NUM_FILE_SECTIONS && strcmp(section_table[id].key, name) != 0) id++;
  return id;
}

option_id option_find(section_id section, const char *key) {
  option_id id = 0;
  while (id < num_run_options &&
         (option_table[id].section != section || strcmp(option_table[id].key, key) != 0)) {
    id++;
  }
  return id;
}

/* Returns an option with that key, in any section. */
static option_id find_key(const char *key) {
  option_id id = 0;
  while (id < num_run_options && strcmp(option_table[id].key, key) != 0) id++;
  return id;
}

/* Suggests a key, as in "; did you mean optimizer.lr?", among those of a section, or among all for
 * NUM_FILE_SECTIONS. */
static void suggest_key(section_id section, const char *key, char phrase[OPTION_BUFFER]) {
  suggestion meant = suggest(key);
  char path[OPTION_BUFFER];
  for (option_id id = 0; id < num_run_options; id++)
    if (section == NUM_FILE_SECTIONS || option_table[id].section == section)
      suggest_offer(&meant, option_table[id].key);
  phrase[0] = '\0';
  if (!meant.word[0]) return;
  snprintf(phrase, OPTION_BUFFER, "; did you mean %.200s?",
           option_path(find_key(meant.word), path));
}

/* Suggests a section or, if none is near, a key of any section. */
static void suggest_section(const char *name, char phrase[OPTION_BUFFER]) {
  suggestion meant = suggest(name);
  for (section_id id = 0; id < NUM_FILE_SECTIONS; id++)
    suggest_offer(&meant, section_table[id].key);
  snprintf(phrase, OPTION_BUFFER, "%s", suggest_phrase(&meant));
  if (!meant.word[0]) suggest_key(NUM_FILE_SECTIONS, name, phrase);
}

static void list_sections(char names[OPTION_BUFFER]) {
  int used = 0;
  for (section_id id = 0; id < NUM_FILE_SECTIONS; id++)
    used += snprintf(names + used, OPTION_BUFFER - (size_t)used, "%s%s", id ? ", " : "",
                     section_table[id].key);
}

uly_status options_fail_key(const char *where, const char *section, const char *key) {
  option_id elsewhere = find_key(key ? key : section);
  section_id id = section_find(section);
  char path[OPTION_BUFFER], text[OPTION_BUFFER], names[OPTION_BUFFER];
  snprintf(path, sizeof path, "%.100s%s%.100s", section, key ? "." : "", key ? key : "");
  if (elsewhere < num_run_options && (key || id == NUM_FILE_SECTIONS))
    return uly_fail(ULY_ERR_CONFIG, "%.300s '%s' belongs to section '%s': write %s", where, path,
                    section_table[option_table[elsewhere].section].key,
                    option_path(elsewhere, text));
  if (id < NUM_FILE_SECTIONS) {
    suggest_key(id, key ? key : "", text);
    return uly_fail(ULY_ERR_CONFIG,
                    "%.300s '%s' is not a key of section '%s'; 'ulysses help train %s' lists its "
                    "options, and keys have _ in place of -%s",
                    where, path, section, section, text);
  }
  suggest_section(section, text);
  list_sections(names);
  return uly_fail(ULY_ERR_CONFIG, "%.300s '%s' is not a section: expected one of %s%s", where, path,
                  names, text);
}
