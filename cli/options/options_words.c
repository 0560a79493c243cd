/* How options are named and described to people. */
#include <float.h>
#include <string.h>
#include <strings.h>

#include "options/options_table.h"

option_meaning option_meaning_for(option_id id, unsigned commands) {
  const option_info *info = &option_table[id];
  option_meaning meaning = {.help = info->help};
  for (const option_meaning *own = info->meanings; own < info->meanings + MAX_MEANINGS; own++)
    if (own->commands & commands) meaning = *own;
  bool is_recorded = info->rules.record && !(commands & ~(unsigned)TRAINED);
  if (!meaning.initial && is_recorded) meaning.initial = "that of the checkpoint";
  return meaning;
}

const char *section_title(section_id id, char buffer[OPTION_BUFFER]) {
  const section_info *info = &section_table[id];
  if (strcasecmp(info->title, info->key) == 0) return info->title;
  snprintf(buffer, OPTION_BUFFER, "%s (%s)", info->title, info->key);
  return buffer;
}

const char *option_path(option_id id, char buffer[OPTION_BUFFER]) {
  const option_info *info = &option_table[id];
  snprintf(buffer, OPTION_BUFFER, "%s.%s", section_table[info->section].key, info->key);
  return buffer;
}

const char *option_flag(option_id id, char buffer[OPTION_BUFFER]) {
  snprintf(buffer, OPTION_BUFFER, "--%s", option_table[id].key);
  for (char *c = buffer; *c; c++)
    if (*c == '_') *c = '-';
  return buffer;
}

const char *option_range(option_id id, char buffer[OPTION_BUFFER]) {
  const uly_setting *rules = &option_table[id].rules;
  if (option_table[id].kind == KIND_INTEGER)
    snprintf(buffer, OPTION_BUFFER, "from %llu to %llu%s%s", (unsigned long long)rules->min.integer,
             (unsigned long long)rules->max.integer, rules->unset ? ", or " : "",
             rules->unset ? rules->unset : "");
  else if (rules->max.real < DBL_MAX)
    snprintf(buffer, OPTION_BUFFER, "from %g to %s%g", rules->min.real,
             rules->excludes_max ? "below " : "", rules->max.real);
  else
    snprintf(buffer, OPTION_BUFFER, "no less than %g", rules->min.real);
  return buffer;
}

const char *option_limits(option_id id, char buffer[OPTION_BUFFER]) {
  option_kind kind = option_table[id].kind;
  char part[OPTION_BUFFER];
  buffer[0] = '\0';
  if (kind == KIND_INTEGER || kind == KIND_REAL)
    snprintf(buffer, OPTION_BUFFER, " (%.200s)", option_range(id, part));
  if (kind == KIND_BOOLEAN)
    snprintf(buffer, OPTION_BUFFER, " (off: --no-%.200s)", option_flag(id, part) + 2);
  return buffer;
}

const char *option_words(option_id id, const char *between, char buffer[OPTION_BUFFER]) {
  int used = 0;
  const char *const *first = option_table[id].rules.words;
  for (const char *const *word = first; *word; word++)
    used += snprintf(buffer + used, OPTION_BUFFER - (size_t)used, "%s%s",
                     word == first ? "" : between, *word);
  return buffer;
}

const char *option_allowed(option_id id, char buffer[OPTION_BUFFER]) {
  const option_info *info = &option_table[id];
  char part[OPTION_BUFFER];
  switch (info->kind) {
    case KIND_TEXT:
      if (info->prefix)
        snprintf(buffer, OPTION_BUFFER, "%s: '%s' and a path", info->rules.placeholder,
                 info->prefix);
      else
        snprintf(buffer, OPTION_BUFFER, "%s, not empty", info->rules.placeholder);
      return buffer;
    case KIND_BYTES:
      return "bytes: a number, or one with KB, MB, GB, KiB, MiB or GiB, as in 512MiB";
    case KIND_BOOLEAN: return "true or false";
    case KIND_SWITCH: return "no value";
    case KIND_INTEGER:
      snprintf(buffer, OPTION_BUFFER, "an integer %.200s", option_range(id, part));
      return buffer;
    case KIND_REAL:
      snprintf(buffer, OPTION_BUFFER, "a number %.200s", option_range(id, part));
      return buffer;
    case KIND_CHOICE:
      snprintf(buffer, OPTION_BUFFER, "one of %.200s", option_words(id, ", ", part));
      return buffer;
  }
  return NULL;
}

const char *option_placeholder(option_id id, char buffer[OPTION_BUFFER]) {
  switch (option_table[id].kind) {
    case KIND_TEXT: return option_table[id].rules.placeholder;
    case KIND_INTEGER: return "N";
    case KIND_BYTES: return "BYTES";
    case KIND_REAL: return "X";
    case KIND_CHOICE: return option_words(id, "|", buffer);
    case KIND_BOOLEAN:
    case KIND_SWITCH: break;
  }
  return NULL;
}
