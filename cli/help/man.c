/* `ulysses man`: ulysses(1), in roff with the macros of man(7), from the tables. */
#include <string.h>

#include "help/help.h"
#include "options/messages.h"
#include "options/options_table.h"

static const named_text environment[] = {
    {"OMP_NUM_THREADS", "The number of threads of a rank if --threads is 0."},
    {"ULYSSES_ISA",
     "The instruction set of the kernels: reference, base, avx2, avx512 or avx512bf16. Default: "
     "the best that the CPU has."},
    {"ULYSSES_CHECK",
     "If set to collectives, the ranks compare what they are about to call before every "
     "collective. A difference is an error, and its message names the first rank that differs and "
     "both calls."},
    {"ULYSSES_DEBUG",
     "If set and not empty, each failure prints a trace of the functions that it passed through."},
    {"TMPDIR", "The folder for the made-up data of a benchmark. Default: /tmp."},
    {NULL, NULL}};

static const named_text files[] = {
    {"DIR/config.yaml", "The configuration of the latest run in --out DIR, for --config."},
    {"DIR/step-NNNNNNNNNN",
     "A checkpoint, a folder: model.safetensors, optimizer.safetensors, config.json and "
     "trainer.json. A folder of this name is complete."},
    {NULL, NULL}};

/* Prints text as roff needs it: it escapes a backslash, a dash that is not a hyphen, and a first
 * character that would begin a request. */
static void put(FILE *file, const char *text, int length) {
  static const char special[] = "\\-^~";
  static const char *const escapes[] = {"\\e", "\\-", "\\(ha", "\\(ti"};
  for (int i = 0; i < length; i++) {
    const char *found = text[i] ? strchr(special, text[i]) : NULL;
    if (i == 0 && (text[i] == '.' || text[i] == '\'')) fputs("\\&", file);
    if (found)
      fputs(escapes[found - special], file);
    else
      fputc(text[i], file);
  }
}

static void put_text(FILE *file, const char *text) { put(file, text, (int)strlen(text)); }

static void put_line(FILE *file, const char *text) {
  put_text(file, text);
  fputc('\n', file);
}

/* Prints a request with one argument, such as .SH NAME. */
static void put_request(FILE *file, const char *request, const char *text) {
  fprintf(file, ".%s \"", request);
  put_text(file, text);
  fputs("\"\n", file);
}

/* Prints a tagged paragraph, with the tag in bold and the value after it in another font or in
 * none. */
static void put_tag(FILE *file, const char *tag, const char *value) {
  fputs(".TP\n\\fB", file);
  put_text(file, tag);
  fputs("\\fR", file);
  if (value) {
    fputs(" \\fI", file);
    put_text(file, value);
    fputs("\\fR", file);
  }
  fputc('\n', file);
}

static void put_list(FILE *file, const named_text *list) {
  for (; list->name; list++) {
    put_tag(file, list->name, NULL);
    put_line(file, list->about);
  }
}

/* Prints lines as they are. */
static void put_example(FILE *file, const char *lines) {
  fputs(".IP\n.nf\n", file);
  for (; *lines; lines += strcspn(lines, "\n") + 1) {
    put(file, lines, (int)strcspn(lines, "\n"));
    fputc('\n', file);
  }
  fputs(".fi\n", file);
}

static void put_paragraphs(FILE *file, const char *text) {
  for (const char *end; (end = strstr(text, "\n\n")); text = end + 2) {
    put(file, text, (int)(end - text));
    fputs("\n.PP\n", file);
  }
  put_line(file, text);
}

static void put_command(FILE *file, const command_info *info) {
  char usage[4 * OPTION_BUFFER];
  snprintf(usage, sizeof usage, "ulysses %s%s%s", info->name, info->usage ? " " : "",
           info->usage ? info->usage : "");
  put_request(file, "SS", usage);
  put_paragraphs(file, info->details);
  for (const command_word *word = info->words; word && word->name; word++) {
    put_tag(file, word->name, NULL);
    put_line(file, word->about);
  }
  if (info->words) fputs(".PP\n", file);
  put_example(file, info->examples);
}

static void put_option(FILE *file, option_id id) {
  const option_info *info = &option_table[id];
  char flag[OPTION_BUFFER], buffer[OPTION_BUFFER], about[MESSAGE_BUFFER];
  put_tag(file, option_flag(id, flag), option_placeholder(id, buffer));
  message_translate(info->help, about);
  put_text(file, about);
  put_text(file, option_limits(id, buffer));
  fputs(".\n.br\n", file);
  for (const option_meaning *own = info->meanings; own < info->meanings + MAX_MEANINGS; own++) {
    if (own->commands == 0) continue;
    message_translate(own->help, about);
    fputs("For ", file);
    put_text(file, command_names(own->commands, "", buffer));
    fputs(": ", file);
    put_text(file, about);
    if (own->initial) put_text(file, "; if not given: ");
    if (own->initial) put_text(file, own->initial);
    fputs(".\n.br\n", file);
  }
  const char *initial = info->kind == KIND_SWITCH ? NULL : option_default(id, buffer);
  if (initial) {
    fputs("Default: ", file);
    put_text(file, initial);
    unsigned trained = info->commands & (unsigned)TRAINED;
    if (info->rules.record && trained) {
      fputs("; for ", file);
      put_text(file, command_names(trained, "", buffer));
      fputs(", that of the checkpoint", file);
    }
    fputs(". ", file);
  }
  fputs("Of: ", file);
  put_text(file, command_names(info->commands, "", buffer));
  fputs(".\n", file);
}

static void put_options(FILE *file) {
  put_line(file,
           "Write --flag VALUE or --flag=VALUE. Integers may end in k (x 1024) or m (x 1024^2), "
           "bytes in KB, MB, GB, KiB, MiB or GiB.");
  for (section_id section = 0; section < NUM_SECTIONS; section++) {
    char title[OPTION_BUFFER];
    put_request(file, "SS", section_title(section, title));
    for (option_id id = 0; id < num_options; id++)
      if (option_table[id].section == section) put_option(file, id);
  }
  put_request(file, "SS", "Model presets");
  for (const char *const *name = uly_model_presets(); *name; name++) {
    put_tag(file, *name, NULL);
    put_line(file, uly_model_preset_about(*name));
  }
}

static void put_configuration(FILE *file) {
  put_line(file,
           "--config FILE reads options from a YAML file. The headings of the options above give "
           "its sections, in parentheses; a key is a flag without its leading dashes, with _ in "
           "place of -. Flags override the file, and so does --set SECTION.KEY=VALUE. "
           "--print-config prints all options as such a file.");
  put_example(file,
              "run:\n"
              "  model: llama-25m\n"
              "  seq_len: 16k\n"
              "optimizer:\n"
              "  lr: 1e-3\n");
}

void man_print(FILE *file) {
  fputs(".\\\" Made by 'ulysses man'.\n", file);
  fputs(".TH ULYSSES 1 \"\" \"ulysses " ULY_VERSION_STRING "\" \"User Commands\"\n", file);
  put_request(file, "SH", "NAME");
  put_text(file, "ulysses");
  fputs(" \\- ", file);
  put_line(file, "train transformers on very long sequences, spread over MPI ranks");
  put_request(file, "SH", "SYNOPSIS");
  fputs("\\fBulysses\\fR \\fICOMMAND\\fR [\\fIARGUMENT\\fR...] [\\fIOPTION\\fR...]\n.br\n", file);
  fputs("\\fBmpirun \\-n\\fR \\fIRANKS\\fR \\fBulysses\\fR \\fICOMMAND\\fR ...\n", file);
  put_request(file, "SH", "DESCRIPTION");
  put_line(file,
           "Every rank holds a slice of the sequence; before attention an all-to-all turns \"all "
           "heads of my tokens\" into \"all tokens of my heads\", and a second one turns the "
           "result back (DeepSpeed-Ulysses, arXiv 2309.14509). What a rank sends stays constant "
           "when sequence length and rank count grow together.");
  put_request(file, "SH", "COMMANDS");
  for (enum command_id id = 0; id < NUM_COMMANDS; id++) put_command(file, &command_table[id]);
  put_request(file, "SH", "OPTIONS");
  put_options(file);
  put_request(file, "SH", "CONFIGURATION FILES");
  put_configuration(file);
  put_request(file, "SH", "EXIT STATUS");
  put_list(file, exit_codes);
  put_request(file, "SH", "ENVIRONMENT");
  put_list(file, environment);
  put_request(file, "SH", "FILES");
  put_list(file, files);
}
