/* The text of `ulysses help COMMAND`, from the table of options. */
#include <string.h>

#include "options.h"

enum { WIDTH = 88, FLAG_COLUMN = 2, TEXT_COLUMN = 28 };

static void print_spaces(FILE *file, int count) { fprintf(file, "%*s", count, ""); }

/* Prints text, which begins at TEXT_COLUMN, with line breaks between words. */
static void print_wrapped(FILE *file, const char *text) {
  int column = TEXT_COLUMN;
  while (*text) {
    int length = (int)strcspn(text, " ");
    if (column > TEXT_COLUMN && column + 1 + length > WIDTH) {
      fputc('\n', file);
      print_spaces(file, TEXT_COLUMN);
      column = TEXT_COLUMN;
    } else if (column > TEXT_COLUMN) {
      fputc(' ', file);
      column++;
    }
    fprintf(file, "%.*s", length, text);
    column += length;
    text += length;
    text += strspn(text, " ");
  }
  fputc('\n', file);
}

/* "--flag VALUE", then the text beside it, or below where the flag is long. */
static void print_entry(FILE *file, const char *flag, const char *text) {
  print_spaces(file, FLAG_COLUMN);
  int used = FLAG_COLUMN + fprintf(file, "%s", flag);
  if (used + 2 > TEXT_COLUMN) {
    fputc('\n', file);
    used = 0;
  }
  print_spaces(file, TEXT_COLUMN - used);
  print_wrapped(file, text);
}

/* "--flag VALUE" */
static void describe_flag(enum option_id id, char *buffer, size_t size) {
  const option_info *info = &option_table[id];
  char flag[OPTION_BUFFER];
  option_flag(id, flag);
  int used = snprintf(buffer, size, "%s", flag);
  const char *value = NULL;
  switch (info->kind) {
    case KIND_TEXT: value = info->metavar; break;
    case KIND_INTEGER: value = "N"; break;
    case KIND_BYTES: value = "BYTES"; break;
    case KIND_REAL: value = "X"; break;
    case KIND_CHOICE:
      for (const char *const *word = info->choices; *word; word++) {
        used += snprintf(buffer + used, size - (size_t)used, "%c%s",
                         word == info->choices ? ' ' : '|', *word);
      }
      break;
    case KIND_BOOLEAN:
    case KIND_SWITCH: break;
  }
  if (value) snprintf(buffer + used, size - (size_t)used, " %s", value);
}

/* Puts the benchmarks that know the option, unless all do, before its text: "attention, step: ...". */
static int describe_benchmarks(enum option_id id, char *buffer, size_t size) {
  unsigned known = option_table[id].commands & BENCH;
  int used = 0;
  for (unsigned bit = BENCH_ATTENTION; known != BENCH && known; bit <<= 1) {
    if (!(known & bit)) continue;
    known &= ~bit;
    const char *name = command_name((command)bit) + strlen("bench ");
    used += snprintf(buffer + used, size - (size_t)used, "%s%s ", name, known ? "," : ":");
  }
  return used;
}

static void print_option(FILE *file, command cmd, enum option_id id, const options *defaults) {
  const option_info *info = &option_table[id];
  char left[2 * OPTION_BUFFER], number[OPTION_BUFFER], range[OPTION_BUFFER];
  char text[4 * OPTION_BUFFER];
  describe_flag(id, left, sizeof left);
  int used = cmd == BENCH ? describe_benchmarks(id, text, sizeof text) : 0;
  used += snprintf(text + used, sizeof text - (size_t)used, "%s", info->help);
  if (info->kind == KIND_INTEGER || info->kind == KIND_REAL) {
    option_range(id, range);
    used += snprintf(text + used, sizeof text - (size_t)used, " (%s)", range);
  } else if (info->kind == KIND_BOOLEAN) {
    used += snprintf(text + used, sizeof text - (size_t)used, " (off: --no-%s)", left + 2);
  }
  const char *value = info->kind == KIND_SWITCH ? NULL : options_get(defaults, id, number);
  if (value) snprintf(text + used, sizeof text - (size_t)used, " [%s]", value);
  print_entry(file, left, text);
}

static void print_intro(FILE *file, command cmd) {
  if (cmd == TRAIN) {
    fputs(
        "Train a transformer on long sequences, spread over the ranks that mpirun starts.\n\n"
        "Usage:    ulysses train --data PATH [OPTIONS]\n"
        "Example:  mpirun -n 4 ulysses train --data book.txt --seq-len 16k --out run\n",
        file);
  } else if (cmd == BENCH) {
    fputs(
        "Measure the program, and in turn with it, in the same run, the ceiling of the machine.\n"
        "Each line of output is a JSON object: what was run, the figure that was achieved, the\n"
        "ceiling, their ratio (of medians), the spread of both: (largest - smallest) / median.\n\n"
        "Usage:    ulysses bench attention|step|exchange|ceiling [OPTIONS]\n"
        "Example:  ulysses bench attention --seq-len 8k --head-dim 64,128 --dtype f32,bf16\n"
        "Example:  mpirun -n 2 ulysses bench step --model llama-25m --recompute none,full\n\n"
        "Benchmarks\n"
        "  attention                 attention on the heads of each rank, forward and backward,\n"
        "                            against matrix products of oneDNN (2048 x 2048)\n"
        "  step                      a training step on made-up data, against the same\n"
        "  exchange                  the all-to-all of Q, K, V and of O, against MPI_Alltoall\n"
        "  ceiling                   the machine: matrix products, memory, MPI_Alltoall\n",
        file);
  } else {
    fputs(
        "Print the memory and the communication of a training run, without running it.\n\n"
        "Usage:    ulysses plan [OPTIONS]\n"
        "Example:  ulysses plan --seq-len 1m --sp 8 --dtype bf16\n",
        file);
  }
}

void options_print_help(FILE *file, command cmd) {
  options defaults;
  options_init(&defaults);
  print_intro(file, cmd);
  const char *topic = "";
  for (enum option_id id = 0; id < NUM_OPTIONS; id++) {
    if (!(option_table[id].commands & cmd)) continue;
    if (strcmp(topic, option_table[id].topic) != 0) {
      topic = option_table[id].topic;
      fprintf(file, "\n%s\n", topic);
    }
    print_option(file, cmd, id, &defaults);
  }
  print_entry(file, "--help", "print this text, and end");
  fputs("\nModel presets\n", file);
  for (const char *const *name = uly_model_presets(); *name; name++) {
    print_entry(file, *name, uly_model_preset_about(*name));
  }
  fputs(
      "\nRanges are in parentheses, defaults in brackets. Write --flag VALUE or --flag=VALUE.\n"
      "Integers may end in k (x 1024) or m (x 1024^2), bytes in KiB, MiB or GiB.\n"
      "A line of a configuration file: seq_len: 16k\n",
      file);
  if (cmd == BENCH) {
    fputs(
        "Numbers and words may be lists, as in --dtype f32,bf16: each combination is measured,\n"
        "and the first list varies fastest.\n",
        file);
  }
  options_free(&defaults);
}
