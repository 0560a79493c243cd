/* The table of options: its rows, and how they are named and described. */
#include <float.h>
#include <string.h>

#include "options.h"

#define ROW(section_, title_) [SECTION_##section_] = {.key = #section_, .title = title_},
const section_info section_table[NUM_SECTIONS] = {SECTIONS_OF_FILE(ROW) SECTIONS_OF_CALL(ROW)};
#undef ROW

#define ROW(section_, key_, value_, member_, commands_, help_) \
  [OPTION_##key_] = {.section = SECTION_##section_,            \
                     .key = #key_,                             \
                     .member = #member_,                       \
                     value_,                                   \
                     .offset = offsetof(options, member_),     \
                     .size = sizeof(((options *)0)->member_),  \
                     .commands = commands_,                    \
                     .help = help_},
const option_info option_table[NUM_OPTIONS] = {OPTIONS_OF_RUN(ROW) OPTIONS_OF_CALL(ROW)};
#undef ROW

void option_flag(enum option_id id, char buffer[OPTION_BUFFER]) {
  snprintf(buffer, OPTION_BUFFER, "--%s", option_table[id].key);
  for (char *c = buffer; *c; c++) {
    if (*c == '_') *c = '-';
  }
}

void option_range(enum option_id id, char buffer[OPTION_BUFFER]) {
  const option_info *info = &option_table[id];
  if (info->kind == KIND_INTEGER) {
    snprintf(buffer, OPTION_BUFFER, "from %llu to %llu%s%s", (unsigned long long)info->min,
             (unsigned long long)info->max, info->unset ? ", or " : "",
             info->unset ? info->unset : "");
  } else if (info->real_max < DBL_MAX) {
    snprintf(buffer, OPTION_BUFFER, "from %g to %s%g", info->real_min,
             info->excludes_max ? "below " : "", info->real_max);
  } else {
    snprintf(buffer, OPTION_BUFFER, "of at least %g", info->real_min);
  }
}

void option_allowed(enum option_id id, char buffer[OPTION_BUFFER]) {
  const option_info *info = &option_table[id];
  char range[OPTION_BUFFER];
  int used = 0;
  switch (info->kind) {
    case KIND_TEXT:
      if (info->prefix) {
        snprintf(buffer, OPTION_BUFFER, "%s: '%s' and a path", info->metavar, info->prefix);
      } else {
        snprintf(buffer, OPTION_BUFFER, "%s, not empty", info->metavar);
      }
      break;
    case KIND_BYTES:
      snprintf(buffer, OPTION_BUFFER, "bytes: a number, or one with KiB, MiB or GiB, as in 512MiB");
      break;
    case KIND_BOOLEAN: snprintf(buffer, OPTION_BUFFER, "true or false"); break;
    case KIND_SWITCH: snprintf(buffer, OPTION_BUFFER, "no value"); break;
    case KIND_INTEGER:
    case KIND_REAL:
      option_range(id, range);
      snprintf(buffer, OPTION_BUFFER, "%s %.200s",
               info->kind == KIND_REAL ? "a number" : "an integer", range);
      break;
    case KIND_CHOICE:
      used = snprintf(buffer, OPTION_BUFFER, "one of");
      for (const char *const *word = info->choices; *word; word++) {
        used += snprintf(buffer + used, OPTION_BUFFER - (size_t)used, "%s %s",
                         word == info->choices ? "" : ",", *word);
      }
      break;
  }
}

bool option_placeholder(enum option_id id, char buffer[OPTION_BUFFER]) {
  const option_info *info = &option_table[id];
  int used = 0;
  switch (info->kind) {
    case KIND_TEXT: snprintf(buffer, OPTION_BUFFER, "%s", info->metavar); return true;
    case KIND_INTEGER: snprintf(buffer, OPTION_BUFFER, "N"); return true;
    case KIND_BYTES: snprintf(buffer, OPTION_BUFFER, "BYTES"); return true;
    case KIND_REAL: snprintf(buffer, OPTION_BUFFER, "X"); return true;
    case KIND_CHOICE:
      for (const char *const *word = info->choices; *word; word++) {
        used += snprintf(buffer + used, OPTION_BUFFER - (size_t)used, "%s%s",
                         word == info->choices ? "" : "|", *word);
      }
      return true;
    case KIND_BOOLEAN:
    case KIND_SWITCH: break;
  }
  return false;
}
