/* Parses the command line: forms of flags, lists of values, --set, arguments, and options that
 * depend on each other. */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "commands/commands.h"

enum { MAX_COMBINATIONS = 1000 };

/* Returns the index of the flag --name (length bytes), or num_options. */
static option_id find_flag(const char *name, size_t length) {
  option_id id = 0;
  for (; id < num_options; id++) {
    char flag[OPTION_BUFFER];
    option_flag(id, flag);
    if (strlen(flag + 2) == length && strncmp(flag + 2, name, length) == 0) break;
  }
  return id;
}

/* Returns whether the flag must have a value. */
static bool needs_value(option_id id) {
  return option_table[id].kind != KIND_SWITCH && option_table[id].kind != KIND_BOOLEAN;
}

bool option_takes_next(const char *arg) {
  option_id id = strncmp(arg, "--", 2) == 0 ? find_flag(arg + 2, strlen(arg + 2)) : num_options;
  return id < num_options && needs_value(id);
}

/* Returns the index of the boolean flag that --no-name negates, or num_options. */
static option_id find_negation(const char *name, size_t length) {
  if (length < 3 || strncmp(name, "no-", 3) != 0) return num_options;
  option_id id = find_flag(name + 3, length - 3);
  return id < num_options && option_table[id].kind == KIND_BOOLEAN ? id : num_options;
}

/* One flag and its value, as they are among the arguments. */
typedef struct flag_use {
  option_id id;
  char flag[OPTION_BUFFER];    /* as it was written, for messages */
  const char *value;           /* NULL: none */
  char element[OPTION_BUFFER]; /* of a list: value points here */
} flag_use;

/* Suggests the flag of the command that is nearest to "--name". */
static suggestion suggest_flag(command cmd, const char *flag) {
  suggestion meant = suggest(flag);
  for (option_id id = 0; id < num_options; id++) {
    char known[OPTION_BUFFER], negated[OPTION_BUFFER + 4];
    if (!(option_table[id].commands & cmd)) continue;
    option_flag(id, known);
    suggest_offer(&meant, known);
    if (option_table[id].kind != KIND_BOOLEAN) continue;
    snprintf(negated, sizeof negated, "--no-%s", known + 2);
    suggest_offer(&meant, negated);
  }
  return meant;
}

/* Lists the commands that know the option, as in "'train', 'bench step'". */
static void list_commands(option_id id, char text[OPTION_BUFFER]) {
  char name[OPTION_BUFFER];
  int used = snprintf(text, OPTION_BUFFER, "%s", "");
  for (unsigned left = option_table[id].commands; left; left &= left - 1) {
    used += snprintf(text + used, OPTION_BUFFER - (size_t)used, "%s'%s'", used > 0 ? ", " : "",
                     command_name((command)(left & (0 - left)), name));
    if (used >= OPTION_BUFFER) return;
  }
}

/* Refuses a flag that only other commands know: says which, and where the flag stands beside
 * `launch`. */
static uly_status fail_foreign(options *o, command cmd, const flag_use *use) {
  char name[OPTION_BUFFER], others[OPTION_BUFFER];
  const char *where = "";
  list_commands(use->id, others);
  if (cmd == LAUNCH) where = ": write it behind the command that is started";
  if (option_table[use->id].commands == LAUNCH) {
    where = ": write it before the command, as in 'ulysses launch --ranks 2 train'";
  }
  return options_fail(o, ULY_ERR_CONFIG,
                      "%s: not an option of '%s', but of %s%s; 'ulysses help %s' lists its own",
                      use->flag, command_name(cmd, name), others, where, command_of(cmd)->name);
}

/* Finds out which flag arg is. */
static uly_status read_flag(options *o, command cmd, const char *arg, flag_use *use) {
  size_t length = strcspn(arg + 2, "=");
  snprintf(use->flag, sizeof use->flag, "--%.*s", length < 200 ? (int)length : 200, arg + 2);
  use->value = arg[2 + length] ? arg + 2 + length + 1 : NULL;
  use->id = find_flag(arg + 2, length);
  if (use->id == num_options) {
    use->id = find_negation(arg + 2, length);
    if (use->id < num_options && use->value) {
      return options_fail(o, ULY_ERR_CONFIG, "%s '%.200s': expected no value", use->flag,
                          use->value);
    }
    use->value = "false";
  }
  if (use->id < num_options && (option_table[use->id].commands & cmd)) return ULY_OK;
  if (use->id < num_options) return fail_foreign(o, cmd, use);
  suggestion meant = suggest_flag(cmd, use->flag);
  char name[OPTION_BUFFER];
  return options_fail(o, ULY_ERR_CONFIG,
                      "%s: not an option of '%s'; 'ulysses help %s' lists them%s", use->flag,
                      command_name(cmd, name), command_of(cmd)->name, suggest_phrase(&meant));
}

/* Takes the value of a flag from the next argument, unless it has or needs none. */
static uly_status read_value(options *o, int argc, char *const *argv, int *i, flag_use *use) {
  if (use->value || !needs_value(use->id)) return ULY_OK;
  /* A value that begins with dashes must be written --flag=value. */
  if (*i + 1 == argc || strncmp(argv[*i + 1], "--", 2) == 0) {
    char allowed[OPTION_BUFFER];
    option_allowed(use->id, allowed);
    return options_fail(o, ULY_ERR_CONFIG, "%s: its value is missing: expected %s", use->flag,
                        allowed);
  }
  use->value = argv[++*i];
  return ULY_OK;
}

/* Puts the element of a list that belongs to the combination in the place of the list. The lists
 * are the digits of the combination's number, the first one the lowest. */
static uly_status pick_element(options *o, flag_use *use) {
  int64_t num_elements = 1;
  for (const char *c = use->value; *c; c++) num_elements += *c == ',';
  if (num_elements > MAX_COMBINATIONS / o->num_combinations) {
    return options_fail(o, ULY_ERR_CONFIG, "%s '%.200s': more than %d combinations of all lists",
                        use->flag, use->value, MAX_COMBINATIONS);
  }
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

static uly_status set_value(options *o, command cmd, flag_use *use) {
  bool may_be_list = (cmd & BENCH) && option_table[use->id].kind != KIND_TEXT;
  int64_t before = o->num_combinations;
  uly_status status = may_be_list && use->value ? pick_element(o, use) : ULY_OK;
  if (status == ULY_OK) status = options_set(o, use->id, use->flag, use->value);
  o->given[use->id] = o->num_combinations > before ? GIVEN_IN_LIST : GIVEN_AS_FLAG;
  return status;
}

/* Takes --set SECTION.KEY=VALUE, which is in o->set, as if it stood in the configuration file. */
static uly_status set_key(options *o, command cmd) {
  char section[OPTION_BUFFER] = "", key[OPTION_BUFFER] = "", where[] = "--set";
  size_t length = strcspn(o->set, "="), before = strcspn(o->set, ".=");
  if (!o->set[length]) {
    return options_fail(o, ULY_ERR_CONFIG,
                        "--set '%.200s': expected SECTION.KEY=VALUE, as in --set optimizer.lr=1e-3",
                        o->set);
  }
  snprintf(section, sizeof section, "%.*s", (int)(before < 200 ? before : 200), o->set);
  bool has_key = before < length;
  if (has_key) {
    length -= before + 1;
    snprintf(key, sizeof key, "%.*s", (int)(length < 200 ? length : 200), o->set + before + 1);
  }
  flag_use use = {.id = option_find(section_find(section), key)};
  if (use.id == num_run_options) return options_fail_key(o, where, section, has_key ? key : NULL);
  snprintf(use.flag, sizeof use.flag, "--set %.60s.%.60s", section, key);
  use.value = strchr(o->set, '=') + 1;
  return set_value(o, cmd, &use);
}

/* Refuses an argument of a command that takes none, or no more. A file is likely to be data, and a
 * folder a checkpoint, where the command knows these. */
static uly_status fail_argument(options *o, const command_info *info, const char *arg) {
  char hint[OPTION_BUFFER + 200] = "";
  struct stat about;
  bool is_there = stat(arg, &about) == 0;
  if (is_there && S_ISDIR(about.st_mode) &&
      (option_table[option_named("checkpoint")].commands & info->bits)) {
    snprintf(hint, sizeof hint, "; did you mean --checkpoint %.200s?", arg);
  } else if (is_there && (option_table[option_named("data")].commands & info->bits)) {
    snprintf(hint, sizeof hint,
             o->config.data ? "; --data takes one file, or a folder of files"
                            : "; did you mean --data %.200s?",
             arg);
  }
  return options_fail(o, ULY_ERR_CONFIG, "'%.200s': expected an option, as in 'ulysses %s%s%s'%s",
                      arg, info->name, info->usage ? " " : "", info->usage ? info->usage : "",
                      hint);
}

static uly_status take_argument(options *o, const command_info *info, char *arg) {
  if (arg[0] == '-' || info->max_args == 0) return fail_argument(o, info, arg);
  if (o->num_args == info->max_args) {
    return options_fail(o, ULY_ERR_CONFIG,
                        "'%.200s': too much: expected 'ulysses %s %s'; 'ulysses help %s' says more",
                        arg, info->name, info->usage, info->name);
  }
  if (strlen(arg) >= PATH_MAX) {
    return options_fail(o, ULY_ERR_CONFIG, "'%.100s...': has %zu bytes: too long for a path", arg,
                        strlen(arg));
  }
  o->args[o->num_args++] = arg;
  return ULY_OK;
}

/* Refuses a second path of data: somebody who gives two wants both to be read, but the second would
 * replace the first. */
static uly_status check_data_once(options *o, const flag_use *use, const char *given[2]) {
  if (use->id != option_named("data") && use->id != option_named("eval_data")) return ULY_OK;
  const char **first = &given[use->id == option_named("eval_data")];
  if (*first) {
    return options_fail(
        o, ULY_ERR_CONFIG,
        "%s '%.200s': given before, as '%.200s': one path is read; put the files of "
        "both into one folder and give that",
        use->flag, use->value, *first);
  }
  *first = use->value;
  return ULY_OK;
}

/* Goes through all flags, and sets either --config or all others; arguments are taken with the
 * others. */
static uly_status parse_flags(options *o, command cmd, int argc, char *const *argv, bool config) {
  const char *data[2] = {NULL, NULL}; /* for --data and --eval-data */
  for (int i = 0; i < argc; i++) {
    flag_use use = {0};
    uly_status status = ULY_OK;
    if (strncmp(argv[i], "--", 2) != 0 || !argv[i][2]) {
      if (!config) status = take_argument(o, command_of(cmd), argv[i]);
      if (status != ULY_OK) return status;
      continue;
    }
    status = read_flag(o, cmd, argv[i], &use);
    if (status == ULY_OK) status = read_value(o, argc, argv, &i, &use);
    if (status == ULY_OK) status = check_data_once(o, &use, data);
    if (status != ULY_OK) return status;
    if ((use.id == option_named("config")) != config) continue;
    status = set_value(o, cmd, &use);
    if (status == ULY_OK && use.id == option_named("set")) status = set_key(o, cmd);
    if (status != ULY_OK) return status;
  }
  return ULY_OK;
}

/* Checks options of a training run that depend on each other. */
static uly_status check_train(options *o) {
  if (!o->config.data) {
    return options_fail(o, ULY_ERR_CONFIG, "--data: missing: expected files to train on");
  }
  if (o->eval_every > 0 && !o->config.eval_data) {
    return options_fail(o, ULY_ERR_CONFIG, "--eval-every %lld: needs --eval-data",
                        (long long)o->eval_every);
  }
  if (o->save_every > 0 && !o->out) {
    return options_fail(o, ULY_ERR_CONFIG, "--save-every %lld: needs --out",
                        (long long)o->save_every);
  }
  if (o->nonfinite == NONFINITE_ROLLBACK && (!o->out || o->save_every == 0)) {
    return options_fail(o, ULY_ERR_CONFIG,
                        "--nonfinite rollback: needs --out, the folder with checkpoints to go back "
                        "to, and --save-every");
  }
  if (o->keep_last > 0 && !o->out) {
    return options_fail(o, ULY_ERR_CONFIG, "--keep-last %lld: needs --out",
                        (long long)o->keep_last);
  }
  if (o->keep_every > 0 && o->keep_last == 0) {
    return options_fail(o, ULY_ERR_CONFIG, "--keep-every %lld: needs --keep-last",
                        (long long)o->keep_every);
  }
  if (o->resume && strcmp(o->resume, "auto") == 0 && !o->out) {
    return options_fail(o, ULY_ERR_CONFIG,
                        "--resume auto: needs --out, the folder to look for checkpoints in");
  }
  return ULY_OK;
}

uly_status options_parse(options *o, command cmd, int argc, char *const *argv) {
  o->num_combinations = 1;
  o->args = calloc((size_t)argc + 1, sizeof *o->args);
  if (!o->args) return options_fail(o, ULY_ERR_MEMORY, "no memory for the arguments");
  /* The file is read first, wherever --config stands, so that flags override it. */
  uly_status status = parse_flags(o, cmd, argc, argv, true);
  if (status == ULY_OK && o->config_file) status = options_read_yaml(o, o->config_file);
  if (status == ULY_OK) status = parse_flags(o, cmd, argc, argv, false);
  if (status == ULY_OK) status = command_check_args(o, command_of(cmd));
  if (status == ULY_OK && o->trace && o->num_combinations > 1) {
    status = options_fail(o, ULY_ERR_CONFIG,
                          "--trace '%.200s': one file takes one run: give no lists", o->trace);
  }
  /* A configuration that is printed may be incomplete, to be completed later. */
  if (status == ULY_OK && cmd == TRAIN && !o->print_config) status = check_train(o);
  if (status == ULY_OK && !(cmd & TRAINED) && !o->print_config) {
    status = options_check_needs(o, cmd);
  }
  return status;
}
