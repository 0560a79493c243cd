/* Parses the command line: forms of flags, lists of values, --set and arguments. */
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/try.h"
#include "options/options_table.h"

enum { MAX_COMBINATIONS = 1000 };

/* Returns the index of the flag --name (length bytes), or num_options. If several options have this
 * flag, it is the first that one of `commands` knows, or else the first of all. */
static option_id find_flag(const char *name, size_t length, unsigned commands) {
  option_id found = num_options;
  for (option_id id = 0; id < num_options; id++) {
    char flag[OPTION_BUFFER];
    option_flag(id, flag);
    if (strlen(flag + 2) != length || strncmp(flag + 2, name, length) != 0) continue;
    if (option_table[id].commands & commands) return id;
    if (found == num_options) found = id;
  }
  return found;
}

/* Returns whether the flag must have a value. */
static bool needs_value(option_id id) {
  return option_table[id].kind != KIND_SWITCH && option_table[id].kind != KIND_BOOLEAN;
}

bool option_takes_next(const char *arg) {
  option_id id = strncmp(arg, "--", 2) == 0 ? find_flag(arg + 2, strlen(arg + 2), 0) : num_options;
  return id < num_options && needs_value(id);
}

/* Returns the index of the boolean flag that --no-name negates, or num_options. */
static option_id find_negation(const char *name, size_t length, unsigned commands) {
  if (length < 3 || strncmp(name, "no-", 3) != 0) return num_options;
  option_id id = find_flag(name + 3, length - 3, commands);
  return id < num_options && option_table[id].kind == KIND_BOOLEAN ? id : num_options;
}

/* One flag and its value, as they appear among the arguments. */
typedef struct flag_use {
  option_id id;
  char flag[OPTION_BUFFER];    /* as it was written, for messages */
  const char *value;           /* NULL: none */
  char element[OPTION_BUFFER]; /* of a list: value points here */
} flag_use;

/* ------------------------------------------------------------------------- flags */

/* Suggests the flag of the command that is nearest to "--name". */
static suggestion suggest_flag(command cmd, const char *flag) {
  suggestion meant = suggest(flag);
  for (option_id id = option_next(-1, cmd, NUM_SECTIONS); id < num_options;
       id = option_next(id, cmd, NUM_SECTIONS)) {
    char known[OPTION_BUFFER], negated[OPTION_BUFFER + 4];
    suggest_offer(&meant, option_flag(id, known));
    if (option_table[id].kind != KIND_BOOLEAN) continue;
    snprintf(negated, sizeof negated, "--no-%s", known + 2);
    suggest_offer(&meant, negated);
  }
  return meant;
}

/* Refuses a flag that only other commands know. The message says which commands, and where the flag
 * belongs if `launch` is involved. */
static uly_status fail_foreign(command cmd, const flag_use *use) {
  char name[COMMAND_NAME], others[COMMAND_NAMES];
  const char *where = "";
  if (cmd == LAUNCH) where = ": write it after the command that is started";
  if (option_table[use->id].commands == LAUNCH)
    where = ": write it before the command, as in 'ulysses launch --ranks 2 train'";
  return uly_fail(ULY_ERR_CONFIG,
                  "%s is not an option of '%s', but of %s%s; 'ulysses help %s' lists its options",
                  use->flag, command_name(cmd, name),
                  command_names(option_table[use->id].commands, "'", others), where,
                  command_of(cmd)->name);
}

/* Finds out which flag arg is. */
static uly_status read_flag(command cmd, const char *arg, flag_use *use) {
  size_t length = strcspn(arg + 2, "=");
  snprintf(use->flag, sizeof use->flag, "--%.*s", length < 200 ? (int)length : 200, arg + 2);
  use->value = arg[2 + length] ? arg + 2 + length + 1 : NULL;
  use->id = find_flag(arg + 2, length, cmd);
  if (use->id == num_options) {
    use->id = find_negation(arg + 2, length, cmd);
    if (use->id < num_options && use->value)
      return uly_fail(ULY_ERR_CONFIG, "%s '%.200s': expected no value", use->flag, use->value);
    use->value = "false";
  }
  if (use->id < num_options && (option_table[use->id].commands & cmd)) return ULY_OK;
  if (use->id < num_options) return fail_foreign(cmd, use);
  suggestion meant = suggest_flag(cmd, use->flag);
  char name[COMMAND_NAME];
  return uly_fail(ULY_ERR_CONFIG,
                  "%s is not an option of '%s'; 'ulysses help %s' lists its options%s", use->flag,
                  command_name(cmd, name), command_of(cmd)->name, suggest_phrase(&meant));
}

/* Takes the value of a flag from the next argument, unless it has or needs none. */
static uly_status read_value(int argc, char *const *argv, int *i, flag_use *use) {
  char allowed[OPTION_BUFFER];
  if (use->value || !needs_value(use->id)) return ULY_OK;
  /* A value that begins with dashes must be written --flag=value. */
  if (*i + 1 == argc || strncmp(argv[*i + 1], "--", 2) == 0)
    return uly_fail(ULY_ERR_CONFIG, "the value of %s is missing: expected %s", use->flag,
                    option_allowed(use->id, allowed));
  use->value = argv[++*i];
  return ULY_OK;
}

/* ------------------------------------------------------------------------- values */

/* Puts the element of a list that belongs to the combination in the place of the list. The lists
 * are the digits of the combination's number, the first one the lowest. */
static uly_status pick_element(options *o, flag_use *use) {
  int64_t num_elements = 1;
  for (const char *c = use->value; *c; c++) num_elements += *c == ',';
  if (num_elements > MAX_COMBINATIONS / o->num_combinations)
    return uly_fail(ULY_ERR_CONFIG, "%s '%.200s' makes more than %d combinations of all lists",
                    use->flag, use->value, MAX_COMBINATIONS);
  const char *element = use->value;
  int64_t index = o->combination / o->num_combinations % num_elements;
  for (; index > 0; index--) element += strcspn(element, ",") + 1;
  o->num_combinations *= num_elements;
  size_t length = strcspn(element, ",");
  if (length < sizeof use->element) { /* otherwise, the list is refused */
    memcpy(use->element, element, length);
    use->value = use->element;
  }
  return ULY_OK;
}

static uly_status set_value(options *o, flag_use *use) {
  bool may_be_list = (o->command & BENCH) && option_table[use->id].kind != KIND_TEXT;
  int64_t before = o->num_combinations;
  if (may_be_list && use->value) TRY(pick_element(o, use));
  o->given[use->id] = o->num_combinations > before ? GIVEN_IN_LIST : GIVEN_AS_FLAG;
  return options_set(o, use->id, use->flag, use->value);
}

/* Takes --set SECTION.KEY=VALUE, which is in o->set, as if the configuration file had it. */
static uly_status set_key(options *o) {
  char section[OPTION_BUFFER] = "", key[OPTION_BUFFER] = "";
  size_t length = strcspn(o->set, "="), before = strcspn(o->set, ".=");
  if (!o->set[length])
    return uly_fail(ULY_ERR_CONFIG,
                    "--set '%.200s': expected SECTION.KEY=VALUE, as in --set optimizer.lr=1e-3",
                    o->set);
  snprintf(section, sizeof section, "%.*s", (int)(before < 200 ? before : 200), o->set);
  bool has_key = before < length;
  if (has_key) {
    length -= before + 1;
    snprintf(key, sizeof key, "%.*s", (int)(length < 200 ? length : 200), o->set + before + 1);
  }
  flag_use use = {.id = option_find(section_find(section), key)};
  if (use.id == num_run_options) return options_fail_key("--set", section, has_key ? key : NULL);
  snprintf(use.flag, sizeof use.flag, "--set %.60s.%.60s", section, key);
  use.value = strchr(o->set, '=') + 1;
  return set_value(o, &use);
}

/* Refuses a second path of data. A user who gives two wants both to be read, but the second would
 * replace the first. */
static uly_status check_data_once(const flag_use *use, const char *given[2]) {
  if (use->id != option_named("data") && use->id != option_named("eval_data")) return ULY_OK;
  const char **first = &given[use->id == option_named("eval_data")];
  if (*first)
    return uly_fail(ULY_ERR_CONFIG,
                    "%s '%.200s' was given before, as '%.200s', but only one path is read: put the "
                    "files of both into one folder and give that",
                    use->flag, use->value, *first);
  *first = use->value;
  return ULY_OK;
}

/* ------------------------------------------------------------------------- arguments */

/* Refuses an argument of a command that takes none, or no more. A file is likely to be data, and a
 * folder a checkpoint, where the command knows these. */
static uly_status fail_argument(const options *o, const command_info *info, const char *arg) {
  option_id data = option_named("data"), checkpoint = option_named("checkpoint");
  char hint[OPTION_BUFFER + 200] = "", value[OPTION_BUFFER];
  struct stat about;
  bool is_there = stat(arg, &about) == 0;
  if (is_there && S_ISDIR(about.st_mode) && (option_table[checkpoint].commands & info->bits))
    snprintf(hint, sizeof hint, "; did you mean --checkpoint %.200s?", arg);
  else if (is_there && (option_table[data].commands & info->bits))
    snprintf(hint, sizeof hint,
             options_get(o, data, value) ? "; --data takes one file, or a folder of files"
                                         : "; did you mean --data %.200s?",
             arg);
  return uly_fail(ULY_ERR_CONFIG, "'%.200s': expected an option, as in 'ulysses %s%s%s'%s", arg,
                  info->name, info->usage ? " " : "", info->usage ? info->usage : "", hint);
}

static uly_status take_argument(options *o, char *arg) {
  const command_info *info = command_of(o->command);
  if (arg[0] == '-' || info->max_args == 0) return fail_argument(o, info, arg);
  if (o->num_args == info->max_args)
    return uly_fail(
        ULY_ERR_CONFIG,
        "'%.200s' is one argument too many: expected 'ulysses %s %s'; 'ulysses help %s' says more",
        arg, info->name, info->usage, info->name);
  if (strlen(arg) >= PATH_MAX)
    return uly_fail(ULY_ERR_CONFIG, "'%.100s...' has %zu bytes, too many for a path", arg,
                    strlen(arg));
  o->args[o->num_args++] = arg;
  return ULY_OK;
}

/* Checks the first argument if it must be one of some words. */
static uly_status check_word(const options *o, const command_info *info) {
  const char *first = o->num_args > 0 ? o->args[0] : NULL;
  if (!info->words || !first) return ULY_OK;
  suggestion meant = suggest(first);
  for (const command_word *word = info->words; word->name; word++) {
    if (strcmp(word->name, first) == 0) return ULY_OK;
    suggest_offer(&meant, word->name);
  }
  return uly_fail(ULY_ERR_CONFIG,
                  "'%.200s': expected 'ulysses %s %s'; 'ulysses help %s' says more%s", first,
                  info->name, info->usage, info->name, suggest_phrase(&meant));
}

uly_status options_check_args(const options *o, const command_info *info) {
  TRY(check_word(o, info));
  if (o->num_args >= info->min_args) return ULY_OK;
  return uly_fail(ULY_ERR_CONFIG,
                  "an argument is missing: expected 'ulysses %s %s'; 'ulysses help %s' says more",
                  info->name, info->usage, info->name);
}

/* ------------------------------------------------------------------------- the command line */

/* Goes through all flags, and sets either --config or all others; arguments are taken with the
 * others. */
static uly_status parse_flags(options *o, int argc, char *const *argv, bool config) {
  const char *data[2] = {NULL, NULL}; /* for --data and --eval-data */
  for (int i = 0; i < argc; i++) {
    flag_use use = {0};
    if (strncmp(argv[i], "--", 2) != 0 || !argv[i][2]) {
      if (!config) TRY(take_argument(o, argv[i]));
      continue;
    }
    TRY(read_flag(o->command, argv[i], &use));
    TRY(read_value(argc, argv, &i, &use));
    TRY(check_data_once(&use, data));
    if ((use.id == option_named("config")) != config) continue;
    TRY(set_value(o, &use));
    if (use.id == option_named("set")) TRY(set_key(o));
  }
  return ULY_OK;
}

/* Finds the newest checkpoint of the run whose folder --init names. */
static uly_status find_init(options *o) {
  char buffer[OPTION_BUFFER], checkpoint[PATH_MAX];
  option_id id = option_named("init");
  const char *init = options_get(o, id, buffer);
  if (!init) return ULY_OK;
  TRY(uly_checkpoint_latest(init, checkpoint, sizeof checkpoint));
  return checkpoint[0] ? options_set(o, id, "--init", checkpoint) : ULY_OK;
}

/* Names the model, which follows from --init if --model is not given. */
static uly_status name_model(options *o) {
  char init[OPTION_BUFFER], model[PATH_MAX];
  option_id id = option_named("model");
  uly_train_config config;
  if (options_get(o, id, init)) return ULY_OK;
  uly_train_config_default(&config, sizeof config);
  config.init = options_get(o, option_named("init"), init);
  TRY(uly_train_config_find_model(&config, model, sizeof model));
  return options_set(o, id, "--model", model);
}

uly_status options_parse(options *o, int argc, char *const *argv) {
  char trace[OPTION_BUFFER];
  const char *path;
  o->num_combinations = 1;
  o->args = calloc((size_t)argc + 1, sizeof *o->args);
  if (!o->args) return uly_fail(ULY_ERR_MEMORY, "no memory for the arguments");
  /* The file is read first, wherever --config stands, so that flags override it. */
  TRY(parse_flags(o, argc, argv, true));
  if (o->config_file) TRY(options_read_yaml(o, o->config_file));
  TRY(parse_flags(o, argc, argv, false));
  TRY(options_check_args(o, command_of(o->command)));
  TRY(find_init(o));
  TRY(name_model(o));
  path = options_get(o, option_named("trace"), trace);
  if (path && o->num_combinations > 1)
    return uly_fail(ULY_ERR_CONFIG, "--trace '%.200s' takes a single run: give no lists", path);
  /* A configuration that is printed may be incomplete, to be completed later. */
  bool looks_further = (o->command & (TRAIN | TRAINED)) != 0;
  return looks_further || o->print_config ? ULY_OK : options_check_needs(o);
}
