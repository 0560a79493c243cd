/* The table of commands, and the arguments that a command takes beside its options. */
#include "commands/commands.h"

#include <string.h>

#define ROW(name_, bits_, ...) [COMMAND_##name_] = {.name = #name_, .bits = (bits_), __VA_ARGS__},
const command_info command_table[NUM_COMMANDS] = {COMMANDS(ROW)};
#undef ROW

const named_text exit_codes[] = {{"0", "done"},
                                 {"1", "the machine: memory, MPI"},
                                 {"2", "usage or configuration"},
                                 {"3", "data, a checkpoint or a file"},
                                 {"4", "a loss or a gradient that is not finite"},
                                 {"75",
                                  "stopped by a signal (TERM, INT, HUP, USR1), or because "
                                  "nobody reads its output any more: saved, if --out is given, "
                                  "and ready to go on"},
                                 {NULL, NULL}};

enum command_id command_find(const char *name) {
  enum command_id id = 0;
  while (id < NUM_COMMANDS && strcmp(command_table[id].name, name) != 0) id++;
  return id;
}

const command_info *command_of(command cmd) {
  enum command_id id = 0;
  while (id < NUM_COMMANDS - 1 && !(command_table[id].bits & cmd)) id++;
  return &command_table[id];
}

const char *command_name(command cmd, char buffer[OPTION_BUFFER]) {
  const command_info *info = command_of(cmd);
  snprintf(buffer, OPTION_BUFFER, "%s", info->name);
  for (const command_word *word = info->words; word && word->name; word++) {
    if (word->bits == cmd) snprintf(buffer, OPTION_BUFFER, "%s %s", info->name, word->name);
  }
  return buffer;
}

bool command_has_options(const command_info *info) {
  option_id id = 0;
  while (id < num_options && !(option_table[id].commands & info->bits)) id++;
  return id < num_options;
}

void command_offer(suggestion *s) {
  for (enum command_id id = 0; id < NUM_COMMANDS; id++) suggest_offer(s, command_table[id].name);
}

/* Checks the first argument if it must be one of some words. */
static uly_status check_word(options *o, const command_info *info) {
  if (!info->words || o->num_args == 0) return ULY_OK;
  suggestion meant = suggest(o->args[0]);
  for (const command_word *word = info->words; word->name; word++) {
    if (strcmp(word->name, o->args[0]) == 0) return ULY_OK;
    suggest_offer(&meant, word->name);
  }
  return options_fail(o, ULY_ERR_CONFIG,
                      "'%.200s': expected 'ulysses %s %s'; 'ulysses help %s' says more%s",
                      o->args[0], info->name, info->usage, info->name, suggest_phrase(&meant));
}

uly_status command_check_args(options *o, const command_info *info) {
  uly_status status = check_word(o, info);
  if (status != ULY_OK) return status;
  if (o->num_args < info->min_args) {
    return options_fail(
        o, ULY_ERR_CONFIG,
        "an argument is missing: expected 'ulysses %s %s'; 'ulysses help %s' says more", info->name,
        info->usage, info->name);
  }
  return ULY_OK;
}
