/* `ulysses completion bash`: prints a script that completes commands, flags and values, made from
 * the tables. Bash splits the command line at = and : too, so that --flag=value and disk:DIR are
 * three words each. */
#include <ctype.h>
#include <string.h>

#include "help/help.h"
#include "options/options_table.h"

/* ------------------------------------------------------------------------- what a value may be */

/* Prints the words between | of a metavar: a word in lower case stands for itself, NAME for the
 * presets. */
static void put_words_of_text(FILE *file, option_id id) {
  const char *at = option_table[id].rules.placeholder;
  const char *separator = "";
  if (option_table[id].prefix) {
    fputs(option_table[id].prefix, file);
    return;
  }
  for (; *at; at += *at == '|') {
    int length = (int)strcspn(at, "|");
    if (islower((unsigned char)*at)) {
      fprintf(file, "%s%.*s", separator, length, at);
      separator = " ";
    }
    if (id == option_named("model") && strncmp(at, "NAME", 4) == 0)
      for (const char *const *name = uly_model_presets(); *name; name++, separator = " ")
        fprintf(file, "%s%s", separator, *name);
    at += length;
  }
}

static void put_keys(FILE *file) {
  for (option_id id = 0; id < num_run_options; id++) {
    char path[OPTION_BUFFER];
    fprintf(file, "%s%s=", id ? " " : "", option_path(id, path));
  }
}

/* Returns whether an option that stands earlier in the table has the same flag, with other values,
 * for other commands. */
static bool is_second(option_id id) {
  for (option_id other = 0; other < id; other++)
    if (strcmp(option_table[other].key, option_table[id].key) == 0) return true;
  return false;
}

/* Prints the pattern of a flag after a command: any one, unless the flag is a second one, which
 * comes before the first. */
static void put_pattern(FILE *file, option_id id) {
  char flag[OPTION_BUFFER];
  const char *separator = "";
  option_flag(id, flag);
  if (!is_second(id)) {
    fprintf(file, "*' %s'", flag);
    return;
  }
  for (enum command_id c = 0; c < NUM_COMMANDS; c++) {
    if (!(command_table[c].bits & option_table[id].commands)) continue;
    fprintf(file, "%s'%s %s'", separator, command_table[c].name, flag);
    separator = " | ";
  }
}

/* Prints the flags whose value only the user knows. */
static void put_numbers(FILE *file) {
  const char *separator = "    ";
  for (option_id id = 0; id < num_options; id++) {
    option_kind kind = option_table[id].kind;
    if (kind != KIND_INTEGER && kind != KIND_REAL && kind != KIND_BYTES) continue;
    fputs(separator, file);
    put_pattern(file, id);
    separator = " | ";
  }
  fputs(") takes_value=1 ;;\n", file);
}

/* Prints how the value of any other flag is completed: by its words, by files or by folders. */
static void put_value(FILE *file, option_id id) {
  const option_info *info = &option_table[id];
  char words[OPTION_BUFFER];
  if (info->kind != KIND_CHOICE && info->kind != KIND_TEXT) return;
  fputs("    ", file);
  put_pattern(file, id);
  fputs(") takes_value=1 words='", file);
  if (info->kind == KIND_CHOICE) {
    fprintf(file, "%s' ;;\n", option_words(id, " ", words));
    return;
  }
  if (id == option_named("set"))
    put_keys(file);
  else
    put_words_of_text(file, id);
  fputc('\'', file);
  if (strstr(info->rules.placeholder, "FILE") || strstr(info->rules.placeholder, "PATH"))
    fputs(" paths=file", file);
  else if (strstr(info->rules.placeholder, "DIR") && !info->prefix)
    fputs(" paths=directory", file);
  if (info->prefix || id == option_named("set")) fputs(" space=no", file);
  fputs(" ;;\n", file);
}

/* ------------------------------------------------------------------------- what a command takes */

static void put_flags(FILE *file, unsigned bits) {
  for (option_id id = 0; id < num_options; id++) {
    char flag[OPTION_BUFFER];
    if (!(option_table[id].commands & bits)) continue;
    fprintf(file, "%s ", option_flag(id, flag));
    if (option_table[id].kind == KIND_BOOLEAN) fprintf(file, "--no-%s ", flag + 2);
  }
  fputs("--help", file);
}

static void put_names(FILE *file) {
  for (enum command_id id = 0; id < NUM_COMMANDS; id++)
    fprintf(file, "%s%s", id ? " " : "", command_table[id].name);
}

/* Prints, for `help NAME`, the topics of each command. */
static void put_topics(FILE *file) {
  for (enum command_id id = 0; id < NUM_COMMANDS; id++) {
    const command_info *info = &command_table[id];
    const char *separator = "";
    fprintf(file, "    'help %s') flags='--help' second='", info->name);
    for (section_id section = 0; section < NUM_SECTIONS; section++) {
      if (option_next(-1, info->bits, section) == num_options) continue;
      fprintf(file, "%s%s", separator, section_table[section].key);
      separator = " ";
    }
    fputs("' ;;\n", file);
  }
}

static void put_command(FILE *file, const command_info *info) {
  if (info->bits == HELP) put_topics(file);
  for (const command_word *word = info->words; word && word->name; word++) {
    if (!word->bits) continue;
    fprintf(file, "    '%s %s') flags='", info->name, word->name);
    put_flags(file, word->bits);
    fputs("' ;;\n", file);
  }
  fprintf(file, "    '%s '*) flags='", info->name);
  put_flags(file, info->bits);
  fputs("'", file);
  if (info->words) {
    fputs(" first='", file);
    for (const command_word *word = info->words; word->name; word++)
      fprintf(file, "%s%s", word == info->words ? "" : " ", word->name);
    fputc('\'', file);
  }
  if (info->bits == HELP) {
    fputs(" first='", file);
    put_names(file);
    fputc('\'', file);
  } else if (info->metavar) {
    fputs(" arguments=file", file);
  }
  fputs(" ;;\n", file);
}

void completion_print_bash(FILE *file) {
  fputs(
      "# Completes the command line of ulysses in bash. Made by 'ulysses completion bash'.\n"
      "_ulysses() {\n"
      "  local line=(\"${COMP_WORDS[@]}\") at=$COMP_CWORD i\n"
      "  # What launch starts is completed as if it stood alone.\n"
      "  if [[ ${line[1]} == launch ]]; then\n"
      "    for ((i = 2; i <= at; i++)); do\n"
      "      case ${line[i]} in\n"
      "        --ranks) [[ ${line[i + 1]:-} == = ]] && ((i += 2)) || ((i++)) ;;\n"
      "        -*) ;;\n"
      "        *)\n"
      "          line=(ulysses \"${line[@]:i}\")\n"
      "          at=$((at - i + 1))\n"
      "          break\n"
      "          ;;\n"
      "      esac\n"
      "    done\n"
      "  fi\n"
      "  local current=${line[at]} flag=${line[at - 1]}\n"
      "  local takes_value='' words='' paths='' space='' flags='' first='' second='' arguments=''\n"
      "  COMPREPLY=()\n"
      "  if [[ $at -eq 1 ]]; then\n"
      "    mapfile -t COMPREPLY < <(compgen -W '",
      file);
  put_names(file);
  fputs(
      " --help --version' -- \"$current\")\n"
      "    return\n"
      "  fi\n"
      "  # --flag=value, and disk:DIR, are words of their own on both sides of = and of :.\n"
      "  case $current in\n"
      "    =) current='' ;;\n"
      "    :) current='' flag=: ;;\n"
      "    *) [[ $flag != = ]] || flag=${line[at - 2]} ;;\n"
      "  esac\n"
      "  case \"${line[1]} $flag\" in\n"
      "    *' :') takes_value=1 paths=directory ;;\n",
      file);
  for (option_id id = 0; id < num_options; id++)
    if (is_second(id)) put_value(file, id);
  put_numbers(file);
  for (option_id id = 0; id < num_options; id++)
    if (!is_second(id)) put_value(file, id);
  fputs(
      "  esac\n"
      "  case \"${line[1]} ${line[2]}\" in\n",
      file);
  for (enum command_id id = 0; id < NUM_COMMANDS; id++) put_command(file, &command_table[id]);
  fputs(
      "  esac\n"
      "  if [[ ! $takes_value ]]; then\n"
      "    if [[ $current == -* ]]; then\n"
      "      words=$flags\n"
      "    elif [[ $at -eq 2 && $first ]]; then\n"
      "      words=$first\n"
      "    elif [[ $at -eq 3 && $second ]]; then\n"
      "      words=$second\n"
      "    else\n"
      "      paths=$arguments\n"
      "    fi\n"
      "  fi\n"
      "  mapfile -t COMPREPLY < <(\n"
      "    compgen -W \"$words\" -- \"$current\"\n"
      "    [[ ! $paths ]] || compgen -A \"$paths\" -- \"$current\"\n"
      "  )\n"
      "  [[ ! $paths ]] || compopt -o filenames 2>/dev/null\n"
      "  [[ ! $space ]] || compopt -o nospace 2>/dev/null\n"
      "}\n"
      "complete -F _ulysses ulysses\n",
      file);
}
