/* The options of the commands are parsed from flags and a YAML file, checked, and printed. */
#ifndef ULYSSES_CLI_OPTIONS_H
#define ULYSSES_CLI_OPTIONS_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "options/options_table.h"
#include "ulysses.h"

/* In this enum a benchmark is a command of its own: `ulysses bench attention`. */
typedef enum command {
  TRAIN = 1,
  PLAN = 2,
  BENCH_ATTENTION = 4,
  BENCH_STEP = 8,
  BENCH_EXCHANGE = 16,
  BENCH_CEILING = 32,
  EVAL = 64,
  GENERATE = 128,
  PREPARE = 256,
  REPORT = 512,
  DOCTOR = 1024,
  CHECKPOINT = 2048,
  HELP = 4096,
  MAN = 8192,
  COMPLETION = 16384,
  LAUNCH = 32768,
  BENCH = BENCH_ATTENTION | BENCH_STEP | BENCH_EXCHANGE | BENCH_CEILING,
  TRAINED = EVAL | GENERATE,
  ANY_RUN = TRAIN | PLAN | BENCH_STEP
} command;

/* These say what happens after a step whose loss or gradient is not finite, and how progress is
 * shown. */
typedef enum nonfinite_policy {
  NONFINITE_STOP = 0,
  NONFINITE_SKIP,
  NONFINITE_ROLLBACK
} nonfinite_policy;
typedef enum progress_kind { PROGRESS_AUTO = 0, PROGRESS_LIVE, PROGRESS_PLAIN } progress_kind;

/* No fewer than there are options. */
enum { MAX_OPTIONS = 128 };

/* Where a value comes from, from the weakest on. */
typedef enum option_source {
  GIVEN_NOWHERE = 0, /* a default, or a checkpoint's own */
  GIVEN_IN_FILE,     /* and not the default */
  GIVEN_AS_FLAG,
  GIVEN_IN_LIST /* one of several, in turn */
} option_source;

/* Strings are owned; NULL: not given. */
typedef struct options {
  uly_train_config config;
  uly_mesh_desc mesh;
  int64_t eval_every, save_every, keep_last, keep_every, log_every;
  const char *out, *resume, *metrics, *trace, *rank_logs;
  nonfinite_policy nonfinite;
  int64_t nonfinite_limit;
  progress_kind progress;
  int measure_peak;
  const char *config_file;
  /* The last --set. What it sets is stored in its own member. */
  const char *set;
  bool print_config, dry_run, json;
  /* Its inputs, out and seed are given with the call. */
  uly_prepare_config prepare;
  bool tensors;
  int ranks; /* started by launch */
  const char *checkpoint, *prompt, *prompt_file, *prompt_tokens;
  int64_t max_tokens;
  uly_sampling sampling;   /* its seed is that of config */
  uly_attention_desc desc; /* heads of benchmarks */
  uly_mask mask;           /* their mask */
  int64_t array_bytes, repeats;
  /* A benchmark takes a list, "a,b,c", for each number and choice. Before options_parse,
   * `combination` says which of all combinations of their elements to take; after it,
   * `num_combinations` says how many there are. */
  int64_t combination, num_combinations;
  /* [num_args]: the arguments among the flags, of commands that take arguments; borrowed texts. */
  char **args;
  int num_args;
  option_source given[MAX_OPTIONS];
  char error[1024]; /* of the last failure below */
} options;

/* The index of an option in option_table. */
typedef int option_id;

/* --- The table, for the functions that read it. */

typedef enum option_kind {
  KIND_TEXT,
  KIND_INTEGER,
  KIND_BYTES,
  KIND_REAL,
  /* Stored as the index of the word, which is the value of the library's enum. */
  KIND_CHOICE,
  /* An int. --flag: true, --no-flag: false; in a file true or false. */
  KIND_BOOLEAN,
  KIND_SWITCH /* a bool; takes no value */
} option_kind;

/* Defines SECTION_run and so on, the indices of section_table; those of a configuration file come
 * first. */
#define SECTION_ID(section, title) SECTION_##section,
typedef enum section_id {
  SECTIONS_OF_FILE(SECTION_ID) NUM_FILE_SECTIONS,
  SECTION_LAST_OF_FILE = NUM_FILE_SECTIONS - 1,
  SECTIONS_OF_CALL(SECTION_ID) NUM_SECTIONS
} section_id;
#undef SECTION_ID

typedef struct section_info {
  const char *key, *title;
} section_info;

extern const section_info section_table[NUM_SECTIONS];

typedef struct option_info {
  section_id section;
  const char *key;
  const char *member; /* such as "config.seq_len" */
  option_kind kind;
  /* KIND_TEXT: the word for the value in --help. */
  const char *metavar;
  /* KIND_TEXT: what the value must begin with, which is not stored; NULL: nothing. */
  const char *prefix;
  /* KIND_INTEGER and KIND_BYTES: both are allowed; KIND_TEXT: max is the most bytes. */
  uint64_t min, max;
  /* KIND_INTEGER of 8 bytes: the word for -1; NULL: none. */
  const char *unset;
  double real_min, real_max; /* KIND_REAL; DBL_MAX: no upper limit */
  /* KIND_REAL: the upper limit itself is not allowed. */
  bool excludes_max;
  const char *const *choices; /* KIND_CHOICE: NULL-terminated */
  /* The place in struct options; integers have 4 or 8 bytes. */
  size_t offset, size;
  unsigned commands;
  /* The help of a setting names other settings by their members; messages.h turns these into
   * flags. */
  const char *help;
  /* The option without which this one has no effect; -1: none. */
  option_id needs;
} option_info;

#define VALUE_TEXT(metavar_) .kind = KIND_TEXT, .metavar = metavar_, .max = PATH_MAX - 1
#define VALUE_LONG_TEXT(metavar_) .kind = KIND_TEXT, .metavar = metavar_, .max = INT64_MAX
#define VALUE_TEXT_AFTER(prefix_, metavar_) VALUE_TEXT(prefix_ metavar_), .prefix = prefix_
#define VALUE_INTEGER(min_, max_) .kind = KIND_INTEGER, .min = min_, .max = max_
#define VALUE_INTEGER_OR(word_, min_, max_) VALUE_INTEGER(min_, max_), .unset = word_
#define VALUE_BYTES .kind = KIND_BYTES, .min = 0, .max = INT64_MAX
#define VALUE_REAL(min_, max_) .kind = KIND_REAL, .real_min = min_, .real_max = max_
#define VALUE_REAL_BELOW(min_, max_) VALUE_REAL(min_, max_), .excludes_max = true
#define VALUE_CHOICE(...) \
  .kind = KIND_CHOICE, .choices = (const char *const[]) { __VA_ARGS__, NULL }
#define VALUE_BOOLEAN .kind = KIND_BOOLEAN
#define VALUE_SWITCH .kind = KIND_SWITCH

/* Every option; those of a run come first. The table is complete before main. */
extern const option_info *const option_table;
extern int num_run_options, num_options;

/* Returns the option with this key, which there must be. */
option_id option_named(const char *key);

/* Holds any flag, number or phrase about a value. */
enum { OPTION_BUFFER = 256 };

/* Writes the flag, such as "--seq-len". */
void option_flag(option_id id, char buffer[OPTION_BUFFER]);

/* Describes the range of KIND_INTEGER and KIND_REAL: "from 1 to 4096", "from 0 to below 1", "above
 * 0". */
void option_range(option_id id, char buffer[OPTION_BUFFER]);

/* Describes what is allowed: "an integer from 1 to 4096", "one of f32, bf16". */
void option_allowed(option_id id, char buffer[OPTION_BUFFER]);

/* Writes what stands for the value: "FILE", "N", "BYTES", "X", "f32|bf16". Returns false if the
 * option takes no value. */
bool option_placeholder(option_id id, char buffer[OPTION_BUFFER]);

/* Returns a title such as "Optimization (optimizer)", or "Memory" if the key is the same word. */
const char *section_title(section_id id, char buffer[OPTION_BUFFER]);

/* Returns whether this is a flag, of any command, whose value is the next argument. */
bool option_takes_next(const char *arg);

/* Writes the path of a key, such as "optimizer.lr". */
void option_path(option_id id, char buffer[OPTION_BUFFER]);

/* Find a section or an option of a configuration file; NUM_FILE_SECTIONS, num_run_options: there is
 * none of the name. */
section_id section_find(const char *name);
option_id option_find(section_id section, const char *key);

/* --- Values. */

/* Fills in the defaults of a fresh struct. Frees nothing. */
uly_status options_init(options *o);
void options_free(options *o);

/* Reads flags and arguments (options_flags.c; argv without the program and the command). They
 * override the --config file among them, which overrides the defaults. Checks options that depend
 * on each other. ULY_ERR_CONFIG: o->error names the flag or key, the value and what is allowed. */
uly_status options_parse(options *o, command cmd, int argc, char *const *argv);

/* Refuses what was given but has no effect, for want of another option that the command knows: what
 * stands in the file counts unless a flag took that option away. What was not given, as the settings
 * of a checkpoint, gets its default back. options_parse calls it, except for commands that look for
 * a checkpoint first. */
uly_status options_check_needs(options *o, command cmd);

/* Interprets one value. `label` names the flag or key in the message. value is NULL for a switch,
 * and may be NULL for a boolean. */
uly_status options_set(options *o, option_id id, const char *label, const char *value);

/* Returns the value as options_set reads it: in buffer, or the text itself. NULL: the text is not
 * given. */
const char *options_get(const options *o, option_id id, char buffer[OPTION_BUFFER]);

/* Records o->error and returns status. */
uly_status options_fail(options *o, uly_status status, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* --- Configuration files (options_yaml.c): sections of keys. */

uly_status options_read_yaml(options *o, const char *path);

/* Prints the options of the command so that options_read_yaml reads them back. */
uly_status options_write_yaml(options *o, command cmd, FILE *file);

/* Says that the section has no key of this name, and where there is one or what was meant
 * (options_keys.c). `where` is "--set", or file and line; key NULL: the section is wrong. */
uly_status options_fail_key(options *o, const char *where, const char *section, const char *key);

/* --- The resolved configuration (options_save.c). */

/* Writes the configuration as a file that --config reads: under another name, synced, then renamed.
 * ULY_ERR_IO. */
uly_status options_save(options *o, command cmd, const char *path);

/* Prints the configuration for people, with a paragraph for each section. */
void options_print(FILE *file, const options *o, command cmd);

#endif
